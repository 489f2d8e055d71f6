//! `.env` files, as the loaders of apps read them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// The files, and what npm's dotenv and python-dotenv read: `tests/clients/run` checks that against the two.
fn corpus() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../tests/clients/env-files.json")).unwrap()
}

#[test]
fn a_file_is_read_as_by_the_loader_whose_reading_can_be_a_token() {
    let (mut read, mut refused) = (0, 0);
    for case in corpus() {
        let file = case["file"].as_str().unwrap();
        let found = decode_text(file.as_bytes(), &key());
        match case["graphward"].as_str() {
            Some(token) => assert_eq!(found.as_deref(), Ok(token), "{case}"),
            None => assert_eq!(
                found.clone().unwrap_err().label(),
                case["graphward"]["refused"].as_str().unwrap(),
                "{case}"
            ),
        }
        let readings = ["npm", "python"].map(|loader| case[loader].as_str());
        let tokens: BTreeSet<_> = readings
            .into_iter()
            .flatten()
            .filter(|text| {
                text.strip_prefix("EAA")
                    .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_lowercase()))
            })
            .collect();
        match &found {
            Ok(token) if tokens.contains(token.as_str()) => read += 1,
            Err(_) if tokens.is_empty() => refused += 1,
            other => assert!(case["why"].is_string(), "{other:?} for {case}"),
        }
    }
    assert!(read > 20 && refused > 10, "{read} read, {refused} refused");
}

#[test]
fn a_comment_may_be_in_any_encoding_and_a_token_may_not() {
    let file = b"# cl\xe9 priv\xe9e\nNAME=caf\xe9\nWHATSAPP_TOKEN=EAAG # cl\xe9\n";
    assert_eq!(decode_text(file, &key()).as_deref(), Ok("EAAG"));
    let changed = replace_token(file, &key(), "EAAnew", None).unwrap();
    let after = b"# cl\xe9 priv\xe9e\nNAME=caf\xe9\nWHATSAPP_TOKEN=EAAnew # cl\xe9\n";
    assert_eq!(changed.as_slice(), after);
    let token = decode_text(b"WHATSAPP_TOKEN=EAA\xe9", &key());
    assert_eq!(token, Err(DecodeError::InvalidCharacter));
}

#[test]
fn a_renewed_token_replaces_the_reference_to_a_variable_and_no_assignment_inside_a_value() {
    for (before, after) in [
        (
            "META=EAAG\nWHATSAPP_TOKEN=\"Bearer ${META}\" # one\n",
            "META=EAAG\nWHATSAPP_TOKEN=\"Bearer EAAnew\" # one\n",
        ),
        (
            "WHATSAPP_TOKEN: EAAG#x\nKEY=\"a\nWHATSAPP_TOKEN=EAAold\"\n",
            "WHATSAPP_TOKEN: EAAnew#x\nKEY=\"a\nWHATSAPP_TOKEN=EAAold\"\n",
        ),
    ] {
        assert_eq!(replace(before, &key(), None).as_deref(), Ok(after));
    }
}

#[test]
fn variables_that_multiply_end_soon() {
    let mut file = "A0=EAA\n".to_owned();
    for number in 1..40 {
        let last = number - 1;
        file += &format!("A{number}=${{A{last}}}${{A{last}}}${{A{last}}}\n");
    }
    file += "WHATSAPP_TOKEN=${A39}\n";
    assert_eq!(
        decode_text(file.as_bytes(), &key()),
        Err(DecodeError::UnresolvedVariable)
    );
}

#[test]
fn a_value_that_refers_to_itself_stays_as_it_is_written() {
    for (file, written) in [
        (&b"TOKEN=$TOKEN?||2"[..], "$TOKEN?||2"),
        (b"TOKEN=a${TOKEN}b", "a${TOKEN}b"),
        (b"A=x$TOKEN\nTOKEN=y$A", "yx$TOKEN"),
        (b"A=x\nTOKEN=$A-$A", "x-x"),
    ] {
        let value = env_file::value_of_key(file, "TOKEN").unwrap();
        assert_eq!(value.as_str(), written);
    }
    assert_eq!(
        decode_token(b"TOKEN=$TOKEN", &Format::Key("TOKEN".to_owned()), None).unwrap_err(),
        DecodeError::UnresolvedVariable
    );
}

#[test]
fn a_key_that_no_line_assigns_is_named_with_those_that_resemble_it_and_no_secret() {
    for (file, hint) in [
        ("OTHER=1\nDATABASE_URL=2", ""),
        (
            "WHATSAPP_ACCESS_TOKEN=EAAG",
            ", but others assign `WHATSAPP_ACCESS_TOKEN`",
        ),
        (
            "TOKEN=1\nexport META_TOKEN=2\nwhatsapp_token: 3\nX=4",
            ", but others assign `TOKEN`, `META_TOKEN`, `whatsapp_token`",
        ),
        (
            "A_TOKEN=\nB_TOKEN=\nC_TOKEN=\nD_TOKEN=\nE_TOKEN=\nF_TOKEN=",
            ", but others assign `A_TOKEN`, `B_TOKEN`, `C_TOKEN`, `D_TOKEN`, `E_TOKEN`",
        ),
        // What stands before a `=` may be the end of a secret.
        ("hunter2hunter2hunter2_TOKEN=", ""),
        ("EAAGm0PX4ZCpsBAKZAhunter2==", ""),
        ("WHATSAPP/TOKEN=1\nWHATSAPP+TOKEN==", ""),
        ("WHATSAPP_T\u{f6}KEN=1", ""),
    ] {
        assert_eq!(decode_text(file.as_bytes(), &key()), Err(key_not_found(hint)), "{file}");
    }
    let message = key_not_found(", but others assign `TOKEN`").to_string();
    let expected = "no line assigns `WHATSAPP_TOKEN`, the configured `key`, but others assign `TOKEN`; add WHATSAPP_TOKEN=VALUE, \
                    or fix `key` (case matters)";
    assert_eq!(message, expected);
}
