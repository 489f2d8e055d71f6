//! Errors on one line.

/// Joins the messages of an error and its causes to one line, the outermost first:
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
