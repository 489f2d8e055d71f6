//! graphward: a sidecar that keeps Meta Graph API tokens out of an app, and alive.
//!
//! An app sends Graph requests *without* a token to a local address. graphward adds the current one, forwards
//! to Graph over TLS, recognises the answers that mean "this token is dead", finds a newer one once for
//! everybody who waits, and replays each rejected request exactly once.
//!
//! # The map
//!
//! Modules form layers. A module imports from lower layers and from its own children; never sideways, never
//! from above. `tests/law.rs` fails when that is broken.
//!
//! | layer | module | holds |
//! |---|---|---|
//! | 0 ground | [`types`] | words: secrets, tenants, clocks; no I/O, no runtime |
//! | 1 meaning | [`graph`] | what Graph's requests and answers mean; pure functions |
//! | 1 meaning | [`telemetry`] | logs and metrics |
//! | 2 token | [`token`] | one current credential per tenant, and the task that renews it |
//! | 2 net | [`net`] | sockets, TLS, tasks, stages |
//! | 3 source | [`source`] | places that show a token |
//! | 3 alert | [`alert`] | who is told of a notice |
//! | 4 renew | [`renew`] | acts that mint one, and what it is worth |
//! | 4 proxy | [`proxy`] | the data path: ten steps, told in `proxy.rs` |
//! | 5 admin | [`admin`] | the operators' listener |
//! | 6 config | [`config`] | what the file, the environment and the flags say, checked |
//! | 7 app | [`app`] | the order of start and stop |
//! | 8 cli | [`cli`] | the commands |
//!
//! # The words
//!
//! They mean the same in code, logs, metrics, configuration and README.
//!
//! * **Tenant**: one set of rules with one token.
//! * **Token**: a secret, and when it ends.
//! * **Credential**: a token made ready to stamp: generation and header value.
//! * **Generation**: the how-manyeth credential of its tenant.
//! * **Source**: a place that shows a token somebody else keeps.
//! * **Renewer**: an act that mints a new one.
//! * **Inspection**: what Graph says a token is worth.
//! * **Notice**: what a person should hear about a token.
//! * **Supply**: sources and perhaps a renewer, and the rule between them.
//! * **Refresher**: the task that owns a supply.
//! * **Progress**: the refresher's notice for those who wait.
//! * **Outbound**: the request as it may leave.
//! * **Stamp**: add the credential.
//! * **Attempt**: one sending.
//! * **Replay**: the licence and the bytes for a second.
//! * **Verdict**: what an answer means.
//! * **Suspicion**: what Graph said when it rejected the credential in use.
//! * **Refusal**: an answer of our own.
//! * **Record**: what is written about a request.

pub mod types;

pub mod graph;
pub mod telemetry;

pub mod net;
pub mod token;

pub mod alert;
pub mod source;

pub mod proxy;
pub mod renew;

pub mod admin;

pub mod config;

pub mod app;

pub mod cli;
