//! Everything together: `app::build`, `Running::run`, and what is around them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use tokio::sync::{mpsc, oneshot};

use super::{Answer, App, Crew, Drop, FIRST, Graph, Http, Mint, SECOND, Way, log};
use graphward::app::{self, Exit, Seams, Stop};
use graphward::config::{Config, Overrides, SecretPlace};
use graphward::graph::Proving;
use graphward::net::{Listener, Stage, Stages};
use graphward::token::{Supply, Tokens};
use graphward::types::Clock;

/// A house to be built.
pub(crate) struct House {
    way: Way,
    config: Config,
    mints: bool,
    token: Option<String>,
    require_token: bool,
    takes: Duration,
    most_inflight: u32,
    /// Where the app's secret is until the start.
    app_secret: Option<NamedTempFile>,
}

/// The secret of the app.
pub(crate) const APP_SECRET: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// A house in which a proxy runs.
pub(crate) struct Home {
    pub(crate) graph: Graph,
    pub(crate) app: App,
    pub(crate) drop: Drop,
    pub(crate) mint: Mint,
    pub(crate) tokens: Tokens,
    pub(crate) stages: Stages,
    pub(crate) stops: mpsc::Sender<Stop>,
    operators: App,
    crew: Crew,
    exit: oneshot::Receiver<Exit>,
}

/// When all tests take place: 1 October 2025.
pub(crate) fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_276_800)
}

impl House {
    /// HTTP/1.1, defaults, and a token that Graph takes.
    pub(crate) fn new() -> Self {
        log::prepare();
        let flags = Overrides {
            config: Some(PathBuf::from("/dev/null")),
            ..Overrides::default()
        };
        Self {
            way: Way::new(Http::One, Http::One),
            config: Config::load(flags, &|_| None).unwrap().config,
            mints: false,
            token: Some(FIRST.to_owned()),
            require_token: false,
            takes: Duration::ZERO,
            most_inflight: Seams::default().most_inflight,
            app_secret: None,
        }
    }

    pub(crate) fn over(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// With a renewer behind the drop.
    pub(crate) fn minting(self) -> Self {
        Self {
            mints: true,
            ..self
        }
    }

    pub(crate) fn showing(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    pub(crate) fn empty(self) -> Self {
        Self {
            token: None,
            ..self
        }
    }

    pub(crate) fn requiring_a_token(self) -> Self {
        Self {
            require_token: true,
            ..self
        }
    }

    /// With a drop where a look takes this long; it is not waited for.
    pub(crate) fn looking_for(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// Taking so many requests at a time.
    pub(crate) fn taking(self, most_inflight: u32) -> Self {
        Self {
            most_inflight,
            ..self
        }
    }

    /// With an app that has [`APP_SECRET`].
    pub(crate) fn proving(mut self, proof: Proving) -> Self {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), APP_SECRET).unwrap();
        self.config.app.secret = Some(SecretPlace::File(file.path().to_owned()));
        self.config.app.proof = Some(proof);
        self.app_secret = Some(file);
        self
    }

    /// With other settings.
    pub(crate) fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    pub(crate) async fn start(self) -> Home {
        let crew = Crew::default();
        let graph = Graph::new(self.way.graph, crew.clone());
        let (source, mint) = (Drop::default(), Mint::of(graph.clone()));
        if let Some(token) = &self.token {
            graph.accept(token);
            source.show(token);
        }
        source.takes(self.takes);
        let supply = Supply::of(source.clone());
        let supply = if self.mints {
            supply.renewed_by(mint.clone())
        } else {
            supply
        };
        let (proxy, door) = Listener::pipe();
        let (admin, admin_door) = Listener::pipe();
        let seams = Seams {
            clock: Clock::manual(today()),
            connector: Some(graph.connector()),
            supply: Some(supply),
            proxy: vec![proxy],
            admin: Some(admin),
            most_inflight: self.most_inflight,
            ..Seams::default()
        };
        let running = app::build(self.config, seams, self.require_token)
            .await
            .unwrap();
        let (tokens, stages) = (running.tokens.clone(), running.stages.clone());
        let (stops, asked) = mpsc::channel(2);
        let (ended, exit) = oneshot::channel();
        crew.spawn(async move {
            // Nobody may be left to hear it.
            ended.send(running.run(asked).await).ok();
        });
        if !self.require_token && self.takes.is_zero() {
            stages.reached(Stage::Serving).await;
        }
        Home {
            graph,
            app: App::new(door, crew.clone(), self.way.app),
            operators: App::new(admin_door, crew.clone(), Http::One),
            drop: source,
            mint,
            tokens,
            stages,
            stops,
            crew,
            exit,
        }
    }
}

// === impl Home ===

impl Home {
    /// The token dies, and the drop shows the next one to whoever looks.
    pub(crate) fn expires(&self) {
        self.expires_to(SECOND);
    }

    /// The same with this next one.
    pub(crate) fn expires_to(&self, token: &str) {
        self.graph.expire_all();
        self.graph.accept(token);
        self.drop.show(token);
    }

    pub(crate) async fn stop(&self) {
        self.stops.send(Stop::Terminate).await.unwrap();
    }

    pub(crate) async fn operator(&self, target: &str) -> Answer {
        self.operators.get(target).await
    }

    pub(crate) const fn operators(&self) -> &App {
        &self.operators
    }

    pub(crate) async fn metrics(&self) -> String {
        self.operator("/metrics").await.text().to_owned()
    }

    /// The value of a series, by the start of its line; 0 if there is none.
    pub(crate) async fn count(&self, series: &str) -> i64 {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// How many requests ended like this.
    pub(crate) async fn ended(&self, outcome: &str) -> i64 {
        let series = format!(r#"graphward_requests_total{{tenant="default",outcome="{outcome}"}}"#);
        self.count(&series).await
    }

    /// Bytes held for replays, in memory and on disk.
    pub(crate) async fn held(&self) -> i64 {
        self.held_in("memory").await + self.held_in("disk").await
    }

    pub(crate) async fn held_in(&self, place: &str) -> i64 {
        let series = format!(r#"graphward_replay_buffer_bytes{{place="{place}"}}"#);
        self.count(&series).await
    }

    /// Waits until the process has ended by itself, or was asked to.
    pub(crate) async fn exited(self) -> Exit {
        let exit = self.exit.await.expect("the proxy ended without a panic");
        drop(self.app);
        drop(self.operators);
        self.crew.join().await;
        exit
    }

    /// Stops, joins everything, re-raises panics. What was held for replays is given back, what was under way is
    /// over, and no task has panicked.
    pub(crate) async fn close(self) -> Exit {
        const OVER: [&str; 4] = [
            "graphward_task_panics_total 0",
            "graphward_inflight 0",
            r#"graphward_replay_buffer_bytes{place="memory"} 0"#,
            r#"graphward_replay_buffer_bytes{place="disk"} 0"#,
        ];
        let open = |metrics: &str| {
            OVER.into_iter()
                .find(|over| !metrics.lines().any(|line| line == *over))
        };
        let mut metrics = self.metrics().await;
        if open(&metrics).is_some() {
            // A connection that broke off is let go of shortly after, and its bytes with it.
            sleep(Duration::from_secs(1)).await;
            metrics = self.metrics().await;
        }
        assert_eq!(open(&metrics), None, "{metrics}");
        self.stop().await;
        self.exited().await
    }

    /// The same for a house in which nothing went wrong: nothing had to be cut.
    pub(crate) async fn leave(self) {
        assert_eq!(self.close().await, Exit::Drained);
    }
}
