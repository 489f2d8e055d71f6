//! What a running process takes over from a new configuration.

use super::file::{Config, ListenConfig, UpstreamConfig};
use crate::proxy::UpstreamSettings;

/// What a running process uses of a new configuration.
#[derive(Clone, Debug)]
pub struct ReloadedConfig {
    /// The new configuration with the sections that stay until a restart.
    pub config: Config,
    /// The keys that have changed and wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// The keys of a section that differ. All have to be named, so that a new one is not forgotten.
macro_rules! changed_keys {
    ($section:literal, $old:expr, $new:expr, $type:ident: $($key:ident)+ $(; apart from $nested:ident)?) => {{
        let $type { $($key,)+ $($nested: _)? } = $new;
        [$((*$key != $old.$key).then_some(concat!($section, ".", stringify!($key)))),+]
    }};
}

impl Config {
    /// Lays a new configuration over the one that a process runs with. Listeners and connections to Graph stay as they are
    /// until a restart: an address may be in use elsewhere, and requests may be in flight.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> ReloadedConfig {
        let listen = changed_keys!("listen", self.listen, &new.listen,
            ListenConfig: proxy admin socket_mode allowed_hosts tls tunnel_hosts);
        let upstream = changed_keys!("upstream", self.upstream, &new.upstream,
            UpstreamConfig: origin hosts ca_file via connect_timeout idle_timeout connect_to; apart from settings);
        let settings = changed_keys!("upstream", self.upstream.settings, &new.upstream.settings,
            UpstreamSettings: http connections head_timeout);
        let changed = listen.into_iter().chain(upstream).chain(settings);
        ReloadedConfig {
            needs_restart: changed.flatten().collect(),
            config: Self {
                listen: self.listen.clone(),
                upstream: self.upstream.clone(),
                drain_delay: self.drain_delay,
                ..new
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::of_text;

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let old = of_text("[listen]\nproxy = \"127.0.0.1:1\"\n[heal]\ntoken_wait = \"1s\"").unwrap();
        let new =
            "[listen]\nproxy = \"127.0.0.1:2\"\n[upstream]\nhttp = \"1.1\"\nhosts = []\n[heal]\ntoken_wait = \"2s\"";
        let new = of_text(new).unwrap();
        let reloaded = old.reloaded(new.clone());
        assert_eq!(
            reloaded.needs_restart,
            ["listen.proxy", "upstream.hosts", "upstream.http"]
        );
        assert_eq!(
            (&reloaded.config.listen, &reloaded.config.upstream),
            (&old.listen, &old.upstream)
        );
        assert_eq!(reloaded.config.heal, new.heal);
        // The next reload still says so.
        assert_eq!(reloaded.config.reloaded(new).needs_restart.len(), 3);
        assert!(old.reloaded(old.clone()).needs_restart.is_empty());
    }
}
