//! Faults on command. Each is for data calls or for one token endpoint.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;

/// The endpoint of a call.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndpointKind {
    /// Everything that is not about tokens.
    #[default]
    Data,
    /// `/oauth/access_token` of Graph.
    Exchange,
    /// `POST /{system-user-id}/access_tokens`
    Mint,
    /// `/refresh_access_token` of Instagram and Threads.
    Refresh,
    /// `/debug_token`
    DebugToken,
    /// `/me?fields=id`, without a version: a question about a token, not about data.
    Me,
    /// Other calls about tokens: logins and revocations. They have no faults.
    Other,
}

/// The form in which a token endpoint returns a token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenResponse {
    /// As it should.
    #[default]
    Normal,
    /// Without its expiry.
    WithoutExpiry,
    /// As very old versions did: `access_token=…&expires=…`.
    FormEncoded,
    /// The same token again, with a later expiry.
    SameToken,
    /// An expired token, with its expiry in the past.
    Expired,
    /// In an answer of 100,000 bytes.
    Oversized,
}

/// A fault for the next calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The effect.
    pub effect: Effect,
    /// Whether the call is handled before the fault.
    pub timing: FaultTiming,
    /// The number of calls that it is for.
    pub times: u32,
}

/// The effect.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// An error in Graph's envelope. Calls with a dead token do not use it up, since Graph looks at the token
    /// first.
    Error {
        /// The code; its usual text goes with it.
        code: i64,
        /// The subcode.
        subcode: Option<i64>,
        /// The status; without one, the status that is documented for the code.
        status: Option<http::StatusCode>,
    },
    /// The edge's own page, "Sorry, something went wrong.", with this status.
    HtmlPage(http::StatusCode),
    /// "Malformed access token" and the token itself, in the body and in `WWW-Authenticate`, as Graph does. Calls
    /// with a dead token do not use it up either.
    MalformedToken,
    /// The first item of a batch's answer is `null`, as when Graph's time for it ran out. Other answers stay.
    NullBatchItem,
    /// The head is delayed by this time.
    Delay(Duration),
    /// The head waits until [`FakeGraph::release_held`](crate::FakeGraph::release_held) lets it go.
    Hold,
    /// No head, ever.
    Hang,
    /// A head and half a body, then silence.
    Stall,
    /// A head and half a body, then the connection is lost.
    Truncate,
    /// The connection is lost before the head (HTTP/2: the stream is reset).
    Reset,
    /// A token is returned in an unusual form. Calls that return no token are not affected.
    TokenResponse(TokenResponse),
}

/// The time of a fault. [`Effect::Stall`] and [`Effect::Truncate`] need an answer and so are always after.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FaultTiming {
    /// Before the call is handled. A delayed call is handled after the delay.
    #[default]
    BeforeHandling,
    /// After the call is handled: the message is sent, and the app does not learn of it. Here a blind
    /// retry sends twice.
    AfterHandling,
}

/// The faults to come.
#[derive(Debug, Default)]
pub(crate) struct FaultQueue(HashMap<EndpointKind, VecDeque<Fault>>);

// === impl Fault ===

impl Fault {
    /// A fault for one call, before it is handled.
    #[must_use]
    pub const fn once(effect: Effect) -> Self {
        Self {
            effect,
            timing: FaultTiming::BeforeHandling,
            times: 1,
        }
    }

    /// An error with this code for one call. 4, 80007 and 130429 throttle.
    #[must_use]
    pub const fn error(code: i64) -> Self {
        Self::once(Effect::Error {
            code,
            subcode: None,
            status: None,
        })
    }

    /// The same, for the next `times` calls.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// The same, after the call is handled.
    #[must_use]
    pub const fn after_handling(mut self) -> Self {
        self.timing = FaultTiming::AfterHandling;
        self
    }
}

// === impl FaultQueue ===

impl FaultQueue {
    pub(crate) fn add(&mut self, endpoint: EndpointKind, fault: Fault) {
        if fault.times > 0 {
            self.0.entry(endpoint).or_default().push_back(fault);
        }
    }

    /// The number of calls that will still have a fault.
    pub(crate) fn pending_count(&self) -> u64 {
        let all = self.0.values().flatten();
        all.map(|fault| u64::from(fault.times)).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the next fault for a call with a dead token: Graph sees a dead token before it returns another error.
    pub(crate) fn take_next_for_dead_token(&mut self, endpoint: EndpointKind) -> Option<Fault> {
        let effect = &self.0.get(&endpoint)?.front()?.effect;
        let is_error = matches!(effect, Effect::Error { .. } | Effect::MalformedToken);
        if is_error { None } else { self.take_next(endpoint) }
    }

    /// Takes the next fault for a call.
    pub(crate) fn take_next(&mut self, endpoint: EndpointKind) -> Option<Fault> {
        let waiting = self.0.get_mut(&endpoint)?;
        let front = waiting.front_mut()?;
        front.times -= 1;
        let fault = front.clone();
        if fault.times == 0 {
            waiting.pop_front();
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_occur_in_order_and_as_often_as_configured() {
        let mut faults = FaultQueue::default();
        faults.add(EndpointKind::Data, Fault::once(Effect::Reset).times(2));
        faults.add(EndpointKind::Data, Fault::error(4));
        assert_eq!(faults.pending_count(), 3);
        assert!(faults.take_next(EndpointKind::Mint).is_none());
        assert_eq!(faults.take_next(EndpointKind::Data).unwrap().effect, Effect::Reset);
        assert_eq!(
            faults.take_next_for_dead_token(EndpointKind::Data).unwrap().effect,
            Effect::Reset
        );
        assert!(
            faults.take_next_for_dead_token(EndpointKind::Data).is_none(),
            "a dead token is seen first"
        );
        assert!(matches!(
            faults.take_next(EndpointKind::Data).unwrap().effect,
            Effect::Error { code: 4, .. }
        ));
        assert!(faults.take_next(EndpointKind::Data).is_none());
    }
}
