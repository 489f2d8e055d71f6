//! `[alerts]`: who is told.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::call::url;
use super::file::Value;
use super::layers::Layers;
use super::read::duration;
use super::secret::wording;
use super::settings::Alerts;

const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// Asks for every key of it.
pub(super) fn alerts(said: &mut Layers) -> Alerts {
    Alerts {
        url: said.ask_whole("alerts.url", None, |said, faults| {
            if matches!(&said.value, Value::Text(text) if text.is_empty()) {
                return Some(None);
            }
            wording("alerts.url", said, faults, open).map(Some)
        }),
        timeout: said.ask("alerts.timeout", Duration::from_secs(10), |value| {
            duration(value, &TIMEOUT)
        }),
    }
}

/// Whoever knows the address of a Slack webhook can write there; that is for its owner to weigh.
fn open(text: &str) -> Result<(), String> {
    url(text).map(drop)
}
