//! `[alerts]`: who is told.

use super::call::url;
use super::file::Value;
use super::layers::Layers;
use super::secret::wording;
use super::settings::AlertConfig;

/// Asks for every key of it.
pub(super) fn alerts(said: &mut Layers) -> AlertConfig {
    AlertConfig {
        url: said.ask_whole("alerts.url", None, |said, faults| {
            if matches!(&said.value, Value::Text(text) if text.is_empty()) {
                return Some(None);
            }
            // Whoever knows the address of a Slack webhook can write there; that is for its owner to weigh.
            wording("alerts.url", said, faults, |text| url(text).map(drop)).map(Some)
        }),
    }
}
