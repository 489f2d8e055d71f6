//! What one setting cannot know about another.

use super::error::{Diagnostic, Provenance};
use super::file::{Config, GRAPH};
use super::tree::Node;
use crate::graph::ProofMode;
use crate::net::{ListenConfig, TlsFiles};
use crate::renew::RenewerConfig;
use crate::source::TokenSource;
use crate::types::SIZES;

/// Reports settings that contradict each other.
pub(super) struct Validator<'a> {
    /// Where settings come from, the highest layer first, unless they are defaults.
    pub(super) layers: [&'a Node; 3],
    /// What is wrong with single settings.
    pub(super) checked: &'a [Diagnostic],
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'a> Validator<'a> {
    /// Checks what must agree, and completes the defaults that depend on other settings.
    pub(super) fn validate(mut self, config: &mut Config) -> Vec<Diagnostic> {
        if self.provenance("upstream.hosts").is_none() && config.upstream.origin != GRAPH {
            config.upstream.hosts.clear();
        }
        if config.listen.tls == Some(TlsFiles::default()) {
            config.listen.tls = None;
        }
        self.listeners(&config.listen);
        self.token(config);
        let heal = &config.heal;
        self.sizes(["body_memory", "memory_total"], [heal.body_memory, heal.memory_total]);
        self.sizes(["body_disk", "disk_total"], [heal.body_disk, heal.disk_total]);
        self.diagnostics
    }

    /// Reported at the first of the two settings, or at the second if only that is set. Not reported if one is invalid: it
    /// would be the default then that was compared.
    fn report(&mut self, keys: [&str; 2], message: impl Into<String>) {
        let is_invalid = |key: &&str| self.checked.iter().any(|checked| checked.is_about(key));
        if keys.iter().any(is_invalid) {
            return;
        }
        let set = keys.iter().find_map(|key| Some((*key, self.provenance(key)?)));
        let (key, provenance) = set.unwrap_or((keys[0], &Provenance::Default));
        self.diagnostics.push(Diagnostic::new(provenance, key, message));
    }

    /// Where a setting comes from, unless it is a default.
    fn provenance(&self, setting: &str) -> Option<&'a Provenance> {
        let (section, key) = setting.split_once('.')?;
        let mut layers = self.layers.into_iter();
        layers.find_map(|layer| Some(&layer.get(section)?.get(key)?.provenance))
    }

    fn sizes(&mut self, [per_request, total]: [&str; 2], sizes: [u64; 2]) {
        if let ([one, all], true) = (sizes.map(|size| SIZES.write(size)), sizes.first() > sizes.last()) {
            let message = format!(
                "per-request `{per_request}` ({one}) exceeds the total `{total}` ({all}); lower `{per_request}` or raise \
                 `{total}`"
            );
            let keys = [per_request, total].map(|key| format!("heal.{key}"));
            self.report(keys.each_ref().map(String::as_str), message);
        }
    }

    fn listeners(&mut self, listen: &ListenConfig) {
        let is_half = |tls: &TlsFiles| [&tls.cert, &tls.key].iter().any(|path| path.as_os_str().is_empty());
        if listen.tls.as_ref().is_some_and(is_half) {
            let message = "must have both `cert` and `key`, two PEM files (`graphward ca` makes some)";
            self.report(["listen.tls"; 2], message);
        }
        for (index, address) in listen.proxy.iter().enumerate() {
            let mut earlier = listen.proxy.iter().take(index);
            if let Some(other) = earlier.find(|other| other.conflicts_with(address)) {
                let message = format!("{address} conflicts with {other}; remove one");
                self.report(["listen.proxy"; 2], message);
            }
        }
        if let Some(proxy) = listen.proxy.iter().find(|proxy| proxy.conflicts_with(&listen.admin)) {
            let message = format!(
                "the admin listener ({}) and a proxy listener ({proxy}) cannot share an address; change one of them",
                listen.admin
            );
            self.report(["listen.admin", "listen.proxy"], message);
        }
        if listen.tls.is_none() && !listen.tunnel_hosts.is_empty() {
            let message = "requires `listen.tls` (only TLS listeners accept CONNECT); set it or remove this";
            self.report(["listen.tunnel_hosts", "listen.tls"], message);
        }
    }

    fn token(&mut self, config: &Config) {
        let (token, app) = (&config.token, &config.app);
        if app.secret.is_none() && app.proof == ProofMode::Timestamped {
            self.report(["app.proof", "app.secret"], "requires `app.secret`");
        }
        let store = token.store.as_ref().map(|store| &store.path);
        let mut files = token.sources.iter().filter_map(TokenSource::file);
        if files.clone().any(|file| Some(file) == store) {
            let message = "is also a source's file, which a renewal would overwrite; use another file";
            self.report(["token.store", "token.source"], message);
        }
        let cache = token.cache.as_ref().map(|cache| &cache.path);
        if cache.is_some() && (cache == store || files.any(|file| Some(file) == cache)) {
            let message = "is also the file of a source or of `token.store`; use another file";
            self.report(["token.cache", "token.source"], message);
        }
        let renewer = match &token.renew {
            Some(RenewerConfig::Exchange(_)) => "exchange",
            Some(RenewerConfig::Mint { .. }) => "mint",
            Some(_) | None => return,
        };
        for (key, is_set) in [("app.id", app.id.is_some()), ("app.secret", app.secret.is_some())] {
            if !is_set {
                self.report(["token.renew", key], format!("`{renewer}` requires `{key}`"));
            }
        }
    }
}
