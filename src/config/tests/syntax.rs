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
    ] {
        let shown = errors(text).join("\n");
        assert!(shown.starts_with(start), "{text}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn a_duplicate_that_might_be_a_secret_is_not_shown() {
    let said = errors("EAAGhunter2hunter2hunter2 = 1\nEAAGhunter2hunter2hunter2 = 2\n");
    assert_eq!(said[1], "`/etc/g.toml:2`: duplicate key, first defined on line 1");
    assert!(!said.concat().contains("hunter2"), "{said:?}");
    let said = errors("[app]\nEAAGsecret = 1\nEAAGsecret = 2\n");
    assert_eq!(said[1], "`/etc/g.toml:3`: duplicate key, first defined on line 2");
}

#[test]
fn several_syntax_errors_are_shown_at_once() {
    let shown = errors("[log]\nlevel = = 2\nformat = \"text\"\nrequests = nope\n");
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with("`/etc/g.toml:2`:") && shown[1].starts_with("`/etc/g.toml:4`:"));
}

#[test]
fn a_syntax_error_hides_no_other_error_and_makes_no_false_one() {
    for (broken, line) in [
        ("[heal]\nhold_timeout = 5 seconds\n", 2),
        ("[heal]\nhold_timeout = \"5s\n", 2),
        ("[heal]\nhold_timeout\n", 2),
        ("[heal]\nhold_timeout 5\ntoken_wait = \"1s\"\n", 2),
        ("[heal]\nhold_timeout: 5\n", 2),
        ("[heal\nhold_timeout = \"5s\"\n", 1),
        ("heal]\nhold_timeout = \"5s\"\n", 1),
        ("[heal]]\nhold_timeout = \"5s\"\n", 1),
        ("[[token.source]\nfile = \"/a\"\n", 1),
        ("[token]\nsource = { file = \"/a\" key = \"K\" }\n", 2),
        ("[token]\nrenew = { exchange = {} }\n[app]\nid = 1a\n", 4),
        ("[token.source]\npostgres = \"postgres://a\"\nquery = SELECT\n", 3),
        ("[listen]\nallowed_hosts = [\n  \"a\",\n  b,\n]\n", 4),
    ] {
        let text = format!("[alerts]\nulr = 1\n{broken}[log]\nlevl = \"info\"\n[upstream]\nhtpp = \"2\"\n");
        let last = text.lines().count();
        let said = errors(&text);
        assert_eq!(said.len(), 4, "{text}{said:#?}");
        let starts = [
            "`/etc/g.toml:2`: alerts.ulr: unknown key; did you mean `url`?".to_owned(),
            format!("`/etc/g.toml:{}`: TOML syntax error at column ", 2 + line),
            format!(
                "`/etc/g.toml:{}`: log.levl: unknown key; did you mean `level`?",
                last - 2
            ),
            format!("`/etc/g.toml:{last}`: upstream.htpp: unknown key; did you mean `http`?"),
        ];
        for (said, start) in said.iter().zip(starts) {
            assert!(said.starts_with(&start), "{text}{said}");
        }
    }
}

#[test]
fn a_broken_header_at_the_end_makes_no_section_of_its_keys() {
    for text in [
        "[log]\n[heal\nhold_timeout = \"5s\"\n",
        "[log]\nheal]\nhold_timeout = \"5s\"",
    ] {
        let said = errors(text);
        assert_eq!(said.len(), 1, "{text}: {said:#?}");
    }
}

#[test]
fn a_duplicate_hides_no_other_error() {
    let said = errors("[log]\nlevel = \"info\"\n[hael]\n[log]\nfromat = \"text\"\n[upstream]\nhtpp = \"2\"\n");
    let starts = [
        "`/etc/g.toml:3`: hael: unknown section; did you mean [heal]?",
        "`/etc/g.toml:4`: duplicate table [log], first defined on line 1",
        "`/etc/g.toml:5`: log.fromat: unknown key; did you mean `format`?",
        "`/etc/g.toml:7`: upstream.htpp: unknown key; did you mean `http`?",
    ];
    assert_eq!(said, starts);
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
            "token.source = { file = \"/a\" }\n\n[token]\nverify = true\n",
            "`/etc/g.toml:3`: duplicate table [token], first defined on line 1",
        ),
        (
            "[token]\nsource = { file = \"/a\" }\n[[token.source]]\nfile = \"/b\"\n",
            "`/etc/g.toml:3`: duplicate table [[token.source]], first defined on line 2",
        ),
        (
            "[token.source]\nfile = \"/a\"\n\n[[token.source]]\nfile = \"/b\"\n",
            "`/etc/g.toml:4`: duplicate table [[token.source]], first defined on line 1",
        ),
        (
            "[[token.source]]\nfile = \"/a\"\n[[token.source]]\nfile = \"/b\"\nfile = \"/c\"\n",
            "`/etc/g.toml:5`: duplicate key `file`, first defined on line 4",
        ),
        (
            "[token]\nsource = { file = \"/a\", key = \"A\", key = \"B\" }\n",
            "`/etc/g.toml:2`: duplicate key `key`, first defined on line 2",
        ),
        (
            "[app]\nid = \"1\"\nsecret = { env = \"A\" }\n\nsecret = { env = \"B\" }\n",
            "`/etc/g.toml:5`: duplicate key `secret`, first defined on line 3",
        ),
        (
            "[log]\nlevel = \"info\"\n[upstream]\nhttp = \"2\"\n\"http\" = \"2\"\n",
            "`/etc/g.toml:5`: duplicate key `http`, first defined on line 4",
        ),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
}
