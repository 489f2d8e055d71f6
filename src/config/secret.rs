//! Where a secret is: `{ file = … }` or `{ env = … }`, never the secret itself, and what stands there instead is not
//! repeated.

use std::path::PathBuf;

use super::fault::{Fault, NEVER_HERE, is_token};
use super::file::{Said, Value};
use super::layers::shown;
use super::read::text;
use super::settings::{MaybeSecret, SecretRef};

const NEVER: &str = "a secret never stands in the configuration itself (its value is not shown here): it";
const WRITE: &str = "must be { file = \"/run/graphward/secret\" } or { env = \"NAME\" }";

/// Reads the place of a secret.
pub(super) fn secret(key: &str, said: &Said, faults: &mut Vec<Fault>) -> Option<SecretRef> {
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
            "file" => value.and_then(path).map(|path| SecretRef::File(PathBuf::from(path))),
            "env" => value.and_then(variable).map(SecretRef::Env),
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

/// Reads one place of a secret, or a list of them.
pub(super) fn secrets(key: &str, said: &Said, faults: &mut Vec<Fault>) -> Option<Vec<SecretRef>> {
    let Value::List(items) = &said.value else {
        return secret(key, said, faults).map(|one| vec![one]);
    };
    if items.is_empty() {
        let what = "must be one place of a key, or several: the first encrypts, all decrypt";
        faults.push(Fault::new(&said.place, key, what));
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| secret(key, item, faults)).collect();
    read.into_iter().collect()
}

/// Reads a text, or the place of one that is a secret; `open` says why a text has to be a secret, or cannot be meant.
pub(super) fn wording(
    key: &str,
    said: &Said,
    faults: &mut Vec<Fault>,
    open: impl FnOnce(&str) -> Result<(), String>,
) -> Option<MaybeSecret> {
    let Value::Text(text) = &said.value else {
        return secret(key, said, faults).map(MaybeSecret::Ref);
    };
    match open(text) {
        Ok(()) => Some(MaybeSecret::Inline(text.clone())),
        Err(what) => {
            faults.push(Fault::new(&said.place, key, what));
            None
        }
    }
}

/// What is said of a text that holds a secret and may not.
pub(super) fn elsewhere(why: &str) -> String {
    format!("{why}, and {NEVER} {WRITE}")
}

/// The path of a file, and no token.
pub(super) fn path(text: &str) -> Result<&str, String> {
    if is_token(text) {
        return Err(NEVER_HERE.to_owned());
    }
    // A webhook's address, say, or a database's with its password.
    if text.is_empty() || text.contains('\0') || text.contains("://") {
        return Err("must be the path of a file, not what is in it".to_owned());
    }
    Ok(text)
}

/// The name of a variable, and no token.
pub(super) fn variable(text: &str) -> Result<String, String> {
    if is_token(text) {
        return Err(NEVER_HERE.to_owned());
    }
    let mut bytes = text.bytes();
    let starts = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let fits = text.len() <= 100 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts && fits {
        Ok(text.to_owned())
    } else {
        Err("must be the name of an environment variable (letters, digits and _), not its value".to_owned())
    }
}
