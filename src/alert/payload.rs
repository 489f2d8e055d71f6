//! The JSON that the webhook receives.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::token::Alert;
use crate::types::Rfc3339Timestamp;

/// Writes an alert as JSON: `text` for Slack and compatible webhooks, the other members for programs.
pub(super) fn payload(alert: &Alert, sent_at: SystemTime) -> String {
    let [summary, remediation] = [&alert.summary, &alert.remediation].map(|text| text.trim().trim_end_matches('.'));
    let text = format!("{summary}. {remediation}. (graphward, tenant {})", alert.key.tenant);
    let mut payload = json!({
        // Slack makes links, mentions and entities with these three characters.
        // See <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
        "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
        "tenant": alert.key.tenant.as_str(),
        "cause": alert.key.cause.label(),
        "severity": alert.key.cause.severity(),
        "summary": alert.summary,
        "remediation": alert.remediation,
        "at": Rfc3339Timestamp(sent_at).to_string(),
    });
    if let (Some(days), Value::Object(members)) = (alert.key.cause.days(), &mut payload) {
        members.insert("days".to_owned(), days.into());
    }
    payload.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::token::{AlertCause, AlertKey};
    use crate::types::TenantId;

    fn read(cause: AlertCause, summary: &str, remediation: &str) -> Value {
        let alert = Alert {
            key: AlertKey {
                tenant: TenantId::new("shop").unwrap(),
                cause,
                reason: String::new(),
            },
            summary: summary.to_owned(),
            remediation: remediation.to_owned(),
        };
        let sent_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_759_276_800);
        serde_json::from_str(&payload(&alert, sent_at)).unwrap()
    }

    #[test]
    fn a_payload_says_what_happened_and_what_to_do_to_people_and_to_programs() {
        let payload = read(
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
        assert_eq!(payload, expected);
        assert_eq!(read(AlertCause::Expiry(3), "a", "b")["severity"], "page");
        assert_eq!(read(AlertCause::Rejected, "a", "b")["severity"], "page");
        assert!(read(AlertCause::Rejected, "a", "b").get("days").is_none());
    }

    #[test]
    fn a_file_name_cannot_mention_the_whole_channel() {
        let payload = read(AlertCause::StoreFailed, "file <!channel>&\"\n is full", "Make room");
        assert_eq!(
            payload["text"],
            "file &lt;!channel&gt;&amp;\"\n is full. Make room. (graphward, tenant shop)"
        );
        assert_eq!(payload["summary"], "file <!channel>&\"\n is full");
    }
}
