//! The meaning of Graph API requests and responses. Pure functions: no I/O, no clock, no runtime.
//!
//! # Requests
//!
//! An app may put a token into the `Authorization` header (`Bearer` or `OAuth`), the query, or a body. *A parameter
//! beats the header*, so a stale `access_token` in a query or a body defeats graphward's token: [`Target`] and
//! [`scrub()`] remove it, with the `appsecret_proof` computed from it, and leave every other byte alone. Upload ids are
//! paths with a colon and a query of their own, and break if they are normalized.
//!
//! Two kinds of credential stay: an *app token* (`<app id>|<secret>`), which some endpoints demand, and every
//! credential that is sent to the token endpoints below `/oauth/`. `null`, `None`, `undefined` and an empty value are
//! not credentials: client libraries send them when they have none. See [`credential`].
//!
//! Several hosts take the same token, others take another family's ([`Destinations`]): no token goes to a host that is
//! not listed, nor to one of another family. An app with a secret adds an `appsecret_proof` ([`proof`]).
//!
//! # Answers
//!
//! Errors are `{"error":{"code":…,"error_subcode":…,…}}` ([`GraphError`]). The code is the key: 190 with any subcode
//! means that Graph rejects the token and did not process the request, and so do 102 and three rarer codes. Neither the status, nor
//! `type`, nor the text says so reliably. [`classify`] has the rules, and [`may_be_token_error`] decides from the head
//! alone whether a body has to be read at all. [`explain()`] explains each code for people, and [`Inspection`] is the
//! answer of `debug_token`.
//!
//! Answers may be compressed. [`restrict_accept_encoding`] keeps Graph from choosing a coding that graphward cannot
//! read, and [`decode`] reads a bounded copy of an envelope; the app gets the original.
//!
//! The answer to a batch is a 200 whose items may each have failed: [`find_batch_rejection`]. Links that lead around
//! graphward are rewritten ([`links`]), the tenant's token is removed from the text that Graph repeats ([`redact()`]),
//! and the rate limits are read from every head ([`usage`]). Every change is an edit in place: all other bytes stay.
//!
//! # Why
//!
//! Much of this is observed, not documented, and it changes without notice. So the rules are tables, each line with its
//! reason, tested with recorded bodies and fuzzed. In doubt, graphward changes nothing: it delivers a response, and
//! forwards a part of a request, that it does not understand as it is.

pub mod batch;
pub mod calls;
pub mod credential;
mod edit;
pub mod encoding;
pub mod error;
pub mod explain;
pub mod hints;
pub mod host;
pub mod inspection;
mod json;
pub mod links;
pub mod origin;
pub mod parameter;
pub mod path;
pub mod phone_number;
pub mod proof;
pub mod redact;
pub mod scrub;
pub mod sign;
pub mod target;
mod text;
pub mod usage;
pub mod verdict;

pub use batch::find_batch_rejection;
pub use calls::Calls;
pub use credential::{
    AuthScheme, ClientCredentialPolicy, HeaderCredential, ParameterCredential, SignPolicy, parse_authorizations,
};
pub use encoding::{decode, restrict_accept_encoding};
pub use error::GraphError;
pub use explain::{Explanation, explain, is_action_required, is_own_code};
pub use hints::RequestHints;
pub use host::{Destination, Destinations, GraphService, OTHER_GRAPH_HOSTS};
pub use inspection::{Expiry, Inspection, TokenKind};
pub use origin::{Origin, OriginError};
pub use path::{EndpointId, PathTemplate};
pub use phone_number::PhoneNumber;
pub use proof::{AppSecretProof, ProofMode, ProofSigner};
pub use redact::redact;
pub use scrub::{BodyFormat, ScrubError, ScrubMode, ScrubReport, ScrubRules, Scrubber, scrub};
pub use sign::TenantSigns;
pub use target::{ScrubbedTarget, Target, TargetError};
pub use usage::Usage;
pub use verdict::{Rejection, RejectionProof, RejectionReason, Verdict, classify, may_be_token_error};
