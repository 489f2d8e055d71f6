//! A Graph error in words: what happened, and who must do what.

use super::error::GraphError;

/// What an error means to a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// What happened: one sentence.
    pub happened: String,
    /// Who must do what: one sentence.
    pub action: String,
}

/// Explains an error by its code and subcode.
#[must_use]
pub fn explain(error: &GraphError) -> Explanation {
    let number =
        |number: Option<i64>| number.map_or_else(|| "none".to_owned(), |it| it.to_string());
    Explanation {
        happened: format!(
            "Graph answers code {}, subcode {}.",
            number(error.code),
            number(error.subcode)
        ),
        action: "Look the code up in the error handling guide.".to_owned(),
    }
}

/// Whether no newer token cures it before a person has acted.
#[must_use]
pub const fn needs_person(error: &GraphError) -> bool {
    matches!(error.subcode, Some(459 | 464 | 492))
}
