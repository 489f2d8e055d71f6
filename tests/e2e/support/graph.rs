//! The fake Graph of a test, on a port of its own, over TLS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use graphward::net::{Http, Listener};
use graphward::sim::tls::{Authority, Leaf};
use graphward::sim::{Running, Settings, Sim};
use graphward::types::{Clock, Secret};

pub(crate) struct Graph {
    pub(crate) sim: Sim,
    pub(crate) running: Running,
    place: tempfile::TempDir,
}

impl Graph {
    pub(crate) async fn start() -> Self {
        Self::granting(None).await
    }

    /// One whose own tokens live for so long.
    pub(crate) async fn granting(life: impl Into<Option<Duration>>) -> Self {
        let clock = Clock::system();
        let authority = Authority::new(&clock).unwrap();
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("ca.pem"), authority.pem()).unwrap();
        let acceptor = authority.acceptor(&Leaf::graph(&clock), Http::Auto.alpn());
        let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let sim = Sim::new(Settings {
            token_ttl: life.into(),
            ..Settings::new(clock)
        });
        let running = sim.start(listener, Some(acceptor.unwrap()));
        Self {
            sim,
            running,
            place,
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.place.path().join("ca.pem")
    }

    /// The fingerprint of the token that the last message came with.
    pub(crate) fn last_token(&self) -> Option<String> {
        Some(self.sim.accepted().last()?.token.clone())
    }

    /// Fails unless exactly these messages were accepted, each once.
    pub(crate) fn assert_accepted_once(&self, messages: impl IntoIterator<Item = String>) {
        let mut seen: HashMap<String, u32> = HashMap::new();
        for message in self.sim.accepted() {
            let said = message.said["text"]["body"].as_str().unwrap().to_owned();
            *seen.entry(said).or_default() += 1;
        }
        let mut expected = 0;
        for message in messages {
            assert_eq!(seen.get(&message), Some(&1), "{message}");
            expected += 1;
        }
        assert_eq!(seen.len(), expected, "messages that nobody sent");
    }
}

/// What a record shows of a token.
pub(crate) fn fingerprint(token: &str) -> String {
    Secret::new(token).unwrap().fingerprint().to_string()
}
