//! The fake Graph of a test, on a port of its own, over TLS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fake_graph::{Expiry, FakeGraph, FakeGraphConfig, RunningServer, TokenChange};
use graphward::net::HttpVersion;
use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::types::{Clock, Secret};
use tokio::net::TcpListener;

use super::TIMEOUT;

pub(crate) struct Graph {
    pub(crate) sim: FakeGraph,
    pub(crate) running: RunningServer,
    dir: tempfile::TempDir,
}

impl Graph {
    pub(crate) async fn start() -> Self {
        Self::with_token_ttl(None).await
    }

    /// A fake Graph whose tokens have this lifetime. It accepts them for a while after their expiry, so that a busy machine
    /// that renews late changes nothing.
    pub(crate) async fn with_token_ttl(token_ttl: impl Into<Option<Duration>>) -> Self {
        let token_ttl = token_ttl.into();
        Self::with(|config| config.token_ttl = token_ttl).await
    }

    /// A fake Graph with another configuration.
    pub(crate) async fn with(configure: impl FnOnce(&mut FakeGraphConfig)) -> Self {
        let clock = Clock::system();
        let authority = CertAuthority::new(&clock).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let acceptor = authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Auto.alpn());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let mut config = FakeGraphConfig::new(fake_graph::Clock::system());
        config.expiry_grace = TIMEOUT;
        configure(&mut config);
        let sim = FakeGraph::new(config);
        let running = sim.start(listener, Some(acceptor.unwrap())).unwrap();
        Self { sim, running, dir }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Sets a token's issue and expiry so that nine tenths of its validity are over, and a minute is left.
    pub(crate) fn set_nearly_expired(&self, token: &str) {
        self.set_expiry(token, Duration::from_secs(60));
    }

    /// The same, and it does not end while the test runs.
    pub(crate) fn set_due_for_hours(&self, token: &str) {
        self.set_expiry(token, Duration::from_secs(60 * 60));
    }

    /// Lets a token expire after a tenth of its validity that is as long as this.
    fn set_expiry(&self, token: &str, left: Duration) {
        let now = Clock::system().now();
        let change = TokenChange {
            issued_at: Some(now - 9 * left),
            expires_at: Some(Expiry::At(now + left)),
            ..TokenChange::default()
        };
        assert!(self.sim.update_token(token, change));
    }

    /// Issues a token that is due for renewal at once, however long the start of a process takes.
    pub(crate) fn issue_nearly_expired(&self) -> String {
        let token = self.sim.issue(None);
        self.set_nearly_expired(&token);
        token
    }

    /// The fingerprint of the token of the last message.
    pub(crate) fn last_fingerprint(&self) -> Option<String> {
        Some(self.sim.accepted_messages().last()?.token.clone())
    }

    /// The fingerprint of the token of the last call that was not about tokens.
    pub(crate) fn last_data_fingerprint(&self) -> Option<String> {
        let calls = self.sim.recorded_calls();
        let call = calls.iter().rfind(|call| call.data)?;
        Some(call.authorization.as_ref()?.token.clone())
    }

    /// Fails unless the last message had this token.
    #[track_caller]
    pub(crate) fn assert_last_token(&self, token: &str) {
        assert_eq!(self.last_fingerprint(), Some(fingerprint(token)));
    }

    /// Fails unless exactly these messages were accepted, each once.
    pub(crate) fn assert_accepted_once(&self, messages: impl IntoIterator<Item = String>) {
        let mut seen: HashMap<String, u32> = HashMap::new();
        for message in self.sim.accepted_messages() {
            let text = message.params["text"]["body"].as_str().unwrap().to_owned();
            *seen.entry(text).or_default() += 1;
        }
        let mut expected = 0;
        for message in messages {
            assert_eq!(seen.get(&message), Some(&1), "{message}");
            expected += 1;
        }
        assert_eq!(seen.len(), expected, "messages that no client sent");
    }
}

/// The form in which a recorded call shows a token.
pub(crate) fn fingerprint(token: &str) -> String {
    Secret::new(token).unwrap().fingerprint().to_string()
}
