//! Secrets that the configuration names, read once, at the start.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use crate::config::{App, SecretPlace, Wording, environment};
use crate::source::Fernet;
use crate::source::decode::{Format, MAX_DOCUMENT_BYTES, decode};
use crate::types::Secret;

/// Why a secret cannot be used: which one, from where, and what is wrong. Nothing of it is repeated.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {key} from {place}: {why}")]
pub struct SecretFault {
    /// The configuration's key.
    pub key: &'static str,
    /// Where it should be.
    pub place: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// The secret that is there.
pub(super) fn secret(key: &'static str, place: &SecretPlace) -> Result<Secret, SecretFault> {
    let bytes = bytes(key, place)?;
    decode(&bytes, &Format::Raw).map_err(|error| fault(key, place, error.to_string()))
}

/// The text that is here, or there.
pub(super) fn wording(key: &'static str, wording: &Wording) -> Result<Secret, SecretFault> {
    match wording {
        Wording::Elsewhere(place) => secret(key, place),
        Wording::Here(text) => Secret::new(text).map_err(|error| SecretFault {
            key,
            place: "the configuration".to_owned(),
            why: error.to_string(),
        }),
    }
}

/// What seals and opens, if there are keys.
pub(super) fn fernet(places: &[SecretPlace]) -> Result<Option<Fernet>, SecretFault> {
    const KEY: &str = "fernet_key";
    let Some(first) = places.first() else {
        return Ok(None);
    };
    let keys: Result<Vec<_>, _> = places.iter().map(|place| secret(KEY, place)).collect();
    match Fernet::new(keys?) {
        Ok(fernet) => Ok(Some(fernet)),
        // Which of several it is, is found by trying them alone.
        Err(error) => {
            let alone = |place: &&SecretPlace| {
                secret(KEY, place).is_ok_and(|key| Fernet::new(vec![key]).is_err())
            };
            let place = places.iter().find(alone).unwrap_or(first);
            Err(fault(KEY, place, error.to_string()))
        }
    }
}

/// What a service is called with, marked so that nobody shows it.
pub(super) fn headers(said: &[(HeaderName, Wording)]) -> Result<HeaderMap, SecretFault> {
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        headers.insert(name.clone(), value_of(name, value)?);
    }
    Ok(headers)
}

fn value_of(name: &HeaderName, said: &Wording) -> Result<HeaderValue, SecretFault> {
    const KEY: &str = "headers";
    let (text, place) = match said {
        Wording::Here(text) => (Zeroizing::new(text.clone()), "the configuration".to_owned()),
        Wording::Elsewhere(place) => {
            let bytes = bytes(KEY, place)?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|error| fault(KEY, place, error.to_string()))?
                .trim();
            if text.is_empty() {
                return Err(fault(KEY, place, "it is empty".to_owned()));
            }
            // A key as it is issued, without the word that stands before it in the header.
            let bare = *name == header::AUTHORIZATION && !text.contains(' ');
            let scheme = if bare { "Bearer " } else { "" };
            (Zeroizing::new(format!("{scheme}{text}")), place.to_string())
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_invalid| SecretFault {
        key: KEY,
        place,
        why: format!("it cannot be the value of {name}: it must be visible text on one line"),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn bytes(key: &'static str, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let read = match place {
        SecretPlace::File(path) => file(path),
        SecretPlace::Env(name) => environment(name)
            .map(String::into_bytes)
            .ok_or_else(|| "it is not set".to_owned()),
    };
    read.map(Zeroizing::new)
        .map_err(|why| fault(key, place, why))
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    // A byte more than a secret may have, which tells one that is too long; a device has no end.
    let most = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map(|_length| bytes).map_err(|error| error.to_string())
}

fn fault(key: &'static str, place: &SecretPlace, why: String) -> SecretFault {
    SecretFault {
        key,
        place: place.to_string(),
        why,
    }
}

/// The app's secret, if there is one and a use for it: proofs, renewals, or questions about tokens.
pub(super) fn app_secret(app: &App) -> Result<Option<Secret>, SecretFault> {
    let wanted = app.proof.is_some() || app.id.is_some();
    let place = app.secret.as_ref().filter(|_| wanted);
    place.map(|place| secret("app.secret", place)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(content: &str) -> (tempfile::TempDir, SecretPlace) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        (folder, SecretPlace::File(path))
    }

    fn header(name: HeaderName, content: &str) -> Result<HeaderValue, SecretFault> {
        let (_folder, place) = dropped(content);
        let headers = headers(&[(name.clone(), Wording::Elsewhere(place))])?;
        Ok(headers.get(name).unwrap().clone())
    }

    #[test]
    fn a_key_alone_is_a_bearers_and_a_header_with_a_scheme_is_whole() {
        for (content, sent) in [
            ("hunter2\n", "Bearer hunter2"),
            ("Basic aHVudGVyMg==\n", "Basic aHVudGVyMg=="),
        ] {
            let value = header(header::AUTHORIZATION, content).unwrap();
            assert_eq!(value, sent);
            assert!(value.is_sensitive());
        }
        let name = HeaderName::from_static("x-api-key");
        assert_eq!(header(name.clone(), " hunter2 ").unwrap(), "hunter2");
        let plain = Wording::Here("acme".to_owned());
        assert_eq!(headers(&[(name, plain)]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let absent = SecretPlace::Env("GRAPHWARD_NO_SUCH_VARIABLE".to_owned());
        let error = secret("app.secret", &absent).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot use app.secret from the variable GRAPHWARD_NO_SUCH_VARIABLE: it is not set"
        );
        for content in ["hunter2\nhunter2", "\n", "hunter2\0"] {
            let error = header(header::AUTHORIZATION, content).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let (_folder, good) = dropped("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let (_other, bad) = dropped("hunter2");
        assert!(fernet(std::slice::from_ref(&good)).unwrap().is_some());
        assert!(fernet(&[]).unwrap().is_none());
        let error = fernet(&[good, bad.clone()]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot use fernet_key from {bad}: ")),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
    }
}
