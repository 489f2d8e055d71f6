//! The state and the configuration of a fake Graph.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::call_log::CallLog;
use crate::clock::Clock;
use crate::codes::CodeTable;
use crate::faults::{EndpointKind, FaultQueue};
use crate::grants::Targets;
use crate::hosts::TokenFamily;
use crate::object_uses::ObjectUseLog;
use crate::stored::{MediaStore, UploadSession, VideoUpload};
use crate::tokens::{App, AppTokenPolicy, TokenInfo, TokenTable, TokenType};
use crate::{random, usage};

/// The configuration of a fake Graph.
#[derive(Clone)]
pub struct FakeGraphConfig {
    /// The clock by which tokens expire.
    pub clock: Clock,
    /// The lifetime of the tokens that it issues. The default is 60 days, as with Graph.
    pub token_ttl: Option<Duration>,
    /// How long an expired token is still accepted. The default is not at all.
    pub expiry_grace: Duration,
    /// The app's id.
    pub app_id: String,
    /// The app's secret.
    pub app_secret: String,
    /// Whether calls need an `appsecret_proof`.
    pub proof: ProofPolicy,
    /// Which app tokens are accepted.
    pub app_tokens: AppTokenPolicy,
    /// The origin of `paging.next`.
    pub graph_origin: String,
    /// The origin of media URLs.
    pub media_origin: String,
    /// The origin of upload URLs of reels.
    pub upload_origin: String,
}

/// Whether calls need an `appsecret_proof`. A wrong one is refused either way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ProofPolicy {
    /// They do not: the default of Graph.
    #[default]
    Optional,
    /// They do, as with the app setting "Require App Secret".
    Required,
}

/// A message that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AcceptedMessage {
    /// The message's id, `wamid.…`.
    pub id: String,
    /// The id of the phone number that sent it.
    pub phone_id: String,
    /// The recipient's number.
    pub to: String,
    /// Its type: `text`, `template`, …
    pub kind: String,
    /// The fingerprint of the token that it was sent with.
    pub token: String,
    /// The time, in seconds since 1970.
    pub at: i64,
    /// The parameters of the request, without the credential.
    pub params: Value,
}

/// The counts so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Data calls. A batch is one call; calls about tokens do not count.
    pub attempts: u64,
    /// Data calls rejected because their token was dead, unknown or missing.
    pub rejected: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Faults injected.
    pub faults_injected: u64,
    /// Tokens issued.
    pub issued: u64,
    /// Calls of Graph's `/oauth/access_token`.
    pub exchanges: u64,
    /// Calls of `POST /{system-user-id}/access_tokens`.
    pub system_user_tokens: u64,
    /// Calls of Instagram's and Threads' `/refresh_access_token`.
    pub refreshes: u64,
    /// Calls of `/debug_token`.
    pub inspections: u64,
    /// Calls and batch items with a token that may not act on an object they name.
    pub violations: u64,
}

/// The state of a fake Graph.
pub(crate) struct State {
    pub(crate) config: FakeGraphConfig,
    pub(crate) tokens: Mutex<TokenTable>,
    pub(crate) messages: Mutex<VecDeque<AcceptedMessage>>,
    pub(crate) calls: Mutex<CallLog>,
    pub(crate) media: Mutex<MediaStore>,
    pub(crate) uploads: Mutex<HashMap<String, UploadSession>>,
    pub(crate) videos: Mutex<HashMap<String, VideoUpload>>,
    /// The objects to which files and uploads belong.
    pub(crate) created: Mutex<HashMap<String, Targets>>,
    pub(crate) object_uses: Mutex<ObjectUseLog>,
    pub(crate) codes: Mutex<CodeTable>,
    pub(crate) faults: Mutex<FaultQueue>,
    /// A permit for each held call that may go on.
    pub(crate) releases: Semaphore,
    pub(crate) usage: Mutex<HeaderMap>,
    /// The edges that only a page's token may call.
    pub(crate) page_edges: Mutex<BTreeSet<String>>,
    pub(crate) attempts: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) faults_injected: AtomicU64,
    pub(crate) exchanges: AtomicU64,
    pub(crate) system_user_tokens: AtomicU64,
    pub(crate) refreshes: AtomicU64,
    pub(crate) inspections: AtomicU64,
}

/// Locks, even after a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl ProofPolicy ===

impl FromStr for ProofPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            other => Err(format!("{other:?} is neither optional nor required")),
        }
    }
}

// === impl FakeGraphConfig ===

impl FakeGraphConfig {
    /// The defaults, with this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            token_ttl: None,
            expiry_grace: Duration::ZERO,
            app_id: "1234567890123456".to_owned(),
            app_secret: "0123456789abcdef0123456789abcdef".to_owned(),
            proof: ProofPolicy::Optional,
            app_tokens: AppTokenPolicy::Any,
            graph_origin: "https://graph.facebook.com".to_owned(),
            media_origin: "https://lookaside.fbsbx.com".to_owned(),
            upload_origin: "https://rupload.facebook.com".to_owned(),
        }
    }
}

impl fmt::Debug for FakeGraphConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeGraphConfig")
            .field("token_ttl", &self.token_ttl)
            .field("app_id", &self.app_id)
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    pub(crate) fn new(config: FakeGraphConfig) -> Self {
        Self {
            tokens: Mutex::new(TokenTable::new(config.expiry_grace)),
            config,
            messages: Mutex::default(),
            calls: Mutex::default(),
            media: Mutex::default(),
            uploads: Mutex::default(),
            videos: Mutex::default(),
            created: Mutex::default(),
            object_uses: Mutex::default(),
            codes: Mutex::default(),
            faults: Mutex::default(),
            releases: Semaphore::new(0),
            usage: Mutex::new(usage::default_headers()),
            page_edges: Mutex::new(default_page_edges()),
            attempts: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            faults_injected: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
            system_user_tokens: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            inspections: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.config.clock.now()
    }

    pub(crate) fn app_credentials(&self) -> App<'_> {
        App {
            id: &self.config.app_id,
            secret: &self.config.app_secret,
            tokens: self.config.app_tokens,
        }
    }

    /// Issues a token of a system user, or in another family, of a user.
    pub(crate) fn issue(&self, family: TokenFamily, ttl: Option<Duration>) -> String {
        let kind = match family {
            TokenFamily::Facebook => TokenType::SystemUser,
            TokenFamily::Instagram | TokenFamily::Threads => TokenType::User,
        };
        self.store_new_token(family, TokenInfo::new(kind, self.now(), ttl))
    }

    /// Issues a token with these properties.
    pub(crate) fn store_new_token(&self, family: TokenFamily, about: TokenInfo) -> String {
        let token = random::token(family.prefix());
        lock(&self.tokens).add(&token, about);
        token
    }

    /// The headers about usage of the answers to come.
    pub(crate) fn usage_headers(&self) -> HeaderMap {
        lock(&self.usage).clone()
    }

    /// Counts a call.
    pub(crate) fn count_call(&self, endpoint: EndpointKind) {
        let counter = match endpoint {
            EndpointKind::Data => &self.attempts,
            EndpointKind::Exchange => &self.exchanges,
            EndpointKind::Mint => &self.system_user_tokens,
            EndpointKind::Refresh => &self.refreshes,
            EndpointKind::DebugToken => &self.inspections,
            EndpointKind::Me | EndpointKind::Other => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record_message(&self, message: AcceptedMessage) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let mut messages = lock(&self.messages);
        messages.push_back(message);
        if messages.len() > MAX_RECORDED_MESSAGES {
            messages.pop_front();
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            attempts: self.attempts.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            faults_injected: self.faults_injected.load(Ordering::Relaxed),
            issued: lock(&self.tokens).issued_count(),
            exchanges: self.exchanges.load(Ordering::Relaxed),
            system_user_tokens: self.system_user_tokens.load(Ordering::Relaxed),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            inspections: self.inspections.load(Ordering::Relaxed),
            violations: lock(&self.object_uses).violation_count(),
        }
    }

    /// Forgets messages, calls, media, uploads, faults, usage and counts. Tokens, accounts and codes stay, since graphward holds them.
    pub(crate) fn reset(&self) {
        lock(&self.messages).clear();
        lock(&self.calls).clear();
        *lock(&self.media) = MediaStore::default();
        lock(&self.uploads).clear();
        lock(&self.videos).clear();
        lock(&self.created).clear();
        *lock(&self.object_uses) = ObjectUseLog::default();
        lock(&self.faults).clear();
        *lock(&self.usage) = usage::default_headers();
        *lock(&self.page_edges) = default_page_edges();
        let counters = [
            &self.attempts,
            &self.rejected,
            &self.accepted,
            &self.faults_injected,
            &self.exchanges,
            &self.system_user_tokens,
            &self.refreshes,
            &self.inspections,
        ];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// The edges that only a page's token may call, as with Graph.
fn default_page_edges() -> BTreeSet<String> {
    BTreeSet::from(["leadgen_forms".to_owned()])
}

/// The number of messages that are kept. The count goes on.
const MAX_RECORDED_MESSAGES: usize = 100_000;
