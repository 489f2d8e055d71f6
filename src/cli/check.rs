//! `graphward check`: reads every source once, asks Graph, and names what is wrong; compares a candidate with the current token.
//!
//! # Why
//!
//! The facts are collected first and judged by pure functions, so that each mistake has a test without Graph. Of the tenants of
//! a table only the token is asked about, unless one is named: ten thousand of them would use up the calls that the app's own
//! requests need.

mod compare;
mod diagnose;
mod facts;
mod number;
mod report;
mod settings;

use std::io;
use std::path::PathBuf;

use clap::Args;
use futures_util::future::join_all;
use futures_util::stream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::exit::{Exit, print_error, print_lines};
use super::serve::build_runtime;
use super::token_input::{TokenInputError, read_token};
use crate::app::{ConfiguredTenant, ConfiguredTenantError, ConfiguredTenants, StartError};
use crate::config::{Config, ConfigError, Overrides, env_vars};
use crate::net::{ConnectFailure, ConnectFailureKind, ProbedAddress};
use crate::token::Token;
use crate::types::{Clock, TenantId, error_chain};

use compare::compare;
use diagnose::diagnose;
use facts::{Facts, Ids, TokenFacts};
use report::{Colors, Listed, Report, Section};
use settings::settings_findings;

pub(super) use compare::breaking;
pub(super) use facts::Depth;
pub(super) use report::{Finding, Level};

/// The arguments of `graphward check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    place: TokenPlace,
    /// Do not ask Graph; read the configuration and the sources
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Phone number id to look at [default: check.phone_number_id, else those of the token's accounts]
    #[arg(long, value_name = "ID", value_parser = parse_number_id)]
    phone_number_id: Option<String>,
    /// Compare a token, read from stdin or a hidden prompt, with the current one, before `token set` puts it in its place
    #[arg(long, conflicts_with = "offline")]
    diff: bool,
}

/// Which token a command is about.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TokenPlace {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token file, as configured for the sidecar [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The tenant, if there are several
    #[arg(long, value_name = "NAME", value_parser = |name: &str| TenantId::new(name))]
    pub(super) tenant: Option<TenantId>,
}

/// The reason why nothing was checked.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Build(#[from] StartError),
    #[error(transparent)]
    Tenant(#[from] ConfiguredTenantError),
    #[error(transparent)]
    Input(#[from] TokenInputError),
    #[error("there is no current token to compare with: {0}")]
    NoToken(String),
    #[error("cannot start")]
    Process(#[source] io::Error),
}

/// The most tenants of a table that are asked about at the same time.
const CONCURRENCY: usize = 8;
/// The most bad tenants of a table that are listed.
const MAX_LISTED: usize = 20;

/// Runs the command and prints its report.
pub(super) fn run(args: &CheckArgs) -> Exit {
    let json = args.json;
    match report(args) {
        Ok(report) => print_report(&report, if json { Format::Json } else { Format::Text }),
        Err(error) => print_error(&error, Exit::Usage),
    }
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Text,
    Json,
}

/// Prints a report. The exit code says how bad it is: 0 good, 1 warnings, 2 bad.
fn print_report(report: &Report, format: Format) -> Exit {
    let text = match format {
        Format::Json => report.to_json(),
        Format::Text => report.to_text(Colors::of_stdout()),
    };
    match (print_lines(&text), report.level()) {
        (Exit::Success, Level::Good | Level::Note) => Exit::Success,
        (Exit::Success, Level::Bad) => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn report(args: &CheckArgs) -> Result<Report, CheckError> {
    let candidate = args.diff.then(read_token).transpose()?;
    let config = args.place.load()?;
    let runtime = build_runtime().map_err(CheckError::Process)?;
    runtime.block_on(async {
        let tenants = ConfiguredTenants::new(config.clone(), Clock::system())?;
        let check = Check {
            number_id: args.phone_number_id.as_deref(),
            depth: if args.offline { Depth::Offline } else { Depth::All },
        };
        match candidate {
            Some(candidate) => check.compare(&tenants, args.place.tenant.as_ref(), candidate).await,
            None => check.report(tenants, &config, args.place.tenant.as_ref()).await,
        }
    })
}

fn parse_number_id(text: &str) -> Result<String, &'static str> {
    let is_shown = |letter: char| letter.is_ascii_alphanumeric() || " +-().".contains(letter);
    if text.len() <= 64 && text.chars().all(is_shown) {
        Ok(text.to_owned())
    } else {
        Err("it is not an id")
    }
}

// === impl TokenPlace ===

impl TokenPlace {
    /// Reads the configuration.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let flags = Overrides {
            config: self.config.clone(),
            token_file: self.token_file.clone(),
            ..Overrides::default()
        };
        Ok(Config::load(flags, &env_vars())?.config)
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug)]
struct Check<'a> {
    /// The id of the phone number that the flag names.
    number_id: Option<&'a str>,
    depth: Depth,
}

// === impl Check ===

impl Check<'_> {
    async fn report(
        self,
        mut tenants: ConfiguredTenants,
        config: &Config,
        tenant: Option<&TenantId>,
    ) -> Result<Report, CheckError> {
        let mut report = Report::default();
        if self.depth != Depth::Offline {
            report.sections.push(graph_section(&tenants).await?);
        }
        report
            .sections
            .push(Section::new("configuration", settings_findings(config)));
        if tenant.is_some() {
            let tenant = tenants.find(tenant).await?;
            report.sections.push(self.section(&tenants, &tenant).await?);
            return Ok(report);
        }
        let named = tenants.named();
        let sections = named.iter().map(|tenant| {
            let number_id = self.number_id.filter(|_| is_own(&tenants, tenant));
            let check = Check { number_id, ..self };
            check.section(&tenants, tenant)
        });
        for section in join_all(sections).await {
            report.sections.push(section?);
        }
        if config.tenants_from.is_some() {
            self.check_table(&mut tenants, &mut report).await?;
        }
        Ok(report)
    }

    /// Checks the tenants of the table, and lists those that are bad.
    async fn check_table(self, tenants: &mut ConfiguredTenants, report: &mut Report) -> Result<(), StartError> {
        let listed = match tenants.listed().await {
            Ok(Some(listed)) => listed,
            Ok(None) => {
                let message = "the tenants cannot be listed; name one with --tenant";
                let finding = Finding::new(Level::Note, "tenants", "not_listed", message);
                report.sections.push(Section::new("tenants_from", vec![finding]));
                return Ok(());
            }
            Err(error) => {
                let finding = Finding::new(Level::Bad, "tenants", "table_failed", error_chain(&error));
                report.sections.push(Section::new("tenants_from", vec![finding]));
                return Ok(());
            }
        };
        let faults = listed.faults.iter();
        let faults = faults.map(|fault| Finding::new(Level::Warning, "tenants", "row_invalid", fault));
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            report.sections.push(Section::new("tenants_from", faults));
        }
        let check = Check {
            number_id: None,
            depth: self.depth.min(Depth::Token),
        };
        let sections = stream::iter(&listed.tenants).map(|tenant| check.section(tenants, tenant));
        let sections: Vec<_> = sections.buffer_unordered(CONCURRENCY).try_collect().await?;
        let count = |level| {
            sections
                .iter()
                .filter(|section: &&Section| section.level == level)
                .count()
        };
        report.listed = Some(Listed {
            tenants: sections.len(),
            good: count(Level::Good) + count(Level::Note),
            warning: count(Level::Warning),
            bad: count(Level::Bad),
        });
        let mut bad: Vec<_> = sections
            .into_iter()
            .filter(|section| section.level == Level::Bad)
            .collect();
        bad.sort_unstable_by(|one, other| one.tenant.cmp(&other.tenant));
        report.sections.extend(bad.into_iter().take(MAX_LISTED));
        Ok(())
    }

    async fn section(self, tenants: &ConfiguredTenants, tenant: &ConfiguredTenant) -> Result<Section, StartError> {
        let number_id = number_id(tenants, tenant, self.number_id)?;
        let facts = Box::pin(Facts::gather(tenants, tenant, number_id.as_deref(), self.depth)).await;
        let findings = diagnose(&facts, &tenant.config, tenants.clock().now());
        Ok(Section::of_tenant(tenant.id.as_str(), facts.to_json(), findings))
    }

    async fn compare(
        self,
        tenants: &ConfiguredTenants,
        tenant: Option<&TenantId>,
        candidate: Token,
    ) -> Result<Report, CheckError> {
        let tenant = tenants.find(tenant).await?;
        let findings = Box::pin(compare_with_current(tenants, &tenant, self.number_id, candidate)).await?;
        let findings = findings.map_err(CheckError::NoToken)?;
        Ok(Report {
            sections: vec![Section::of_tenant(tenant.id.as_str(), json!(null), findings)],
            listed: None,
        })
    }
}

/// Whether a tenant is the only one of the configuration, or the one of `[token]`: the phone number of the configuration is its
/// own.
fn is_own(tenants: &ConfiguredTenants, tenant: &ConfiguredTenant) -> bool {
    !tenant.is_in_table() && (tenant.id == TenantId::default() || tenants.named().len() == 1)
}

/// The id of the phone number that the operator named: by the flag, or in the configuration.
fn number_id(
    tenants: &ConfiguredTenants,
    tenant: &ConfiguredTenant,
    flag: Option<&str>,
) -> Result<Option<String>, StartError> {
    let configured = tenant.config.check.phone_number_id.as_ref();
    match (flag, configured.filter(|_| is_own(tenants, tenant))) {
        (Some(id), _) => Ok(Some(id.to_owned())),
        (None, Some(value)) => Ok(Some(ConfiguredTenants::resolve_text("check.phone_number_id", value)?)),
        (None, None) => Ok(None),
    }
}

/// Compares a candidate with the current token of a tenant; `Err` inside with the reason why there is none.
pub(super) async fn compare_with_current(
    tenants: &ConfiguredTenants,
    tenant: &ConfiguredTenant,
    flag: Option<&str>,
    candidate: Token,
) -> Result<Result<Vec<Finding>, String>, StartError> {
    let mut questions = tenants.questions(tenant)?;
    let number_id = number_id(tenants, tenant, flag)?;
    let number_id = number_id.as_deref();
    let ids = Ids { number_id, tenant };
    let candidate = TokenFacts::gather(&mut questions, candidate, ids, Depth::All).await;
    let current = Facts::gather(tenants, tenant, number_id, Depth::All).await;
    Ok(match &current.token {
        Some(current) => Ok(compare(current, &candidate)),
        None => Err(current.source_errors()),
    })
}

/// Prints what is known of the token of a tenant.
pub(super) fn show(place: &TokenPlace, depth: Depth, format: Format) -> Exit {
    let shown = || -> Result<Section, CheckError> {
        let config = place.load()?;
        let runtime = build_runtime().map_err(CheckError::Process)?;
        runtime.block_on(async {
            let tenants = ConfiguredTenants::new(config, Clock::system())?;
            let tenant = tenants.find(place.tenant.as_ref()).await?;
            let number_id = None;
            Ok(Check { number_id, depth }.section(&tenants, &tenant).await?)
        })
    };
    match shown() {
        Ok(section) => {
            let sections = vec![section];
            print_report(&Report { sections, listed: None }, format)
        }
        Err(error) => print_error(&error, Exit::Usage),
    }
}

/// Says how Graph is reached: each address, TLS, and the time.
async fn graph_section(tenants: &ConfiguredTenants) -> Result<Section, CheckError> {
    let title = format!("Graph {}", tenants.graph());
    let probed = Box::pin(tenants.probe_graph()).await?;
    let addresses = match probed {
        Ok(addresses) => addresses,
        Err(failure) => {
            let finding = Finding::new(Level::Bad, "graph", "unreachable", failure.to_string());
            return Ok(Section::new(title, vec![finding]));
        }
    };
    let is_reached = addresses.iter().any(|address| address.result.is_ok());
    // Of several addresses, one that works is enough; many machines have no route for IPv6.
    let level_of = |failure: &ConnectFailure| match failure.kind == ConnectFailureKind::Unroutable {
        true if is_reached => Level::Note,
        false if is_reached => Level::Warning,
        true | false => Level::Bad,
    };
    let findings = addresses
        .iter()
        .map(|ProbedAddress { address, result, took }| match result {
            Ok(version) => Finding::good("graph", format!("{address}: {version}, {} ms", took.as_millis())),
            Err(failure) => Finding::new(
                level_of(failure),
                "graph",
                "unreachable",
                format!("{address}: {failure}"),
            ),
        });
    Ok(Section::new(title, findings.collect()))
}

#[cfg(test)]
mod tests;
