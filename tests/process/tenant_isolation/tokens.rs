//! The tokens of the tenants, which are replaced while requests are sent.

use std::path::PathBuf;

use fastrand::Rng;
use tokio::task::block_in_place;

use super::progress::Progress;
use crate::support::{Graph, replace_file, wait_until};
use crate::tenants_from::support::{Service, insertion, issue, seal};

pub(super) const TENANTS: usize = 64;
/// The first of them have dead tokens all the time.
pub(super) const DEAD: usize = 4;

/// The tenants' tokens: at Graph, and in the place where the sidecar finds them.
pub(super) struct Tokens<'a> {
    graph: &'a Graph,
    place: Place<'a>,
    current: Vec<String>,
}

/// Where the sidecar finds the tokens.
pub(super) enum Place<'a> {
    /// A directory with a file for each of `[tenants]`.
    Files(PathBuf),
    /// The table of `[tenants_from]`.
    Table(&'a Service),
}

pub(super) fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

pub(super) fn phone(tenant: usize) -> String {
    format!("{}", 5_000 + tenant)
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    pub(super) fn new(graph: &'a Graph, place: Place<'a>) -> Self {
        let issued = (0..TENANTS).map(|tenant| issue(graph, &name(tenant), &[&phone(tenant)]));
        let current: Vec<_> = issued.collect();
        place.insert(&current);
        for token in &current[..DEAD] {
            graph.sim.expire(token);
        }
        Self { graph, place, current }
    }

    /// Puts a new token in place of a tenant's, which stays as it is.
    fn replace(&mut self, tenant: usize) {
        let token = issue(self.graph, &name(tenant), &[&phone(tenant)]);
        self.place.set(tenant, &token);
        self.current[tenant] = token;
    }

    /// Replaces the tokens of all tenants, again and again. A part of them dies after it was replaced, a part at the moment, and
    /// a part before, so that its requests are held meanwhile. Of a table, graphward replaces some itself.
    pub(super) async fn replace_forever(mut self, mut rng: Rng, progress: &Progress) {
        let mut tenants: Vec<_> = (DEAD..TENANTS).collect();
        loop {
            rng.shuffle(&mut tenants);
            for tenant in &tenants {
                // From now on no wait would ever be for something, so that the last clients would not be polled any more.
                if progress.is_over() {
                    return std::future::pending().await;
                }
                let old = self.current[*tenant].clone();
                match (rng.u8(..16), &self.place) {
                    (0..5, _) => {
                        self.replace(*tenant);
                        progress.wait_for_requests(20).await;
                        self.graph.sim.expire(&old);
                    }
                    (5..10, _) => {
                        self.graph.sim.expire(&old);
                        self.replace(*tenant);
                    }
                    (15, Place::Table(service)) => {
                        self.current[*tenant] = renew(service, *tenant, &old).await;
                        progress.wait_for_requests(20).await;
                        self.graph.sim.expire(&old);
                    }
                    _ => {
                        self.graph.sim.expire(&old);
                        progress.wait_for_requests(50).await;
                        self.replace(*tenant);
                    }
                }
                progress.wait_for_requests(20).await;
            }
            // A request is sent at most twice, so it must not see two tokens die.
            progress.wait_for_all_in_flight().await;
        }
    }
}

// === impl Place ===

impl Place<'_> {
    fn insert(&self, tokens: &[String]) {
        match self {
            Self::Files(dir) => {
                for (tenant, token) in tokens.iter().enumerate() {
                    replace_file(&dir.join(name(tenant)), token);
                }
            }
            Self::Table(service) => {
                let rows = tokens.iter().enumerate().map(|(tenant, token)| {
                    let account = format!("{}", 6_000 + tenant);
                    insertion(&name(tenant), &phone(tenant), &account, token) + ";"
                });
                service.database.psql(&rows.collect::<String>());
            }
        }
    }

    fn set(&self, tenant: usize, token: &str) {
        match self {
            Self::Files(dir) => replace_file(&dir.join(name(tenant)), token),
            // The clients go on meanwhile.
            Self::Table(service) => block_in_place(|| {
                let columns = format!("access_token = '{}', expires_at = NULL", seal(token));
                service.set(&name(tenant), &columns);
            }),
        }
    }
}

/// Lets graphward renew a token, and returns the one that it has stored.
async fn renew(service: &Service, tenant: usize, old: &str) -> String {
    service.graph.set_nearly_expired(old);
    let name = name(tenant);
    block_in_place(|| service.set(&name, "expires_at = now() + interval '1 minute'"));
    let mut current = String::new();
    wait_until("the token is renewed and stored", async || {
        current = block_in_place(|| service.token_of(&name));
        current != old
    })
    .await;
    current
}
