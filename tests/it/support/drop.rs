//! A source that shows what the test puts there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::lock;
use graphward::token::{BoxFuture, ObtainError, Source, Token};
use graphward::types::Secret;

/// A scripted source.
#[derive(Clone, Default)]
pub(crate) struct Drop(Arc<State>);

#[derive(Default)]
struct State {
    shown: Mutex<Shown>,
    looks: AtomicUsize,
    rung: Notify,
}

#[derive(Clone, Default)]
struct Shown {
    token: Option<String>,
    expires_at: Option<SystemTime>,
    takes: Duration,
    /// Whether a person has to act, if nothing can be shown.
    permanent: bool,
}

impl Drop {
    /// Shows a token, and says so.
    pub(crate) fn put(&self, token: &str) {
        self.show(token);
        self.0.rung.notify_one();
    }

    /// Shows a token to whoever looks.
    pub(crate) fn show(&self, token: &str) {
        lock(&self.0.shown).token = Some(token.to_owned());
    }

    pub(crate) fn shows_nothing(&self, permanent: bool) {
        let mut shown = lock(&self.0.shown);
        shown.token = None;
        shown.permanent = permanent;
    }

    pub(crate) fn ends_at(&self, at: SystemTime) {
        lock(&self.0.shown).expires_at = Some(at);
    }

    /// How long a look takes from now on.
    pub(crate) fn takes(&self, time: Duration) {
        lock(&self.0.shown).takes = time;
    }

    /// How often somebody looked.
    pub(crate) fn looks(&self) -> usize {
        self.0.looks.load(Ordering::Relaxed)
    }
}

impl Source for Drop {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let takes = lock(&self.0.shown).takes;
            tokio::time::sleep(takes).await;
            let shown = lock(&self.0.shown).clone();
            match (shown.token, shown.permanent) {
                (Some(token), _) => Ok(Token {
                    expires_at: shown.expires_at,
                    ..Token::lasting(Secret::new(&token).unwrap())
                }),
                (None, false) => Err(ObtainError::Transient {
                    what: "the drop is empty".to_owned(),
                    reason: "missing",
                    source: None,
                }),
                (None, true) => Err(ObtainError::Permanent {
                    what: "the drop was refused".to_owned(),
                    reason: "refused",
                    source: None,
                }),
            }
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.rung.notified())
    }

    fn describe(&self) -> String {
        "drop of the test".to_owned()
    }
}
