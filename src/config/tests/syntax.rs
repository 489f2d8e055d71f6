//! Texts that are not TOML.

use super::errors;

#[test]
fn a_syntax_error_shows_line_and_column_and_never_the_line() {
    for (text, start) in [
        (
            "[token]\nsource = EAAGsecret\n",
            "`/etc/g.toml:2`: TOML syntax error at column 10: ",
        ),
        (
            "[token]\nsource = \"EAAGsecret\n",
            "`/etc/g.toml:2`: TOML syntax error at column ",
        ),
        ("EAAGsecret\n", "`/etc/g.toml:1`: TOML syntax error at column "),
        (
            "[token\nEAAGsecret = 1\n",
            "`/etc/g.toml:1`: TOML syntax error at column ",
        ),
        (
            "a = 'ü' EAAGsecret\n",
            "`/etc/g.toml:1`: TOML syntax error at column 9: ",
        ),
        (
            "EAAGsecret = 1\nEAAGsecret = 2\n",
            "`/etc/g.toml:2`: duplicate key, first defined on line 1",
        ),
    ] {
        let shown = errors(text).join("\n");
        assert!(shown.starts_with(start), "{text}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn several_syntax_errors_are_shown_at_once() {
    let shown = errors("a = 1\nb = = 2\nc = 3\nd = nope\n");
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with("`/etc/g.toml:2`:") && shown[1].starts_with("`/etc/g.toml:4`:"));
}

#[test]
fn a_duplicate_names_itself_and_both_lines() {
    for (text, expected) in [
        (
            "[log]\nlevel = \"info\"\n\n[token]\n\n[log] # again\nformat = \"text\"\n",
            "`/etc/g.toml:6`: duplicate table [log], first defined on line 1",
        ),
        (
            "[token.renew.mint]\ntoken = { env = \"A\" }\n[app]\n[token.renew.mint]\n",
            "`/etc/g.toml:4`: duplicate table [token.renew.mint], first defined on line 1",
        ),
        (
            "[heal]\ndead_token = \"probe\"\nhold_timeout = \"1s\"\ndead_token = \"probe\"\n",
            "`/etc/g.toml:4`: duplicate key `dead_token`, first defined on line 2",
        ),
        (
            "[log]\nlevel = \"info\"\n[upstream]\nhttp = \"2\"\n\"http\" = \"2\"\n",
            "`/etc/g.toml:5`: duplicate key `http`, first defined on line 4",
        ),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
}
