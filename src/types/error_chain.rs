//! Errors on one line.

/// What an error says and what lies behind it, from the outside in, joined for one line:
/// `cannot connect: TLS handshake with graph.facebook.com failed: …`.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
