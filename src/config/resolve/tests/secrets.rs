use proptest::prelude::*;

use super::{fault, faults, read};

const TOKEN: &str = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";

#[test]
fn a_secret_in_the_file_is_refused_and_never_said() {
    for text in [
        "[token]\ntoken = \"SECRET\"",
        "[token]\naccess_token = \"SECRET\"",
        "[token]\nvalue = \"SECRET\"",
        "[token]\nsource = \"SECRET\"",
        "[token]\nsource = { token = \"SECRET\" }",
        "[token]\nsource = { value = \"SECRET\" }",
        "[token]\nsource = { file = \"SECRET\" }",
        "[token]\nsource = { env = \"SECRET\" }",
        "[token]\nsource = { file = \"a\", key = \"SECRET\" }",
        "[heal]\nsecrets = [\"SECRET\"]",
        "token = \"SECRET\"",
        "access_token = \"SECRET\"",
    ] {
        let said = fault(&text.replace("SECRET", TOKEN));
        assert!(
            said.contains("a secret never stands in the configuration itself"),
            "{said}"
        );
        assert!(!said.contains("EAA") && !said.contains("hunter2"), "{said}");
    }
    for text in [
        "[token]\naccess_token = \"hunter2\"",
        "[token]\nsource = \"hunter2\"",
        "[token]\nsource = { token = \"hunter2\" }",
    ] {
        assert!(!fault(text).contains("hunter2"), "{text}");
    }
}

proptest! {
    #[test]
    fn a_token_pasted_anywhere_is_never_said(
        token in "(EAA|IGQ|THAA)[A-Za-z0-9]{30,200}|[0-9a-f]{32}|[0-9]{15}\\|[A-Za-z0-9_-]{27}",
        place in 0_usize..16,
    ) {
        let texts = [
            "SECRET", "SECRET = 1", "a = SECRET", "[SECRET]", "[[SECRET]]", "[\"SECRET\"]\na = 1", "\"SECRET\" = \"a\"",
            "[log]\nlevel = \"SECRET\"", "[log]\n\"SECRET\" = 1", "[listen]\nproxy = \"SECRET\"",
            "[listen]\nallowed_hosts = [\"SECRET \"]", "[upstream]\norigin = \"https://SECRET@a\"",
            "[upstream]\norigin = \"https://a/me?access_token=SECRET\"", "[heal]\nhold = \"SECRET\"",
            "[upstream.connect_to]\n\"SECRET/\" = \"SECRET\"", "[token.source]\n\"SECRET\" = \"SECRET\"",
        ];
        let said = faults(&texts[place].replace("SECRET", &token)).join("\n");
        for part in token.split(['|', '-', '_']).filter(|part| part.len() > 4) {
            prop_assert!(!said.contains(part), "{}", said);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[(listen|token|heal|log)\\]\n)?[a-z._\"'=\\[\\]{}0-9 \n#-]{0,60}") {
        drop(read(&text));
    }
}
