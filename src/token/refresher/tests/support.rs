//! A source and a renewer that the test controls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::super::super::{BoxFuture, Generation, RenewalRequest, Renewer, Source, TokenHandle, channel};
use super::super::*;
use crate::graph::EndpointId;
use crate::types::Secret;

/// A source with the token that the test puts there.
#[derive(Clone, Default)]
pub(super) struct FakeSource(pub(super) Arc<FakeSourceState>);

#[derive(Default)]
pub(super) struct FakeSourceState {
    pub(super) token: Mutex<Option<String>>,
    pub(super) changed: Notify,
    pub(super) loads: AtomicU64,
}

/// A renewer that returns `renewed-1`, `renewed-2`, …, or fails.
#[derive(Clone, Default)]
pub(super) struct FakeRenewer(pub(super) Arc<FakeRenewerState>);

#[derive(Default)]
pub(super) struct FakeRenewerState {
    pub(super) calls: AtomicU64,
    pub(super) fails: std::sync::atomic::AtomicBool,
    pub(super) panics: std::sync::atomic::AtomicBool,
}

impl FakeSource {
    pub(super) fn put(&self, token: &str) {
        *self.0.token.lock().unwrap() = Some(token.to_owned());
        self.0.changed.notify_one();
    }
}

impl Source for FakeSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        self.0.loads.fetch_add(1, Ordering::Relaxed);
        let token = self.0.token.lock().unwrap().clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let text = token.ok_or_else(|| ObtainError::transient("missing", "nothing there"))?;
            Ok(Token::without_expiry(Secret::new(&text).unwrap()))
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.changed.notified())
    }

    fn describe(&self) -> String {
        "the test".to_owned()
    }
}

impl Renewer for FakeRenewer {
    fn describe(&self) -> String {
        "the test's renewer".to_owned()
    }

    fn renew<'a>(&'a mut self, _request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(async move {
            assert!(!self.0.panics.load(Ordering::Relaxed), "on purpose");
            let number = self.0.calls.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.0.fails.load(Ordering::Relaxed) {
                return Err(ObtainError::transient("broken", "out of order"));
            }
            Ok(Token::without_expiry(
                Secret::new(&format!("renewed-{number}")).unwrap(),
            ))
        })
    }
}

pub(super) async fn start(source: &FakeSource, renewer: Option<&FakeRenewer>) -> TokenHandle {
    let provider = TokenProvider::from_source(source.clone());
    let provider = match renewer {
        Some(renewer) => provider.with_renewer(renewer.clone()),
        None => provider,
    };
    let (writer, tokens) = channel();
    let tenant = TenantId::default();
    let refresher = Refresher::new(
        tenant,
        provider,
        writer,
        RefreshPolicy::default(),
        Clock::system(),
        Box::new(|_event| {}),
    );
    drop(spawn(refresher.run()));
    tokens.wait_for_first_check().await;
    tokens
}

#[expect(clippy::disallowed_methods, reason = "these tests end with their runtime")]
pub(super) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// Reports a success that began after everything so far.
pub(super) fn accept(tokens: &TokenHandle, generation: Generation) {
    tokens.mark_accepted(generation, EndpointId::of_path("/me"), tokens.start_attempt());
}

pub(super) fn in_five_seconds() -> Instant {
    Instant::now() + Duration::from_secs(5)
}
