//! Putting a minted token where the query finds it: compare and set, in one transaction.

use std::time::{Duration, SystemTime};

use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use super::fault::fault;
use super::link::{Failed, Link};
use super::place::{Place, uses};
use crate::token::{Deposit, ObtainError, Token};
use crate::types::Fingerprint;

/// Why a transaction came to nothing.
enum Broken {
    /// Others wrote, or the connection broke: a new transaction may do better.
    Again(ObtainError),
    For(ObtainError),
}

/// How often a transaction is begun that others get in the way of.
const TURNS: u32 = 4;

/// Serializable, so that a write between the look and the update is an error, and durable, whatever the role's settings.
const BEGIN: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SET LOCAL statement_timeout = '4500ms'; \
     SET LOCAL lock_timeout = '3s'; \
     SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

impl Place {
    /// Writes `token` if the query still shows `over`.
    ///
    /// A commit whose answer is lost is not guessed at: the next turn looks, and finds the token there or not.
    pub(super) async fn deposit(
        &self,
        token: &Token,
        over: Fingerprint,
    ) -> Result<Deposit, ObtainError> {
        let Some(update) = &self.update else {
            return Err(ObtainError::permanent("not_writable", self.only_read()));
        };
        let mut turn = 1;
        loop {
            match self.turn(update, token, over).await {
                Ok(deposit) => return Ok(deposit),
                Err(Broken::For(error)) => return Err(error),
                Err(Broken::Again(error)) if turn == TURNS => return Err(error),
                Err(Broken::Again(_)) => {}
            }
            let pause = fastrand::u64(20..200 * u64::from(turn));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            turn += 1;
        }
    }

    async fn turn(
        &self,
        update: &str,
        token: &Token,
        over: Fingerprint,
    ) -> Result<Deposit, Broken> {
        let mut link = Link::open(&self.address)
            .await
            .map_err(|failed| self.broken(failed))?;
        link.run(BEGIN)
            .await
            .map_err(|failed| self.broken(failed))?;
        let before = self.peek(&mut link).await?;
        // What is not committed is rolled back when the connection is dropped.
        if same(&before, token) {
            return Ok(Deposit::Kept);
        }
        if before.secret.fingerprint() != over {
            return Ok(Deposit::Overtaken);
        }
        self.write(&mut link, update, token).await?;
        let after = self.peek(&mut link).await?;
        if !same(&after, token) {
            return Err(self.misled(
                "does not write where `query` looks, or not what it was given: `query` shows another token after it",
            ));
        }
        if after.expires_at.is_some()
            && after.expires_at == before.expires_at
            && apart(after.expires_at, token.expires_at)
        {
            return Err(self.misled(
                "leaves the old end of the token, which `query` shows, beside the new one: set that column as well; the \
                 new end, in seconds since 1970 or NULL, is the parameter after the last of `params`",
            ));
        }
        if let Some(channel) = &self.listen {
            link.change("SELECT pg_notify($1, '')", &[Some(channel)])
                .await
                .map_err(|failed| self.broken(failed))?;
        }
        link.run("COMMIT")
            .await
            .map_err(|failed| self.broken(failed))?;
        Ok(Deposit::Kept)
    }

    async fn peek(&self, link: &mut Link) -> Result<Token, Broken> {
        let rows = self
            .rows(link)
            .await
            .map_err(|failed| self.broken(failed))?;
        self.token(&rows).map_err(Broken::For)
    }

    async fn write(&self, link: &mut Link, update: &str, token: &Token) -> Result<(), Broken> {
        let value = match &self.keys {
            Some(keys) => Zeroizing::new(keys.seal(&token.secret)),
            None => Zeroizing::new(token.secret.expose().to_owned()),
        };
        let mut params = vec![Some(value.as_str())];
        params.extend(self.params.iter().map(|text| Some(text.as_str())));
        let end = token.expires_at.map(seconds);
        if uses(update, params.len() + 1) {
            params.push(end.as_deref());
        }
        match link.change(update, &params).await {
            Ok(1) => Ok(()),
            // Nobody can have been faster: that would have been an error.
            Ok(0) => {
                Err(self.misled("matches no row, though `query` shows one: correct its WHERE"))
            }
            Ok(_) => Err(self
                .misled("would change several rows, which share the token then: narrow its WHERE")),
            Err(failed) => Err(self.broken(failed)),
        }
    }

    fn misled(&self, how: &str) -> Broken {
        let what = format!(
            "`update` {how}; nothing was written to {}",
            self.address.shown
        );
        Broken::For(ObtainError::permanent("update", what))
    }

    fn broken(&self, failed: Failed) -> Broken {
        let contended = failed.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
            ]
            .contains(code)
        });
        let again = contended || failed.is_gone();
        let error = fault(&self.address.shown, "write to", failed);
        if again {
            Broken::Again(error)
        } else {
            Broken::For(error)
        }
    }
}

fn seconds(end: SystemTime) -> String {
    let since = end.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs().to_string()
}

fn same(one: &Token, other: &Token) -> bool {
    one.secret.expose() == other.secret.expose()
}

/// Whether two ends are more than a minute apart.
fn apart(one: Option<SystemTime>, other: Option<SystemTime>) -> bool {
    const MINUTE: Duration = Duration::from_secs(60);
    match (one, other) {
        (Some(one), Some(other)) => {
            one.max(other)
                .duration_since(one.min(other))
                .unwrap_or_default()
                > MINUTE
        }
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_the_same_within_a_minute() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(!apart(at(100), at(160)));
        assert!(apart(at(161), at(100)));
        assert!(apart(at(100), None));
        assert!(!apart(None, None));
        assert_eq!(
            seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            "1"
        );
    }
}
