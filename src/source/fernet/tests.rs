use proptest::prelude::*;

use super::*;

/// The key, the date and the IV of the specification's own example.
const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const HELLO: &str =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
const DATE: u64 = 499_162_800;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn keys(keys: &[&str]) -> Fernet {
    Fernet::new(keys.iter().map(|key| secret(key)).collect()).unwrap()
}

fn decrypt(keys: &Fernet, text: &str) -> Result<String, FernetError> {
    keys.decrypt(text).map(|text| text.to_string())
}

#[test]
fn encryption_matches_the_specification_byte_for_byte() {
    let keys = keys(&[KEY]);
    let iv = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let encrypted = keys.0[0].encrypt(&secret("hello"), DATE, iv);
    assert_eq!(encrypted, HELLO);
}

#[test]
fn the_specification_vectors_decrypt_with_and_without_padding() {
    let keys = keys(&[KEY]);
    let bare = HELLO.trim_end_matches('=');
    for text in [HELLO, bare, &format!(" {HELLO}\n")] {
        assert_eq!(decrypt(&keys, text).as_deref(), Ok("hello"));
    }
    let bare_key = Fernet::new(vec![secret(KEY.trim_end_matches('='))]).unwrap();
    assert_eq!(decrypt(&bare_key, HELLO).as_deref(), Ok("hello"));
}

#[test]
fn the_invalid_specification_vectors_are_rejected_with_a_reason() {
    let keys = keys(&[KEY]);
    for (text, expected) in [
        // incorrect mac
        (
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            FernetError::WrongKey,
        ),
        // too short
        (
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            FernetError::Truncated,
        ),
        // invalid base64
        (
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            FernetError::NotFernet,
        ),
        // payload size not multiple of block size
        (
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            FernetError::Truncated,
        ),
        // payload padding error
        (
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            FernetError::WrongKey,
        ),
        // incorrect IV (causes padding error)
        (
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
            FernetError::WrongKey,
        ),
        // trailing characters after b64 padding
        (&format!("{HELLO}trailingdata"), FernetError::NotFernet),
        // invalid characters in b64
        (
            "*gAAAAAAdwJ6wAAECAwQFBgcI!CQoLDA0ODy021?cpGVWKZ_eEwC@GM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
            FernetError::NotFernet,
        ),
        // Characters of the other alphabet are read, but the padding is in the wrong place.
        (
            "gAAAAAAdwJ6wAAEC/AwQFBgcICQoLDA0ODy+021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
            FernetError::NotFernet,
        ),
    ] {
        assert_eq!(decrypt(&keys, text), Err(expected), "{text}");
    }
}

#[test]
fn keys_and_texts_are_read_as_python_reads_them() {
    // `tests/clients/run` checks what Python reads.
    let corpus = include_str!("../../../tests/clients/fernet.json");
    let corpus: Vec<serde_json::Value> = serde_json::from_str(corpus).unwrap();
    assert!(corpus.len() > 10);
    for case in corpus {
        let field = |name: &str| case[name].as_str();
        let keys = Fernet::new(vec![secret(field("key").unwrap())]);
        let found = keys.and_then(|keys| decrypt(&keys, field("text").unwrap()));
        match field("graphward") {
            Some(token) => assert_eq!(found.as_deref(), Ok(token), "{case}"),
            None => assert_eq!(
                Some(found.as_ref().unwrap_err().label()),
                case["graphward"]["refused"].as_str()
            ),
        }
        assert!(
            field("why").is_some() || found.ok().as_deref() == field("python"),
            "{case}"
        );
    }
}

#[test]
fn no_error_advises_a_new_key_for_what_is_encrypted_already() {
    for error in [FernetError::NoKeys, FernetError::InvalidKey, FernetError::WrongKey] {
        let message = error.to_string();
        assert!(
            !message.contains("keygen") && !message.contains("generate"),
            "{message}"
        );
    }
}

#[test]
fn an_old_or_future_timestamp_is_accepted() {
    let keys = keys(&[KEY]);
    // The specification's "expired TTL" and "far-future TS".
    for text in [
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
    ] {
        assert!(decrypt(&keys, text).is_ok());
    }
}

#[test]
fn a_token_encrypted_by_python_is_decrypted() {
    let python = keys(&["_xMVGhNBtq56sxcaLvyc_Smn4lwQgOG2N3TH74Te9no="]);
    let text = "gAAAAABrAU65-CGDDYvu4r__3ZaZdkDqoxiaCfJRi2qhWpUN5KVa5rmA7MFuqJKg8famMdvTbFbVj8E4w_iwhIbTzTg1L21SY_g3CfUQaButZLSlsqkZJTk=";
    assert_eq!(decrypt(&python, text).as_deref(), Ok("EAAGm0PX4ZCpsBAKZAtoken0123"));
    let nothing =
        "gAAAAABrAU65rxG2qOkT5_CqW21L7P4w8KeinvRZU3-qUbHyN7QY5nd11-hXHN-BAVpaptkQrZL36ZCJobZDOwBF_2ZsHfzsRg==";
    assert_eq!(decrypt(&python, nothing).as_deref(), Ok(""));
}

#[test]
fn any_key_decrypts_and_the_first_encrypts() {
    let (old, new) = (Fernet::generate().unwrap(), Fernet::generate().unwrap());
    let alone = |key: &Secret| Fernet::new(vec![key.clone()]).unwrap();
    let both = Fernet::new(vec![new.clone(), old.clone()]).unwrap();
    let token = secret("EAAGm0PX4ZCps");
    for encrypted in [alone(&old).encrypt(&token), alone(&new).encrypt(&token)] {
        assert_eq!(decrypt(&both, &encrypted).as_deref(), Ok("EAAGm0PX4ZCps"));
    }
    let encrypted = both.encrypt(&token);
    assert!(decrypt(&alone(&new), &encrypted).is_ok());
    assert_eq!(decrypt(&alone(&old), &encrypted), Err(FernetError::WrongKey));
    assert_ne!(
        both.encrypt(&token),
        encrypted,
        "equal plaintexts must not be recognizable"
    );
}

#[test]
fn an_invalid_key_is_reported_and_not_shown() {
    assert_eq!(Fernet::new(Vec::new()).unwrap_err(), FernetError::NoKeys);
    for bad in [
        "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e",
        "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4AAAA=",
        "cw*0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
        "password",
    ] {
        let error = Fernet::new(vec![secret(bad)]).unwrap_err();
        assert_eq!(error, FernetError::InvalidKey, "{bad}");
        assert!(!error.to_string().contains(bad));
    }
    let debug = format!("{:?}", keys(&[KEY]));
    assert_eq!(debug, "Fernet { keys: 1 }");
}

#[test]
fn a_plaintext_that_is_not_utf8_is_reported() {
    let keys = keys(&[KEY]);
    let key = &keys.0[0];
    let iv = [7; BLOCK_BYTES];
    let encryption = (&*key.encryption).into();
    let encrypted = cbc::Encryptor::<Aes128>::new(encryption, (&iv).into()).encrypt_padded_vec::<Pkcs7>(b"\xff\xfe");
    let mut bytes = vec![VERSION];
    bytes.extend(DATE.to_be_bytes());
    bytes.extend(iv);
    bytes.extend(encrypted);
    let mac = key.mac(&[&bytes]).unwrap().finalize().into_bytes();
    bytes.extend(mac);
    assert_eq!(decrypt(&keys, &BASE64.encode(bytes)), Err(FernetError::NotText));
}

#[test]
fn every_truncation_and_every_altered_character_is_detected() {
    let keys = keys(&[KEY]);
    for length in 0..HELLO.len() - 2 {
        let error = decrypt(&keys, HELLO.get(..length).unwrap()).unwrap_err();
        assert!(!matches!(error, FernetError::NotText), "{length}: {error}");
    }
    for at in 0..HELLO.len() - 2 {
        let mut text = HELLO.as_bytes().to_vec();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        assert!(decrypt(&keys, std::str::from_utf8(&text).unwrap()).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn encrypted_tokens_are_decrypted_and_nothing_else_is(token in "[!-~]{1,300}", noise in ".{0,200}") {
        let keys = keys(&[KEY]);
        let encrypted = keys.encrypt(&secret(&token));
        prop_assert!(encrypted.starts_with("gAAAA"));
        prop_assert!(!encrypted.contains(&token) || token.len() < 4);
        prop_assert_eq!(decrypt(&keys, &encrypted), Ok(token));
        prop_assert!(decrypt(&keys, &noise).is_err());
        let with_prefix = format!("gAAAA{noise}");
        prop_assert!(decrypt(&keys, &with_prefix).is_err());
    }
}
