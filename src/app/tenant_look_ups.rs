//! Looks up the tenants that requests name and the directory does not list.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::proxy::TenantLookup;
use crate::source::{TenantRow, TenantRows};
use crate::token::{BoxFuture, ObtainError};
use crate::types::TenantId;

/// The look-ups that are requested and running: one for a name at a time, however many requests wait for it.
pub(super) struct LookUps {
    rows: Arc<dyn TenantRows>,
    requests: mpsc::Receiver<LookUp>,
    running: FuturesUnordered<BoxFuture<'static, LookedUp>>,
    waiting: HashMap<TenantId, Vec<oneshot::Sender<LookUpResult>>>,
    /// The names that no row has, and when that was found out.
    unknown: HashMap<TenantId, Instant>,
}

/// The row of a name, if there is one.
pub(super) struct LookedUp {
    pub(super) name: TenantId,
    /// When the look-up began.
    pub(super) read_at: Instant,
    pub(super) row: Result<Option<TenantRow>, ObtainError>,
}

/// A request for a tenant that the directory does not list.
#[derive(Debug)]
struct LookUp {
    name: TenantId,
    reply: oneshot::Sender<LookUpResult>,
}

type LookUpResult = Result<(), Arc<ObtainError>>;

/// The end of those who ask.
#[derive(Debug)]
struct LookUpSender(mpsc::Sender<LookUp>);

/// The most look-ups at the same time. Others fail: they are of an app that makes names up, or of a table that hangs. A service or
/// a command has fewer places in each of its lanes, so that the slow ones do not take all of these.
const MAX_LOOK_UPS: usize = 192;
/// How long a name that no row has is refused without another look-up.
const UNKNOWN_TIME: Duration = Duration::from_secs(5);
/// The most of these names that are remembered.
const MAX_UNKNOWN: usize = 1000;

// === impl LookUps ===

impl LookUps {
    /// Creates the look-ups in these rows, and the end of those who ask.
    pub(super) fn new(rows: Arc<dyn TenantRows>) -> (Arc<dyn TenantLookup>, Self) {
        let (sender, requests) = mpsc::channel(MAX_LOOK_UPS);
        let look_ups = Self {
            rows,
            requests,
            running: FuturesUnordered::new(),
            waiting: HashMap::new(),
            unknown: HashMap::new(),
        };
        (Arc::new(LookUpSender(sender)), look_ups)
    }

    /// Looks up in these rows from now on.
    pub(super) fn replace_rows(&mut self, rows: Arc<dyn TenantRows>) {
        self.rows = rows;
    }

    /// Waits until a look-up is done, and begins others meanwhile. Cancel-safe.
    pub(super) async fn next(&mut self, is_known: impl Fn(&TenantId) -> bool) -> LookedUp {
        loop {
            tokio::select! {
                Some(request) = self.requests.recv() => self.begin(request, &is_known),
                Some(found) = self.running.next() => return found,
                // The proxy is gone, and nothing asks any more.
                else => std::future::pending().await,
            }
        }
    }

    fn begin(&mut self, LookUp { name, reply }: LookUp, is_known: impl Fn(&TenantId) -> bool) {
        let is_unknown = |at: &Instant| at.elapsed() < UNKNOWN_TIME;
        if is_known(&name) || self.unknown.get(&name).is_some_and(is_unknown) {
            answer(reply, Ok(()));
        } else if let Some(waiting) = self.waiting.get_mut(&name) {
            waiting.push(reply);
        } else if self.running.len() >= MAX_LOOK_UPS {
            let message = format!("too many names are being looked up to ask for the tenant {name}; try again");
            answer(reply, Err(Arc::new(ObtainError::transient("busy", message))));
        } else {
            self.waiting.insert(name.clone(), vec![reply]);
            let rows = Arc::clone(&self.rows);
            self.running.push(Box::pin(async move {
                let read_at = Instant::now();
                let row = rows.read_row(&name).await;
                LookedUp { name, read_at, row }
            }));
        }
    }

    /// Remembers that no row has this name.
    pub(super) fn note_unknown(&mut self, name: TenantId) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.insert(name, Instant::now());
    }

    /// Tells those who wait for this name that the proxy has its tenant, if there is one.
    pub(super) fn finish(&mut self, name: &TenantId, result: &LookUpResult) {
        for reply in self.waiting.remove(name).into_iter().flatten() {
            answer(reply, result.clone());
        }
    }
}

/// Answers a request, which may have given up.
fn answer(reply: oneshot::Sender<LookUpResult>, result: LookUpResult) {
    let _gone = reply.send(result);
}

impl TenantLookup for LookUpSender {
    fn look_up<'a>(&'a self, name: &'a TenantId) -> BoxFuture<'a, LookUpResult> {
        Box::pin(async {
            let (reply, result) = oneshot::channel();
            let request = LookUp {
                name: name.clone(),
                reply,
            };
            let ended = || {
                Arc::new(ObtainError::transient(
                    "stopped",
                    "graphward stops and looks up no tenant",
                ))
            };
            self.0.send(request).await.map_err(|_closed| ended())?;
            result.await.unwrap_or_else(|_closed| Err(ended()))
        })
    }
}
