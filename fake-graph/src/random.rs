//! Random texts that look like Meta's.
//!
//! None of them is a real secret, so a fast generator is enough; only the shape matters.

use std::iter::repeat_with;

/// A token: `EAA` (or another family's prefix) and some 200 letters and digits.
pub(crate) fn token(prefix: &str) -> String {
    let length = fastrand::usize(190..=212);
    let rest = repeat_with(fastrand::alphanumeric).take(length.saturating_sub(prefix.len()));
    prefix.chars().chain(rest).collect()
}

/// The second half of an app token.
pub(crate) fn app_token_suffix() -> String {
    alphanumeric(27)
}

/// An authorization code: `AQ` and some 200 letters and digits.
pub(crate) fn code() -> String {
    format!("AQ{}", alphanumeric(206))
}

/// An object's id: 15 or 16 digits.
pub(crate) fn object_id() -> String {
    fastrand::u64(100_000_000_000_000..10_000_000_000_000_000).to_string()
}

/// An `fbtrace_id`, which is also the `x-fb-request-id`.
pub(crate) fn trace_id() -> String {
    format!("A{}", alphanumeric(22))
}

/// A message id. The real ones are base64 as well, with the number inside.
pub(crate) fn wamid() -> String {
    format!("wamid.HBgM{}A=", alphanumeric(45))
}

/// A media URL's `hash`.
pub(crate) fn hash() -> String {
    format!("AR{}", alphanumeric(43))
}

/// `length` characters that are safe in URLs, headers and JSON.
pub(crate) fn alphanumeric(length: usize) -> String {
    repeat_with(fastrand::alphanumeric).take(length).collect()
}
