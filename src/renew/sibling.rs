//! Tokens of Instagram and Threads renew themselves, without the app's secret.
//!
//! [Instagram](https://developers.facebook.com/documentation/instagram-platform/reference/refresh_access_token),
//! [Threads](https://developers.facebook.com/docs/threads/get-started/long-lived-tokens/): not in their first 24 hours,
//! never once they have expired, for 60 days more.

use std::time::{Duration, SystemTime};

use crate::graph::Origin;
use crate::net::Caller;
use crate::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use crate::types::Clock;

use super::answer::{Asked, Method, Remedies, Silence};
use super::ask::Ask;

/// Refreshes a living token of Instagram or of Threads.
#[derive(Debug)]
pub struct Sibling {
    caller: Caller,
    origin: Origin,
    grant: &'static str,
    clock: Clock,
}

impl Sibling {
    /// Of Instagram, at `graph.instagram.com`.
    #[must_use]
    pub const fn instagram(caller: Caller, origin: Origin, clock: Clock) -> Self {
        Self::new("ig_refresh_token", caller, origin, clock)
    }

    /// Of Threads, at `graph.threads.net`.
    #[must_use]
    pub const fn threads(caller: Caller, origin: Origin, clock: Clock) -> Self {
        Self::new("th_refresh_token", caller, origin, clock)
    }

    const fn new(grant: &'static str, caller: Caller, origin: Origin, clock: Clock) -> Self {
        Self {
            caller,
            origin,
            grant,
            clock,
        }
    }

    async fn refreshed(&self, outgoing: Outgoing<'_>) -> Result<Token, ObtainError> {
        if outgoing.dead {
            let what = format!("a dead token cannot be refreshed. {}", REMEDIES.dead);
            return Err(ObtainError::permanent("token_dead", what));
        }
        let ask = Ask::new(&self.origin, "/refresh_access_token")
            .plain("grant_type", self.grant)
            .secret("access_token", &outgoing.token.secret);
        let asked = Asked::new(&ask, REMEDIES);
        let at = self.clock.wall();
        let answer = asked.send(&self.caller, &ask, Method::Get).await?;
        asked.granted(&answer, at, Silence::Unknown)
    }
}

const REMEDIES: Remedies = Remedies {
    dead: "Its user has to log in again, and an operator has to put the long-lived token of that login where the token's \
        source looks.",
    refused: "A token can be refreshed once it is 24 hours old, is a long-lived one, and its user has granted the basic \
        permission; if all that is so, an operator has to look the code up.",
};
const FIRST_DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Renewer for Sibling {
    fn renew<'a>(
        &'a mut self,
        outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.refreshed(outgoing))
    }

    fn earliest(&self, issued_at: SystemTime) -> SystemTime {
        issued_at + FIRST_DAY
    }

    /// There is no endpoint that says when these tokens end, but the answer to a renewal does.
    fn unless_told(&self, seen_at: SystemTime) -> Option<SystemTime> {
        Some(self.earliest(seen_at))
    }

    fn describe(&self) -> String {
        self.grant.to_owned()
    }
}
