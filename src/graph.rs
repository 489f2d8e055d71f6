//! What the Graph API means to us. Pure functions: no I/O, no clock, no runtime.
//!
//! # Requests
//!
//! An app may put a token into the `Authorization` header (`Bearer` or `OAuth`), the query, or a body. *A parameter
//! beats the header*, so a stale `access_token` left in a query defeats the token we add: [`Target`] takes it out,
//! and the `appsecret_proof` computed from it, and leaves every other byte of path and query alone. Upload ids are
//! paths with a colon and a query of their own; whoever normalises them breaks them.
//!
//! Two kinds of credential are the app's own business and stay: an *app token* (`<app id>|<secret>`), which some
//! endpoints demand, and whatever is sent to the token endpoints below `/oauth/`. `null`, `None`, `undefined` and
//! nothing at all are no credentials, but what client libraries send when they have none. See [`credential`].
//!
//! Several hosts take the same token, others take another family's ([`Destinations`]): no token goes to a host that is
//! not listed, nor to one of another family. Whose app has a secret adds an `appsecret_proof` ([`proof`]).
//!
//! # Answers
//!
//! Errors are `{"error":{"code":…,"error_subcode":…,…}}` ([`GraphError`]). The code is the key: 190 with any subcode
//! means that the token is dead and that Graph did not act, and so do 102 and three rarer ones. Neither the
//! status, nor `type`, nor the text says so reliably. [`classify`] is the one table, and [`may_be_token_error`] tells from
//! the head alone whether a body is worth reading at all. [`explain()`] says each code in words for people, and
//! [`Inspection`] is what `debug_token` says of a token.
//!
//! Answers may be compressed. [`restrict_accept_encoding`] keeps Graph from choosing a coding we cannot read, and [`decode`] reads a
//! bounded copy of an envelope; what is delivered is never the copy.
//!
//! A batch is a 200 whose items may each have failed: [`find_batch_rejection`]. Links that lead around us are led back
//! ([`links`]), our token is taken out of what Graph repeats ([`redact()`]), and how much of a rate limit is used is read
//! from every head ([`usage`]). What is changed is changed where it lies: all other bytes stay.
//!
//! # Why
//!
//! All of this is folklore as much as documentation, and it changes without notice. Hence tables in plain sight,
//! each line with its reason, tested with recorded bodies and fuzzed; and hence one direction for every doubt: an
//! answer that is not understood is delivered as it is, a request part that is not understood is forwarded as it is.

pub mod batch;
pub mod credential;
mod edit;
pub mod encoding;
pub mod error;
pub mod explain;
pub mod host;
pub mod inspection;
mod json;
pub mod links;
pub mod origin;
pub mod parameter;
pub mod path;
pub mod proof;
pub mod redact;
pub mod scrub;
pub mod target;
mod text;
pub mod usage;
pub mod verdict;

pub use batch::find_batch_rejection;
pub use credential::{AuthScheme, ClientCredentialPolicy, HeaderCredential, ParameterCredential, parse_authorization};
pub use encoding::{AcceptEncodingRewrite, decode, restrict_accept_encoding};
pub use error::GraphError;
pub use explain::{Explanation, explain, is_action_required};
pub use host::{Destination, Destinations, GraphService, OTHER_GRAPH_HOSTS, TokenFamily};
pub use inspection::{Expiry, Inspection, TokenKind};
pub use origin::{Origin, OriginError};
pub use path::PathTemplate;
pub use proof::{AppSecretProof, ProofMode, ProofSigner};
pub use redact::redact;
pub use scrub::{BodyFormat, ScrubError, ScrubMode, ScrubReport, Scrubber, scrub};
pub use target::{ScrubbedTarget, Target, TargetError};
pub use usage::Usage;
pub use verdict::{RejectionReason, Verdict, classify, may_be_token_error};
