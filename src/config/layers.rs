//! File, environment and flags laid over each other, asked key by key.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, NEVER_HERE, is_token, might_be_secret};
use super::file::{Entry, Said, Value};
use super::place::Provenance;
use super::read::nearest;

/// What was said, by key; what was asked for; and what was wrong with it.
#[derive(Default)]
pub(super) struct Layers {
    /// Lowest layer first.
    said: BTreeMap<String, Vec<Said>>,
    /// The file's top-level keys that are tables, and those that are not.
    sections: Vec<(String, Provenance)>,
    strays: Vec<Entry>,
    asked: BTreeSet<&'static str>,
    doubtful: BTreeSet<&'static str>,
    places: BTreeMap<&'static str, Provenance>,
    faults: Vec<Fault>,
}

impl Layers {
    /// The lowest layer: a file's top-level keys.
    pub(super) fn new(file: Vec<Entry>) -> Self {
        let mut layers = Self::default();
        for Entry { key: section, said } in file {
            match said.value {
                Value::Table(entries) => {
                    for Entry { key, said } in entries {
                        layers.said.insert(format!("{section}.{key}"), vec![said]);
                    }
                    layers.sections.push((section, said.place));
                }
                value @ (Value::Text(_)
                | Value::Number(_)
                | Value::Switch(_)
                | Value::List(_)
                | Value::Fraction
                | Value::Date) => {
                    let place = said.place;
                    let said = Said { place, value };
                    layers.strays.push(Entry { key: section, said });
                }
            }
        }
        layers
    }

    /// Lays one more value over what was said so far.
    pub(super) fn over(&mut self, key: &str, place: Provenance, value: Value) {
        let said = Said { place, value };
        self.said.entry(key.to_owned()).or_default().push(said);
    }

    /// Asks for a key. Every layer's value is read, and the highest one counts: one that is wrong is a fault
    /// even where a higher layer hides it, since it will not stay hidden.
    pub(super) fn ask<T>(&mut self, key: &'static str, default: T, read: impl Fn(&Value) -> Result<T, String>) -> T {
        self.ask_whole(key, default, |said, faults| match read(&said.value) {
            Ok(value) => Some(value),
            Err(what) => {
                faults.push(Fault::new(&said.place, key, what));
                None
            }
        })
    }

    /// Asks for a key whose value has parts, each with a place and faults of its own. `None` is a value not
    /// understood, with at least one fault to say why.
    pub(super) fn ask_whole<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&Said, &mut Vec<Fault>) -> Option<T>,
    ) -> T {
        self.asked.insert(key);
        let mut answer = default;
        for said in self.said.remove(key).unwrap_or_default() {
            match read(&said, &mut self.faults) {
                Some(value) => {
                    self.places.insert(key, said.place);
                    answer = value;
                }
                None => drop(self.doubtful.insert(key)),
            }
        }
        answer
    }

    /// Two keys that contradict each other: a fault where the first of them was said, or the second. Not said
    /// when one of them was not understood, as it is the default then that was compared.
    pub(super) fn contradiction(&mut self, keys: [&'static str; 2], what: String) {
        if keys.iter().any(|key| self.doubtful.contains(key)) {
            return;
        }
        let said = keys.iter().find_map(|key| Some((*key, self.places.get(key)?)));
        let [first, _] = keys;
        let (key, place) = said.unwrap_or((first, &Provenance::Default));
        self.faults.push(Fault::new(place, key, what));
    }

    /// A fault that is nobody's value.
    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// When everything has been asked: where each value was said, or every fault. What nobody asked for is
    /// unknown.
    pub(super) fn close(mut self) -> Result<BTreeMap<&'static str, Provenance>, Vec<Fault>> {
        for (path, said) in &self.said {
            let (section, key) = path.split_once('.').unwrap_or((path, ""));
            if self.knows_section(section) {
                for said in said {
                    let what = self.unknown_key(section, key, &said.value);
                    self.faults.push(Fault::new(&said.place, &shown(path), what));
                }
            }
        }
        for (section, place) in &self.sections {
            if !self.knows_section(section) {
                let what = self.unknown_section(section);
                self.faults.push(Fault::new(place, &shown(section), what));
            }
        }
        for Entry { key, said } in &self.strays {
            let what = self.stray(key, &said.value);
            self.faults.push(Fault::new(&said.place, &shown(key), what));
        }
        if self.faults.is_empty() {
            Ok(self.places)
        } else {
            Err(self.faults)
        }
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    fn unknown_key(&self, section: &str, key: &str, value: &Value) -> String {
        if holds_secret(key, value) {
            return NEVER_HERE.to_owned();
        }
        let here = self.keys_of(section);
        if let Some(meant) = nearest(key, here.iter().copied()) {
            return format!("there is no such key; did you mean `{meant}`?");
        }
        self.elsewhere(key)
            .unwrap_or_else(|| format!("there is no such key; [{section}] has {}", here.join(", ")))
    }

    fn unknown_section(&self, section: &str) -> String {
        match nearest(section, self.section_names().into_iter()) {
            Some(meant) => format!("there is no such section; did you mean [{meant}]?"),
            None => format!("there is no such section; {}", self.list_sections()),
        }
    }

    fn stray(&self, key: &str, value: &Value) -> String {
        if holds_secret(key, value) {
            NEVER_HERE.to_owned()
        } else if self.knows_section(key) {
            format!("is a section: write [{key}], once, and its keys below it")
        } else {
            self.elsewhere(key)
                .unwrap_or_else(|| format!("there is no such key outside a section; {}", self.list_sections()))
        }
    }

    /// A key that stands, or nearly stands, in another section.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let halves = || self.asked.iter().filter_map(|path| path.split_once('.'));
        let meant = nearest(key, halves().map(|(_, key)| key))?;
        let (section, _) = halves().find(|(_, key)| *key == meant)?;
        Some(format!(
            "there is no such key here; did you mean `{meant}` under [{section}]?"
        ))
    }

    fn knows_section(&self, section: &str) -> bool {
        self.section_names().contains(section)
    }

    fn section_names(&self) -> BTreeSet<&'static str> {
        let halves = self.asked.iter().filter_map(|path| path.split_once('.'));
        halves.map(|(section, _)| section).collect()
    }

    fn list_sections(&self) -> String {
        let names: Vec<_> = self.section_names().into_iter().collect();
        format!("there are [{}]", names.join("], ["))
    }

    fn keys_of(&self, section: &str) -> Vec<&'static str> {
        let halves = self.asked.iter().filter_map(|path| path.split_once('.'));
        halves.filter(|(its, _)| *its == section).map(|(_, key)| key).collect()
    }
}

/// Whether an unknown key was given a secret, by its name or by its value.
pub(super) fn holds_secret(key: &str, value: &Value) -> bool {
    let key = key.to_lowercase();
    let named = matches!(key.as_str(), "token" | "secret" | "bearer")
        || ["access_token", "_secret", "password"]
            .iter()
            .any(|end| key.ends_with(end));
    match value {
        Value::Text(text) => named || is_token(text),
        Value::List(items) => items.iter().any(|item| holds_secret(&key, &item.value)),
        Value::Number(_) | Value::Switch(_) | Value::Table(_) | Value::Fraction | Value::Date => false,
    }
}

/// An unknown key as it may stand in a message: someone may have pasted a token for a key.
pub(super) fn shown(path: &str) -> String {
    if path.split('.').any(|key| key.len() >= 20 && might_be_secret(key)) {
        return "(a key not shown, as it may be a secret)".to_owned();
    }
    path.escape_debug().take(80).collect()
}
