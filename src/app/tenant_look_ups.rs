//! Looks up single tenants: those that requests name and the directory does not list, and those that the operator has changed.

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
    /// The callers that wait for each name.
    waiting: HashMap<TenantId, Vec<oneshot::Sender<LookUpResult>>>,
    /// The names that no row has, and when that was found out.
    unknown: HashMap<TenantId, Instant>,
}

/// The row of a name, if there is one.
pub(super) struct LookedUp {
    pub(super) request: LookUp,
    /// When the look-up began.
    pub(super) read_at: Instant,
    pub(super) row: Result<Option<TenantRow>, ObtainError>,
}

/// The reason for a look-up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LookUpReason {
    /// Requests name a tenant that the directory does not list.
    Unlisted,
    /// The operator has put the tenant into its place.
    Put,
    /// The operator has removed the tenant from its place.
    Removed,
}

/// A request for the row of a tenant.
#[derive(Debug)]
pub(super) struct LookUp {
    pub(super) name: TenantId,
    pub(super) reason: LookUpReason,
    /// Answers the caller that waits for this look-up and for no other one.
    reply: Option<oneshot::Sender<LookUpResult>>,
}

pub(super) type LookUpResult = Result<(), Arc<ObtainError>>;

/// Requests look-ups.
#[derive(Clone, Debug)]
pub(super) struct LookUpSender(mpsc::Sender<LookUp>);

/// The most look-ups at the same time. Others fail: they are of an app that makes names up, or of a table that hangs. A service or
/// a command has fewer places in each of its lanes, so that the slow ones do not take all of these.
const MAX_LOOK_UPS: usize = 192;
/// How long a name that no row has is refused without another look-up.
const UNKNOWN_TIME: Duration = Duration::from_secs(5);
/// The most of these names that are remembered.
const MAX_UNKNOWN: usize = 1000;

// === impl LookUps ===

impl LookUps {
    /// Creates the look-ups in these rows, and what requests them.
    pub(super) fn new(rows: Arc<dyn TenantRows>) -> (LookUpSender, Self) {
        let (sender, requests) = mpsc::channel(MAX_LOOK_UPS);
        let look_ups = Self {
            rows,
            requests,
            running: FuturesUnordered::new(),
            waiting: HashMap::new(),
            unknown: HashMap::new(),
        };
        (LookUpSender(sender), look_ups)
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

    fn begin(&mut self, mut request: LookUp, is_known: impl Fn(&TenantId) -> bool) {
        if request.reason != LookUpReason::Unlisted {
            // One that runs has begun before the change.
            return self.read(request);
        }
        let name = &request.name;
        let is_unknown = |at: &Instant| at.elapsed() < UNKNOWN_TIME;
        if is_known(name) || self.unknown.get(name).is_some_and(is_unknown) {
            answer(request.reply, &Ok(()));
        } else if let Some(waiting) = self.waiting.get_mut(name) {
            waiting.extend(request.reply);
        } else if self.running.len() >= MAX_LOOK_UPS {
            let message = format!("too many names are being looked up to ask for the tenant {name}; try again");
            answer(request.reply, &Err(Arc::new(ObtainError::transient("busy", message))));
        } else {
            self.waiting
                .insert(name.clone(), request.reply.take().into_iter().collect());
            self.read(request);
        }
    }

    /// Reads the row of a name.
    pub(super) fn read(&self, request: LookUp) {
        let rows = Arc::clone(&self.rows);
        self.running.push(Box::pin(async move {
            let read_at = Instant::now();
            let row = rows.read_row(&request.name).await;
            LookedUp { request, read_at, row }
        }));
    }

    /// Remembers that no row has this name.
    pub(super) fn note_unknown(&mut self, name: TenantId) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.clear();
        }
        self.unknown.insert(name, Instant::now());
    }

    /// Returns whether it was found out after `read_at` that no row has this name.
    pub(super) fn is_outdated(&self, name: &TenantId, read_at: Instant) -> bool {
        self.unknown.get(name).is_some_and(|found_at| read_at < *found_at)
    }

    /// Tells those who wait for this name that the proxy has its tenant, if there is one.
    pub(super) fn finish(&mut self, request: LookUp, result: &LookUpResult) {
        let waiting = self.waiting.remove(&request.name).into_iter().flatten();
        answer(waiting.chain(request.reply), result);
    }
}

/// Answers requests, which may have given up.
fn answer(replies: impl IntoIterator<Item = oneshot::Sender<LookUpResult>>, result: &LookUpResult) {
    for reply in replies {
        let _gone = reply.send(result.clone());
    }
}

// === impl LookUpSender ===

impl LookUpSender {
    /// Looks up a tenant, and waits until the proxy has it, or does not have it any more.
    pub(super) async fn request(&self, name: &TenantId, reason: LookUpReason) -> LookUpResult {
        let (reply, result) = oneshot::channel();
        let request = LookUp {
            name: name.clone(),
            reason,
            reply: Some(reply),
        };
        let ended = || ObtainError::transient("stopped", "graphward stops and looks up no tenant");
        self.0.send(request).await.map_err(|_closed| ended())?;
        result.await.unwrap_or_else(|_closed| Err(Arc::new(ended())))
    }
}

impl TenantLookup for LookUpSender {
    fn look_up<'a>(&'a self, name: &'a TenantId) -> BoxFuture<'a, LookUpResult> {
        Box::pin(self.request(name, LookUpReason::Unlisted))
    }
}
