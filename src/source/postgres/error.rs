//! Errors of the database, whose messages end with what to do.
//!
//! # Why
//!
//! A server's messages quote values: `invalid input syntax for type integer: "EAAG…"`, `Failing row contains (…)`. So
//! graphward shows the code and the position in the statement, and the message only where it should name nothing but objects. A
//! trigger or a pooler may write what it likes, so what may be a secret in that is hidden.

use tokio_postgres::error::{DbError, ErrorPosition};

use super::connection::{QueryError, is_io};
use crate::net::tls::handshake_error;
use crate::token::ObtainError;
use crate::types::redact_line;

/// Explains why `query` failed at `source`. It runs in a transaction that may only read, so "read-only" is not about the database.
pub(super) fn into_read_error(source: &str, failed: QueryError) -> ObtainError {
    const READ_ONLY: &str = "25006";
    if failed.code().is_some_and(|code| code.code() == READ_ONLY) {
        let what = format!(
            "cannot read {source}: `query` must be a SELECT that changes and locks nothing; write the statement that stores a token in \
             `update` (SQLSTATE {READ_ONLY})"
        );
        return ObtainError::permanent("statement", what);
    }
    into_obtain_error(source, "read", failed)
}

/// Explains why an action, `read` or `store the token in`, failed at `source`.
pub(super) fn into_obtain_error(source: &str, action: &str, failed: QueryError) -> ObtainError {
    let is_connecting = matches!(failed, QueryError::Connect(_));
    let error = match failed {
        QueryError::TimedOut => return ObtainError::transient("timeout", format!("{source} timed out")),
        QueryError::Disconnected => {
            return ObtainError::transient("connection_closed", format!("{source} closed the connection"));
        }
        QueryError::TooManyRows => {
            let what = format!(
                "`query` returned several rows from {source}; narrow its WHERE clause, or add ORDER BY … LIMIT 1"
            );
            return ObtainError::permanent("multiple_rows", what);
        }
        QueryError::Connect(error) | QueryError::Postgres(error) => error,
    };
    match error.as_db_error() {
        Some(refusal) if is_connecting => return from_refused_connection(source, refusal),
        Some(server_error) => return from_server_error(source, action, server_error),
        None => {}
    }
    if let Some(rustls::Error::InvalidCertificate(_)) = handshake_error(&error) {
        let what = format!(
            "the TLS certificate of {source} is not trusted; set `ca_file` to its certificate authority and use the host \
             name in its certificate, or set sslmode=disable on a trusted network"
        );
        return ObtainError::permanent("tls_untrusted", what).with_source(error);
    }
    let is_transient = error.is_closed() || is_io(&error) || std::error::Error::source(&error).is_none();
    if is_transient {
        return ObtainError::transient("connect_failed", format!("{source} is unreachable")).with_source(error);
    }
    let what = format!("{source} rejected the connection; check the password and `sslmode` in its URL");
    ObtainError::permanent("connection_rejected", what).with_source(error)
}

/// Explains why the server, or a pooler before it, refused the connection. No value of a statement has been sent yet, so its
/// message can be shown. Poolers have one code for nearly everything.
fn from_refused_connection(source: &str, error: &DbError) -> ObtainError {
    let (code, message) = (error.code().code(), &redact_line(error.message(), &[]));
    let class = code.get(..2).unwrap_or_default();
    let is_about_url = ["parameter", "no such", "not exist", "config"]
        .iter()
        .any(|words| message.contains(words));
    let what = |why: &str| format!("cannot connect to {source}: {message}; {why} (SQLSTATE {code})");
    match class {
        "28" => ObtainError::permanent(
            "login",
            what("check user and password in the URL, and pg_hba.conf or the users of the pooler"),
        ),
        "08" | "53" | "57" | "58" if !is_about_url => ObtainError::transient("unavailable", what("graphward retries")),
        _ => ObtainError::permanent(
            "connection_rejected",
            what("fix the database, the user or `options` in the URL; a pooler passes few parameters on"),
        ),
    }
}

fn from_server_error(source: &str, action: &str, error: &DbError) -> ObtainError {
    let code = error.code().code();
    let class = code.get(..2).unwrap_or_default();
    let at = match error.position() {
        Some(ErrorPosition::Original(at)) => format!(" at character {at}"),
        Some(ErrorPosition::Internal { .. }) | None => String::new(),
    };
    let message = |why: &str| format!("cannot {action} {source}: {why} (SQLSTATE {code})");
    let permanent = |reason, why: &str| ObtainError::permanent(reason, message(why));
    let transient = |reason, why: &str| ObtainError::transient(reason, message(why));
    let quoted = |advice: &str| format!("{}; {advice}", redact_line(error.message(), &[]));
    match (code, class) {
        (_, "28") => permanent(
            "login",
            "authentication failed; check user and password in the URL, and pg_hba.conf",
        ),
        ("42501", _) => permanent(
            "permission_denied",
            &quoted("GRANT the required privileges to the user in the URL"),
        ),
        ("42P01", _) => permanent("statement", &quoted(&format!("fix the statement{at}, or its schema"))),
        ("42703", _) => permanent(
            "statement",
            &format!("the statement uses a column that does not exist{at}; fix the statement"),
        ),
        ("42P18" | "42P02" | "08P01", _) => permanent(
            "parameters",
            "the parameters of the statement ($1, $2 …) do not match `params`: each parameter needs one value, and each \
             value must be used",
        ),
        (_, "42") => permanent("statement", &format!("the statement is invalid{at}; test it in psql")),
        (_, "22") => permanent(
            "parameters",
            "a value is invalid for its column; check `params` and the expressions of the statement",
        ),
        (_, "23") => permanent(
            "constraint",
            "the statement violates a constraint of the table; fix the statement",
        ),
        ("3D000", _) => permanent("database", &quoted("fix the URL")),
        ("25006", _) => permanent(
            "read_only",
            "the database is read-only; use the primary in the URL, or list all hosts with \
             target_session_attrs=read-write",
        ),
        ("57014", _) => transient("timeout", "the statement took too long; an index may help"),
        ("55P03", _) => transient("locked", "the row is locked by another transaction"),
        (_, "40") => transient("serialization_failure", "a concurrent transaction changed the row"),
        (_, "08" | "53" | "57") => transient(
            "unavailable",
            "the server is temporarily unavailable; graphward retries",
        ),
        _ => permanent("statement", "the statement failed; see the PostgreSQL server log"),
    }
}
