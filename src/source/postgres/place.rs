//! Where the row is, and the statements that read and write it.

use tokio_postgres::Row;

use super::super::fernet::Fernet;
use super::address::Address;
use super::link::{Failed, Link, MOST_ROWS};
use super::row::shown;
use crate::token::{ObtainError, Token};

/// Where the row is, and how it is read and written.
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) query: String,
    pub(super) params: Vec<String>,
    pub(super) update: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) keys: Option<Fernet>,
}

/// The server gives up before the client does.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '4500ms'";

impl Place {
    /// A connection that listens, if there is a channel.
    pub(super) async fn connect(&self) -> Result<Link, Failed> {
        let mut link = Link::open(&self.address).await?;
        if let Some(channel) = &self.listen {
            let channel = channel.replace('"', "\"\"");
            link.run(&format!("LISTEN \"{channel}\"")).await?;
        }
        Ok(link)
    }

    /// The rows of `query` in a transaction of their own.
    pub(super) async fn look(&self, link: &mut Link) -> Result<Vec<Row>, Failed> {
        link.run(BEGIN).await?;
        let rows = self.rows(link).await?;
        if rows.len() < MOST_ROWS {
            link.run("COMMIT").await?;
        }
        Ok(rows)
    }

    /// The rows of `query`.
    pub(super) async fn rows(&self, link: &mut Link) -> Result<Vec<Row>, Failed> {
        let params: Vec<_> = self.params.iter().map(String::as_str).collect();
        link.rows(&self.query, &params).await
    }

    /// The token that rows show.
    pub(super) fn token(&self, rows: &[Row]) -> Result<Token, ObtainError> {
        shown(&self.address.shown, rows, self.keys.as_ref())
    }

    /// Why nothing can be put here, and what to do.
    pub(super) fn only_read(&self) -> String {
        format!(
            "{} is only read; give the source an `update` (UPDATE … SET access_token = $1 WHERE … = $2), or the token a \
             `store`",
            self.address.shown
        )
    }
}

/// Whether a statement uses this parameter.
pub(super) fn uses(statement: &str, number: usize) -> bool {
    let mut behind = statement.split('$').skip(1);
    behind.any(|text| {
        let end = text.find(|sign: char| !sign.is_ascii_digit());
        let digits = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        digits.parse() == Ok(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_used_by_its_whole_number() {
        let update = "UPDATE t SET a = $1, e = to_timestamp($12) WHERE b = $2";
        for number in [1, 2, 12] {
            assert!(uses(update, number));
        }
        assert!(!uses(update, 3));
        assert!(!uses("a = $11$2x", 1));
        assert!(uses("a = $1", 1));
    }
}
