//! `[app]`: the Meta app, as far as proofs need it. `secret = {}` is no secret.

use std::path::PathBuf;

use super::fault::Fault;
use super::file::{Said, Value};
use super::layers::{Layers, shown};
use super::read::{choice, text};
use super::settings::{App, SecretPlace};
use super::source::{path, variable};
use crate::graph::Proving;

pub(super) fn app(said: &mut Layers) -> App {
    let secret = said.ask_whole("app.secret", None, |said, faults| {
        if matches!(&said.value, Value::Table(entries) if entries.is_empty()) {
            return Some(None);
        }
        secret("app.secret", said, faults).map(Some)
    });
    let proof = said.ask("app.proof", Some(Proving::Lasting), |value| {
        let words = [
            ("auto", Some(Proving::Lasting)),
            ("timed", Some(Proving::Timed)),
            ("off", None),
        ];
        choice(value, &words)
    });
    if secret.is_none() && proof == Some(Proving::Timed) {
        let what = "needs `app.secret`: a proof is made with it";
        said.contradiction(["app.proof", "app.secret"], what.to_owned());
    }
    App { secret, proof }
}

/// Where a secret is. It is never in the file itself, and what stands there instead is not repeated.
fn secret(key: &str, said: &Said, faults: &mut Vec<Fault>) -> Option<SecretPlace> {
    const NEVER: &str =
        "a secret never stands in the configuration itself (its value is not shown here): it";
    const WRITE: &str = "must be { file = \"/run/graphward/app-secret\" } or { env = \"NAME\" }";
    let before = faults.len();
    let mut wrong = |place, key: &str, what: &str| faults.push(Fault::new(place, key, what));
    let Value::Table(entries) = &said.value else {
        let what = if matches!(said.value, Value::Text(_)) {
            format!("{NEVER} {WRITE}")
        } else {
            format!("{WRITE}, not {}", said.value.kind())
        };
        wrong(&said.place, key, &what);
        return None;
    };
    let mut places = Vec::new();
    for entry in entries {
        let value = text(&entry.said.value);
        let place = match entry.key.as_str() {
            "file" => value
                .and_then(path)
                .map(|path| SecretPlace::File(PathBuf::from(path))),
            "env" => value.and_then(variable).map(SecretPlace::Env),
            _ => Err(format!("there is no such key; it {WRITE}")),
        };
        match place {
            Ok(place) => places.push(place),
            Err(what) => {
                let key = format!("{key}.{}", shown(&entry.key));
                wrong(&entry.said.place, &key, &what);
            }
        }
    }
    match (places.pop(), places.pop()) {
        (Some(place), None) if faults.len() == before => Some(place),
        _ if faults.len() > before => None,
        _ => {
            faults.push(Fault::new(&said.place, key, WRITE));
            None
        }
    }
}
