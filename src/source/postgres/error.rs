//! What went wrong at the database, in words that end in what to do.
//!
//! # Why
//!
//! A server's messages quote values: `invalid input syntax for type integer: "EAAG…"`, `Failing row contains (…)`. Only
//! its code is told, and where in the statement it points; its words only where they can name nothing but objects.

use tokio_postgres::error::{DbError, ErrorPosition};

use super::connection::{QueryError, is_io};
use super::tls::UntrustedCertificate;
use crate::token::ObtainError;

/// Says what became of an act, `read` or `write to`, at a place.
pub(super) fn into_obtain_error(source: &str, action: &str, failed: QueryError) -> ObtainError {
    let error = match failed {
        QueryError::TimedOut => {
            let what = format!("{source} did not answer in time");
            return ObtainError::transient("late", what);
        }
        QueryError::Disconnected => {
            let what = format!("{source} closed the connection");
            return ObtainError::transient("unreachable", what);
        }
        QueryError::Postgres(error) => error,
    };
    if let Some(server_error) = error.as_db_error() {
        return from_server_error(source, action, server_error);
    }
    let is_untrusted =
        std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<UntrustedCertificate>);
    if is_untrusted {
        let what = format!(
            "{source} is not trusted; name its certificate authority in `ca_file`, and its host as the certificate does, or \
             say sslmode=disable where nobody can be on the line"
        );
        return ObtainError::permanent("untrusted", what).with_source(error);
    }
    let is_transient = error.is_closed() || is_io(&error) || std::error::Error::source(&error).is_none();
    if is_transient {
        return ObtainError::transient("unreachable", format!("{source} cannot be reached")).with_source(error);
    }
    let what =
        format!("{source} does not take the connection as its URL asks for it: check the password and `sslmode`");
    ObtainError::permanent("connection", what).with_source(error)
}

fn from_server_error(source: &str, action: &str, error: &DbError) -> ObtainError {
    let code = error.code().code();
    let class = code.get(..2).unwrap_or_default();
    let at = match error.position() {
        Some(ErrorPosition::Original(at)) => format!(" at character {at}"),
        Some(ErrorPosition::Internal { .. }) | None => String::new(),
    };
    let server_message = || error.message();
    let permanent = |reason, why: String| {
        ObtainError::permanent(reason, format!("cannot {action} {source}: {why} (SQLSTATE {code})"))
    };
    let transient = |reason, why: String| {
        ObtainError::transient(reason, format!("cannot {action} {source}: {why} (SQLSTATE {code})"))
    };
    match (code, class) {
        (_, "28") => permanent(
            "login",
            "the login is refused; check user and password in the URL, and pg_hba.conf".to_owned(),
        ),
        ("42501", _) => permanent(
            "denied",
            format!("{}; GRANT what the statement needs to the user in the URL", server_message()),
        ),
        ("42P01", _) => permanent(
            "statement",
            format!("{}; correct the statement{at}, or its schema", server_message()),
        ),
        ("42703", _) => permanent(
            "statement",
            format!("the statement names a column that does not exist{at}; correct it"),
        ),
        ("42P18" | "42P02" | "08P01", _) => permanent(
            "parameters",
            "the statement uses other parameters ($1, $2 …) than it is given: each one needs its value in `params`, and \
             each value its use"
                .to_owned(),
        ),
        (_, "42") => permanent(
            "statement",
            format!("the statement is wrong{at}; try it in psql"),
        ),
        (_, "22") => permanent(
            "parameters",
            "a value does not fit its column; check `params`, and what the statement computes".to_owned(),
        ),
        (_, "23") => permanent(
            "constraint",
            "a constraint of the table forbids it; correct the statement".to_owned(),
        ),
        ("3D000", _) => permanent(
            "database",
            format!("{}; correct the URL", server_message()),
        ),
        ("25006", _) => permanent(
            "read_only",
            "the database takes no writes; name the primary in the URL, or all hosts and \
             target_session_attrs=read-write"
                .to_owned(),
        ),
        ("57014", _) => transient(
            "late",
            "the statement took too long; an index may help".to_owned(),
        ),
        ("55P03", _) => transient("locked", "somebody else holds the row".to_owned()),
        (_, "40") => transient("contended", "others wrote at the same time".to_owned()),
        (_, "08" | "53" | "57") => transient(
            "unavailable",
            "the server takes no work now; it is tried again".to_owned(),
        ),
        _ => permanent(
            "statement",
            "the statement failed; the server's log says why".to_owned(),
        ),
    }
}
