//! What the facts about a tenant mean: the findings, and what to do.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::facts::{AppFacts, Facts, IdOrigin, SourceFacts, TokenFacts};
use super::number::number_findings;
use super::report::{Finding, Level};
use crate::config::Config;
use crate::graph::{Expiry, Inspection, ProofMode, TokenKind, explain};
use crate::token::ProofAnswer;
use crate::types::{Rfc3339Timestamp, TokenFamily};

/// A token that expires within this time is warned of if nothing renews it.
const SOON: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 24 * 60 * 60;
/// What a page's or a person's token is to be replaced by.
const SYSTEM_USER: &str = "Generate a system user's token: business.facebook.com > Settings > System users.";

/// The findings about a tenant.
pub(super) fn diagnose(facts: &Facts, config: &Config, now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<_> = facts.sources.iter().map(source_finding).collect();
    let Some(token) = &facts.token else {
        let message = "no source has a token";
        findings.push(Finding::new(Level::Bad, "token", "no_token", message));
        findings.extend(app_finding(&facts.app, config));
        return findings;
    };
    findings.extend(token_findings(token, config, now));
    findings.extend(scope_finding(token));
    findings.extend(app_finding(&facts.app, config));
    if !matches!(facts.app, AppFacts::Wrong(_) | AppFacts::Unreadable(_)) {
        findings.extend(proof_finding(token, config));
    }
    findings.extend(number_findings(token));
    findings
}

fn source_finding(source: &SourceFacts) -> Finding {
    let name = &source.source;
    match (&source.token, &source.error) {
        (Some(token), _) => Finding::good("source", format!("{name}: token {token}")),
        (None, error) => {
            let error = error.as_deref().unwrap_or("no token");
            Finding::new(Level::Warning, "source", "source_failed", format!("{name}: {error}"))
        }
    }
}

/// The findings about the token itself: whether it is valid, what kind it is, when it ends.
fn token_findings(token: &TokenFacts, config: &Config, now: SystemTime) -> Vec<Finding> {
    let fingerprint = token.token.secret.fingerprint();
    let inspection = match &token.inspection {
        None => {
            let end = token
                .token
                .expires_at
                .map_or_else(String::new, |at| format!(", {}", end_text(at, now)));
            return vec![Finding::good(
                "token",
                format!("{fingerprint}, Graph was not asked about it{end}"),
            )];
        }
        Some(Err(error)) => {
            let message = format!("{fingerprint}: Graph could not be asked about it: {error}");
            return vec![Finding::new(Level::Warning, "token", "not_asked", message)];
        }
        Some(Ok(inspection)) => inspection,
    };
    if let Some(error) = &inspection.error {
        let explanation = explain(error);
        let message = format!("{fingerprint}: {}", explanation.summary);
        let finding = Finding::new(Level::Bad, "token", "token_invalid", message);
        return vec![finding.advise(explanation.remediation)];
    }
    let end = end_of(token, inspection);
    let kind = inspection.kind.map_or("of an unknown kind", kind_name);
    let app = inspection
        .app_id
        .as_ref()
        .map_or_else(String::new, |app| format!(" of the app {app}"));
    let text = match end {
        Expiry::At(at) => end_text(at, now),
        Expiry::Never => "never expires".to_owned(),
        Expiry::Unknown => "its end is unknown".to_owned(),
    };
    let mut findings = vec![Finding::good("token", format!("{fingerprint}, {kind}{app}, {text}"))];
    findings.extend(kind_finding(inspection, token));
    findings.extend(other_app_finding(inspection, token, config));
    let is_near = |end: Expiry| end.as_system_time().is_some_and(|at| at < now + SOON);
    if is_near(end) && config.token.renew.is_none() {
        let finding = Finding::new(
            Level::Warning,
            "token",
            "expires_soon",
            "it expires soon, and nothing renews it",
        );
        findings.push(finding.advise("Set token.renew, or put a new token into its source in time."));
    }
    if let (true, Expiry::At(at)) = (
        is_near(inspection.data_access_expires_at),
        inspection.data_access_expires_at,
    ) {
        let message = format!("its access to the user's data ends: {}", end_text(at, now));
        let finding = Finding::new(Level::Warning, "token", "data_access_expires_soon", message);
        findings.push(
            finding.advise("The token's user must log in to the app again; a system user's token has no such end."),
        );
    }
    findings
}

/// When a token ends: as Graph says, or else as its source does.
pub(super) fn end_of(token: &TokenFacts, inspection: &Inspection) -> Expiry {
    match (inspection.expires_at, token.token.expires_at) {
        (Expiry::Unknown, Some(at)) => Expiry::At(at),
        (known, _) => known,
    }
}

fn end_text(at: SystemTime, now: SystemTime) -> String {
    let date = Rfc3339Timestamp(at);
    match at.duration_since(now) {
        Ok(left) => format!("expires {date}, in {} days", left.as_secs() / DAY),
        Err(_past) => format!("expired {date}"),
    }
}

pub(super) const fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::User => "a user's",
        TokenKind::Page => "a page's",
        TokenKind::App => "an app's",
        TokenKind::SystemUser => "a system user's",
    }
}

/// What is wrong with the kind of a token.
fn kind_finding(inspection: &Inspection, token: &TokenFacts) -> Option<Finding> {
    let is_for_whatsapp = token.is_for_whatsapp();
    let (level, code, message) = match inspection.kind? {
        TokenKind::SystemUser => return None,
        TokenKind::App => (Level::Bad, "app_token", "an app's token sends no messages"),
        TokenKind::Page if is_for_whatsapp => (Level::Bad, "page_token", "a page's token sends no WhatsApp messages"),
        TokenKind::Page => (
            Level::Note,
            "page_token",
            "a page's token is for this page alone, and not for WhatsApp",
        ),
        TokenKind::User => {
            let message =
                "a person's token ends with the person's login: with a new password, after 60 days, or sooner";
            (Level::Warning, "user_token", message)
        }
    };
    Some(Finding::new(level, "token", code, message).advise(SYSTEM_USER))
}

fn other_app_finding(inspection: &Inspection, token: &TokenFacts, config: &Config) -> Option<Finding> {
    let configured = config.app.id.as_deref()?;
    let own = inspection.app_id.as_deref();
    if own.is_none_or(|own| own == configured) && !token.is_of_other_app {
        return None;
    }
    let own = own.map_or_else(|| "another app".to_owned(), |own| format!("the app {own}"));
    let message = format!("it is of {own}, and app.id is {configured}");
    let finding = Finding::new(Level::Bad, "token", "token_of_other_app", message);
    Some(finding.advise("Set app.id and app.secret to those of the token's app, or generate a token for this app."))
}

fn scope_finding(token: &TokenFacts) -> Option<Finding> {
    let inspection = token.inspection().filter(|inspection| inspection.error.is_none())?;
    let scopes = inspection
        .scopes
        .as_ref()
        .filter(|_| inspection.kind != Some(TokenKind::App))?;
    let missing = inspection.missing_scopes();
    if missing.is_empty() {
        return Some(Finding::good("scopes", scopes.join(", ")));
    }
    if !token.is_for_whatsapp() {
        let message = format!("{}; none for WhatsApp", scopes.join(", "));
        return Some(Finding::new(Level::Note, "scopes", "no_whatsapp_scopes", message));
    }
    let message = format!("missing: {}", missing.join(", "));
    let finding = Finding::new(Level::Bad, "scopes", "missing_scopes", message);
    Some(finding.advise("Generate a new token with these permissions; the permissions of a token do not change."))
}

fn app_finding(app: &AppFacts, config: &Config) -> Option<Finding> {
    let id = config.app.id.as_deref().unwrap_or_default();
    Some(match app {
        AppFacts::NotAsked if config.app.id.is_none() || config.app.secret.is_none() => {
            let message =
                "app.id and app.secret are not both set: no renewals, and Graph may not tell when the token ends";
            Finding::new(Level::Note, "app", "no_app", message)
        }
        AppFacts::NotAsked => return None,
        AppFacts::Right => Finding::good("app", format!("{id}, and the secret is right")),
        AppFacts::Unreadable(error) => Finding::new(Level::Bad, "app", "app_secret_unreadable", error),
        AppFacts::Wrong(error) => {
            let message = format!("app.secret is not that of the app {id}: {error}");
            let finding = Finding::new(Level::Bad, "app", "app_secret_wrong", message);
            finding.advise("Copy both from developers.facebook.com/apps > App settings > Basic.")
        }
        AppFacts::Unknown(error) => {
            let message = format!("Graph could not be asked about the app {id}: {error}");
            Finding::new(Level::Warning, "app", "not_asked", message)
        }
    })
}

fn proof_finding(token: &TokenFacts, config: &Config) -> Option<Finding> {
    let answer = token.proof.filter(|_| config.app.secret.is_some())?;
    if config.app.proof == ProofMode::Off {
        return Some(Finding::new(Level::Note, "proof", "proof_off", "off (app.proof)"));
    }
    Some(match answer {
        ProofAnswer::Accepted => Finding::good("proof", "on: Graph accepts the appsecret_proof"),
        ProofAnswer::OnlyWithout | ProofAnswer::Refused => {
            let message = "Graph refuses the appsecret_proof that app.secret makes for this token";
            let finding = Finding::new(Level::Bad, "proof", "proof_refused", message);
            finding.advise("Set app.secret to the secret of the app that the token is of.")
        }
        ProofAnswer::Unknown => Finding::new(
            Level::Note,
            "proof",
            "not_asked",
            "Graph did not tell whether it accepts it",
        ),
    })
}

// === impl Facts ===

impl Facts {
    /// What is known of a tenant, for machines.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "sources": self.sources,
            "token": self.token.as_ref().map(TokenFacts::to_json),
        })
    }
}

// === impl TokenFacts ===

impl TokenFacts {
    /// Whether it is meant for WhatsApp: it has one of its permissions, or a phone number is named.
    fn is_for_whatsapp(&self) -> bool {
        let scopes = self.inspection().and_then(|inspection| inspection.scopes.as_ref());
        let has_scope = scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope.starts_with("whatsapp_business_")));
        has_scope || self.numbers.iter().any(|number| number.origin == IdOrigin::Named)
    }

    /// What is known of it, for machines.
    pub(super) fn to_json(&self) -> Value {
        let date = |expiry: Expiry| match expiry {
            Expiry::At(at) => json!(Rfc3339Timestamp(at).to_string()),
            Expiry::Never => json!("never"),
            Expiry::Unknown => Value::Null,
        };
        let unknown = Inspection::default();
        let inspection = self.inspection().unwrap_or(&unknown);
        let is_valid = self.inspection().map(|inspection| inspection.error.is_none());
        let numbers = self.accounts.iter().filter_map(|account| account.numbers.as_ref().ok());
        json!({
            "fingerprint": self.token.secret.fingerprint().to_string(),
            "source": self.source,
            "valid": is_valid,
            "kind": inspection.kind.map(|kind| match kind {
                TokenKind::User => "user",
                TokenKind::Page => "page",
                TokenKind::App => "app",
                TokenKind::SystemUser => "system_user",
            }),
            "family": inspection.family.map(|family: TokenFamily| family.to_string()),
            "app_id": inspection.app_id,
            "user_id": inspection.user_id,
            "expires_at": date(end_of(self, inspection)),
            "data_access_expires_at": date(inspection.data_access_expires_at),
            "scopes": inspection.scopes,
            "missing_scopes": inspection.missing_scopes(),
            "accounts": self.accounts.iter().map(|account| &account.id).collect::<Vec<_>>(),
            "phone_numbers": numbers.flatten().collect::<Vec<_>>(),
        })
    }
}
