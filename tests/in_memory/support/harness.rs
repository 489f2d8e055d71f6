//! A whole proxy: `app::run`, and what is around it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::{
    App, FIRST_TOKEN, Graph, Protocol, Protocols, RecordedRequest, SECOND_TOKEN, ScriptedLiveness, ScriptedRenewer,
    ScriptedResponse, ScriptedSource, TestBody, TestResponse, TestTasks, listen, log,
};
use graphward::app::{self, Dependencies, MissingToken, RunOutcome, ServerHandle, StopSignal};
use graphward::config::{Config, EnvVars, Overrides};
use graphward::graph::{ClientCredentialPolicy, ProofMode};
use graphward::net::{Lifecycle, Listener, Stage};
use graphward::source::TenantTable;
use graphward::token::{TokenHandle, TokenProvider};
use graphward::types::{Clock, SecretRef};

/// The settings of a [`TestProxy`] that is not yet started.
pub(crate) struct TestProxyBuilder {
    protocols: Protocols,
    config: Config,
    has_renewer: bool,
    token: Option<String>,
    require_token: bool,
    source_delay: Duration,
    max_inflight: u32,
    table: Option<Box<dyn TenantTable>>,
    /// The tenants that have listeners of their own.
    listeners_of: &'static [&'static str],
    /// It shows the start time when this is created.
    clock: Clock,
    /// Where the app's secret is until the start.
    app_secret: Option<NamedTempFile>,
}

/// The secret of the app.
pub(crate) const APP_SECRET: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// A running proxy with a scripted Graph, source and renewer around it.
pub(crate) struct TestProxy {
    pub(crate) graph: Graph,
    pub(crate) app: App,
    /// An app at the listener of each tenant that has one.
    pub(crate) tenant_apps: HashMap<&'static str, App>,
    pub(crate) source: ScriptedSource,
    pub(crate) renewer: ScriptedRenewer,
    pub(crate) liveness: ScriptedLiveness,
    pub(crate) tokens: TokenHandle,
    pub(crate) stages: Lifecycle,
    pub(crate) stop_signals: mpsc::Sender<StopSignal>,
    admin: App,
    tasks: TestTasks,
    outcome: oneshot::Receiver<RunOutcome>,
}

/// When all tests take place: 1 October 2025.
pub(crate) fn start_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_276_800)
}

impl TestProxyBuilder {
    /// HTTP/1.1, defaults, and a token that Graph takes.
    pub(crate) fn new() -> Self {
        log::install_dispatchers();
        let flags = Overrides {
            config: Some(PathBuf::from("/dev/null")),
            ..Overrides::default()
        };
        Self {
            protocols: Protocols::new(Protocol::Http1, Protocol::Http1),
            config: Config::load(flags, &EnvVars::new()).unwrap().config,
            has_renewer: false,
            token: Some(FIRST_TOKEN.to_owned()),
            require_token: false,
            source_delay: Duration::ZERO,
            max_inflight: Dependencies::default().max_inflight,
            table: None,
            listeners_of: &[],
            clock: Clock::manual(start_time()),
            app_secret: None,
        }
    }

    /// The same over these protocols.
    pub(crate) fn over(protocols: Protocols) -> Self {
        Self {
            protocols,
            ..Self::new()
        }
    }

    /// Limits what a request may hold for a replay to 1,000 bytes of memory and 4,000 of disk.
    pub(crate) fn with_small_limits(self) -> Self {
        self.with(|config| {
            config.heal.body_memory = 1_000;
            config.heal.body_disk = 4_000;
        })
    }

    pub(crate) fn with_client_credentials(self, policy: ClientCredentialPolicy) -> Self {
        self.with(|config| config.heal.client_credentials = policy)
    }

    /// Adds a renewer.
    pub(crate) fn with_renewer(self) -> Self {
        Self {
            has_renewer: true,
            ..self
        }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) fn empty(self) -> Self {
        Self { token: None, ..self }
    }

    pub(crate) fn require_token(self) -> Self {
        Self {
            require_token: true,
            ..self
        }
    }

    /// Delays every check of the source by this long; the start does not wait for it.
    pub(crate) fn with_source_delay(self, takes: Duration) -> Self {
        Self {
            source_delay: takes,
            ..self
        }
    }

    /// Limits the requests in flight.
    pub(crate) fn with_max_inflight(mut self, most_inflight: u32) -> Self {
        self.max_inflight = most_inflight;
        self
    }

    /// Adds the tenants of a table.
    pub(crate) fn with_table(self, table: impl TenantTable) -> Self {
        Self {
            table: Some(Box::new(table)),
            ..self
        }
    }

    /// Adds a listener of its own for each of these tenants, which need not exist.
    pub(crate) fn with_listeners_of(mut self, tenants: &'static [&'static str]) -> Self {
        self.listeners_of = tenants;
        self
    }

    /// Adds proofs of the app that has [`APP_SECRET`].
    pub(crate) fn with_proof(mut self, proof: ProofMode) -> Self {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), APP_SECRET).unwrap();
        self.config.app.secret = Some(SecretRef::file(file.path().to_owned()));
        self.config.app.proof = proof;
        self.app_secret = Some(file);
        self
    }

    /// Changes the configuration.
    pub(crate) fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    pub(crate) async fn start(self) -> TestProxy {
        let tasks = TestTasks::default();
        let graph = Graph::new(self.protocols.graph, tasks.clone());
        let (source, renewer) = (ScriptedSource::default(), ScriptedRenewer::new(graph.clone()));
        if let Some(token) = &self.token {
            graph.accept(token);
            source.set_token(token);
        }
        source.set_delay(self.source_delay);
        let liveness = ScriptedLiveness::new(graph.clone());
        let supply = TokenProvider::from_source(source.clone()).with_liveness_check(liveness.clone());
        let supply = if self.has_renewer {
            supply.with_renewer(renewer.clone())
        } else {
            supply
        };
        let (proxy, proxy_dialer) = listen(None);
        let mut proxy = vec![proxy];
        let tenant_apps = self.listeners_of.iter().map(|tenant| {
            let (own, dialer) = listen(Some(tenant));
            proxy.push(own);
            (*tenant, App::new(dialer, tasks.clone(), self.protocols.app))
        });
        let tenant_apps = tenant_apps.collect();
        let (admin, admin_dialer) = Listener::in_memory();
        let deps = Dependencies {
            clock: self.clock,
            connector: Some(graph.connector()),
            token_provider: Some(supply),
            proxy,
            admin_listener: Some(admin),
            max_inflight: self.max_inflight,
            tenant_table: self.table,
            ..Dependencies::default()
        };
        let missing_token = if self.require_token {
            MissingToken::Exit
        } else {
            MissingToken::Wait
        };
        let (stops, stop_receiver) = mpsc::channel(2);
        let (start_sender, started) = oneshot::channel();
        let (ended, exit) = oneshot::channel();
        let on_start = |handle: ServerHandle| start_sender.send(handle).unwrap();
        let run = app::run(self.config, deps, missing_token, stop_receiver, on_start);
        tasks.spawn(async move {
            // The test may be over.
            ended.send(Box::pin(run).await.unwrap()).ok();
        });
        let ServerHandle {
            tokens,
            lifecycle: stages,
            ..
        } = started.await.unwrap();
        let tokens = tokens.into_iter().next();
        let tokens = tokens.unwrap_or_else(TokenHandle::without_token);
        if !self.require_token && self.source_delay.is_zero() {
            stages.wait_for(Stage::Serving).await;
        }
        TestProxy {
            graph,
            app: App::new(proxy_dialer, tasks.clone(), self.protocols.app),
            tenant_apps,
            admin: App::new(admin_dialer, tasks.clone(), Protocol::Http1),
            source,
            renewer,
            liveness,
            tokens,
            stages,
            stop_signals: stops,
            tasks,
            outcome: exit,
        }
    }
}

// === impl TestProxy ===

impl TestProxy {
    /// A proxy with defaults over these protocols.
    pub(crate) async fn start(protocols: Protocols) -> Self {
        TestProxyBuilder::over(protocols).start().await
    }

    /// The same with another configuration.
    pub(crate) async fn start_with(protocols: Protocols, set: impl FnOnce(&mut Config)) -> Self {
        TestProxyBuilder::over(protocols).with(set).start().await
    }

    /// The same with proofs of the app that has [`APP_SECRET`].
    pub(crate) async fn start_with_proof(protocols: Protocols, proof: ProofMode) -> Self {
        let builder = TestProxyBuilder::over(protocols).with_proof(proof);
        builder.start().await
    }

    /// Sets Graph's response to the next request.
    pub(crate) fn script(&self, response: ScriptedResponse) {
        self.graph.enqueue(response);
    }

    /// Sends a request that succeeds, and returns what Graph received last.
    pub(crate) async fn forwarded(&self, request: http::Request<TestBody>) -> RecordedRequest {
        let response = self.app.fetch(request).await;
        assert_eq!(response.status, 200, "{response:?}");
        self.graph.last_request()
    }

    /// Posts the same message this many times at once.
    pub(crate) async fn post_many(&self, count: usize) -> Vec<TestResponse> {
        join_all((0..count).map(|_| self.app.post("x"))).await
    }

    /// Makes Graph accept this token; the source has it at its next check.
    pub(crate) fn add_token(&self, token: &str) {
        self.graph.accept(token);
        self.source.set_token(token);
    }

    /// Makes Graph accept this token; the source announces it.
    pub(crate) fn publish_token(&self, token: &str) {
        self.graph.accept(token);
        self.source.publish(token);
    }

    /// The same after this long.
    pub(crate) async fn publish_token_after(&self, token: &str, delay: Duration) {
        sleep(delay).await;
        self.publish_token(token);
    }

    /// Expires the token; the source has the next one at its next check.
    pub(crate) fn rotate_token(&self) {
        self.rotate_token_to(SECOND_TOKEN);
    }

    /// The same with this next one.
    pub(crate) fn rotate_token_to(&self, token: &str) {
        self.graph.expire_all();
        self.add_token(token);
    }

    pub(crate) async fn stop(&self) {
        self.stop_signals.send(StopSignal::Terminate).await.unwrap();
    }

    pub(crate) async fn admin_get(&self, target: &str) -> TestResponse {
        self.admin.get(target).await
    }

    pub(crate) const fn admin(&self) -> &App {
        &self.admin
    }

    pub(crate) async fn metrics(&self) -> String {
        self.admin_get("/metrics").await.text().to_owned()
    }

    /// The value of a series, by the start of its line; 0 if there is none.
    pub(crate) async fn metric(&self, series: &str) -> i64 {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// How many requests ended like this.
    pub(crate) async fn requests_with_outcome(&self, outcome: &str) -> i64 {
        let series = format!(r#"graphward_requests_total{{tenant="default",outcome="{outcome}"}}"#);
        self.metric(&series).await
    }

    /// Bytes held for replays, in memory and on disk.
    pub(crate) async fn replay_bytes(&self) -> i64 {
        self.replay_bytes_in("memory").await + self.replay_bytes_in("disk").await
    }

    pub(crate) async fn replay_bytes_in(&self, place: &str) -> i64 {
        let series = format!(r#"graphward_replay_buffer_bytes{{storage="{place}"}}"#);
        self.metric(&series).await
    }

    /// Waits until the proxy has ended, by itself or after a stop signal.
    pub(crate) async fn wait_exit(self) -> RunOutcome {
        let exit = self.outcome.await.expect("the proxy ended without a panic");
        drop((self.app, self.tenant_apps));
        drop(self.admin);
        self.tasks.join().await;
        exit
    }

    /// Stops, joins everything, re-raises panics. Fails unless graphward has released what it held for replays, has finished
    /// all requests, and no task has panicked.
    pub(crate) async fn close(self) -> RunOutcome {
        const IDLE_SERIES: [&str; 4] = [
            "graphward_task_panics_total 0",
            "graphward_inflight_requests 0",
            r#"graphward_replay_buffer_bytes{storage="memory"} 0"#,
            r#"graphward_replay_buffer_bytes{storage="disk"} 0"#,
        ];
        let busy = |metrics: &str| {
            IDLE_SERIES
                .into_iter()
                .find(|over| !metrics.lines().any(|line| line == *over))
        };
        let mut metrics = self.metrics().await;
        if busy(&metrics).is_some() {
            // graphward notices a broken connection shortly after, and then releases its bytes.
            sleep(Duration::from_secs(1)).await;
            metrics = self.metrics().await;
        }
        assert_eq!(busy(&metrics), None, "{metrics}");
        self.stop().await;
        self.wait_exit().await
    }

    /// The same for a proxy that had to close no connection by force.
    pub(crate) async fn shutdown(self) {
        assert_eq!(self.close().await, RunOutcome::Drained);
    }
}
