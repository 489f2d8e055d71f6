//! Who is told of a notice besides the log: a webhook.
//!
//! ```text
//!   refresher ──ring──▶ Bell ──▶ desk ──▶ Webhook ──POST──▶ Slack, or a service of the house
//! ```
//!
//! Whoever has a notice rings a [`AlertSender`], which costs a lock and waits for nobody; the [`Webhook`] is a task that sends.
//! It takes as delivered what was answered with 2xx, tries again what may pass (no answer, 408, 425, 429, 5xx), up to
//! eight times in about an hour, and gives up what will not.
//!
//! # Why
//!
//! * A notice says the same all day, so its cause, with its day threshold, is told once in 24 hours for each tenant. Only
//!   a delivery counts as told: what failed may be told at the next ring, but not within ten minutes.
//! * The place is bounded: a newer notice of the same cause takes the older one's place, and beyond 256 causes the oldest
//!   is dropped. Those tried least go first, so that a dead address does not hold up what is new.
//! * What was told is not kept over a restart: one notice too many is better than a file that can be lost, stale or full.
//! * A notice may come twice: a webhook that took it, and was too slow to say so, is asked again.
//! * The address is a secret, for whoever has it may write to the channel: only its scheme and host are ever shown. Redirects
//!   are not followed, and what the webhook answers is not logged but for a word, as it may repeat the address.

mod address;
mod bell;
mod desk;
mod letter;
mod moment;
mod pile;
mod webhook;

pub use address::WebhookUrlError;
pub use bell::AlertSender;
pub use webhook::{Webhook, WebhookSettings};
