//! A renewer whose tokens Graph takes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Graph;
use graphward::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use graphward::types::Secret;

/// A scripted renewer: mints `EAAminted1`, `EAAminted2`, …, or fails.
#[derive(Clone)]
pub(crate) struct ScriptedRenewer(Arc<RenewerState>);

struct RenewerState {
    graph: Graph,
    calls: AtomicUsize,
    failing: AtomicBool,
}

impl ScriptedRenewer {
    pub(crate) fn new(graph: Graph) -> Self {
        Self(Arc::new(RenewerState {
            graph,
            calls: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
        }))
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn fail(&self) {
        self.0.failing.store(true, Ordering::Relaxed);
    }
}

impl Renewer for ScriptedRenewer {
    fn describe(&self) -> String {
        "the test's mint".to_owned()
    }

    fn renew<'a>(&'a mut self, _request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(async move {
            let number = self.0.calls.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.0.failing.load(Ordering::Relaxed) {
                return Err(ObtainError::transient("broken", "the mint is out of order"));
            }
            let token = format!("EAAminted{number}");
            self.0.graph.accept(&token);
            Ok(Token::without_expiry(Secret::new(&token).unwrap()))
        })
    }
}
