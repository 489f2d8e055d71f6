//! The life of a token.
//!
//! ```text
//!   source ──load───▶ provider ──▶ refresher ──publish──▶ handle ──current()──▶ requests
//!   renewer ─renew──▶    │             ▲                    │                      │
//!                        └── changed ──┤                    └─────── progress ─────┤
//!                                      └──────────── mark_rejected(generation) ────┘
//! ```
//!
//! A tenant's token has one writer, the [`Refresher`]: a task that owns the [`TokenProvider`] and decides with a
//! [`RefreshPlanner`]. Requests hold a [`TokenHandle`], a read-only handle whose [`TokenHandle::current`] takes no lock.
//! When Graph rejects a credential, a request reports *which one* by its [`Generation`] and waits for a newer one; a late
//! rejection of an old generation changes nothing.
//!
//! Who owns what:
//!
//! * `provider`: the sources, the renewer, the checks of their tokens (`vetting`), the cache (`last_known_good`).
//! * `refresher`: the provider, and the status of the current token (`current`); `reporter` tells the log, the metrics and the webhook.
//! * `channel`: what the refresher publishes (`credential`, `progress`) and what requests report (`rejections`).
//! * `rejections`: one `suspicion`, a pure machine that decides whether the token is dead. `confirmation` asks Graph for it.
//!
//! # Why
//!
//! * Single flight is structural: one refresher, so one refresh at a time. A client that disconnects cannot cancel it.
//! * Failure destroys nothing: a credential stays until a newer one replaces it, or its source withdraws it.
//!   Graph's rejection, not graphward's guess of the expiry, takes it out of use.
//! * Check first, renew second: after a rejection the refresher reads the sources before it spends a renewal.
//!   `fb_exchange_token` cannot revive an expired token, so a new token in a source is what heals.

mod admin_token;
mod alert;
mod channel;
mod check;
mod confirmation;
mod credential;
mod current;
mod doubts;
mod error;
mod last_known_good;
mod maintenance;
mod observations;
mod operator;
mod planner;
mod policy;
mod progress;
mod provider;
mod reading;
mod reconfiguration;
mod refresher;
mod rejection;
mod rejections;
mod renewal;
mod reporter;
mod sources;
mod suspicion;
mod token_use;
mod traits;
mod vetting;
mod waits;
mod warnings;
mod watched;

pub use alert::{Alert, AlertCause, AlertKey, DeliveryMemory, MAX_REPEAT_INTERVAL};
pub use channel::{TokenHandle, TokenPublisher, channel};
pub use credential::{Credential, CredentialError, Generation, ProofSettings, Token};
pub use current::TokenStatus;
pub use error::{ErrorKind, ObtainError};
pub use observations::Observations;
pub use operator::{OperatorHandle, TokenChange, VisitReport};
pub use planner::{Action, CurrentGeneration, Deadlines, Failure, PlannerEvent, RefreshPlanner};
pub use policy::{RefreshPolicy, Validity};
pub use progress::{RefreshError, RefreshProgress};
pub use provider::TokenProvider;
pub use reconfiguration::Reconfiguration;
pub use refresher::Refresher;
pub use rejection::{Liveness, RejectedRequest, RejectionReport, SuspicionId, TokenHealth};
pub use rejections::AttemptStart;
pub use reporter::{EventSink, Operation, OperationOutcome, OperationReport, TokenEvent};
pub use token_use::{TokenUse, Withdrawal};
pub use traits::{
    BoxFuture, CachedToken, Inspector, LivenessCheck, LookInterval, OperatorCommand, ProofAnswer, RefreshLock,
    RenewalRequest, Renewer, Source, StoreFuture, StoreOutcome, TokenCache,
};
pub use vetting::InspectionScope;
pub use warnings::{expiry_alert, warning_days};
