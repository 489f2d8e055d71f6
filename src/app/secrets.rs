//! Loads the secrets that the configuration refers to.

use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use crate::admin::AdminConfig;
use crate::config::{AppConfig, Config};
use crate::graph::ProofMode;
use crate::source::Fernet;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode, decode_token, locate_text};
use crate::types::{MaybeSecret, Secret, SecretRef};

/// The reason why a secret cannot be used. It never contains the secret.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {key} from {location}: {reason}")]
pub struct SecretLoadError {
    /// The key in the configuration.
    pub key: String,
    /// The location that it should be read from.
    pub location: String,
    /// The problem and its fix.
    pub reason: String,
}

/// Where a secret is that is written in the configuration itself.
const INLINE: &str = "the configuration";
/// The setting of the key of the admin listener.
const ADMIN_KEY: &str = "admin.key";
/// The fewest characters of that key.
const SHORTEST_ADMIN_KEY: usize = 16;

/// Returns a variable of the process.
pub(super) fn env_var(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Loads a secret of a service.
fn load_secret(key: &str, secret_ref: &SecretRef) -> Result<Secret, SecretLoadError> {
    load(key, secret_ref, decode)
}

/// Loads a token of Graph, or the secret of an app: what is in its place without being one is known.
pub(super) fn load_meta_secret(key: &str, secret_ref: &SecretRef) -> Result<Secret, SecretLoadError> {
    load(key, secret_ref, |bytes, format| {
        decode_token(bytes, format, None).map(|token| token.secret)
    })
}

/// Returns a text that may have spaces in it: an inline one, or the one referred to.
pub(super) fn resolve_text(key: &str, value: &MaybeSecret) -> Result<Zeroizing<String>, SecretLoadError> {
    resolve(key, value, locate_text)
}

/// Checks a variable of the environment that holds a text itself.
pub(super) fn check_variable(name: &str, value: &str) -> Result<(), SecretLoadError> {
    let located = locate_text(value.as_bytes(), &Format::Raw);
    located
        .map(drop)
        .map_err(|error| load_error(name, "the environment", error))
}

/// Returns an inline secret, or loads the one referred to.
pub(super) fn resolve_secret(key: &str, value: &MaybeSecret) -> Result<Secret, SecretLoadError> {
    resolve(key, value, decode)
}

/// Loads the Fernet keys of a section, if any are configured.
pub(super) fn load_fernet(section: &str, key_refs: &[SecretRef]) -> Result<Option<Fernet>, SecretLoadError> {
    let setting = format!("{section}.fernet_key");
    let keys = key_refs.iter().map(|key_ref| {
        let key = load_secret(&setting, key_ref)?;
        let checked = Fernet::new(vec![key.clone()]);
        checked.map_err(|error| load_error(&setting, key_ref, error))?;
        Ok(key)
    });
    // Each key is valid, so the only error is that there are none.
    Ok(Fernet::new(keys.collect::<Result<_, _>>()?).ok())
}

/// Loads the headers of a section, for calls to a service. Their values are marked as sensitive.
pub(super) fn load_headers(
    section: &str,
    configured: &[(HeaderName, MaybeSecret)],
) -> Result<HeaderMap, SecretLoadError> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let setting = format!("{section}.headers.{name}");
        headers.insert(name.clone(), header_value(&setting, name, value)?);
    }
    Ok(headers)
}

fn header_value(setting: &str, name: &HeaderName, configured: &MaybeSecret) -> Result<HeaderValue, SecretLoadError> {
    let mut text = resolve_text(setting, configured)?;
    // A bare key, without the authentication scheme that the header needs.
    if *name == header::AUTHORIZATION && matches!(configured, MaybeSecret::Ref(_)) && !text.contains(' ') {
        text = Zeroizing::new(format!("Bearer {}", *text));
    }
    let mut value = HeaderValue::from_str(&text).map_err(|_invalid| {
        let reason = format!("not a valid {name} header value: must be one line of visible ASCII");
        match configured {
            MaybeSecret::Inline(_) => load_error(setting, INLINE, reason),
            MaybeSecret::Ref(secret_ref) => load_error(setting, secret_ref, reason),
        }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn resolve<T>(
    key: &str,
    value: &MaybeSecret,
    decode: impl FnOnce(&[u8], &Format) -> Result<T, DecodeError>,
) -> Result<T, SecretLoadError> {
    match value {
        MaybeSecret::Ref(secret_ref) => load(key, secret_ref, decode),
        MaybeSecret::Inline(text) => {
            decode(text.as_bytes(), &Format::Raw).map_err(|error| load_error(key, INLINE, error))
        }
    }
}

fn load<T>(
    key: &str,
    secret_ref: &SecretRef,
    decode: impl FnOnce(&[u8], &Format) -> Result<T, DecodeError>,
) -> Result<T, SecretLoadError> {
    let (read, key_in_file, pointer) = match secret_ref {
        SecretRef::File { path, key, pointer } => (read_file(path), key.as_ref(), pointer.as_ref()),
        SecretRef::Env { name, pointer } => {
            let value = env_var(name).map(String::into_bytes);
            (value.ok_or_else(|| "it is not set".to_owned()), None, pointer.as_ref())
        }
    };
    let pointer = pointer.map_or(Format::Raw, |pointer| Format::Pointer(pointer.clone()));
    let format = key_in_file.map_or(pointer, |key| Format::Key(key.clone()));
    let bytes = read.map(Zeroizing::new);
    let decoded = bytes.and_then(|bytes| decode(&bytes, &format).map_err(|error| error.to_string()));
    decoded.map_err(|reason| load_error(key, secret_ref, reason))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    // One byte more than a secret may have, so that a longer one is detected. Reading /dev/zero would not terminate.
    let max_bytes = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes));
    read.map(|_length| bytes).map_err(|error| error.to_string())
}

/// The error about the secret of a key, which never has the secret.
pub(super) fn load_error(key: &str, location: impl Display, reason: impl Display) -> SecretLoadError {
    SecretLoadError {
        key: key.to_owned(),
        location: location.to_string(),
        reason: reason.to_string(),
    }
}

/// Loads the key of the admin listener, if one is configured.
pub(super) fn admin_key(config: &AdminConfig) -> Result<Option<Secret>, SecretLoadError> {
    let Some(key_ref) = &config.key else {
        return Ok(None);
    };
    let key = load_secret(ADMIN_KEY, key_ref)?;
    if key.is_shorter_than(SHORTEST_ADMIN_KEY) {
        let reason = format!("a key of fewer than {SHORTEST_ADMIN_KEY} characters can be guessed; make a longer one");
        return Err(load_error(ADMIN_KEY, key_ref, reason));
    }
    Ok(Some(key))
}

/// Returns the errors of the secrets without which no process starts, except those of the tenants.
pub fn unusable_secrets(config: &Config) -> Vec<SecretLoadError> {
    let webhook = config.alerts.url.as_ref();
    let webhook = webhook.and_then(|url| resolve_secret("alerts.url", url).err());
    admin_key(&config.admin).err().into_iter().chain(webhook).collect()
}

/// Returns the `Authorization` header by which a command proves itself to the admin listener of its configuration, if that has a key.
///
/// # Errors
///
/// [`SecretLoadError`] if the key cannot be read.
pub fn admin_authorization(config: &Config) -> Result<Option<HeaderValue>, SecretLoadError> {
    let key = config.admin.key.clone().map(MaybeSecret::Ref);
    let header = key.map(|key| header_value(ADMIN_KEY, &header::AUTHORIZATION, &key));
    header.transpose()
}

/// Loads the app's secret, if one is configured and used: for proofs, renewals or inspections.
pub(super) fn app_secret(app: &AppConfig) -> Result<Option<Secret>, SecretLoadError> {
    let is_used = app.proof != ProofMode::Off || app.id.is_some();
    let secret_ref = app.secret.as_ref().filter(|_| is_used);
    secret_ref
        .map(|secret_ref| load_meta_secret("app.secret", secret_ref))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_file(content: &str) -> (tempfile::TempDir, SecretRef) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        (folder, SecretRef::file(path))
    }

    fn load_header(name: HeaderName, content: &str) -> Result<HeaderValue, SecretLoadError> {
        let (_folder, place) = secret_file(content);
        let headers = load_headers("token.source", &[(name.clone(), MaybeSecret::Ref(place))])?;
        Ok(headers.get(name).unwrap().clone())
    }

    #[test]
    fn a_key_alone_is_a_bearers_and_a_header_with_a_scheme_is_whole() {
        for (content, sent) in [
            ("hunter2\n", "Bearer hunter2"),
            ("Basic aHVudGVyMg==\n", "Basic aHVudGVyMg=="),
        ] {
            let value = load_header(header::AUTHORIZATION, content).unwrap();
            assert_eq!(value, sent);
            assert!(value.is_sensitive());
        }
        let name = HeaderName::from_static("x-api-key");
        assert_eq!(load_header(name.clone(), " hunter2 ").unwrap(), "hunter2");
        let plain = MaybeSecret::Inline("acme".to_owned());
        assert_eq!(load_headers("token.source", &[(name, plain)]).unwrap().len(), 1);
    }

    #[test]
    fn a_secret_is_found_in_a_document_as_a_token_is() {
        let env_file = "DB='host=db user=u password=\"p q\"'\nAPP_SECRET=hunter2 # the app's\n";
        let aws = r#"{"Name":"x","SecretString":"{\"app\":{\"secret\":\"hunter2\"},\"auth\":\"Basic aHVu\"}"}"#;
        for (content, key, pointer, found) in [
            (env_file, Some("APP_SECRET"), None, "hunter2"),
            (
                r#"{"data":{"secret":"hunter2"}}"#,
                None,
                Some("/data/secret"),
                "hunter2",
            ),
            (aws, None, Some("/SecretString/app/secret"), "hunter2"),
            (" \"hunter2\"\n", None, None, "hunter2"),
        ] {
            let (_folder, SecretRef::File { path, .. }) = secret_file(content) else {
                panic!("not a file");
            };
            let [key, pointer] = [key, pointer].map(|text: Option<&str>| text.map(str::to_owned));
            let secret_ref = SecretRef::File { path, key, pointer };
            assert_eq!(
                load_meta_secret("app.secret", &secret_ref).unwrap().expose(),
                found,
                "{content}"
            );
        }
        for (content, key, pointer, found) in [
            (env_file, Some("DB"), None, "host=db user=u password=\"p q\""),
            (aws, None, Some("/SecretString/auth"), "Basic aHVu"),
            ("host=db password='p q'\n", None, None, "host=db password='p q'"),
            ("\"postgres://db\"", None, None, "postgres://db"),
        ] {
            let (_folder, SecretRef::File { path, .. }) = secret_file(content) else {
                panic!("not a file");
            };
            let [key, pointer] = [key, pointer].map(|text: Option<&str>| text.map(str::to_owned));
            let text = resolve_text("headers", &MaybeSecret::Ref(SecretRef::File { path, key, pointer }));
            assert_eq!(*text.unwrap(), found, "{content}");
        }
    }

    #[test]
    fn a_secret_of_meta_is_judged_as_a_token_and_named_by_its_setting() {
        const MINT: &str = "token.renew.mint.token";
        for (key, content, pointer, reason) in [
            (MINT, "changeme", None, "it is a placeholder"),
            (MINT, "${META_ADMIN_TOKEN}", None, "a variable that was not replaced"),
            (MINT, "op://vault/meta/admin", None, "the address of a secret"),
            ("app.secret", "<APP_SECRET>", None, "it is a placeholder"),
            (
                "app.secret",
                "${{ secrets.APP_SECRET }}",
                None,
                "a variable that was not replaced",
            ),
            (
                "app.secret",
                "ENC[AES256_GCM,data:x]",
                None,
                "encrypted by another tool",
            ),
            ("app.secret", "{\"s\":7}", Some("/s"), "is not a string"),
            ("app.secret", "{\"s\":{}}", Some("/s"), "is not a string"),
            ("app.secret", "{\"s\":\"\"}", Some("/s"), "it is empty"),
            ("app.secret", "{\"s\":null}", Some("/s"), "is null"),
            ("app.secret", "\n", None, "it is empty"),
            ("app.secret", "{\"s\":\"x\"}", None, "set `pointer` to locate the value"),
            (
                "app.secret",
                "{\"s\":\"x\"}",
                Some("/s/t"),
                "the value at /s is a string that is not JSON",
            ),
        ] {
            let (_folder, secret_ref) = secret_file(content);
            let SecretRef::File { path, key: in_file, .. } = secret_ref else {
                panic!("not a file");
            };
            let pointer = pointer.map(str::to_owned);
            let secret_ref = SecretRef::File {
                path,
                key: in_file,
                pointer,
            };
            let error = load_meta_secret(key, &secret_ref).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot use {key} from {secret_ref}: ")),
                "{error}"
            );
            assert!(error.contains(reason), "{content}: {error}");
        }
    }

    #[test]
    fn a_secret_that_a_tool_should_have_replaced_is_refused_wherever_it_is() {
        for value in ["Bearer ${KEY}", "op://vault/service/key"] {
            let error = load_header(header::AUTHORIZATION, value).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot use token.source.headers.authorization from the file"),
                "{error}"
            );
            let inline = MaybeSecret::Inline(value.to_owned());
            let error = resolve_text("token.source.postgres", &inline).unwrap_err();
            assert_eq!(error.location, "the configuration");
            let (_folder, key_ref) = secret_file(value.trim_start_matches("Bearer "));
            let error = load_fernet("token.store", &[key_ref]).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot use token.store.fernet_key from the file"),
                "{error}"
            );
        }
        let inline = MaybeSecret::Inline("https://hooks.example/$HOOK".to_owned());
        assert!(
            resolve_secret("alerts.url", &inline)
                .unwrap_err()
                .reason
                .contains("not replaced")
        );
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let absent = SecretRef::env("GRAPHWARD_NO_SUCH_VARIABLE".to_owned());
        let error = load_meta_secret("app.secret", &absent).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot use app.secret from the variable GRAPHWARD_NO_SUCH_VARIABLE: it is not set"
        );
        for content in ["hunter2\nhunter2", "\n", "hunter2\0"] {
            let error = load_header(header::AUTHORIZATION, content).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let (_folder, good) = secret_file("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let (_other, bad) = secret_file("hunter2");
        assert!(
            load_fernet("token.store", std::slice::from_ref(&good))
                .unwrap()
                .is_some()
        );
        assert!(load_fernet("token.store", &[]).unwrap().is_none());
        let error = load_fernet("token.store", &[good, bad.clone()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("cannot use token.store.fernet_key from {bad}: ")),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
    }
}
