//! Three processes that share a table, each with clients whose requests never stop.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use fake_graph::{Effect, Fault};
use fastrand::Rng;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::answer::Tally;
use super::call::Call;
use super::connections::{Connections, Doors};
use super::tokens::{DEAD, Place, TENANTS, Tokens};
use super::{HEAL, LINKS};
use crate::postgres::server::{Database, Server};
use crate::support::{Client, Graph, Sidecar, tls_settings, wait_until};
use crate::tenants_from::support::{NOTIFY, Service, TABLE, config, table_settings, wait_until_started};

/// The two tenants whose rows exchange everything but their names. Requests name them by id.
pub(super) const EXCHANGED: [usize; 2] = [TENANTS - 2, TENANTS - 1];
/// The tenants whose requests have any signs, and are always answered.
pub(super) const STABLE: std::ops::Range<usize> = DEAD..TENANTS - 2;
const PROCESSES: usize = 3;
/// The clients of one process.
const CLIENTS: usize = 2;
/// The name of the socket in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

/// Processes, their clients, and the table.
pub(super) struct Fleet {
    pub(super) service: Service,
    /// Where the processes look for the server: a link to its socket.
    socket_dir: TempDir,
    tls_dir: TempDir,
    members: Vec<Member>,
    progress: Arc<Progress>,
    rng: Rng,
    /// Of the processes that were killed.
    messages: Messages,
}

/// A process and its clients.
struct Member {
    dir: TempDir,
    sidecar: Sidecar,
    traffic: Traffic,
}

/// The clients of one process, on a thread of their own, which goes on while a test waits for PostgreSQL.
struct Traffic {
    state: Arc<TrafficState>,
    thread: JoinHandle<Messages>,
}

#[derive(Default)]
struct TrafficState {
    is_stopping: AtomicBool,
    /// From now on the connections may break.
    is_killed: AtomicBool,
    /// The number of answers that each client has.
    answered: [AtomicU64; CLIENTS],
}

/// What the clients of all processes have done.
#[derive(Default)]
struct Progress {
    answered: AtomicU64,
    tally: Tally,
}

/// The texts of messages.
#[derive(Default)]
pub(super) struct Messages {
    /// Those that were answered, so that Graph has each of them once.
    pub(super) answered: Vec<String>,
    /// Those whose process was killed meanwhile. Graph has each of them once, or not at all.
    pub(super) unanswered: Vec<String>,
    /// The requests of any kind whose process was killed meanwhile.
    pub(super) broken: usize,
}

// === impl Fleet ===

impl Fleet {
    pub(super) async fn start(seed: u64) -> Self {
        let server = Arc::new(Server::new());
        server.psql("postgres", &format!("{TABLE}{NOTIFY}"));
        let database = Database {
            server,
            name: "postgres".to_owned(),
        };
        let graph = Graph::start().await;
        let tls_dir = tempfile::tempdir().unwrap();
        tls_settings(tls_dir.path());
        let mut fleet = Self {
            service: Service { graph, database },
            socket_dir: tempfile::tempdir().unwrap(),
            tls_dir,
            members: Vec::new(),
            progress: Arc::default(),
            rng: Rng::with_seed(seed),
            messages: Messages::default(),
        };
        drop(Tokens::new(&fleet.service.graph, Place::Table(&fleet.service)));
        fleet.connect();
        for _ in 0..PROCESSES {
            let dir = tempfile::tempdir().unwrap();
            let cache = dir.path().join("tenants-cache");
            let member = fleet.start_member(dir).await;
            wait_until("the tenants are cached", async || cache.exists()).await;
            fleet.members.push(member);
        }
        fleet
    }

    /// Starts a process in a directory, where it finds its cache again. Its requests begin when it says that it has started.
    async fn start_member(&mut self, dir: TempDir) -> Member {
        let sockets = self.socket_dir.path().display().to_string().replace('/', "%2F");
        let table = table_settings(dir.path(), &format!("postgres://postgres@{sockets}/postgres"));
        let cache = "cache = { file = \"tenants-cache\", fernet_key = { file = \"key\" } }\n";
        let pki = self.tls_dir.path().join("pki").display().to_string();
        let tls = format!("[listen.tls]\ncert = \"{pki}/cert.pem\"\nkey = \"{pki}/key.pem\"\n");
        let settings = format!("{table}{cache}{HEAL}{LINKS}{tls}");
        let settings = config(&self.service.graph, dir.path(), &settings);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        wait_until_started(&sidecar).await;
        let doors = Doors::new(&sidecar, self.tls_dir.path());
        let traffic = Traffic::start(doors, self.rng.fork(), &self.progress);
        Member { dir, sidecar, traffic }
    }

    /// The number of answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.progress.answered.load(Ordering::Relaxed)
    }

    /// Waits until the clients have this many more answers.
    pub(super) async fn wait_for_answers(&self, count: u64) {
        let until = self.answered() + count;
        wait_until("the clients go on", async || self.answered() >= until).await;
    }

    /// Waits until each request that is in flight now has its answer.
    pub(super) async fn wait_for_all_in_flight(&self) {
        let counts = self.members.iter().flat_map(|member| &member.traffic.state.answered);
        let counts: Vec<_> = counts.map(|count| (count, count.load(Ordering::Relaxed))).collect();
        wait_until("each client has one more answer", async || {
            counts
                .iter()
                .all(|(count, before)| count.load(Ordering::Relaxed) > *before)
        })
        .await;
    }

    /// Waits on all processes until a condition holds there.
    pub(super) async fn wait_on_each(&self, what: &str, condition: impl AsyncFn(&mut Client) -> bool) {
        let waits = self.members.iter().map(async |member| {
            let mut client = Client::connect(member.sidecar.proxy).await;
            wait_until(what, async || condition(&mut client).await).await;
        });
        join_all(waits).await;
    }

    /// The processes.
    pub(super) fn sidecars(&self) -> impl Iterator<Item = &Sidecar> {
        self.members.iter().map(|member| &member.sidecar)
    }

    /// Kills a process (SIGKILL) while each client waits for an answer, half of them for one to what Graph has done already.
    /// Starts it again.
    pub(super) async fn kill_with_requests_in_flight(&mut self) {
        let sim = &self.service.graph.sim;
        let (clients, before) = (PROCESSES * CLIENTS, sim.counts().faults_injected);
        let half = clients as u32 / 2;
        sim.fault(Fault::once(Effect::Hold).times(half).after_handling());
        sim.fault(Fault::once(Effect::Hold).times(half));
        wait_until("requests are held", async || {
            sim.counts().faults_injected == before + clients as u64
        })
        .await;
        let killed = self.kill_any().await;
        self.service.graph.sim.release_held(clients);
        self.restart(killed).await;
    }

    /// Kills a process at any moment, and starts it again.
    pub(super) async fn kill_and_restart(&mut self) {
        let killed = self.kill_any().await;
        self.restart(killed).await;
    }

    async fn kill_any(&mut self) -> TempDir {
        let member = self.rng.usize(..self.members.len());
        let Member { dir, sidecar, traffic } = self.members.remove(member);
        self.assert_reveals_no_token(&sidecar).await;
        traffic.state.is_killed.store(true, Ordering::Relaxed);
        drop(sidecar);
        self.messages.add(traffic.join());
        dir
    }

    async fn restart(&mut self, dir: TempDir) {
        let member = self.start_member(dir).await;
        self.members.push(member);
    }

    /// Lets the processes reach the server.
    pub(super) fn connect(&self) {
        let socket = self.service.database.server.sockets().join(SOCKET);
        symlink(socket, self.link()).unwrap();
    }

    /// Ends the server and all connections to it, and starts it where the processes do not find it.
    pub(super) fn disconnect(&self) {
        fs::remove_file(self.link()).unwrap();
        block_in_place(|| {
            self.service.database.server.stop();
            self.service.database.server.start();
        });
    }

    fn link(&self) -> PathBuf {
        self.socket_dir.path().join(SOCKET)
    }

    /// Runs statements, all or none.
    pub(super) fn psql(&self, statements: &str) {
        block_in_place(|| self.service.database.psql(statements));
    }

    /// Stops the clients; returns what they have sent.
    pub(super) async fn stop(&mut self) -> Messages {
        for member in std::mem::take(&mut self.members) {
            member.traffic.state.is_stopping.store(true, Ordering::Relaxed);
            self.messages.add(member.traffic.join());
            self.assert_reveals_no_token(&member.sidecar).await;
        }
        std::mem::take(&mut self.messages)
    }

    async fn assert_reveals_no_token(&self, sidecar: &Sidecar) {
        let sim = &self.service.graph.sim;
        let tokens: Vec<_> = EXCHANGED
            .map(super::tokens::name)
            .map(|name| sim.tokens_named(&name))
            .concat();
        let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
        sidecar.assert_reveals_none_of(&tokens).await;
    }
}

// === impl Traffic ===

impl Traffic {
    fn start(doors: Doors, mut rng: Rng, progress: &Arc<Progress>) -> Self {
        let state = Arc::<TrafficState>::default();
        let (own_state, progress) = (Arc::clone(&state), Arc::clone(progress));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let clients = own_state
                .answered
                .iter()
                .map(|answered| own_state.send_until_stopped(&doors, rng.fork(), &progress, answered));
            let sent = runtime.unwrap().block_on(join_all(clients));
            let mut all = Messages::default();
            sent.into_iter().for_each(|messages| all.add(messages));
            all
        });
        Self { state, thread }
    }

    /// Waits for the last answer.
    fn join(self) -> Messages {
        block_in_place(|| self.thread.join().unwrap())
    }
}

// === impl TrafficState ===

impl TrafficState {
    async fn send_until_stopped(
        &self,
        doors: &Doors,
        mut rng: Rng,
        progress: &Progress,
        answered: &AtomicU64,
    ) -> Messages {
        let mut connections = Connections::open(doors).await;
        let mut messages = Messages::default();
        while !self.is_stopping.load(Ordering::Relaxed) {
            let call = if rng.u8(..4) == 0 {
                Call::by_id(EXCHANGED[rng.usize(..2)], &mut rng)
            } else {
                Call::random(rng.usize(STABLE), doors, &mut rng)
            };
            let message = call.message().map(str::to_owned);
            match call.send(&mut connections, &progress.tally).await {
                Ok(()) => {
                    messages.answered.extend(message);
                    answered.fetch_add(1, Ordering::Relaxed);
                    progress.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    assert!(self.is_killed.load(Ordering::Relaxed), "{call:?}: {error}");
                    messages.unanswered.extend(message);
                    messages.broken += 1;
                    break;
                }
            }
        }
        messages
    }
}

// === impl Messages ===

impl Messages {
    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.unanswered.extend(other.unanswered);
        self.broken += other.broken;
    }
}
