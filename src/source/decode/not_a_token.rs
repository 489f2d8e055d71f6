//! Texts that people and tools put where a token belongs.
//!
//! # Why
//!
//! Graph rejects all of them as "Malformed access token", and by then the valid token would have been replaced. The rules
//! ask what a text has that no token of Meta has; there is no list of what a token has, as its beginnings change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::error::DecodeError;
use crate::types::TokenFamily;

/// Refuses a text that is no token, and no app secret, with the reason.
pub(super) fn check(text: &str) -> Result<(), DecodeError> {
    check_resolved(text)?;
    if text.contains('$') || text.contains("{{") || (text.starts_with('%') && text.ends_with('%')) {
        return Err(DecodeError::UnresolvedVariable);
    }
    if is_placeholder(text) && !text.contains("://") {
        return Err(DecodeError::Placeholder);
    }
    // A URL, a path, an ARN, `vault:secret/data/meta#token`; no token has either.
    if text.contains([':', '/']) {
        return Err(DecodeError::Reference);
    }
    let is_allowed = |sign: char| !sign.is_ascii_punctuation() || "|-_.=~+".contains(sign);
    if let Some(sign) = text.chars().find(|sign| !is_allowed(*sign)) {
        return Err(DecodeError::ForbiddenCharacter(sign));
    }
    if is_base64(text) {
        Err(DecodeError::Base64)
    } else {
        Ok(())
    }
}

/// Refuses what another tool should have replaced, in the place of any secret: a key, a password, the URL of a database.
/// Other services choose their secrets freely, so words such as `changeme` are not judged here.
pub(crate) fn check_resolved(text: &str) -> Result<(), DecodeError> {
    /// The beginnings of encrypted texts.
    const ENCRYPTED: &str = "ENC[ ENC( {cipher} $ANSIBLE_VAULT -----BEGIN encrypted: vault:v";
    /// The beginnings of addresses in stores of secrets.
    const ADDRESSES: &str = "op:// vault: arn:aws: ssm: file: secretref: ref+ doppler:// infisical:// bws:// akv:// \
                             awssm:// gcpsm:// keyring:// keychain://";
    let begins = |text: &str, beginnings: &str| beginnings.split_whitespace().any(|it| text.starts_with(it));
    if begins(text, ENCRYPTED) {
        return Err(DecodeError::EncryptedElsewhere);
    }
    let is_part = |sign: char| sign.is_whitespace() || "=:@/?&\"'".contains(sign);
    let encloses = |(open, close): (&str, &str)| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close));
    if [("${", "}"), ("$(", ")"), ("{{", "}}"), ("<%", "%>")]
        .into_iter()
        .any(encloses)
        || text.split(is_part).any(is_variable)
    {
        return Err(DecodeError::UnresolvedVariable);
    }
    if text.split_whitespace().any(|word| begins(word, ADDRESSES)) {
        Err(DecodeError::Reference)
    } else {
        Ok(())
    }
}

/// Returns whether a text is `$NAME` or `%NAME%`.
fn is_variable(text: &str) -> bool {
    let enclosed = text.strip_prefix('%').and_then(|text| text.strip_suffix('%'));
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    text.strip_prefix('$').or(enclosed).is_some_and(|name| {
        name.bytes().next().is_some_and(is_upper) && name.bytes().all(|byte| is_upper(byte) || byte.is_ascii_digit())
    })
}

/// Returns whether a text is one that a template has in place of a token: `<TOKEN>`, `[TOKEN]`, `__TOKEN__`, `EAA...`,
/// `EAAGxxxxx`, `your-access-token`.
fn is_placeholder(text: &str) -> bool {
    /// As the whole text, without punctuation and white space.
    const WORDS: &str =
        "token secret password todo fixme tbd dummy example xxx nil na false true redacted hidden masked removed";
    /// Anywhere in it. They are so long that no token has them by chance.
    const PHRASES: &str =
        "accesstoken yourtoken changeme changethis replaceme replacewith placeholder tokenhere inserttoken";
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    let letters = Zeroizing::new(letters.map(|letter| letter.to_ascii_lowercase()).collect::<String>());
    let is_enclosed = |(open, close)| text.starts_with(open) && text.ends_with(close);
    letters.is_empty()
        || text.contains(['<', '>'])
        || [("[", "]"), ("__", "__"), ("@@", "@@"), ("#{", "}#")]
            .into_iter()
            .any(is_enclosed)
        || ["..", "***", "\u{2026}"].iter().any(|mark| text.contains(mark))
        || ["xxxxx", "XXXXX"].iter().any(|end| text.ends_with(end))
        || WORDS.split(' ').any(|word| letters.as_str() == word)
        || PHRASES.split(' ').any(|phrase| letters.contains(phrase))
}

/// Returns whether a text is the base64 of JSON (a JWT, for example) or of a token, as Kubernetes manifests have it.
fn is_base64(text: &str) -> bool {
    const PREFIX_BYTES: usize = 32;
    let has_family = |text: &str| TokenFamily::from_token(text).is_some();
    let decoded = STANDARD_NO_PAD.decode(text.get(..PREFIX_BYTES).unwrap_or_default());
    let decoded = decoded.map(Zeroizing::new).unwrap_or_default();
    let decoded = std::str::from_utf8(&decoded).unwrap_or_default();
    let json = decoded.strip_prefix('{').map(str::trim_start);
    !has_family(text) && (has_family(decoded) || json.is_some_and(|json| json.starts_with('"')))
}
