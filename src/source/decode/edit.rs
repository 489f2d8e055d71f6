//! Replaces pieces of a document that has secrets in it.

use zeroize::Zeroizing;

/// A piece of a document and its replacement.
pub(super) type Edit<'a> = (&'a str, String);

/// Returns the document with its pieces replaced.
pub(super) fn apply(document: &[u8], mut edits: Vec<Edit<'_>>) -> Zeroizing<Vec<u8>> {
    edits.sort_by_key(|(piece, _)| piece.as_ptr());
    let added: usize = edits.iter().map(|(_, new)| new.len()).sum();
    // With its full capacity: a vector that grows leaves copies of secrets behind.
    let mut new = Zeroizing::new(Vec::with_capacity(document.len() + added));
    let mut done = 0;
    for (piece, replacement) in edits {
        let replacement = Zeroizing::new(replacement);
        let start = piece.as_ptr().addr().saturating_sub(document.as_ptr().addr());
        new.extend_from_slice(document.get(done..start).unwrap_or_default());
        new.extend_from_slice(replacement.as_bytes());
        done = start + piece.len();
    }
    new.extend_from_slice(document.get(done..).unwrap_or_default());
    new
}
