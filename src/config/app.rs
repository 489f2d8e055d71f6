//! `[app]`: the Meta app, as far as proofs and renewals need it. `secret = {}` is no secret.

use super::file::Value;
use super::layers::Layers;
use super::read::{choice, text};
use super::renew::id;
use super::secret::secret;
use super::settings::AppConfig;
use crate::graph::ProofMode;

pub(super) fn app(said: &mut Layers) -> AppConfig {
    let number = said.ask("app.id", None, |value| match text(value)? {
        "" => Ok(None),
        text => id(text).map(Some),
    });
    let secret = said.ask_whole("app.secret", None, |said, faults| {
        if matches!(&said.value, Value::Table(entries) if entries.is_empty()) {
            return Some(None);
        }
        secret("app.secret", said, faults).map(Some)
    });
    let proof = said.ask("app.proof", Some(ProofMode::PerToken), |value| {
        let words = [
            ("auto", Some(ProofMode::PerToken)),
            ("timed", Some(ProofMode::Timestamped)),
            ("off", None),
        ];
        choice(value, &words)
    });
    if secret.is_none() && proof == Some(ProofMode::Timestamped) {
        let what = "needs `app.secret`: a proof is made with it";
        said.contradiction(["app.proof", "app.secret"], what.to_owned());
    }
    AppConfig {
        id: number,
        secret,
        proof,
    }
}
