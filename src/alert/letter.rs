//! What the webhook is sent.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::token::{Alert, AlertCause};
use crate::types::Rfc3339Timestamp;

/// A notice as JSON: `text` for Slack and whoever speaks like it, all else for programs.
pub(super) fn letter(notice: &Alert, rung: SystemTime) -> String {
    let (tenant, cause) = (notice.tenant.as_str(), notice.cause);
    let (happened, action) = (sentence(&notice.summary), sentence(&notice.remediation));
    let mut letter = json!({
        "text": escaped(&format!("{happened} {action} (graphward, tenant {tenant})")),
        "tenant": tenant,
        "cause": cause.label(),
        "severity": severity(cause),
        "summary": notice.summary,
        "remediation": notice.remediation,
        "at": Rfc3339Timestamp(rung).to_string(),
    });
    if let (Some(days), Value::Object(members)) = (days(cause), &mut letter) {
        members.insert("days".to_owned(), days.into());
    }
    letter.to_string()
}

/// Within how many days it ends, if it is about an end.
pub(super) const fn days(cause: AlertCause) -> Option<u8> {
    match cause {
        AlertCause::Expiry(days) | AlertCause::DataAccess(days) => Some(days),
        AlertCause::Rejected
        | AlertCause::ActionRequired
        | AlertCause::RenewalFailed
        | AlertCause::SourceTokenRejected
        | AlertCause::ScopesMissing
        | AlertCause::StoreFailed => None,
    }
}

/// As in `config/prometheus/alerts.yaml`: what is worth waking somebody for, and what is worth a ticket.
const fn severity(cause: AlertCause) -> &'static str {
    match cause {
        AlertCause::Expiry(..=3)
        | AlertCause::DataAccess(..=3)
        | AlertCause::Rejected
        | AlertCause::ActionRequired
        | AlertCause::StoreFailed => "page",
        AlertCause::Expiry(_)
        | AlertCause::DataAccess(_)
        | AlertCause::RenewalFailed
        | AlertCause::SourceTokenRejected
        | AlertCause::ScopesMissing => "ticket",
    }
}

/// Ends a sentence that does not end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{text}{end}")
}

/// The three characters with which Slack makes links, mentions and entities.
/// See <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::TenantId;

    fn read(cause: AlertCause, happened: &str, action: &str) -> Value {
        let notice = Alert {
            tenant: TenantId::new("shop").unwrap(),
            cause,
            summary: happened.to_owned(),
            remediation: action.to_owned(),
        };
        let rung = SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_276_800);
        serde_json::from_str(&letter(&notice, rung)).unwrap()
    }

    #[test]
    fn a_letter_says_who_must_do_what_to_people_and_the_same_to_programs() {
        let letter = read(
            AlertCause::Expiry(7),
            "The token ends in 7 days",
            "An admin of the business makes a new one.",
        );
        let expected = json!({
            "text": "The token ends in 7 days. An admin of the business makes a new one. (graphward, tenant shop)",
            "tenant": "shop",
            "cause": "expiry",
            "days": 7,
            "severity": "ticket",
            "summary": "The token ends in 7 days",
            "remediation": "An admin of the business makes a new one.",
            "at": "2025-10-01T00:00:00Z",
        });
        assert_eq!(letter, expected);
        assert_eq!(read(AlertCause::Expiry(3), "a", "b")["severity"], "page");
        assert_eq!(read(AlertCause::Rejected, "a", "b")["severity"], "page");
        assert!(read(AlertCause::Rejected, "a", "b").get("days").is_none());
    }

    #[test]
    fn no_name_of_a_file_calls_the_whole_channel() {
        let letter = read(AlertCause::StoreFailed, "file <!channel>&\"\n is full", "Make room");
        assert_eq!(
            letter["text"],
            "file &lt;!channel&gt;&amp;\"\n is full. Make room. (graphward, tenant shop)"
        );
        assert_eq!(letter["summary"], "file <!channel>&\"\n is full");
    }
}
