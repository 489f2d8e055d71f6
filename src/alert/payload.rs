//! The JSON that the webhook receives.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::queue::Batch;
use crate::token::Alert;
use crate::types::Rfc3339Timestamp;

/// The most tenants that a digest names.
const MAX_NAMED: usize = 10;

/// Writes the alerts of a batch as JSON: `text` for Slack and compatible webhooks, the other members for programs. One alert
/// is about its tenant, several are a digest.
pub(super) fn payload(batch: &Batch) -> String {
    let mut alerts = batch.alerts();
    let Some(first) = alerts.next() else {
        return String::new();
    };
    if batch.len() == 1 {
        return Value::Object(single(&first.alert, first.received_at)).to_string();
    }
    let tenants: Vec<_> = batch.keys().map(|key| key.tenant.as_str()).take(MAX_NAMED).collect();
    let rest = batch.len() - tenants.len();
    let rest = if rest == 0 {
        String::new()
    } else {
        format!(" and {rest} more")
    };
    let digest = Alert {
        key: first.alert.key.clone(),
        summary: format!(
            "{}: {}{rest}.",
            batch.topic.cause.digest(batch.len()),
            tenants.join(", ")
        ),
        remediation: format!("For {}: {}", tenants.first().unwrap_or(&""), first.alert.remediation),
    };
    let mut payload = members(&digest, "", first.received_at);
    payload.insert("tenants".to_owned(), tenants.into());
    payload.insert("tenant_count".to_owned(), batch.len().into());
    Value::Object(payload).to_string()
}

fn single(alert: &Alert, sent_at: SystemTime) -> Map<String, Value> {
    let tenant = alert.key.tenant.name();
    let suffix = tenant.map(|tenant| format!(", tenant {tenant}"));
    let mut payload = members(alert, &suffix.unwrap_or_default(), sent_at);
    if let Some(tenant) = tenant {
        payload.insert("tenant".to_owned(), tenant.into());
    }
    payload
}

/// The members that one alert and a digest have.
fn members(alert: &Alert, tenant: &str, sent_at: SystemTime) -> Map<String, Value> {
    let [summary, remediation] = [&alert.summary, &alert.remediation].map(|text| text.trim().trim_end_matches('.'));
    let text = format!("{summary}. {remediation}. (graphward{tenant})");
    // Slack makes links, mentions and entities with these three characters.
    // See <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let members = [
        ("text", text),
        ("cause", alert.key.cause.label().to_owned()),
        ("severity", alert.key.cause.severity().to_owned()),
        ("summary", alert.summary.clone()),
        ("remediation", alert.remediation.clone()),
        ("at", Rfc3339Timestamp(sent_at).to_string()),
    ];
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let days = alert.key.cause.days().map(|days| ("days".to_owned(), days.into()));
    members.chain(days).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

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
        Value::Object(single(&alert, sent_at))
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
