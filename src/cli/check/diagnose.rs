//! What the facts about a tenant mean: the findings, and what to do.

use std::time::{Duration, SystemTime};

use super::compare::kind_name;
use super::facts::{Facts, SourceFacts, TokenFacts, UNREADABLE};
use super::number::number_findings;
use super::report::{Finding, Level};
use crate::config::Config;
use crate::graph::{Expiry, Inspection, ProofMode, TokenKind, explain};
use crate::token::{ErrorKind, ProofAnswer};
use crate::types::{Rfc3339Timestamp, error_chain};

const DAY: u64 = 24 * 60 * 60;
/// A token that expires within this time is warned of if nothing renews it.
const SOON: Duration = Duration::from_secs(7 * DAY);
/// What a page's or a person's token is to be replaced by.
const SYSTEM_USER: &str = "Generate a system user's token: business.facebook.com > Settings > System users.";

/// The findings about a tenant.
pub(super) fn diagnose(facts: &Facts, config: &Config, now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<_> = facts.sources.iter().map(source_finding).collect();
    let Some(token) = &facts.token else {
        findings.push(Finding::bad("token", "no_token", "no source has a token"));
        findings.extend(app_finding(facts, config));
        return findings;
    };
    findings.extend(token_findings(facts, token, config, now));
    findings.extend(scope_finding(token));
    findings.extend(app_finding(facts, config));
    if !matches!(facts.app, Some(Err(_))) {
        findings.extend(proof_finding(token, config));
    }
    findings.extend(number_findings(facts, token));
    findings
}

fn source_finding(SourceFacts { source, loaded }: &SourceFacts) -> Finding {
    match loaded {
        Ok(token) => Finding::good("source", format!("{source}: token {}", token.secret.fingerprint())),
        Err(error) => {
            let message = format!("{source}: {}", error_chain(error));
            Finding::new(Level::Warning, "source", "source_failed", message)
        }
    }
}

/// The findings about the token itself: whether it is valid, what kind it is, when it ends.
fn token_findings(facts: &Facts, token: &TokenFacts, config: &Config, now: SystemTime) -> Vec<Finding> {
    let fingerprint = token.token.secret.fingerprint();
    let end = match token.end() {
        Expiry::At(at) => match at.duration_since(now) {
            Ok(left) if left.as_secs() / DAY == 1 => format!("expires {}, in 1 day", Rfc3339Timestamp(at)),
            Ok(left) => format!("expires {}, in {} days", Rfc3339Timestamp(at), left.as_secs() / DAY),
            Err(_past) => format!("expired {}", Rfc3339Timestamp(at)),
        },
        Expiry::Never => "never expires".to_owned(),
        Expiry::Unknown => "its end is unknown".to_owned(),
    };
    let is_near = |end: Expiry| end.as_system_time().is_some_and(|at| at < now + SOON);
    let inspection = match &token.inspection {
        None => {
            let message = format!("{fingerprint}, Graph was not asked about it, {end}");
            return vec![if is_near(token.end()) {
                Finding::new(Level::Warning, "token", "expires_soon", message)
            } else {
                Finding::good("token", message)
            }];
        }
        Some(Err(error)) => {
            let message = format!(
                "{fingerprint}: Graph could not be asked about it: {}",
                error_chain(error)
            );
            return vec![Finding::new(Level::Warning, "token", "not_asked", message)];
        }
        Some(Ok(inspection)) => inspection,
    };
    if let Some(error) = &inspection.error {
        let explanation = explain(error);
        let message = format!("{fingerprint}: {}", explanation.summary);
        return vec![Finding::bad("token", "token_invalid", message).advise(explanation.remediation)];
    }
    let kind = inspection.kind.map_or("unknown", kind_name);
    let app = inspection.app_id.as_deref().unwrap_or("unknown");
    let mut findings = vec![Finding::good(
        "token",
        format!("{fingerprint}, kind: {kind}, app: {app}, {end}"),
    )];
    findings.extend(kind_finding(inspection, token));
    // A wrong secret hides each token from the app.
    let is_of_other_app = token.is_hidden_from_app && matches!(facts.app, Some(Ok(())));
    if let Some(configured) = config.app.id.as_deref()
        && (is_of_other_app || inspection.app_id.as_deref().is_some_and(|own| own != configured))
    {
        let message = format!("it belongs to another app than app.id, {configured}");
        let finding = Finding::bad("token", "token_of_other_app", message);
        findings
            .push(finding.advise("Set app.id and app.secret to those of its app, or generate a token for this app."));
    }
    if is_near(token.end()) && config.token.renew.is_none() {
        let message = "it expires soon, and nothing renews it";
        let finding = Finding::new(Level::Warning, "token", "expires_soon", message);
        findings.push(finding.advise("Set token.renew, or put a new token into its source in time."));
    }
    if is_near(inspection.data_access_expires_at) {
        let message = "its access to the user's data ends within a week";
        let finding = Finding::new(Level::Warning, "token", "data_access_expires_soon", message);
        findings.push(finding.advise("The token's user must log in to the app again, or use a system user's token."));
    }
    findings
}

/// What is wrong with the kind of a token.
fn kind_finding(inspection: &Inspection, token: &TokenFacts) -> Option<Finding> {
    let (level, code, message) = match inspection.kind? {
        TokenKind::SystemUser => return None,
        TokenKind::App => (Level::Bad, "app_token", "an app's token sends no messages"),
        TokenKind::Page if is_for_whatsapp(token) => {
            (Level::Bad, "page_token", "a page's token sends no WhatsApp messages")
        }
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

/// Whether a token is meant for WhatsApp: it has one of its permissions, or a phone number is named.
fn is_for_whatsapp(token: &TokenFacts) -> bool {
    let scopes = token.inspection().and_then(|inspection| inspection.scopes.as_ref());
    let mut scopes = scopes.into_iter().flatten();
    scopes.any(|scope| scope.starts_with("whatsapp_business_")) || token.numbers.iter().any(|number| number.is_named)
}

fn scope_finding(token: &TokenFacts) -> Option<Finding> {
    let inspection = token.inspection().filter(|inspection| inspection.error.is_none())?;
    let scopes = inspection
        .scopes
        .as_ref()
        .filter(|_| inspection.kind != Some(TokenKind::App))?;
    let missing = inspection.missing_scopes();
    Some(if missing.is_empty() {
        Finding::good("scopes", scopes.join(", "))
    } else if is_for_whatsapp(token) {
        let finding = Finding::bad("scopes", "missing_scopes", format!("missing: {}", missing.join(", ")));
        finding.advise("Generate a new token with these permissions; those of a token do not change.")
    } else {
        let message = format!("{}; none for WhatsApp", scopes.join(", "));
        Finding::new(Level::Note, "scopes", "no_whatsapp_scopes", message)
    })
}

fn app_finding(facts: &Facts, config: &Config) -> Option<Finding> {
    let Some(answer) = &facts.app else {
        let is_whole = config.app.id.is_some() && config.app.secret.is_some();
        let message = "app.id and app.secret are not both set: no renewals, and Graph may not say when the token ends";
        return (!is_whole).then(|| Finding::new(Level::Note, "app", "no_app", message));
    };
    let id = config.app.id.as_deref().unwrap_or_default();
    Some(match answer {
        Ok(()) => Finding::good("app", format!("{id}, and the secret is right")),
        Err(error) if error.reason() == UNREADABLE => Finding::bad("app", "app_secret_unreadable", error.to_string()),
        Err(error) if error.kind() == ErrorKind::Transient => {
            let message = format!("Graph could not be asked about the app {id}: {}", error_chain(error));
            Finding::new(Level::Warning, "app", "not_asked", message)
        }
        Err(error) => {
            let message = format!("app.secret is not that of the app {id}: {}", error_chain(error));
            let finding = Finding::bad("app", "app_secret_wrong", message);
            finding.advise("Copy both from developers.facebook.com/apps > App settings > Basic.")
        }
    })
}

fn proof_finding(token: &TokenFacts, config: &Config) -> Option<Finding> {
    let answer = token.proof.filter(|_| config.app.secret.is_some())?;
    Some(match answer {
        _ if config.app.proof == ProofMode::Off => Finding::new(Level::Note, "proof", "proof_off", "off (app.proof)"),
        ProofAnswer::Accepted => Finding::good("proof", "on: Graph accepts the appsecret_proof"),
        ProofAnswer::OnlyWithout | ProofAnswer::Refused => {
            let message = "Graph refuses the appsecret_proof that app.secret makes for this token";
            let finding = Finding::bad("proof", "proof_refused", message);
            finding.advise("Set app.secret to the secret of the app that the token belongs to.")
        }
        ProofAnswer::Unknown => {
            let message = "Graph did not say whether it accepts the appsecret_proof";
            Finding::new(Level::Note, "proof", "not_asked", message)
        }
    })
}
