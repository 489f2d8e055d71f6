//! The value of `[token] source`: where the token is shown.

use std::path::PathBuf;

use super::fault::{Fault, NEVER_HERE, is_token};
use super::file::{Entry, Said, Value};
use super::layers::{holds_secret, shown};
use super::read::{nearest, text};
use super::settings::TokenSource;
use crate::source::decode::Format;

/// The keys of a source's table.
pub(super) const KEYS: [&str; 4] = ["env", "file", "key", "pointer"];

/// Reads a source. Its values are never part of a message: the commonest mistake is to write the token here.
pub(super) fn source(said: &Said, faults: &mut Vec<Fault>) -> Option<TokenSource> {
    let before = faults.len();
    let entries = match &said.value {
        Value::Table(entries) => entries,
        Value::Text(_) => {
            faults.push(Fault::new(&said.place, "token.source", NEVER_HERE));
            return None;
        }
        other @ (Value::Number(_)
        | Value::Switch(_)
        | Value::List(_)
        | Value::Fraction
        | Value::Date) => {
            let what = format!("{WRITE}, not {}", other.kind());
            faults.push(Fault::new(&said.place, "token.source", what));
            return None;
        }
    };
    let mut parts = Parts::default();
    for entry in entries {
        if let Err(what) = parts.take(entry) {
            let key = format!("token.source.{}", shown(&entry.key));
            faults.push(Fault::new(&entry.said.place, &key, what));
        }
    }
    if faults.len() > before {
        return None;
    }
    parts
        .join()
        .map_err(|what| faults.push(Fault::new(&said.place, "token.source", what)))
        .ok()
}

const WRITE: &str = "must be one table, { file = \"/run/graphward/token\" } or { env = \"NAME\" }";

#[derive(Default)]
struct Parts {
    file: Option<PathBuf>,
    env: Option<String>,
    key: Option<String>,
    pointer: Option<String>,
}

impl Parts {
    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let value = &entry.said.value;
        match entry.key.as_str() {
            "file" => self.file = Some(PathBuf::from(path(text(value)?)?)),
            "env" => self.env = Some(variable(text(value)?)?),
            "key" => self.key = Some(line_key(text(value)?)?),
            "pointer" => self.pointer = Some(pointer(text(value)?)?),
            unknown if holds_secret(unknown, value) => return Err(NEVER_HERE.to_owned()),
            unknown => {
                return Err(match nearest(unknown, KEYS.into_iter()) {
                    Some(meant) => format!("there is no such key; did you mean `{meant}`?"),
                    None => format!("there is no such key; a source has {}", KEYS.join(", ")),
                });
            }
        }
        Ok(())
    }

    fn join(self) -> Result<TokenSource, String> {
        let format = match (self.key, self.pointer) {
            (Some(_), Some(_)) => {
                return Err("has both `key`, for KEY=value lines, and `pointer`, for JSON: keep the one that the file \
                     is"
                    .to_owned());
            }
            (Some(key), None) => Format::Key(key),
            (None, Some(pointer)) => Format::Pointer(pointer),
            (None, None) => Format::Raw,
        };
        match (self.file, self.env) {
            (Some(path), None) => Ok(TokenSource::File { path, format }),
            (None, Some(name)) if format == Format::Raw => Ok(TokenSource::Env { name }),
            (None, Some(_)) => {
                Err("has `key` or `pointer`, which only a `file` may have".to_owned())
            }
            (Some(_), Some(_)) => {
                Err("has both `file` and `env`: the token has one source".to_owned())
            }
            (None, None) => Err(WRITE.to_owned()),
        }
    }
}

/// The path of a file, and no token.
pub(super) fn path(text: &str) -> Result<&str, String> {
    if is_token(text) {
        return Err(NEVER_HERE.to_owned());
    }
    if text.is_empty() || text.contains('\0') {
        return Err("must be the path of a file".to_owned());
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
        Err(
            "must be the name of an environment variable (letters, digits and _), not its value"
                .to_owned(),
        )
    }
}

fn line_key(text: &str) -> Result<String, String> {
    if is_token(text) {
        return Err(NEVER_HERE.to_owned());
    }
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if fits && (1..=100).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(
            "must be what stands before the = in the file, such as \"WHATSAPP_ACCESS_TOKEN\""
                .to_owned(),
        )
    }
}

/// RFC 6901, less the empty pointer: a whole document that is one JSON string is nobody's token file.
fn pointer(text: &str) -> Result<String, String> {
    let escapes_well = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && escapes_well {
        Ok(text.to_owned())
    } else {
        Err("must be a JSON pointer, such as \"/access_token\" or \"/data/token\"".to_owned())
    }
}
