//! Alerts for people: besides the log, a webhook gets them.
//!
//! ```text
//!   refresher ──send──▶ AlertSender ──bounded channel──▶ Webhook ──POST──▶ Slack, or an internal service
//! ```
//!
//! [`AlertSender::send`] never waits. The [`Webhook`] is a task that delivers one alert or digest at a time: 2xx is a delivery; after
//! no response, 408, 425, 429 and 5xx it retries, up to eight attempts in about an hour; after any other status it gives up.
//!
//! # Why
//!
//! * The refresher reports the same problem all day, so a cause, with its day threshold or its reason, is delivered once in 24
//!   hours for each tenant. Another reason is another problem; beyond eight reasons, a cause has become noise. Only a delivery
//!   suppresses: after a failure the next alert is sent, but not within ten minutes.
//! * When a key is lost or an app is disabled, the tokens of thousands of tenants die in a minute. So alerts of the same cause
//!   and reason are one delivery, a digest: the first waits a quarter of a second for others, and after a delivery the next one comes
//!   30 seconds later. What was told is remembered for each tenant.
//! * Channel and queue are bounded: a newer alert of the same cause and reason replaces the older one, and beyond 16,384 the oldest is
//!   dropped, because the newest describes the present. Alerts with fewer attempts go first, so that a dead webhook does
//!   not hold up a new alert.
//! * The day is measured on the monotonic clock, so that setting the clock back cannot silence a cause.
//! * A restart, and replicas that share the directory for state, remember what was delivered, in a file; replicas that read
//!   the same row, in the database. Both are only a hint: if it is lost or stale, an alert is sent twice.
//! * The webhook may receive an alert twice: after a timeout graphward cannot know whether the first one arrived.
//! * The URL is a secret, because anyone who has it may write to the channel: only its scheme and host are ever shown.
//!   Redirects are not followed, and at most one word of the webhook's response is logged, because it may repeat the URL.

mod endpoint;
mod memory;
mod payload;
mod queue;
mod webhook;

pub use endpoint::WebhookUrlError;
pub use memory::{AlertMemory, NoticeMemory};
pub use webhook::{AlertSender, Webhook};

use crate::types::MaybeSecret;

/// Where alerts are sent.
#[derive(Clone, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// The webhook's URL, or a reference to it if it is a secret.
    #[schemars(extend("format" = "service-url"))]
    pub url: Option<MaybeSecret>,
}
