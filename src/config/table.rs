//! A table within a value, asked key by key.
//!
//! # Why
//!
//! As with whole sections, a key is known because somebody asks for it. Which keys that are depends on others (a `file`
//! has a `key`, a service has `headers`), and so does what an unknown one was meant to be. No value is part of a message:
//! the commonest mistake is to write the secret where its place should stand.

use super::fault::{Fault, NEVER_HERE, is_token};
use super::file::{Entry, Said, Value};
use super::layers::{holds_secret, shown};
use super::place::Provenance;
use super::read::nearest;

/// A table, what was asked of it, and what was wrong with it.
pub(super) struct Table<'a> {
    key: String,
    place: &'a Provenance,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    faults: &'a mut Vec<Fault>,
    before: usize,
}

impl<'a> Table<'a> {
    /// The table that this value is, or a fault that says what to write.
    pub(super) fn open(key: &str, said: &'a Said, write: &str, faults: &'a mut Vec<Fault>) -> Option<Self> {
        let Value::Table(entries) = &said.value else {
            let what = if pasted(&said.value) {
                NEVER_HERE.to_owned()
            } else {
                format!("{write}, not {}", said.value.kind())
            };
            faults.push(Fault::new(&said.place, key, what));
            return None;
        };
        Some(Self {
            key: key.to_owned(),
            place: &said.place,
            entries,
            asked: Vec::new(),
            before: faults.len(),
            faults,
        })
    }

    /// The keys that were said.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Asks for a key; `None` if it is not there, or not understood.
    pub(super) fn ask<T>(&mut self, key: &'static str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        self.ask_whole(key, |said, key, faults| {
            let understood = if pasted(&said.value) {
                Err(NEVER_HERE.to_owned())
            } else {
                read(&said.value)
            };
            understood
                .map_err(|what| faults.push(Fault::new(&said.place, key, what)))
                .ok()
        })
    }

    /// Asks for a key whose value has parts, each with a place and faults of its own.
    pub(super) fn ask_whole<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Said, &str, &mut Vec<Fault>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let Entry { said, .. } = self.entries.iter().find(|entry| entry.key == key)?;
        read(said, &format!("{}.{key}", self.key), self.faults)
    }

    /// The same for a key that has to be there.
    pub(super) fn need<T>(&mut self, key: &'static str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        self.demand(key);
        self.ask(key, read)
    }

    /// Says that a key is missing, if it is.
    pub(super) fn demand(&mut self, key: &'static str) {
        if !self.keys().any(|said| said == key) {
            self.wrong(format!("lacks `{key}`"));
        }
    }

    /// A fault of the table as a whole.
    pub(super) fn wrong(&mut self, what: impl Into<String>) {
        self.faults.push(Fault::new(self.place, &self.key, what));
    }

    /// When everything has been asked: whether all was understood. What nobody asked for is unknown, and may have been
    /// meant to be one of `others`, too.
    pub(super) fn close(self, others: &[&'static str]) -> bool {
        for Entry { key, said } in self.entries {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let path = format!("{}.{}", self.key, shown(key));
            let what = self.unknown(key, &said.value, others);
            self.faults.push(Fault::new(&said.place, &path, what));
        }
        self.faults.len() == self.before
    }

    fn unknown(&self, key: &str, value: &Value, others: &[&'static str]) -> String {
        if holds_secret(key, value) {
            return NEVER_HERE.to_owned();
        }
        let known = || self.asked.iter().chain(others).copied();
        match nearest(key, known()) {
            Some(meant) if meant == key => {
                let first = self.asked.first().copied().unwrap_or_default();
                format!("does not go with `{first}`")
            }
            Some(meant) => format!("there is no such key; did you mean `{meant}`?"),
            None if self.asked.is_empty() => {
                format!("there is no such key; it has one of {}", others.join(", "))
            }
            None => format!("there is no such key; it has {}", self.asked.join(", ")),
        }
    }
}

/// Whether a token stands here.
fn pasted(value: &Value) -> bool {
    matches!(value, Value::Text(text) if is_token(text))
}

/// The one of these kinds that a table is. A fault if it is none (`write` says what may be written) or several (`several`
/// says why not); `others` are the keys that it may have beside.
pub(super) fn kind<'a, 'k>(
    mut table: Table<'a>,
    kinds: &'k [&'static str],
    others: &[&str],
    write: &str,
    several: &str,
) -> Option<(Table<'a>, &'k str)> {
    let here = |kind: &&&'static str| table.keys().any(|key| key == **kind);
    let said: Vec<_> = kinds.iter().filter(here).copied().collect();
    match said.as_slice() {
        [one] => {
            let one = kinds.iter().find(|kind| *kind == one)?;
            return Some((table, one));
        }
        // What it has may be a kind misspelt, which the fault of an unknown key says better.
        [] if table.keys().any(|key| !others.contains(&key)) => {
            table.close(kinds);
        }
        [] => table.wrong(write),
        several_kinds => table.wrong(format!("has `{}`, {several}", several_kinds.join("`, `"))),
    }
    None
}
