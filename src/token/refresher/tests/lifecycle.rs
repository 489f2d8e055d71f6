//! Several sources, scheduled renewals, storage and inspection: which token is used, and how often each part is called.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::SystemTime;

use super::super::super::{
    Alert, AlertCause, BoxFuture, Inspector, LookInterval, RefreshError, RefreshLock, RenewalRequest, Renewer, Source,
    StoreFuture, StoreOutcome, TokenEvent, TokenHandle, channel,
};
use super::super::*;
use super::support::{in_five_seconds, spawn};
use crate::graph::{Expiry, GraphError, Inspection};
use crate::types::{Fingerprint, Secret};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A source with the token that the test puts there, which can be writable.
#[derive(Clone, Default)]
struct FakeStore(Arc<Mutex<FakeStoreState>>, Arc<tokio::sync::Notify>);

#[derive(Default)]
struct FakeStoreState {
    name: &'static str,
    current: Option<Token>,
    fallback: Option<Token>,
    is_writable: bool,
    /// The number of stores that fail before one succeeds.
    failures_left: u32,
    /// The token that another replica stores during a renewal.
    conflicting_token: Option<Token>,
    is_hanging: bool,
    /// The time that a load takes.
    delay: Duration,
    /// Whether the source says that there is no token, if it has none.
    is_absent: bool,
    /// The content that it refuses, if it has no token.
    refused: Option<&'static str>,
    look_interval: Option<LookInterval>,
    /// Whether another replica has its lock, for which nothing waits.
    is_locked: bool,
    locks: u32,
    loads: u32,
    stored: Vec<String>,
}

impl FakeStore {
    fn named(name: &'static str) -> Self {
        let store = Self::default();
        store.0.lock().unwrap().name = name;
        store
    }

    fn writable(name: &'static str) -> Self {
        let store = Self::named(name);
        store.0.lock().unwrap().is_writable = true;
        store
    }

    fn put(&self, token: Token) {
        self.0.lock().unwrap().current = Some(token);
        self.1.notify_one();
    }

    /// The source says from now on that there is no token.
    fn withdraw(&self) {
        self.with_state(|state| (state.current, state.is_absent) = (None, true));
        self.1.notify_one();
    }

    /// The source has this, which is no token.
    fn refuse(&self, content: &'static str) {
        self.with_state(|state| (state.current, state.refused) = (None, Some(content)));
        self.1.notify_one();
    }

    /// The source fails from now on.
    fn disconnect(&self) {
        self.with_state(|state| (state.current, state.is_absent) = (None, false));
        self.1.notify_one();
    }

    fn with_state<T>(&self, inspect: impl FnOnce(&mut FakeStoreState) -> T) -> T {
        inspect(&mut self.0.lock().unwrap())
    }
}

impl Source for FakeStore {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        let token = self.with_state(|state| {
            state.loads += 1;
            state.current.clone()
        });
        if self.with_state(|state| state.is_hanging) {
            return Box::pin(std::future::pending());
        }
        let is_absent = self.with_state(|state| state.is_absent);
        let refused = self.with_state(|state| state.refused);
        let missing = || match (format!("{} is empty", self.describe()), refused) {
            (message, Some(content)) => ObtainError::permanent("empty", message).about_content(content.as_bytes()),
            (message, None) if is_absent => ObtainError::absent("missing", message),
            (message, None) => ObtainError::transient("missing", message),
        };
        let (result, delay) = (token.ok_or_else(missing), self.with_state(|state| state.delay));
        if delay.is_zero() {
            return Box::pin(std::future::ready(result));
        }
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            result
        })
    }

    fn fallback_token(&self) -> Option<Token> {
        self.with_state(|state| state.fallback.clone())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.1.notified())
    }

    fn look_interval(&self) -> Option<LookInterval> {
        self.with_state(|state| state.look_interval)
    }

    fn describe(&self) -> String {
        self.with_state(|state| state.name.to_owned())
    }

    fn check_writable(&self) -> Result<(), String> {
        match self.with_state(|state| state.is_writable) {
            true => Ok(()),
            false => Err("it is read-only".to_owned()),
        }
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        let is_locked = self.with_state(|state| {
            state.locks += 1;
            state.is_locked
        });
        Box::pin(std::future::ready(if is_locked {
            Err(ObtainError::locked(&self.describe()))
        } else {
            Ok(RefreshLock::with_guard(()))
        }))
    }

    fn store<'a>(&'a mut self, token: &'a Token, expected: Option<Fingerprint>) -> StoreFuture<'a> {
        let outcome = self.with_state(|state| {
            if let Some(conflicting) = state.conflicting_token.take() {
                state.current = Some(conflicting);
                return Ok(StoreOutcome::Conflict);
            }
            if state.failures_left > 0 {
                state.failures_left -= 1;
                return Err(ObtainError::transient("disk", "the disk is full"));
            }
            let current = state.current.as_ref().map(|token| token.secret.fingerprint());
            if expected.is_some() && current.is_some() && current != expected {
                return Ok(StoreOutcome::Conflict);
            }
            state.current = Some(token.clone());
            state.stored.push(token.secret.expose().to_owned());
            Ok(StoreOutcome::Stored)
        });
        Box::pin(std::future::ready(outcome))
    }
}

/// A renewer with a list of results, the last of which repeats.
#[derive(Clone, Default)]
struct ScriptedRenewer(Arc<Mutex<ScriptedRenewerState>>);

#[derive(Default)]
struct ScriptedRenewerState {
    next: VecDeque<Result<Token, &'static str>>,
    /// Whether each token to renew was dead.
    were_dead: Vec<bool>,
    called_at: Vec<Instant>,
    earliest_renewal: Duration,
}

impl ScriptedRenewer {
    fn new(results: impl IntoIterator<Item = Result<Token, &'static str>>) -> Self {
        let renewer = Self::default();
        renewer.0.lock().unwrap().next = results.into_iter().collect();
        renewer
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().were_dead.len()
    }

    fn called_at(&self) -> Vec<Instant> {
        self.0.lock().unwrap().called_at.clone()
    }
}

impl Renewer for ScriptedRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        let mut state = self.0.lock().unwrap();
        state.were_dead.push(request.is_dead);
        state.called_at.push(Instant::now());
        let result = if state.next.len() > 1 {
            state.next.pop_front()
        } else {
            state.next.front().cloned()
        };
        let result = result.unwrap_or(Err("no result is left"));
        let failed = |message: &'static str| {
            let codes = message.split(' ').next().unwrap_or_default();
            ObtainError::transient("broken", message).with_codes(codes.to_owned())
        };
        let result = result.map_err(failed);
        Box::pin(std::future::ready(result))
    }

    fn earliest_renewal(&self, issued_at: SystemTime) -> SystemTime {
        issued_at + self.0.lock().unwrap().earliest_renewal
    }

    fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        let earliest = self.0.lock().unwrap().earliest_renewal;
        (!earliest.is_zero()).then(|| seen_at + earliest)
    }

    fn describe(&self) -> String {
        "the test's renewer".to_owned()
    }
}

/// An inspector with results for some tokens; others are valid. It can be unreachable.
#[derive(Clone, Default)]
struct FakeInspector(Arc<Mutex<FakeInspectorState>>);

#[derive(Default)]
struct FakeInspectorState {
    inspections: HashMap<String, Inspection>,
    is_unreachable: bool,
    calls: Vec<String>,
}

impl FakeInspector {
    fn set(&self, token: &str, inspection: Inspection) {
        let mut state = self.0.lock().unwrap();
        state.inspections.insert(token.to_owned(), inspection);
    }

    fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }
}

impl Inspector for FakeInspector {
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        let mut state = self.0.lock().unwrap();
        let text = token.secret.expose().to_owned();
        let inspection = state.inspections.get(&text).cloned().unwrap_or_default();
        state.calls.push(text);
        if state.is_unreachable {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Ok(inspection)))
    }
}

/// The alerts so far.
#[derive(Clone, Default)]
struct RecordedAlerts(Arc<Mutex<Vec<Alert>>>);

impl RecordedAlerts {
    fn causes(&self) -> Vec<AlertCause> {
        let alerts = self.0.lock().unwrap();
        alerts.iter().map(|alert| alert.key.cause).collect()
    }

    /// What a memory of deliveries knows them by.
    fn keys(&self) -> Vec<String> {
        let alerts = self.0.lock().unwrap();
        alerts.iter().map(|alert| alert.key.to_string()).collect()
    }

    fn text(&self) -> String {
        let alerts = self.0.lock().unwrap();
        let lines = alerts.iter().map(|it| format!("{} {}\n", it.summary, it.remediation));
        lines.collect()
    }
}

fn start_date() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}

fn expiring(text: &str, left: Duration) -> Token {
    Token {
        expires_at: Some(start_date() + left),
        ..token(text)
    }
}

fn boxed(source: &FakeStore) -> Box<dyn Source> {
    Box::new(source.clone())
}

async fn start(provider: TokenProvider) -> (TokenHandle, RecordedAlerts) {
    let (writer, tokens) = channel();
    let alerts = start_refresher(provider, writer);
    tokens.wait_for_first_check().await;
    // The check that the first token caused is over, too.
    tokio::time::sleep(Duration::from_millis(1)).await;
    (tokens, alerts)
}

fn start_refresher(provider: TokenProvider, writer: TokenPublisher) -> RecordedAlerts {
    let alerts = RecordedAlerts::default();
    let recorded = Arc::clone(&alerts.0);
    let event_sink = Box::new(move |event: &TokenEvent<'_>| {
        let alert = match event {
            TokenEvent::Alert(alert) => (*alert).clone(),
            TokenEvent::Withdrawn(withdrawal) => withdrawal.alert(),
            TokenEvent::OperationFinished(_) | TokenEvent::StatusChanged(_) | TokenEvent::Used(_) => return,
            TokenEvent::SourceFailed(_) | TokenEvent::SourceRecovered => return,
        };
        recorded.lock().unwrap().push(alert);
    });
    let clock = Clock::manual(start_date());
    let (tenant, policy) = (TenantId::default(), RefreshPolicy::default());
    let refresher = Refresher::new(tenant, provider, writer, policy, clock, event_sink);
    drop(spawn(refresher.run()));
    alerts
}

fn in_use(tokens: &TokenHandle) -> Option<String> {
    let current = tokens.current()?;
    Some(current.token().secret.expose().to_owned())
}

/// Graph rejects the current token; returns the token in use a moment later.
async fn reject_current(tokens: &TokenHandle) -> Option<String> {
    let current = tokens.current().unwrap().generation();
    tokens.mark_rejected(current, &GraphError::default());
    drop(tokens.wait_for_newer(current, in_five_seconds()).await);
    in_use(tokens)
}

const EXPIRED: fn() -> Inspection = || Inspection {
    error: Some(GraphError {
        code: Some(190),
        subcode: Some(463),
        ..GraphError::default()
    }),
    ..Inspection::default()
};

mod admin_token;
mod decision_table;
mod doubts;
mod expiry;
mod inspection;
mod last_known_good;
mod locks;
mod looks;
mod operator;
mod proofs;
mod reload;
mod renewals;
mod sources;
mod storage;
mod withdrawal;
