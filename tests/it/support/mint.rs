//! A renewer whose tokens Graph takes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Graph;
use graphward::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use graphward::types::Secret;

/// A scripted renewer: mints `EAAminted1`, `EAAminted2`, …, or fails.
#[derive(Clone)]
pub(crate) struct Mint(Arc<State>);

struct State {
    graph: Graph,
    calls: AtomicUsize,
    broken: AtomicBool,
}

impl Mint {
    pub(crate) fn of(graph: Graph) -> Self {
        Self(Arc::new(State {
            graph,
            calls: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }))
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn breaks(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
    }
}

impl Renewer for Mint {
    fn describe(&self) -> String {
        "the test's mint".to_owned()
    }

    fn renew<'a>(
        &'a mut self,
        _outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(async move {
            let number = self.0.calls.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.0.broken.load(Ordering::Relaxed) {
                return Err(ObtainError::Transient {
                    what: "the mint is out of order".to_owned(),
                    reason: "broken",
                    source: None,
                });
            }
            let token = format!("EAAminted{number}");
            self.0.graph.accept(&token);
            Ok(Token::lasting(Secret::new(&token).unwrap()))
        })
    }
}
