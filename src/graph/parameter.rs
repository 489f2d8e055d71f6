//! What one parameter of a request is to us: a credential, a proof of one, or the app's own affair.

use std::iter;

use super::presented::{is_app_token, is_placeholder};

/// What one parameter is to us. Later ones outweigh earlier ones where several are taken together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Parameter {
    /// The app's and Graph's own affair.
    Data,
    /// `appsecret_proof`, `appsecret_time`
    Proof,
    /// `access_token` with nothing in it
    Placeholder,
    /// `access_token` with an app token
    AppToken,
    /// `access_token` with any other
    Token,
}

/// A name that means something to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name {
    /// `access_token`
    Token,
    /// `appsecret_proof`, `appsecret_time`
    Proof,
    /// `batch`: its items may hold credentials of their own.
    Batch,
}

// === impl Parameter ===

impl Parameter {
    /// What a form-encoded parameter is, `name=value` or `name`.
    #[must_use]
    pub fn of(parameter: &[u8]) -> Self {
        // All three names begin with an `a`, plain or encoded; most parameters do not, and go free here.
        if !matches!(parameter.first(), Some(b'a' | b'%')) {
            return Self::Data;
        }
        let mut halves = parameter.splitn(2, |byte| *byte == b'=');
        let name = Name::encoded(halves.next().unwrap_or_default());
        let value = halves.next().unwrap_or_default();
        name.map_or(Self::Data, |name| Self::named(name, form_decode(value)))
    }

    /// What a parameter of this name is. The value is decoded.
    #[must_use]
    pub fn named(name: Name, value: impl Iterator<Item = u8> + Clone) -> Self {
        match name {
            Name::Batch => Self::Data,
            Name::Proof => Self::Proof,
            Name::Token if is_placeholder(value.clone()) => Self::Placeholder,
            Name::Token if is_app_token(value) => Self::AppToken,
            Name::Token => Self::Token,
        }
    }
}

// === impl Name ===

impl Name {
    /// The longest, with every byte percent-encoded.
    pub const LONGEST_ENCODED: usize = 3 * b"appsecret_proof".len();

    const ALL: [(&'static [u8], Self); 4] = [
        (b"access_token", Self::Token),
        (b"appsecret_proof", Self::Proof),
        (b"appsecret_time", Self::Proof),
        (b"batch", Self::Batch),
    ];

    /// Names are compared whole: `input_token` or `fb_exchange_token` are data.
    #[must_use]
    pub fn of(name: impl Iterator<Item = u8> + Clone) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(wanted, _)| name.clone().eq(wanted.iter().copied()))
            .map(|(_, name)| name)
    }

    /// The same of a form-encoded name: `%61ccess_token` is one.
    #[must_use]
    pub fn encoded(name: &[u8]) -> Option<Self> {
        if name.len() > Self::LONGEST_ENCODED {
            return None;
        }
        Self::of(form_decode(name))
    }
}

/// The bytes of a form-encoded text, without a copy: `+` is a space, `%` without two digits is itself.
pub fn form_decode(text: &[u8]) -> impl Iterator<Item = u8> + Clone {
    form_units(text).map(|(byte, _)| byte)
}

/// The same, with the length that each byte has in the text: one, or three.
pub fn form_units(text: &[u8]) -> impl Iterator<Item = (u8, usize)> + Clone {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut rest = text;
    iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        rest = after;
        if let (b'%', [high, low, beyond @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            rest = beyond;
            return Some(((high << 4) | low, 3));
        }
        Some((if *first == b'+' { b' ' } else { *first }, 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole_and_decoded() {
        assert_eq!(Name::encoded(b"access_token"), Some(Name::Token));
        assert_eq!(Name::encoded(b"%61ccess%5ftoken"), Some(Name::Token));
        assert_eq!(Name::encoded(b"appsecret_time"), Some(Name::Proof));
        assert_eq!(Name::encoded(b"%62atch"), Some(Name::Batch));
        let longest: String = b"appsecret_proof"
            .map(|byte| format!("%{byte:02X}"))
            .concat();
        assert_eq!(longest.len(), Name::LONGEST_ENCODED);
        assert_eq!(Name::encoded(longest.as_bytes()), Some(Name::Proof));
        for other in [
            "",
            "access_token2",
            "access+token",
            "input_token",
            "%2561ccess_token",
            "Access_token",
        ] {
            assert_eq!(Name::encoded(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_parameter_is_judged_by_its_decoded_value() {
        for (text, expected) in [
            ("access_token=EAAG", Parameter::Token),
            ("access_token=12%7cs", Parameter::AppToken),
            ("access_token=%6eull", Parameter::Placeholder),
            ("access_token", Parameter::Placeholder),
            ("appsecret_proof=", Parameter::Proof),
            ("batch=[]", Parameter::Data),
            ("a=access_token", Parameter::Data),
        ] {
            assert_eq!(Parameter::of(text.as_bytes()), expected, "{text}");
        }
    }
}
