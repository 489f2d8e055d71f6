//! What a running process takes over from a new configuration.

use super::file::Config;

/// What a running process uses of a new configuration.
#[derive(Clone, Debug)]
pub struct ReloadedConfig {
    /// The new configuration with the sections that stay until a restart.
    pub config: Config,
    /// The keys that have changed and wait for a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Lays a new configuration over the one that a process runs with. Listeners and connections to Graph stay as they are
    /// until a restart: an address may be in use elsewhere, and requests may be in flight.
    #[must_use]
    pub fn reloaded(&self, new: Self) -> ReloadedConfig {
        let changed = new
            .until_restart
            .iter()
            .filter(|(key, value)| self.until_restart.get(*key) != Some(value));
        ReloadedConfig {
            needs_restart: changed.map(|(key, _)| key.clone()).collect(),
            config: Self {
                listen: self.listen.clone(),
                state: self.state.clone(),
                upstream: self.upstream.clone(),
                tenants_from: self.tenants_from.clone(),
                until_restart: self.until_restart.clone(),
                drain_delay: self.drain_delay,
                egress_variables: self.egress_variables.clone(),
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
        let new = "[listen]\nproxy = \"127.0.0.1:2\"\n[state]\ndir = \"/s\"\n[upstream]\nhttp = \"1.1\"\nhosts = []\n[heal]\ntoken_wait = \"2s\"";
        let new = of_text(new).unwrap();
        let reloaded = old.reloaded(new.clone());
        assert_eq!(
            reloaded.needs_restart,
            ["listen.proxy", "state.dir", "upstream.hosts", "upstream.http"]
        );
        assert_eq!(
            (
                &reloaded.config.listen,
                &reloaded.config.state,
                &reloaded.config.upstream
            ),
            (&old.listen, &old.state, &old.upstream)
        );
        assert_eq!(reloaded.config.heal, new.heal);
        // The next reload still says so.
        assert_eq!(reloaded.config.reloaded(new).needs_restart.len(), 4);
        assert!(old.reloaded(old.clone()).needs_restart.is_empty());
    }
}
