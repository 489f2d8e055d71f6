//! What one setting cannot know about another.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Diagnostic, Provenance};
use super::file::{Config, GRAPH, TlsFiles};
use super::token::{RenewerConfig, TokenSource};
use super::units::SIZES;

/// Where settings come from, and which of them are invalid.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) provenance: &'a BTreeMap<String, Provenance>,
    pub(super) invalid: &'a BTreeSet<String>,
}

/// Checks what must agree, and completes the defaults that depend on other settings.
pub(super) fn validate(config: &mut Config, settings: Settings<'_>) -> Vec<Diagnostic> {
    if !settings.provenance.contains_key("upstream.hosts") && config.upstream.origin != GRAPH {
        config.upstream.hosts.clear();
    }
    let mut found = tls_files(config);
    found.extend(listeners(config));
    found.extend(token(config));
    let heal = &config.heal;
    for (keys, one, all) in [
        (
            ["heal.body_memory", "heal.memory_total"],
            heal.body_memory,
            heal.memory_total,
        ),
        (["heal.body_disk", "heal.disk_total"], heal.body_disk, heal.disk_total),
    ] {
        if one > all {
            let [per_request, total] = keys.map(|key| key.trim_start_matches("heal."));
            let (one, all) = (SIZES.write(one), SIZES.write(all));
            let message = format!(
                "per-request `{per_request}` ({one}) exceeds the total `{total}` ({all}); lower `{per_request}` or raise \
                 `{total}`"
            );
            found.push(Contradiction { keys, message });
        }
    }
    found
        .into_iter()
        .filter_map(|contradiction| contradiction.diagnose(settings))
        .collect()
}

/// Two settings that contradict each other.
struct Contradiction {
    keys: [&'static str; 2],
    message: String,
}

impl Contradiction {
    fn new(keys: [&'static str; 2], message: impl Into<String>) -> Self {
        Self {
            keys,
            message: message.into(),
        }
    }

    /// Reported at the first of the two settings, or at the second if only that is set. Not reported if one is invalid: it
    /// would be the default then that was compared.
    fn diagnose(self, settings: Settings<'_>) -> Option<Diagnostic> {
        if self.keys.iter().any(|key| settings.invalid.contains(*key)) {
            return None;
        }
        let set = self
            .keys
            .iter()
            .find_map(|key| Some((*key, settings.provenance.get(*key)?)));
        let [first, _] = self.keys;
        let (key, provenance) = set.unwrap_or((first, &Provenance::Default));
        Some(Diagnostic::new(provenance, key, self.message))
    }
}

/// Both files, or neither.
fn tls_files(config: &mut Config) -> Vec<Contradiction> {
    let tls = config.listen.tls.take_if(|tls| *tls == TlsFiles::default());
    drop(tls);
    let is_half = |tls: &TlsFiles| [&tls.cert, &tls.key].iter().any(|path| path.as_os_str().is_empty());
    if config.listen.tls.as_ref().is_some_and(is_half) {
        let message = "must have both `cert` and `key`, two PEM files (`graphward ca` makes some)";
        return vec![Contradiction::new(["listen.tls"; 2], message)];
    }
    Vec::new()
}

fn listeners(config: &Config) -> Vec<Contradiction> {
    let listen = &config.listen;
    let mut found = Vec::new();
    for (index, address) in listen.proxy.iter().enumerate() {
        let mut earlier = listen.proxy.iter().take(index);
        if let Some(other) = earlier.find(|other| other.conflicts_with(address)) {
            let message = format!("{address} conflicts with {other}; remove one");
            found.push(Contradiction::new(["listen.proxy"; 2], message));
        }
    }
    if let Some(proxy) = listen.proxy.iter().find(|proxy| proxy.conflicts_with(&listen.admin)) {
        let message = format!(
            "the admin listener ({}) and a proxy listener ({proxy}) cannot share an address; change one of them",
            listen.admin
        );
        found.push(Contradiction::new(["listen.admin", "listen.proxy"], message));
    }
    if listen.tls.is_none() && !listen.tunnel_hosts.is_empty() {
        let message = "requires `listen.tls` (only TLS listeners accept CONNECT); set it or remove this";
        found.push(Contradiction::new(["listen.tunnel_hosts", "listen.tls"], message));
    }
    found
}

fn token(config: &Config) -> Vec<Contradiction> {
    let (token, app) = (&config.token, &config.app);
    let mut found = Vec::new();
    if app.secret.is_none() && app.proof == Some(crate::graph::ProofMode::Timestamped) {
        found.push(Contradiction::new(["app.proof", "app.secret"], "requires `app.secret`"));
    }
    let store = token.store.as_ref().map(|store| &store.path);
    let is_stored_in = |source: &TokenSource| matches!(source, TokenSource::File(file) if Some(&file.path) == store);
    if token.sources.iter().any(is_stored_in) {
        let message = "is also a source's file, which a renewal would overwrite; use another file";
        found.push(Contradiction::new(["token.store", "token.source"], message));
    }
    let renewer = match &token.renew {
        Some(RenewerConfig::Exchange { .. }) => "exchange",
        Some(RenewerConfig::Mint { .. }) => "mint",
        Some(
            RenewerConfig::Instagram {} | RenewerConfig::Threads {} | RenewerConfig::Http(_) | RenewerConfig::Exec(_),
        )
        | None => return found,
    };
    for (key, is_set) in [("app.id", app.id.is_some()), ("app.secret", app.secret.is_some())] {
        if !is_set {
            found.push(Contradiction::new(
                ["token.renew", key],
                format!("`{renewer}` requires `{key}`"),
            ));
        }
    }
    found
}
