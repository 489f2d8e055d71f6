//! The ids of Graph's objects.

/// Returns whether a text may be the id of an account or a phone number: 1 to 32 digits.
#[must_use]
pub fn is_graph_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_32_digits() {
        let longest = "1".repeat(32);
        assert!(["0", "106540352242922", &longest].into_iter().all(is_graph_id));
        for other in [
            "",
            "+15550100",
            "1 2",
            "1_2",
            "EAAG1",
            "\u{661}",
            &format!("{longest}1"),
        ] {
            assert!(!is_graph_id(other), "{other}");
        }
    }
}
