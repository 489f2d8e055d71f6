//! `[token]`: the life of a token.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::Fault;
use super::file::{Said, Value};
use super::layers::Layers;
use super::read::{duration, switch, text};
use super::renew::renew;
use super::secret::path;
use super::settings::{AppConfig, RenewerConfig, StoreConfig, TokenConfig, TokenSource};
use super::source::{fernet_keys, sources};
use super::table::Table;
use crate::source::decode::Format;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A token of Graph's lasts sixty days.
const EARLY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60 * 24 * 60 * 60);

/// Asks for every key of it.
pub(super) fn token(said: &mut Layers) -> TokenConfig {
    let usual = TokenSource::File {
        path: PathBuf::from("/run/graphward/token"),
        format: Format::Raw,
        fernet_keys: Vec::new(),
    };
    TokenConfig {
        sources: said.ask_whole("token.source", vec![usual], sources),
        renew: said.ask_whole("token.renew", None, renew),
        store: said.ask_whole("token.store", None, store),
        verify: said.ask("token.verify", true, switch),
        renew_before: said.ask("token.renew_before", 10 * DAY, |value| duration(value, &EARLY)),
    }
}

/// What must agree with the app, and with itself.
pub(super) fn check(token: &TokenConfig, app: &AppConfig, said: &mut Layers) {
    let kept = token.store.as_ref().map(|store| &store.path);
    let is_kept = |source: &TokenSource| matches!(source, TokenSource::File { path, .. } if Some(path) == kept);
    if token.sources.iter().any(is_kept) {
        let what = "is the file of a source, whose token a renewal would write over: name another file";
        said.contradiction(["token.store", "token.source"], what.to_owned());
    }
    let way = match &token.renew {
        Some(RenewerConfig::Exchange { .. }) => "exchange",
        Some(RenewerConfig::Mint { .. }) => "mint",
        Some(RenewerConfig::Instagram | RenewerConfig::Threads | RenewerConfig::Http(_) | RenewerConfig::Exec(_))
        | None => {
            return;
        }
    };
    let keys = [("app.id", app.id.is_some()), ("app.secret", app.secret.is_some())];
    for (key, is_there) in keys {
        if !is_there {
            let what = format!("`{way}` is done in the app's name: it needs `{key}`");
            said.contradiction(["token.renew", key], what);
        }
    }
}

/// Where renewed tokens are kept; `{}` is nowhere.
fn store(said: &Said, faults: &mut Vec<Fault>) -> Option<Option<StoreConfig>> {
    const WRITE: &str = "must be { file = \"/var/lib/graphward/token\" }";
    if matches!(&said.value, Value::Table(entries) if entries.is_empty()) {
        return Some(None);
    }
    let mut table = Table::open("token.store", said, WRITE, faults)?;
    let path = table.need("file", |value| Ok(PathBuf::from(path(text(value)?)?)));
    let fernet_keys = fernet_keys(&mut table);
    if !table.close(&[]) {
        return None;
    }
    Some(Some(StoreConfig {
        path: path?,
        fernet_keys: fernet_keys?,
    }))
}
