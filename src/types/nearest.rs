//! What was probably meant by a misspelt word.

/// Returns the candidate that was probably meant.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let written = written.to_lowercase();
    let is_prefix = |candidate: &&str| {
        let is_long_enough = written.len().min(candidate.len()) >= 3;
        is_long_enough && (written.starts_with(candidate) || candidate.starts_with(&written))
    };
    closest(&written, candidates.clone(), 0.6).or_else(|| candidates.clone().find(is_prefix))
}

/// Returns the candidate that is most similar to a text, if it is at least this similar: 1 is the same.
#[must_use]
pub fn closest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let score = |candidate| (strsim::normalized_damerau_levenshtein(written, candidate), candidate);
    let close = candidates.map(score).filter(|(score, _)| *score >= least);
    close
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}
