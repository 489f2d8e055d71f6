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

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::exit::{Exit, print_error};
use super::progress::Progress;
use super::token_input::{InputError, TokenCommandArgs, TokenPlace, read_token, with_tenants};
use crate::admin::ComparisonError::{self, Different};
use crate::admin::{AdminTenant, COMPARED_LATE, COMPARISON_TIMEOUT, TokenComparison};
use crate::app::{ConfiguredTenant, ConfiguredTenantError, ConfiguredTenants, could_be_number_id};
use crate::config::{Config, Overrides, env_vars};
use crate::net::{ConnectFailureKind, ProbedAddress};
use crate::token::{BoxFuture, Token};
use crate::types::{Clock, Rfc3339Timestamp, TenantId, error_chain};

use compare::{NOT_COMPARED, PROPERTIES};
use facts::{Depth, Facts, Ids, TokenFacts};
use number::known;
use report::{Finding, Level, Report, Section};

/// The arguments of `graphward check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    report: TokenCommandArgs,
    /// Phone number id to check [default: check.phone_number_id, else those of the token's accounts]
    #[arg(long, value_name = "ID", value_parser = parse_number_id)]
    phone_number_id: Option<String>,
    /// Compare a token, read from stdin or a hidden prompt, with the current one, before `token set` puts it in its place
    #[arg(long, conflicts_with = "offline")]
    diff: bool,
}

/// The most tenants of a table that are asked about at the same time.
const CONCURRENCY: usize = 8;
/// The comparisons that a running sidecar may make at the same time, those included whose client has left.
static COMPARISONS: Semaphore = Semaphore::const_new(2);
/// The reason why a token is not compared.
const NO_CURRENT_TOKEN: &str = "there is no current token to compare with";
/// The most tenants of a table that are listed: the bad ones first, then those with warnings.
const MAX_LISTED: usize = 20;

/// Runs the command and prints its report.
pub(super) fn run(args: &CheckArgs) -> Exit {
    let number_id = args.phone_number_id.as_deref();
    let report = if args.diff {
        let (place, candidate) = (&args.report.place, read_token());
        let compared = candidate
            .and_then(|candidate| compare_in(place.load()?.config, place.tenant.as_ref(), number_id, None, candidate));
        compared.map(|section| Report::of(vec![section]))
    } else {
        check(&args.report, number_id)
    };
    args.report.print(report)
}

/// Runs `graphward token show`.
pub(super) fn show(args: &TokenCommandArgs) -> Exit {
    let report = args.place.load().and_then(|loaded| {
        with_tenants(loaded.config, async |tenants| {
            let tenant = tenants.find(args.place.tenant.as_ref()).await?;
            let depth = args.depth().min(Depth::Token);
            Ok(Report::of(vec![section(&tenants, &tenant, None, depth).await?]))
        })
    });
    args.print(report)
}

/// Compares a candidate with the current token of a tenant, and returns what the operator should know; or what breaks, or may break, if
/// the candidate replaces it.
pub(super) fn compare_before_set(place: &TokenPlace, candidate: Token) -> Result<Result<String, String>, InputError> {
    let section = compare_in(place.load()?.config, place.tenant.as_ref(), None, None, candidate)?;
    Ok(compare::decide(&section.findings))
}

/// Compares tokens for a running sidecar with this configuration.
#[derive(Debug)]
pub(super) struct RunningComparison(pub(super) Overrides);

impl TokenComparison for RunningComparison {
    fn compare(&self, tenant: &AdminTenant, token: &Token) -> BoxFuture<'static, Result<(), ComparisonError>> {
        let Ok(permit) = COMPARISONS.try_acquire() else {
            return Box::pin(async { Err(ComparisonError::Busy) });
        };
        let current = tenant.tokens.current().map(|current| current.token().clone());
        let (overrides, candidate, id) = (self.0.clone(), token.clone(), tenant.id.clone());
        let compared = spawn_blocking(move || {
            // This thread goes on when the client leaves.
            let _permit = permit;
            let config = Config::load(overrides, &env_vars()).map_err(InputError::from)?.config;
            compare_in(config, Some(&id), None, current, candidate)
        });
        Box::pin(async move {
            let compared = compared.await.map_err(|error| Different(error_chain(&error)))?;
            let section = compared.map_err(|error: InputError| Different(error_chain(&error)))?;
            compare::decide(&section.findings).map(drop).map_err(Different)
        })
    }
}

fn parse_number_id(text: &str) -> Result<String, &'static str> {
    could_be_number_id(text)
        .then(|| text.to_owned())
        .ok_or("it is not the id of a phone number")
}

// === impl TokenCommandArgs ===

impl TokenCommandArgs {
    const fn depth(&self) -> Depth {
        if self.offline { Depth::Offline } else { Depth::All }
    }

    /// Prints a report. The exit code says how bad it is: 0 good, 1 warnings, 2 bad.
    fn print(&self, report: Result<Report, InputError>) -> Exit {
        let report = match report {
            Ok(report) => report,
            Err(error) => return print_error(&error, Exit::Usage),
        };
        let printed = self.output.print(&report.to_json(), &report.to_text());
        match (printed, report.level()) {
            (Exit::Success, Level::Good | Level::Note) => Exit::Success,
            (Exit::Success, Level::Bad) => Exit::Usage,
            (_, _) => Exit::Failed,
        }
    }
}

/// Checks the tenant that is named, or all.
fn check(args: &TokenCommandArgs, number_id: Option<&str>) -> Result<Report, InputError> {
    let loaded = args.place.load()?;
    with_tenants(loaded.config, async |mut tenants: ConfiguredTenants| {
        let mut report = Report::default();
        let mut progress = Progress::default();
        if args.depth() != Depth::Offline {
            progress.show("connecting to Graph");
            report.sections.push(graph_section(&tenants).await);
        }
        let settings = settings::settings_findings(tenants.config(), &loaded.settings, loaded.file.as_deref());
        report.sections.push(Section::new("configuration", settings));
        let is_one = args.place.tenant.is_some() || number_id.is_some();
        let mut checked = tenants.named();
        if is_one {
            checked = vec![tenants.find(args.place.tenant.as_ref()).await?];
        }
        for tenant in checked {
            progress.show(&format!("checking the tenant {}", tenant.id));
            let section = section(&tenants, &tenant, number_id, args.depth()).await?;
            report.sections.push(section);
        }
        drop(progress);
        if !is_one && tenants.config().tenants_from.is_some() {
            check_table(&mut tenants, &mut report, args.depth().min(Depth::Token)).await?;
        }
        Ok(report)
    })
}

/// Checks the tenants of the table, and lists those that are bad or have warnings.
async fn check_table(
    tenants: &mut ConfiguredTenants,
    report: &mut Report,
    depth: Depth,
) -> Result<(), ConfiguredTenantError> {
    let mut findings = Vec::new();
    let mut faulty = Vec::new();
    let mut progress = Progress::default();
    progress.show("reading the tenants of tenants_from");
    match tenants.listed().await {
        Ok(Some(listed)) => {
            let faults = listed.faults.iter();
            findings.extend(faults.map(|fault| Finding::new(Level::Warning, "tenants", "row_invalid", fault)));
            if listed.tenants.is_empty() {
                let finding = Finding::new(Level::Warning, "tenants", "no_tenants", "no tenant is listed there");
                findings.push(finding.advise("Add one, or check the place that [tenants_from] names."));
            }
            let sections = stream::iter(&listed.tenants).map(|tenant| section(tenants, tenant, None, depth));
            let mut sections = sections.buffer_unordered(CONCURRENCY);
            while let Some(section) = sections.next().await {
                let section = section?;
                *report.listed.entry(section.level).or_default() += 1;
                let checked: usize = report.listed.values().sum();
                progress.show(&format!("{checked} of {} tenants checked", listed.tenants.len()));
                faulty.extend(Some(section).filter(|section| section.level >= Level::Warning));
            }
        }
        Ok(None) => {
            let message = "the tenants cannot be listed; name one with --tenant";
            findings.push(Finding::new(Level::Note, "tenants", "not_listed", message));
        }
        Err(error) => findings.push(Finding::bad("tenants", "table_failed", error_chain(&error))),
    }
    faulty.sort_unstable_by(|one, other| other.level.cmp(&one.level).then_with(|| one.tenant.cmp(&other.tenant)));
    report.sections.push(Section::new("tenants_from", findings));
    report.sections.extend(faulty.into_iter().take(MAX_LISTED));
    Ok(())
}

async fn section(
    tenants: &ConfiguredTenants,
    tenant: &ConfiguredTenant,
    number_id: Option<&str>,
    depth: Depth,
) -> Result<Section, ConfiguredTenantError> {
    let configured = tenants.phone_number_id(tenant)?;
    let number_id = number_id.or(configured.as_deref());
    let facts = Box::pin(Facts::gather(tenants, tenant, number_id, depth)).await;
    let findings = diagnose::diagnose(&facts, &tenant.config, Clock::system().now());
    let mut section = Section::of_tenant(tenant.id.as_str(), findings);
    section.facts = facts.token.as_ref().map_or(Value::Null, to_json);
    Ok(section)
}

/// What is known of a token, for machines.
fn to_json(token: &TokenFacts) -> Value {
    let properties = PROPERTIES.map(|(topic, ..)| (topic.to_owned(), json!(token.property(topic))));
    let end = token.end().as_system_time().map(|at| Rfc3339Timestamp(at).to_string());
    let more = json!({
        "fingerprint": token.token.secret.fingerprint().to_string(),
        "expires_at": end,
        "phone_numbers": Vec::from_iter(known(&token.accounts).map(|(number, _)| number)),
    });
    let more = more.as_object().cloned().unwrap_or_default();
    Value::Object(properties.into_iter().chain(more).collect())
}

/// Compares a candidate with the current token of a tenant: with this one, or else with that of its sources.
fn compare_in(
    config: Config,
    id: Option<&TenantId>,
    number_id: Option<&str>,
    current: Option<Token>,
    candidate: Token,
) -> Result<Section, InputError> {
    with_tenants(config, async |tenants| {
        let tenant = &tenants.find(id).await?;
        let configured = tenants.phone_number_id(tenant).map_err(ConfiguredTenantError::from)?;
        let number_id = number_id.or(configured.as_deref());
        let gather = async |token| {
            let (mut questions, ids) = (tenants.questions(tenant), Ids { number_id, tenant });
            Box::pin(TokenFacts::gather(&mut questions, token, ids, Depth::All)).await
        };
        let findings = async {
            let facts = Box::pin(Facts::gather(&tenants, tenant, number_id, Depth::All));
            let current = match current {
                // Graph is not asked about tokens.
                Some(_) if !tenant.config.token.verify => return Vec::new(),
                Some(token) => Some(gather(token).await),
                None => facts.await.token,
            };
            match current {
                Some(current) => compare::compare(&current, &gather(candidate).await),
                None => vec![Finding::new(Level::Warning, "token", "no_token", NO_CURRENT_TOKEN)],
            }
        };
        let findings = timeout(COMPARISON_TIMEOUT, findings).await;
        let late = |_elapsed| vec![Finding::new(Level::Warning, "token", NOT_COMPARED, COMPARED_LATE)];
        Ok(Section::of_tenant(tenant.id.as_str(), findings.unwrap_or_else(late)))
    })
}

/// Says how Graph is reached: each address, TLS, and the time.
async fn graph_section(tenants: &ConfiguredTenants) -> Section {
    let addresses = Box::pin(tenants.probe_graph()).await;
    Section::new(format!("Graph {}", tenants.graph()), graph_findings(&addresses))
}

/// What the addresses of Graph come to.
fn graph_findings(addresses: &[ProbedAddress]) -> Vec<Finding> {
    let is_reached = addresses.iter().any(|address| address.result.is_ok());
    let findings = addresses
        .iter()
        .map(|ProbedAddress { address, result, took }| match result {
            Ok(version) => Finding::good("graph", format!("{address}: {version}, {} ms", took.as_millis())),
            Err(failure) => {
                // Of several addresses, one that works is enough; many machines have no route for IPv6.
                let level = match failure.kind == ConnectFailureKind::Unroutable {
                    true if is_reached => Level::Note,
                    false if is_reached => Level::Warning,
                    true | false => Level::Bad,
                };
                Finding::new(level, "graph", "unreachable", format!("{address}: {failure}"))
            }
        });
    findings.collect()
}

#[cfg(test)]
mod tests;
