//! Words of command lines that messages show, to be pasted into a shell.

use std::fmt::Display;

/// Returns a word as a shell takes it for one: in quotes, unless it has only characters that mean nothing to shells.
#[must_use]
pub fn shell_word(word: impl Display) -> String {
    let word = word.to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_each_word_for_one_and_only_those_that_need_it_are_quoted() {
        for word in [
            "/run/token",
            "unix:/run/a.sock",
            "http://127.0.0.1:8080/v25.0/me",
            "a=b%20c",
        ] {
            assert_eq!(shell_word(word), word);
        }
        for word in [
            "", "a b", "it's", "$(id)", "`id`", "~", "a?b&c", "[::1]", "a;b", "#a", "a\nb", "\\", "*", "{a,b}", "ü",
        ] {
            let line = format!("printf %s {}", shell_word(word));
            let printed = Command::new("sh").args(["-c", &line]).output().unwrap().stdout;
            assert_eq!(String::from_utf8(printed).unwrap(), word, "{line}");
            assert_ne!(shell_word(word), word);
        }
    }
}
