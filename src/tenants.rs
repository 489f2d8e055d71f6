//! The tenants of a process, and the one that a request is for.
//!
//! # Why
//!
//! There is no order of precedence among the signs of a request. With one, a message whose metadata were mixed up would go out
//! with the token of the tenant that its first sign names; here it is refused, because its signs disagree. And nothing is
//! guessed: a request without a sign has a tenant only if the operator has configured one for such requests.

mod allow;
mod directory;
mod loss;
mod observed_calls;
mod roster;
mod route;
mod row_cell;
mod visits;

pub use allow::{AllowRule, AllowRuleError, AllowRules, NotAllowed};
pub use directory::{Directory, DirectoryBuilder, Entry, Holder, Standing, Unowned, UnownedReason};
pub use loss::Loss;
pub use observed_calls::{CallCounts, CallsByRule, ObservedCalls, RulesOfCalls};
pub use roster::{Roster, RosterDecision};
pub use route::{Route, RouteError, Sign, SignKind, route};
pub use row_cell::{RowCell, RowChange, RowSource};
pub use visits::{VisitPolicy, VisitQueue};
