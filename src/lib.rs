//! graphward: a sidecar that keeps Meta Graph API tokens out of an app, and valid.
//!
//! An app sends Graph requests *without* a token to a local address. graphward adds the current token, forwards to Graph
//! over TLS, recognizes the answers by which Graph rejects the token, obtains a newer one once for all waiting requests, and
//! replays each rejected request exactly once.
//!
//! # Layers
//!
//! Modules form layers. A module imports from lower layers and from its own children; never sideways, never from above.
//! `tests/law` fails when that is broken. ARCHITECTURE.md has the picture.
//!
//! | layer | module | holds |
//! |---|---|---|
//! | 0 | [`types`] | secrets, tenants, clocks; no I/O |
//! | 1 | [`graph`] | what Graph's requests and answers mean; pure functions |
//! | 1 | [`telemetry`] | logs and metrics |
//! | 1 | [`os`] | child processes, files that are watched |
//! | 2 | [`token`] | the current credential of a tenant, and the task that refreshes it |
//! | 2 | [`net`] | sockets, TLS, tasks, shutdown |
//! | 3 | [`source`] | where tokens are read and stored |
//! | 3 | [`alert`] | the alert webhook |
//! | 4 | [`renew`] | renewals and inspections, at Graph and at internal services |
//! | 4 | [`upstream`] | the connections to Graph |
//! | 4 | [`tenants`] | the tenants, and the one that a request is for |
//! | 5 | [`proxy`] | the data path: ten steps, in `proxy.rs` |
//! | 5 | [`admin`] | the admin endpoint: health, metrics, and changes of the token |
//! | 6 | [`config`] | the file, the environment and the flags, validated |
//! | 7 | [`app`] | the process from start to exit, in `app/run.rs` |
//! | 8 | [`cli`] | the commands |
//!
//! # Words
//!
//! Words that the field lacks, or that are narrower here. They mean the same in code, logs, metrics, configuration and docs.
//!
//! * **Tenant**: one set of rules with one token.
//! * **Default tenant**: the tenant of requests without a sign.
//! * **Table**: the place of `[tenants_from]`: a database table, files, a service or a command. **Row**: a tenant in it.
//! * **Open**: a tenant with a refresher and counters. One of a table is **closed**, or at rest, until it is used or visited.
//! * **Visit**: opening a tenant of a table without a request, to renew or inspect its token.
//! * **Missing**: a row that the last read lacked; its tenant stays in use. **Withdrawn**: its tenant is refused from now on.
//! * **Withheld**: a read that lacks so much that it is not used yet.
//! * **Sign**: what in a request names its tenant: a header, `tenant:NAME` in the place of a token, an id.
//! * **Credential**: a token ready to be added to a request: generation and header value.
//! * **Generation**: the number of a credential, counted from 1 for each tenant.
//! * **Source**: where a token is read that another process or person maintains.
//! * **Renewer**: obtains a new token from the current one, or from an admin token.
//! * **Inspection**: Graph's statement about a token: validity, expiry, scopes.
//! * **Verdict**: the meaning of an answer of Graph.
//! * **Replay**: the permission and the bytes for the second and last attempt of a request.
//! * **Healing**: waiting for a newer token after a rejection, and the replay with it.
//! * **Refusal**: an error answer of graphward itself.

pub mod types;

pub mod graph;
pub mod os;
pub mod telemetry;

pub mod net;
pub mod token;

pub mod alert;
pub mod source;

pub mod renew;
pub mod tenants;
pub mod upstream;

pub mod proxy;

pub mod admin;

pub mod config;

pub mod app;

pub mod cli;
