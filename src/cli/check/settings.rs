//! The file of a configuration, and the places of secrets in it that could be safer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::exposure::exposed_files;
use super::report::{Finding, Level};
use crate::app::unusable_secrets;
use crate::config::{Config, Setting, no_config_file};
use crate::types::{TenantId, error_chain, shown_path};

/// The findings about the file that was read, if there was one, and about where secrets are.
pub(super) fn settings_findings(config: &Config, settings: &[Setting], file: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![file_finding(file)];
    findings.extend(secret_findings(config, settings));
    findings.extend(shared_ids(config));
    findings
}

/// The ids that several sections have.
fn shared_ids(config: &Config) -> Vec<Finding> {
    let mut sections: BTreeMap<&str, BTreeSet<&TenantId>> = BTreeMap::new();
    for (id, tenant) in &config.tenants {
        for object_id in &tenant.ids {
            sections.entry(object_id).or_default().insert(id);
        }
    }
    let shared = sections.into_iter().filter(|(_, tenants)| tenants.len() > 1);
    let findings = shared.map(|(object_id, tenants)| {
        let sections: Vec<_> = tenants.into_iter().map(|id| format!("[tenants.{id}]")).collect();
        let message = format!(
            "{} have the id {object_id}, so it names neither",
            sections.join(" and ")
        );
        let finding = Finding::new(Level::Warning, "ids", "shared_id", message);
        finding.advise("Remove it from all but one of them; until then, its requests need another sign.")
    });
    findings.collect()
}

fn file_finding(file: Option<&Path>) -> Finding {
    if let Some(file) = file {
        return Finding::good("file", shown_path(file));
    }
    let message = format!("{}, so defaults, variables and flags apply", no_config_file());
    Finding::new(Level::Note, "file", "no_file", message)
}

fn secret_findings(config: &Config, settings: &[Setting]) -> Vec<Finding> {
    let exposed = exposed_files(config).map(|file| {
        let message = format!("{} is readable by every user of this machine", file.display());
        let finding = Finding::new(Level::Warning, "secrets", "readable_file", message);
        finding.advise("chmod it to 0640 or 0600.")
    });
    let inline = settings.iter().flat_map(|setting| &setting.suspects).map(|key| {
        let message = format!("{key} may have a secret in it, in the configuration itself");
        let finding = Finding::new(Level::Warning, "secrets", "inline_secret", message);
        finding.advise(if key.ends_with(".exec") {
            "Let the command read it from a file, or a variable in keep_env: every user may see the arguments of processes."
        } else {
            "Put it into a file, and write { file = PATH } in its place."
        })
    });
    let variables = config.secret_vars.iter().map(|name| {
        let message =
            format!("the variable {name} has a secret, which child processes inherit and a restart alone changes");
        let finding = Finding::new(Level::Note, "secrets", "secret_in_variable", message);
        finding.advise("A file can be replaced while graphward runs: { file = PATH }.")
    });
    let unusable = unusable_secrets(config).into_iter().map(|error| {
        let finding = Finding::bad("secrets", "unusable_secret", error_chain(&error));
        finding.advise("graphward does not start until this is fixed.")
    });
    let mut findings: Vec<_> = unusable.chain(exposed).chain(inline).chain(variables).collect();
    if findings.is_empty() {
        let message = "every secret is in a file that only its owner or group reads";
        findings.push(Finding::good("secrets", message));
    }
    findings
}
