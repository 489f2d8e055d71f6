//! JSON that is read where it lies, and JSON inside the strings of JSON.
//!
//! # Why
//!
//! What is to be changed in an answer is a few bytes; all others have to stay. So nothing is parsed into values and
//! written anew: a [`walk()`] says where a string stands, and every byte of what it means knows where it came from
//! ([`SourceByte`]). A batch answers with strings that hold documents. [`UnescapedString`] is the text of a string and a text
//! like any other, to be walked in its turn; the place of a byte is its place in the answer, however deep it stands.
//!
//! It is strict, as a reader of requests must not be: what that one overlooks is a credential that leaks, what this one
//! mistakes is a broken answer. So what is not JSON to its end is left alone.

mod text;
mod walk;

pub(crate) use text::{ByteSource, RawBytes, SourceByte, UnescapedString};
pub(crate) use walk::{KnownKey, ParseOutcome, PathStep, VisitEvent, walk};

#[cfg(test)]
mod tests;
