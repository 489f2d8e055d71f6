//! What one setting cannot know about another.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{Diagnostic, Provenance};
use super::file::{AppConfig, Config, GRAPH, TokenConfig};
use super::tree::Node;
use crate::graph::ProofMode;
use crate::net::{ListenAddr, TlsFiles};
use crate::renew::RenewerConfig;
use crate::source::{TenantsFrom, TokenSource};
use crate::types::{SIZES, TenantId};

/// The message for `uids` where no listener knows the user id of a process.
const UIDS_NEED_SOCKET: &str = "`uids` requires a listener on a Unix socket, `unix:/path`";

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
        self.listeners(config);
        self.tenants(config);
        self.uids(config);
        if config.has_default_tenant {
            self.token("token", &config.token, &config.app);
        }
        for (id, tenant) in &config.tenants {
            self.token(&format!("tenants.{id}"), &tenant.token, &tenant.app);
        }
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

    fn listeners(&mut self, config: &Config) {
        let listen = &config.listen;
        let is_half = |tls: &TlsFiles| [&tls.cert, &tls.key].iter().any(|path| path.as_os_str().is_empty());
        if listen.tls.as_ref().is_some_and(is_half) {
            let message = "must have both `cert` and `key`, two PEM files (`graphward ca` makes some)";
            self.report(["listen.tls"; 2], message);
        }
        let shared = listen.proxy.iter().map(|address| ("listen.proxy".to_owned(), address));
        let own = config.tenants.iter().flat_map(|(id, tenant)| {
            let key = format!("tenants.{id}");
            tenant.listen.iter().map(move |address| (key.clone(), address))
        });
        let all: Vec<_> = shared.chain(own).collect();
        for (index, (key, address)) in all.iter().enumerate() {
            let mut earlier = all.iter().take(index);
            if let Some((_, other)) = earlier.find(|(_, other)| other.conflicts_with(address)) {
                let message = format!("{address} conflicts with {other}; remove one");
                self.report([key; 2], message);
            }
        }
        if let Some((_, proxy)) = all.iter().find(|(_, proxy)| proxy.conflicts_with(&listen.admin)) {
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

    /// The user id of a process is known on Unix sockets only.
    fn uids(&mut self, config: &Config) {
        let is_unix = |address: &ListenAddr| matches!(address, ListenAddr::Unix(_));
        let is_shared_unix = config.listen.proxy.iter().any(is_unix);
        for (id, tenant) in config.tenants.iter().filter(|(_, tenant)| tenant.token.uids.is_some()) {
            let keys = [&format!("tenants.{id}"), "token.uids"];
            if let Some(address) = tenant.listen.iter().find(|address| !is_unix(address)) {
                self.report(keys, format!("{UIDS_NEED_SOCKET}; {address} is TCP"));
            } else if tenant.listen.is_empty() && !is_shared_unix {
                self.report(keys, UIDS_NEED_SOCKET);
            }
        }
        let is_default_apart = config.has_default_tenant && !config.tenants.contains_key(&TenantId::default());
        // The tenants of a table have no other list.
        if (is_default_apart || config.tenants_from.is_some()) && config.token.uids.is_some() && !is_shared_unix {
            self.report(["token.uids", "listen.proxy"], UIDS_NEED_SOCKET);
        }
    }

    /// What stands in `[token]` and `[app]`, or in the place of both for another tenant.
    fn token(&mut self, section: &str, token: &TokenConfig, app: &AppConfig) {
        let is_tenant = section.starts_with("tenants.");
        // The settings of a tenant are one key in its section.
        let key = |key: &str| {
            let (app_key, token_key) = (key.to_owned(), format!("{section}.{}", key.replacen("token.", "", 1)));
            match is_tenant {
                true => section.to_owned(),
                false if key.starts_with("app.") => app_key,
                false => token_key,
            }
        };
        if app.secret.is_none() && app.proof == ProofMode::Timestamped {
            self.report([&key("app.proof"), &key("app.secret")], "requires `app.secret`");
        }
        let store = token.store.as_ref().map(|store| &store.path);
        let mut files = token.sources.iter().filter_map(TokenSource::file);
        if files.clone().any(|file| Some(file) == store) {
            let message = "is also a source's file, which a renewal would overwrite; use another file";
            self.report([&key("token.store"), &key("token.source")], message);
        }
        let cache = token.cache.as_ref().map(|cache| &cache.path);
        if cache.is_some() && (cache == store || files.any(|file| Some(file) == cache)) {
            let message = "is also the file of a source or of `token.store`; use another file";
            self.report([&key("token.cache"), &key("token.source")], message);
        }
        let renewer = match &token.renew {
            Some(RenewerConfig::Exchange(_)) => "exchange",
            Some(RenewerConfig::Mint { .. }) => "mint",
            Some(_) | None => return,
        };
        for (required, is_set) in [("app.id", app.id.is_some()), ("app.secret", app.secret.is_some())] {
            if !is_set {
                let message = format!("`{renewer}` requires `{required}`");
                self.report([&key("token.renew"), &key(required)], message);
            }
        }
    }

    /// What the tenants must not share, and whose the requests without a sign are.
    fn tenants(&mut self, config: &mut Config) {
        let default = TenantId::default();
        let is_token_set = self.provenance("token.source").is_some();
        if config.tenants.contains_key(&default) && is_token_set {
            let message = "is `[token]` by another name, and `token.source` is set, too; remove one";
            self.report(["tenants.default", "token.source"], message);
        }
        let is_only = config.tenants.is_empty() && config.tenants_from.is_none();
        let place = match &config.tenants_from {
            Some(TenantsFrom::Exec(command)) => Some(("tenants_from.exec", command.place.check())),
            // Otherwise, a header may have it, which is read later.
            Some(TenantsFrom::Http(service)) if service.place.call.headers.is_empty() => {
                Some(("tenants_from.http", service.place.call.url.check()))
            }
            Some(_) | None => None,
        };
        if let Some((key, Err(error))) = place {
            self.report([key; 2], error.to_string());
        }
        config.has_default_tenant = is_only || is_token_set || config.tenants.contains_key(&default);
        let written = |token: &TokenConfig| {
            let renewed = token
                .renew
                .iter()
                .flat_map(|_| token.sources.iter().filter_map(TokenSource::file));
            let stores = token.store.iter().chain(&token.cache).map(|store| &store.path);
            renewed.chain(stores).cloned().collect::<Vec<_>>()
        };
        let mut owners: BTreeMap<PathBuf, &TenantId> = BTreeMap::new();
        for (id, tenant) in &config.tenants {
            for path in written(&tenant.token) {
                if let Some(other) = owners.insert(path.clone(), id)
                    && other != id
                {
                    let message = format!(
                        "{} is also written for the tenant {other}; use another file",
                        path.display()
                    );
                    self.report([&format!("tenants.{id}"); 2], message);
                }
            }
        }
    }
}
