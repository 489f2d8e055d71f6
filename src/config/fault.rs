//! What is wrong with a configuration, said without saying a secret.

use std::fmt;

use super::place::Provenance;

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

/// One thing that is wrong: where, with which key, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Where it was said.
    pub place: Provenance,
    /// The key, `section.key`; empty if it is not about one.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

// === impl ConfigError ===

impl ConfigError {
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| match &fault.place {
            Provenance::File { line, .. } => (0, *line),
            Provenance::Environment(_) => (1, 0),
            Provenance::Flag(_) => (2, 0),
            Provenance::Default => (3, 0),
        });
        Self { faults }
    }

    /// The faults.
    #[must_use]
    pub fn diagnostics(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "the configuration has a fault:\n  {one}"),
            many => {
                write!(f, "the configuration has {} faults:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

// === impl Fault ===

impl Fault {
    pub(super) fn new(place: &Provenance, key: &str, what: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            key: key.to_owned(),
            message: what.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

/// What is said when a secret stands where it must not.
pub(super) const NEVER_HERE: &str = "a secret never stands in the configuration itself (its value is not shown \
     here); keep the token in a file and write `source = { file = \"/run/graphward/token\" }` under [token], or in \
     the environment and write `source = { env = \"NAME\" }`";

/// A text as it may stand in a message: in quotes, short, and hidden if it might be a secret.
pub(super) fn quote(text: &str) -> String {
    if might_be_secret(text) {
        return "(not shown, as it may be a secret)".to_owned();
    }
    let shown: String = text.chars().take(60).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}

/// Whether a text might be, or contain, a secret: a token's prefix, credentials in a URL, or letters and digits in a
/// row that no word is made of. Used to hide, so it would rather be wrong than silent.
pub(super) fn might_be_secret(text: &str) -> bool {
    let long = text
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|row| row.len() >= 20);
    // The same in the alphabet of URLs, which host names share: there, many digits or mixed cases give it away.
    let random = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')))
        .filter(|row| row.len() >= 20)
        .any(|row| {
            let digits = row.bytes().filter(u8::is_ascii_digit).count();
            let upper = row.bytes().any(|byte| byte.is_ascii_uppercase());
            let lower = row.bytes().any(|byte| byte.is_ascii_lowercase());
            digits >= 6 || (upper && (lower || digits > 0))
        });
    let marks = ["access_token", "secret", "password", "Bearer ", "@", "|"];
    long || random || has_prefix(text.trim()) || marks.iter().any(|mark| text.contains(mark))
}

/// Whether a text is surely a token of Meta's. Used to refuse, so it would rather be silent than wrong.
pub(super) fn is_token(text: &str) -> bool {
    let text = text.trim();
    has_prefix(text) && text.len() >= 20 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Page, user and system user tokens; Instagram; Threads.
fn has_prefix(text: &str) -> bool {
    ["EAA", "IGQ", "IGAA", "THAA"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_be_a_secret_is_not_quoted() {
        for text in [
            "EAAG1",
            "123456789012345|hunter2",
            "hunter2-hunter2_HUNTER2-hunter2",
            "0123456789abcdef0123456789abcdef",
            "https://u:hunter2@graph.facebook.com",
            "https://graph.facebook.com?access_token=x",
            " Bearer x",
        ] {
            assert!(!quote(text).contains(text.trim()), "{text}");
        }
        assert_eq!(quote("http://graph.facebook.com"), "\"http://graph.facebook.com\"");
        assert_eq!(quote("a\nb"), "\"a\\nb\"");
        assert!(quote(&"a ".repeat(100)).ends_with("…\""));
    }

    #[test]
    fn a_host_or_a_path_is_not_taken_for_a_secret() {
        let host = "\"graph-api-internal-production-eu-west-1.example.com\"";
        assert_eq!(quote(host.trim_matches('"')), host);
        assert!(!is_token("/run/EAA0123456789abcdef0123456789abcdef/token"));
        assert!(!is_token("EAASY_TO_READ_TOKEN_VARIABLE"));
        assert!(is_token("EAAGm0PX4ZCpsBAKZAtoken0123"));
    }
}
