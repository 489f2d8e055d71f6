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
pub(crate) struct ScriptedSource(Arc<SourceState>);

#[derive(Default)]
struct SourceState {
    response: Mutex<SourceResponse>,
    loads: AtomicUsize,
    changed: Notify,
}

#[derive(Clone, Default)]
struct SourceResponse {
    token: Option<String>,
    expires_at: Option<SystemTime>,
    delay: Duration,
    /// Whether a person has to act, if nothing can be shown.
    permanent: bool,
    /// The content that cannot be read.
    content: &'static [u8],
    /// Whether it has a token that Graph calls invalid.
    dead: bool,
}

impl ScriptedSource {
    /// Shows a token, and says so.
    pub(crate) fn publish(&self, token: &str) {
        self.set_token(token);
        self.0.changed.notify_one();
    }

    /// Sets the token that the next check finds.
    pub(crate) fn set_token(&self, token: &str) {
        lock(&self.0.response).token = Some(token.to_owned());
    }

    pub(crate) fn set_empty(&self, permanent: bool) {
        let mut shown = lock(&self.0.response);
        shown.token = None;
        shown.permanent = permanent;
    }

    /// Shows a content that is not a token, and says so.
    pub(crate) fn publish_garbage(&self, content: &'static [u8]) {
        self.set_empty(true);
        lock(&self.0.response).content = content;
        self.0.changed.notify_one();
    }

    /// Shows a token that Graph calls invalid, and says so.
    pub(crate) fn publish_dead(&self) {
        self.set_empty(true);
        lock(&self.0.response).dead = true;
        self.0.changed.notify_one();
    }

    pub(crate) fn set_expiry(&self, at: SystemTime) {
        lock(&self.0.response).expires_at = Some(at);
    }

    /// How long a look takes from now on.
    pub(crate) fn set_delay(&self, time: Duration) {
        lock(&self.0.response).delay = time;
    }

    /// The number of checks so far.
    pub(crate) fn loads(&self) -> usize {
        self.0.loads.load(Ordering::Relaxed)
    }
}

impl Source for ScriptedSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        self.0.loads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let takes = lock(&self.0.response).delay;
            tokio::time::sleep(takes).await;
            let shown = lock(&self.0.response).clone();
            match (shown.token, shown.permanent) {
                (Some(token), _) => Ok(Token {
                    expires_at: shown.expires_at,
                    ..Token::without_expiry(Secret::new(&token).unwrap())
                }),
                (None, false) => Err(ObtainError::transient("missing", "the source is empty")),
                (None, _) if shown.dead => {
                    let what = "Graph calls the token from test source invalid";
                    Err(ObtainError::permanent("rejected_by_inspection", what))
                }
                (None, true) => {
                    Err(ObtainError::permanent("refused", "the source is not readable").about_content(shown.content))
                }
            }
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.changed.notified())
    }

    fn describe(&self) -> String {
        "test source".to_owned()
    }
}
