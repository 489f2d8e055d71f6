//! The life of a token.
//!
//! ```text
//!   source ──look──▶ supply ──▶ refresher ──publish──▶ cell ──current()──▶ requests
//!   renewer ─renew─▶   │            ▲                    │                    │
//!                      └─ changed ──┤                    └──── progress ──────┤
//!                                   └──────────── reject(generation) ─────────┘
//! ```
//!
//! A tenant's token has one writer, the [`Refresher`]: a task that owns the [`TokenProvider`] and decides with a
//! [`RefreshPlanner`]. Requests hold [`TokenHandle`], a read-only handle whose [`TokenHandle::current`] takes no lock. When Graph
//! rejects a credential, a request says *which one* by its [`Generation`] and waits for a newer one; a late
//! rejection of an old generation changes nothing.
//!
//! # Why
//!
//! * Single flight is structural: one refresher, so one flight. A client that hangs up cannot cancel it.
//! * Failure destroys nothing: a credential stays until a newer one takes its place. Graph's word, not our guess
//!   of the expiry, takes it out of use.
//! * Look first, mint second: a rejected token makes the refresher look at its source before it spends a
//!   renewal. `fb_exchange_token` cannot revive a token that has expired, so looking is what heals.

mod alert;
mod channel;
mod credential;
mod current;
mod denylist;
mod planner;
mod policy;
mod provider;
mod refresher;
mod rejections;
mod renewal;
mod reporter;
mod tracked_source;
mod traits;
mod warnings;

pub use alert::{Alert, AlertCause};
pub use channel::{RefreshError, RefreshProgress, TokenHandle, TokenPublisher, channel};
pub use credential::{Credential, CredentialError, Generation, ProofSettings, Token};
pub use current::TokenStatus;
pub use planner::{Action, Deadlines, PlannerEvent, RefreshPlanner};
pub use policy::{RefreshPolicy, Validity};
pub use provider::{ObtainedToken, RefreshContext, TokenProvider};
pub use refresher::Refresher;
pub use rejections::RejectionState;
pub use reporter::{EventSink, Operation, OperationReport, TokenEvent};
pub use traits::{BoxFuture, Inspector, ObtainError, RefreshLock, RenewalRequest, Renewer, Source, StoreOutcome};
