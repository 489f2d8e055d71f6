//! The places of secrets in a configuration, and those that could be safer.

use super::super::exposure::exposed_files;
use super::report::{Finding, Level};
use crate::config::Config;
use crate::source::TokenSource;
use crate::types::{MaybeSecret, might_be_secret};

/// The findings about where secrets are.
pub(super) fn settings_findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in exposed_files(config) {
        let message = format!("{} is readable by every user of this machine", file.display());
        let finding = Finding::new(Level::Warning, "secrets", "readable_file", message);
        findings.push(finding.advise("chmod it to 0640 or 0600."));
    }
    for key in inline_secrets(config) {
        let message = format!("{key} may be a secret, and is in the configuration itself");
        let finding = Finding::new(Level::Warning, "secrets", "inline_secret", message);
        findings.push(finding.advise("Put it into a file, and write { file = PATH } in its place."));
    }
    for name in &config.secret_vars {
        let message =
            format!("the variable {name} has a secret, which child processes inherit and a restart alone changes");
        let finding = Finding::new(Level::Note, "secrets", "secret_in_variable", message);
        findings.push(finding.advise("A file can be replaced while graphward runs: { file = PATH }."));
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "secrets",
            "every secret is in a file that only its owner or group reads",
        ));
    }
    findings
}

/// The keys with a text of their own that may be a secret.
fn inline_secrets(config: &Config) -> Vec<String> {
    let is_inline = |value: &MaybeSecret| matches!(value, MaybeSecret::Inline(text) if might_be_secret(text));
    let shared = [
        ("alerts.url", &config.alerts.url),
        ("upstream.proxy", &config.upstream.proxy),
    ];
    let shared = shared
        .into_iter()
        .filter(|(_, value)| value.as_ref().is_some_and(is_inline));
    let mut keys: Vec<_> = shared.map(|(key, _)| key.to_owned()).collect();
    for (id, tenant) in config.of_tenants() {
        for source in &tenant.token.sources {
            if let TokenSource::Http(service) = source {
                let headers = service.call.headers.iter().filter(|(_, value)| is_inline(value));
                keys.extend(headers.map(|(name, _)| format!("the header {name} of {}", id.setting("source"))));
            }
        }
    }
    keys
}
