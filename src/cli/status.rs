//! `graphward status` and `graphward refresh`: the tokens of a running sidecar, as its admin listener reports them.

use std::collections::BTreeMap;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::admin_client::{AdminArgs, AdminError, CHANGE_TIMEOUT, READ_TIMEOUT};
use super::exit::{Exit, print_error, print_message};
use super::output::OutputArgs;
use super::runtime::build_runtime;
use super::table::{Cell, Table, Tone, printable};
use super::token_input::parse_tenant;
use crate::net::ListenAddr;
use crate::telemetry::metrics::TokenState;
use crate::types::TenantId;

/// The flags of `graphward status`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StatusArgs {
    /// Show the tenants whose token is in this state
    #[arg(long, value_name = "STATE")]
    state: Option<TokenState>,
    /// Show the tenants whose names come after this one
    #[arg(long, value_name = "NAME", value_parser = parse_tenant)]
    after: Option<TenantId>,
    #[command(flatten)]
    common: RefreshArgs,
}

/// The flags of `graphward refresh`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RefreshArgs {
    /// Only this tenant
    #[arg(long, value_name = "NAME", value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The answer to `GET /admin/token-status`.
#[derive(Deserialize)]
pub(super) struct Answer {
    stage: String,
    ready: bool,
    tenants: Vec<TokenReport>,
    counts: BTreeMap<String, u64>,
    next: Option<String>,
    /// The reason why the tenants of `[tenants_from]` cannot be read, if they cannot.
    tenants_from: Option<Unreadable>,
}

#[derive(Deserialize)]
struct Unreadable {
    error: String,
    since: String,
}

#[derive(Deserialize)]
struct TokenReport {
    tenant: String,
    usable: bool,
    state: String,
    reason: String,
    advice: Option<String>,
    fingerprint: Option<String>,
    source: Option<String>,
    expiry: Option<String>,
    expires_at: Option<String>,
    days_left: Option<f64>,
    last_refresh: Option<Value>,
}

/// The most tenants of an answer.
const PAGE: u32 = 50;
/// A token with fewer days left is shown as a warning.
const FEW_DAYS: f64 = 7.0;

/// Prints the status of the tokens.
pub(super) fn run(args: &StatusArgs) -> Exit {
    show(args, &Method::GET, "/admin/token-status").unwrap_or_else(|failed| failed)
}

/// Lets the sidecar look at the sources, and prints the status of the tokens.
pub(super) fn refresh(args: &RefreshArgs) -> Exit {
    let args = StatusArgs {
        common: args.clone(),
        ..StatusArgs::default()
    };
    show(&args, &Method::POST, "/admin/refresh-token").unwrap_or_else(|failed| failed)
}

/// Sends a request, and prints the tokens in its answer.
fn show(args: &StatusArgs, method: &Method, path: &str) -> Result<Exit, Exit> {
    let timeout = match *method {
        Method::GET => READ_TIMEOUT,
        _ => CHANGE_TIMEOUT,
    };
    let client = args.common.admin.client(timeout).map_err(|message| {
        print_message(&message);
        Exit::Usage
    })?;
    let runtime = build_runtime().map_err(|error| print_error(&error, Exit::Failed))?;
    let json = runtime.block_on(client.request(method.clone(), &args.target(path), b""));
    let json = json.map_err(|error| print_error(&error, Exit::Failed))?;
    let answer = Answer::new(&json).ok_or_else(|| AdminError::Foreign(client.address.clone()));
    let answer = answer.map_err(|error| print_error(&error, Exit::Failed))?;
    if let Some(wanted) = args.wanted().filter(|_| answer.tenants.is_empty()) {
        print_message(&format!("the sidecar at {} has no tenant {wanted}", client.address));
        return Err(Exit::Failed);
    }
    let printed = args.common.output.print(&json, &answer.to_text(&client.address));
    let is_good = answer.is_good(args) && !answer.has_failed(method);
    Ok(if is_good { printed } else { Exit::Failed })
}

impl ValueEnum for TokenState {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.label()))
    }
}

// === impl StatusArgs ===

impl StatusArgs {
    /// The path and the query of a request for a list. A name has no character that a query encodes.
    fn target(&self, path: &str) -> String {
        let tenant = self.common.tenant.as_ref().map(|name| format!("&tenant={name}"));
        let state = self.state.map(|state| format!("&state={}", state.label()));
        let after = self.after.as_ref().map(|name| format!("&after={name}"));
        let given = [tenant, state, after].into_iter().flatten();
        format!("{path}?limit={PAGE}{}", given.collect::<String>())
    }

    /// The tenant that is named, in words.
    fn wanted(&self) -> Option<String> {
        let state = self.state.map(|state| format!(" in the state {}", state.label()));
        Some(format!("{}{}", self.common.tenant.as_ref()?, state.unwrap_or_default()))
    }
}

// === impl Answer ===

impl Answer {
    /// Reads the JSON of a graphward.
    pub(super) fn new(json: &Value) -> Option<Self> {
        Self::deserialize(json).ok()
    }

    /// The state of the token, or of the tokens, in one line.
    pub(super) fn summary(&self) -> String {
        match &*self.tenants {
            [tenant] if self.next.is_none() => tenant.summary(),
            _ => self.shown_counts(),
        }
    }

    fn shown_counts(&self) -> String {
        let counts = self.counts.iter().filter(|(_, count)| **count > 0);
        let counts: Vec<_> = counts.map(|(state, count)| format!("{count} {state}")).collect();
        printable(&counts.join(", "))
    }

    /// Whether the sidecar is ready, can read its tenants, and all tokens are usable or were withdrawn: those that were asked for, also
    /// where they are on another page.
    fn is_good(&self, args: &StatusArgs) -> bool {
        let is_asked =
            |state: &TokenState| args.common.tenant.is_none() && args.state.is_none_or(|asked| asked == *state);
        let mut bad = [TokenState::Dead, TokenState::Undecryptable]
            .into_iter()
            .filter(is_asked);
        let has_bad = bad.any(|state| self.counts.get(state.label()).is_some_and(|count| *count > 0));
        self.ready && self.tenants_from.is_none() && !has_bad && self.tenants.iter().all(TokenReport::is_good)
    }

    /// Whether the look at the sources of a tenant failed, if one was asked for.
    fn has_failed(&self, method: &Method) -> bool {
        *method == Method::POST && self.tenants.iter().any(|tenant| tenant.last_error().is_some())
    }

    fn to_text(&self, address: &ListenAddr) -> String {
        let (ready, tone) = if self.ready {
            ("ready", Tone::Good)
        } else {
            ("not ready", Tone::Bad)
        };
        let mut text = format!(
            "sidecar at {address}: {}, {}; tokens: {}\n",
            printable(&self.stage),
            tone.paint(ready),
            self.shown_counts(),
        );
        if let Some(Unreadable { error, since }) = &self.tenants_from {
            let what = format!("the tenants of tenants_from cannot be read since {since}: {error}");
            text += &format!("{}\n", Tone::Bad.paint(&printable(&what)));
        }
        let mut table = Table::new(&["TENANT", "STATE", "TOKEN", "DAYS LEFT", "EXPIRES", "SOURCE"]);
        for tenant in &self.tenants {
            table.push(tenant.to_row());
        }
        text += &table.to_text();
        for tenant in &self.tenants {
            let reason = Some(&*tenant.reason).filter(|_| !tenant.usable);
            // A token in use may be the one before that which the last look found.
            let error = tenant.last_error();
            let error = error.filter(|error| reason.is_none_or(|reason| !reason.contains(error)));
            for note in [reason, error, tenant.advice.as_deref()].into_iter().flatten() {
                text += &format!("\n{}: {}", printable(&tenant.tenant), printable(note));
            }
        }
        if let Some(next) = &self.next {
            text += &format!("\nMore: --after {}", printable(next));
        }
        text
    }
}

// === impl TokenReport ===

impl TokenReport {
    /// The token and its end, or the reason why it is missing.
    fn summary(&self) -> String {
        let Some(fingerprint) = self.fingerprint.as_ref().filter(|_| self.usable) else {
            let advice = self.advice.as_deref().unwrap_or_default();
            return printable(&format!("{}. {advice}", self.reason));
        };
        let source = self.source.as_ref().map(|source| format!(" from {source}"));
        let end = match (&self.expires_at, self.days_left) {
            (Some(end), Some(days)) => format!("expires {end} (in {days:.1} days)"),
            (_, _) if self.never_expires() => "never expires".to_owned(),
            (_, _) => "no known end".to_owned(),
        };
        printable(&format!("{fingerprint}{}, {end}", source.unwrap_or_default()))
    }

    /// Why the last look for another token found none that can be used.
    fn last_error(&self) -> Option<&str> {
        self.last_refresh.as_ref()?.get("error")?.as_str()
    }

    /// Whether it needs no attention: a tenant is withdrawn on purpose.
    fn is_good(&self) -> bool {
        self.usable || self.state == TokenState::Withdrawn.label()
    }

    fn never_expires(&self) -> bool {
        self.expiry.as_deref() == Some("never")
    }

    fn to_row(&self) -> Vec<Cell> {
        let unknown = || "-".to_owned();
        // The date of a token that Graph rejects, or that cannot be read, says nothing about its end.
        let days_left = self.days_left.filter(|days| self.usable || *days <= 0.0);
        let days = days_left.map_or_else(unknown, |days| format!("{days:.1}"));
        let few = match days_left {
            Some(days) if days <= 0.0 => Tone::Bad,
            Some(days) if days < FEW_DAYS => Tone::Warning,
            Some(_) | None => Tone::Plain,
        };
        let unknown_end = if self.never_expires() { "never" } else { "-" };
        let end = self.expires_at.as_deref().unwrap_or(unknown_end);
        let state = match (self.usable, self.is_good()) {
            (true, _) => Tone::Good,
            (false, true) => Tone::Plain,
            (false, false) => Tone::Bad,
        };
        let plain = |text: &Option<String>| Cell::new(Tone::Plain, text.as_deref().unwrap_or("-"));
        vec![
            Cell::new(Tone::Plain, &self.tenant),
            Cell::new(state, &self.state),
            plain(&self.fingerprint),
            Cell::new(few, &days),
            Cell::new(Tone::Plain, end),
            plain(&self.source),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is printed where there are no colors.
    fn text_of(answer: &Answer) -> String {
        let text = answer.to_text(&"127.0.0.1:9080".parse().unwrap());
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_table_has_a_row_for_each_tenant_and_what_to_do_below() {
        let tenant = |name: &str, usable: bool| {
            json!({
                "tenant": name, "usable": usable, "state": if usable { "usable" } else { "dead" },
                "reason": "the token has expired", "advice": (!usable).then_some("Put a valid token into its source."),
                "generation": 1, "fingerprint": "da273344", "source": "file `/t`", "expires_at": null,
                "days_left": if usable { 2.2 } else { 29.5 }, "scopes": null,
            })
        };
        let answer = json!({
            "stage": "serving", "ready": true, "counts": { "usable": 1, "dead": 1, "withdrawn": 0 },
            "tenants": [tenant("acme", true), tenant("shop\u{1b}[2J", false)], "next": "shop",
        });
        let summary = |days: Option<f64>| {
            let mut one = answer.clone();
            one["next"] = Value::Null;
            one["tenants"] = json!([tenant("acme", days.is_some())]);
            one["tenants"][0]["expires_at"] = days.map(|_| "2026-12-01T00:00:00Z").into();
            Answer::new(&one).unwrap().summary()
        };
        assert_eq!(
            summary(Some(2.2)),
            "da273344 from file `/t`, expires 2026-12-01T00:00:00Z (in 2.2 days)"
        );
        assert_eq!(
            summary(None),
            "the token has expired. Put a valid token into its source."
        );
        let mut endless = answer.clone();
        (endless["next"], endless["tenants"]) = (Value::Null, json!([tenant("acme", true)]));
        (endless["tenants"][0]["expiry"], endless["tenants"][0]["days_left"]) = ("never".into(), Value::Null);
        let endless = Answer::new(&endless).unwrap();
        assert_eq!(endless.summary(), "da273344 from file `/t`, never expires");
        let table = text_of(&endless);
        assert!(table.contains("da273344  -          never    file"), "{table}");
        let mut kept = answer.clone();
        kept["tenants"][0]["last_refresh"] = json!({ "error": "the file `/t` is empty" });
        let kept = text_of(&Answer::new(&kept).unwrap());
        assert!(kept.contains("\nacme: the file `/t` is empty"), "{kept}");
        let answer = Answer::new(&answer).unwrap();
        assert_eq!(answer.summary(), "1 dead, 1 usable");
        assert!(!answer.is_good(&StatusArgs::default()));
        let text = text_of(&answer);
        let expected = "\
sidecar at 127.0.0.1:9080: serving, ready; tokens: 1 dead, 1 usable
TENANT    STATE   TOKEN     DAYS LEFT  EXPIRES  SOURCE
acme      usable  da273344  2.2        -        file `/t`
shop [2J  dead    da273344  -          -        file `/t`
shop [2J: the token has expired
shop [2J: Put a valid token into its source.
More: --after shop";
        assert_eq!(text, expected);
    }
}
