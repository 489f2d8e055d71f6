//! The question whether Graph accepts a token: answered as the scripted Graph would, or as the test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Graph, lock};
use graphward::graph::GraphError;
use graphward::token::{BoxFuture, Liveness, LivenessCheck, Token};

/// A scripted question. Clones are the same.
#[derive(Clone)]
pub(crate) struct ScriptedLiveness(Arc<LivenessState>);

struct LivenessState {
    graph: Graph,
    answer: Mutex<Option<Liveness>>,
    delay: Mutex<Duration>,
    calls: AtomicUsize,
}

impl ScriptedLiveness {
    pub(crate) fn new(graph: Graph) -> Self {
        Self(Arc::new(LivenessState {
            graph,
            answer: Mutex::default(),
            delay: Mutex::default(),
            calls: AtomicUsize::new(0),
        }))
    }

    /// Answers this from now on; `None` is what Graph would say.
    pub(crate) fn set_answer(&self, answer: impl Into<Option<Liveness>>) {
        *lock(&self.0.answer) = answer.into();
    }

    /// How long each answer takes from now on.
    pub(crate) fn set_delay(&self, delay: Duration) {
        *lock(&self.0.delay) = delay;
    }

    /// The number of questions so far.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }
}

impl LivenessCheck for ScriptedLiveness {
    fn check<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Liveness> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            // Graph decides when the question arrives.
            let usual = if self.0.graph.accepts(&token.secret) {
                Liveness::Alive
            } else {
                Liveness::Dead(GraphError::invalid_token())
            };
            let answer = lock(&self.0.answer).clone().unwrap_or(usual);
            let delay = *lock(&self.0.delay);
            tokio::time::sleep(delay).await;
            answer
        })
    }
}
