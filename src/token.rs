//! The life of a token.
//!
//! ```text
//!   source ──look──▶ supply ──▶ refresher ──publish──▶ cell ──current()──▶ requests
//!   renewer ─renew─▶   │            ▲                    │                    │
//!                      └─ changed ──┤                    └──── progress ──────┤
//!                                   └──────────── reject(generation) ─────────┘
//! ```
//!
//! A tenant's token has one writer, the [`Refresher`]: a task that owns the [`Supply`] and decides with a
//! [`Plan`]. Requests hold [`Tokens`], a read-only handle whose [`Tokens::current`] takes no lock. When Graph
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

mod asks;
mod cell;
mod credential;
mod crier;
mod live;
mod notice;
mod place;
mod plan;
mod ports;
mod refresher;
mod refused;
mod renewal;
mod schedule;
mod supply;
mod warnings;

pub use asks::Heard;
pub use cell::{NoSuccessor, Progress, Tokens, Writer, pair};
pub use credential::{Credential, CredentialError, Generation, Proofs, Token};
pub use crier::{Errand, Observer, Report, Told};
pub use live::Outlook;
pub use notice::{Cause, Notice};
pub use plan::{Dates, Event, Order, Plan};
pub use ports::{BoxFuture, Claim, Deposit, Inspector, ObtainError, Outgoing, Renewer, Source};
pub use refresher::Refresher;
pub use schedule::{Life, Schedule};
pub use supply::{Found, Standing, Supply};
