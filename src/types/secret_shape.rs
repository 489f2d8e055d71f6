//! Guesses which texts are secrets, to hide them in messages or to refuse them.

use std::borrow::Cow;
use std::iter::successors;

use percent_encoding::percent_decode_str;

use super::token_family::TokenFamily;

/// Returns whether a name suggests that its value is a secret.
#[must_use]
pub fn names_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let endings = ["access_token", "_secret", "password"];
    matches!(key.as_str(), "token" | "secret" | "bearer") || endings.iter().any(|end| key.ends_with(end))
}

/// Returns whether a text might be, or contain, a secret: a token's prefix, credentials in a URL, or a run of letters
/// and digits that is no word. It is used to hide values, so a false positive is better than a leak.
#[must_use]
pub fn might_be_secret(text: &str) -> bool {
    let marks = ["access_token", "secret", "password", "Bearer ", "@", "|"];
    is_random(text) || marks.iter().any(|mark| text.contains(mark))
}

/// Whether a text has a token's prefix, or a run of letters and digits that is no word.
fn is_random(text: &str) -> bool {
    let long = text
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|row| row.len() >= 20);
    // The same in the alphabet of URLs, which host names share: there, many digits or mixed cases tell.
    let random = text
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')))
        .filter(|row| row.len() >= 20)
        .any(|row| {
            let digits = row.bytes().filter(u8::is_ascii_digit).count();
            let upper = row.bytes().any(|byte| byte.is_ascii_uppercase());
            let lower = row.bytes().any(|byte| byte.is_ascii_lowercase());
            digits >= 6 || (upper && (lower || digits > 0))
        });
    long || random || TokenFamily::from_token(text.trim()).is_some()
}

/// Returns whether an argument of a command might be, or contain, a secret, by itself or because of the argument before it.
/// `--secret` is not followed by one: clients of secret stores name with it what they read.
#[must_use]
pub fn might_be_secret_argument(before: &str, argument: &str) -> bool {
    let before = if before.starts_with('-') { before } else { "" };
    let (name, value) = argument.split_once('=').unwrap_or((before, argument));
    let is_named = name != "--secret" && names_secret(&name.trim_start_matches('-').replace('-', "_"));
    let is_value = is_named && !value.is_empty() && !value.starts_with('-');
    is_value || is_random(argument) || argument.contains("Bearer ") || has_secret("service-url", "", argument)
}

/// Returns whether a text is certainly one of Meta's tokens. It is used to refuse values, so a miss is better than a
/// false positive.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let text = text.trim();
    TokenFamily::from_token(text).is_some() && text.len() >= 20 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether a text has one of Meta's tokens in it, or an app token, percent-encoded up to three times. It is used before
/// something that a client sent, and that should be a name, is repeated: people write words and quotes around a token.
#[must_use]
pub fn has_token(text: &str) -> bool {
    let is_in =
        |text: &str| text.contains('|') || text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(is_token);
    let decode = |text: &str| match percent_decode_str(text).decode_utf8_lossy() {
        Cow::Owned(decoded) => Some(decoded),
        Cow::Borrowed(_unchanged) => None,
    };
    is_in(text)
        || successors(decode(text), |text| decode(text))
            .take(3)
            .any(|text| is_in(&text))
}

/// Whether a text of this format, which stands at this key, contains a secret. A Slack webhook's URL is a secret by
/// itself; whether one is, is for the operator to decide.
#[must_use]
pub fn has_secret(format: &str, key: &str, text: &str) -> bool {
    let named = ["auth", "cookie", "key", "secret", "token"];
    if is_token(text) || format == "header-value" {
        return is_token(text) || named.iter().any(|word| key.to_ascii_lowercase().contains(word));
    }
    let is_pair_secret = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| names_secret(name));
    let Some((_, url)) = text.split_once("://").filter(|_| format.ends_with("-url")) else {
        return format == "postgres-url" && text.replace(" =", "=").split_whitespace().any(is_pair_secret);
    };
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
    // A database's URL may name its user.
    let is_password = |(user, _): (&str, &str)| format == "service-url" || user.contains(':');
    let is_secret = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        is_token(value) || (!value.is_empty() && names_secret(name))
    };
    let has_password = authority.rsplit_once('@').is_some_and(is_password);
    has_password || path.split('/').any(is_token) || query.split('&').any(is_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_for_one() {
        for text in [
            "EAAG1",
            "123456789012345|hunter2",
            "hunter2-hunter2_HUNTER2-hunter2",
            "0123456789abcdef0123456789abcdef",
            "https://u:hunter2@graph.facebook.com",
            "https://graph.facebook.com?access_token=x",
            " Bearer x",
        ] {
            assert!(might_be_secret(text), "{text}");
        }
        assert!(!might_be_secret("http://graph.facebook.com"));
    }

    #[test]
    fn an_argument_is_taken_for_a_secret_by_its_shape_or_its_flag() {
        for (before, argument) in [
            ("--token", "hunter2"),
            ("--access-token", "hunter2"),
            ("run", "--client-secret=hunter2"),
            ("run", "PGPASSWORD=hunter2"),
            ("-H", "Authorization: Bearer hunter2"),
            ("-u", "https://me:hunter2@vault.example"),
            ("run", "0123456789abcdef0123456789abcdef"),
        ] {
            assert!(might_be_secret_argument(before, argument), "{before} {argument}");
        }
        // From docs/recipes.md.
        for (before, argument) in [
            ("get", "-field=token"),
            ("-field=token", "secret/whatsapp"),
            ("--secret-id", "prod/whatsapp"),
            ("latest", "--secret=whatsapp-token"),
            ("read", "op://production/whatsapp/token"),
            ("token", "show"),
            ("--token", "--json"),
            ("place", "{tenant}"),
        ] {
            assert!(!might_be_secret_argument(before, argument), "{before} {argument}");
        }
    }

    #[test]
    fn a_token_is_found_whatever_stands_around_it_and_a_name_is_not_taken_for_one() {
        let token = "EAAGm0PX4ZCpsBAKZAtoken0123";
        for text in [
            "{}",
            "\"{}\"",
            "Bearer {}",
            "a:{}",
            "é={}.",
            "x%3D{}",
            "x%253D{}",
            "x%25253D{}",
        ] {
            assert!(has_token(&text.replace("{}", token)), "{text}");
        }
        assert!(has_token("123|secret") && has_token("123%7Csecret"));
        // However often it is encoded, the search ends.
        let encoded = "%25".repeat(30_000);
        for name in [
            "acme",
            "Acme:7@eu.example",
            "EAAGshort",
            "100%",
            "7d444840-9dc0-11d1-b245-5ffdce74fad2",
            &encoded,
        ] {
            assert!(!has_token(name), "{name}");
        }
    }

    #[test]
    fn a_host_or_a_path_is_not_taken_for_a_secret() {
        assert!(!might_be_secret("graph-api-internal-production-eu-west-1.example.com"));
        assert!(!is_token("/run/EAA0123456789abcdef0123456789abcdef/token"));
        assert!(!is_token("EAASY_TO_READ_TOKEN_VARIABLE"));
        assert!(is_token("EAAGm0PX4ZCpsBAKZAtoken0123"));
    }
}
