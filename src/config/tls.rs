//! The value of `[listen] tls`: a certificate and its key.

use std::path::PathBuf;

use super::fault::Fault;
use super::file::{Entry, Said, Value};
use super::layers::shown;
use super::read::{nearest, text};
use super::settings::TlsFiles;

const KEYS: [&str; 2] = ["cert", "key"];
const WRITE: &str = "must be { cert = \"cert.pem\", key = \"key.pem\" }, two PEM files (`graphward ca` makes some)";

/// Reads the files; both may be `""`, for none.
pub(super) fn tls_files(said: &Said, faults: &mut Vec<Fault>) -> Option<Option<TlsFiles>> {
    const KEY: &str = "listen.tls";
    let Value::Table(entries) = &said.value else {
        let what = format!("{WRITE}, not {}", said.value.kind());
        faults.push(Fault::new(&said.place, KEY, what));
        return None;
    };
    let before = faults.len();
    let (mut cert, mut key) = (PathBuf::new(), PathBuf::new());
    for entry in entries {
        match path(entry) {
            Ok(path) if entry.key == "cert" => cert = path,
            Ok(path) => key = path,
            Err(what) => {
                let key = format!("{KEY}.{}", shown(&entry.key));
                faults.push(Fault::new(&entry.said.place, &key, what));
            }
        }
    }
    if faults.len() > before {
        return None;
    }
    match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (true, true) => Some(None),
        (false, false) => Some(Some(TlsFiles { cert, key })),
        (true, false) | (false, true) => {
            faults.push(Fault::new(&said.place, KEY, WRITE));
            None
        }
    }
}

fn path(Entry { key, said }: &Entry) -> Result<PathBuf, String> {
    if !KEYS.contains(&key.as_str()) {
        return Err(match nearest(key, KEYS.into_iter()) {
            Some(meant) => format!("there is no such key; did you mean `{meant}`?"),
            None => format!("there is no such key; it has {}", KEYS.join(" and ")),
        });
    }
    let path = text(&said.value)?;
    if path.contains("-----BEGIN") {
        // Nothing of it is repeated: it may be the key.
        return Err("must be the path of a file, not what is in it".to_owned());
    }
    Ok(PathBuf::from(path))
}
