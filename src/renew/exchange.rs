//! Graph's own exchange of a living token for a longer-lived one.
//!
//! [`fb_exchange_token`](https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived), and with
//! `set_token_expires_in_60_days` the [refresh of a system user's
//! token](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).
//!
//! # Why
//!
//! It is a GET, secrets in its query, because that is what is documented. Graph takes a form as well, as one client
//! library's option shows, but nobody promises that, and this call is made every seven weeks: it would be missed on the
//! day on which it is needed. The address is seen by Graph alone, since it travels inside TLS, and no error or log of
//! ours shows it.
//!
//! A dead token is not sent: Graph does not exchange it, however often it is asked.

use std::time::{Duration, SystemTime};

use crate::graph::Origin;
use crate::net::Caller;
use crate::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use crate::types::Clock;

use super::answer::{Asked, Method, Remedies, Silence};
use super::app::AppKey;
use super::ask::Ask;

/// Exchanges a living token.
#[derive(Debug)]
pub struct Exchange {
    caller: Caller,
    origin: Origin,
    key: AppKey,
    lasting: Lasting,
    clock: Clock,
}

/// How long an exchanged token is to live.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Lasting {
    /// As long as Graph likes: some 60 days for a person's token.
    #[default]
    Usual,
    /// 60 days, which has to be asked for with a system user's token.
    SixtyDays,
}

impl Exchange {
    /// At an origin, for an app.
    #[must_use]
    pub const fn new(
        caller: Caller,
        origin: Origin,
        key: AppKey,
        lasting: Lasting,
        clock: Clock,
    ) -> Self {
        Self {
            caller,
            origin,
            key,
            lasting,
            clock,
        }
    }

    async fn exchanged(&self, outgoing: Outgoing<'_>) -> Result<Token, ObtainError> {
        if outgoing.dead {
            let what = format!("a dead token cannot be exchanged. {}", REMEDIES.dead);
            return Err(ObtainError::permanent("token_dead", what));
        }
        let mut ask = Ask::new(&self.origin, "/oauth/access_token")
            .plain("grant_type", "fb_exchange_token")
            .plain("client_id", &self.key.id)
            .secret("client_secret", &self.key.secret);
        let silence = match self.lasting {
            Lasting::Usual => Silence::Unknown,
            Lasting::SixtyDays => {
                ask = ask.plain("set_token_expires_in_60_days", "true");
                Silence::SixtyDays
            }
        };
        let ask = ask.secret("fb_exchange_token", &outgoing.token.secret);
        let asked = Asked::new(&ask, REMEDIES);
        let at = self.clock.wall();
        let answer = asked.send(&self.caller, &ask, Method::Get).await?;
        asked.granted(&answer, at, silence)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REMEDIES: Remedies = Remedies {
    dead: "An operator has to create a new token in Meta's dashboard and to put it where the token's source looks.",
    refused: "An operator has to look the code up, and to see in the app's dashboard whether the app may exchange \
        tokens of this kind.",
};

impl Renewer for Exchange {
    fn renew<'a>(
        &'a mut self,
        outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.exchanged(outgoing))
    }

    /// Once it has ended it is too late, and the answer says when the next one ends.
    fn unless_told(&self, seen_at: SystemTime) -> Option<SystemTime> {
        Some(seen_at + DAY)
    }

    fn describe(&self) -> String {
        "fb_exchange_token".to_owned()
    }
}
