//! Forms and multipart forms by way of the public door, against rules that are written down a second time here.

mod clients;
mod forms;
mod multiparts;

use http::HeaderValue;

use super::super::credential::ParameterCredential;
use super::*;

const POLICIES: [ClientCredentialPolicy; 3] = [
    ClientCredentialPolicy::Replace,
    ClientCredentialPolicy::Refuse,
    ClientCredentialPolicy::Keep,
];
const FORM: &str = "application/x-www-form-urlencoded";

fn headers(content_type: &str) -> HeaderMap {
    let value = HeaderValue::from_str(content_type).unwrap();
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

type ScrubResult = Result<(Vec<u8>, ScrubReport), ScrubError>;

/// In memory.
fn scrub_in_memory(content_type: &str, policy: ClientCredentialPolicy, body: &[u8]) -> ScrubResult {
    let (edited, scrubbed) = scrub(&headers(content_type), policy, body)?;
    assert_eq!(edited.is_some(), scrubbed.is_changed);
    let left = edited.map_or_else(|| body.to_vec(), |edited| edited.to_vec());
    Ok((left, scrubbed))
}

/// As it arrives, in pieces of these lengths, again and again.
fn scrub_in_chunks(
    content_type: &str,
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
    body: &[u8],
    lengths: &[usize],
) -> ScrubResult {
    let Some(mut scrubber) = Scrubber::from_headers(&headers(content_type), policy, mode) else {
        return Ok((body.to_vec(), ScrubState::new(policy, mode).report(false)));
    };
    let mut out = BytesMut::new();
    let mut rest = body;
    for length in lengths.iter().cycle() {
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        scrubber.push(piece, &mut out)?;
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let scrubbed = scrubber.finish(&mut out)?;
    Ok((out.to_vec(), scrubbed))
}

/// What a piece of a body is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TestParameter {
    Data,
    Proof,
    Placeholder,
    App,
    Token,
}

/// What becomes of it in memory; and, as it arrives, whether it comes back at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ExpectedFate {
    Kept,
    Moved,
    Removed,
}

/// The rules, seen from the end of the body. `None`: it is refused.
fn expected_fates(
    kinds: &[TestParameter],
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
) -> Option<Vec<ExpectedFate>> {
    let token = kinds.contains(&TestParameter::Token);
    let app = kinds.contains(&TestParameter::App);
    let staying = match policy {
        ClientCredentialPolicy::Refuse if token => return None,
        ClientCredentialPolicy::Refuse => app,
        ClientCredentialPolicy::Keep => app || token,
        ClientCredentialPolicy::Replace => app && !token && mode == ScrubMode::Remove,
    };
    let becomes = |(at, kind): (usize, &TestParameter)| match kind {
        TestParameter::Data => ExpectedFate::Kept,
        TestParameter::Placeholder => ExpectedFate::Removed,
        _ if !staying => ExpectedFate::Removed,
        TestParameter::Token | TestParameter::App if policy == ClientCredentialPolicy::Replace => ExpectedFate::Moved,
        TestParameter::Token | TestParameter::App => ExpectedFate::Kept,
        TestParameter::Proof => {
            let late = kinds[..at]
                .iter()
                .any(|kind| matches!(kind, TestParameter::App | TestParameter::Token));
            match (late && policy != ClientCredentialPolicy::Replace, mode) {
                (true, _) => ExpectedFate::Kept,
                (false, ScrubMode::Remove) => ExpectedFate::Moved,
                (false, ScrubMode::Mask) => ExpectedFate::Removed,
            }
        }
    };
    Some(kinds.iter().enumerate().map(becomes).collect())
}

fn expected_credential(
    kinds: &[TestParameter],
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
) -> ParameterCredential {
    let has = |kind| kinds.contains(&kind);
    if has(TestParameter::Token) || (has(TestParameter::App) && mode == ScrubMode::Mask) {
        match policy {
            ClientCredentialPolicy::Keep if has(TestParameter::Token) => {
                return ParameterCredential::Kept;
            }
            ClientCredentialPolicy::Replace => return ParameterCredential::Removed,
            ClientCredentialPolicy::Keep | ClientCredentialPolicy::Refuse => {}
        }
    }
    if has(TestParameter::App) {
        ParameterCredential::AppToken
    } else if has(TestParameter::Placeholder) {
        ParameterCredential::Placeholder
    } else {
        ParameterCredential::None
    }
}

/// Holds a body of such pieces against the rules: in memory, as it arrives, and masked. `write_separator` makes a body of pieces,
/// `mask` what a piece that goes is in a masked one.
fn assert_follows_rules(
    content_type: &str,
    pieces: &[(TestParameter, Vec<u8>)],
    lengths: &[usize],
    join: impl Fn(&[&[u8]]) -> Vec<u8>,
    mask: impl Fn(&[u8]) -> Vec<u8>,
) {
    let kinds: Vec<_> = pieces.iter().map(|(kind, _)| *kind).collect();
    let all: Vec<&[u8]> = pieces.iter().map(|(_, piece)| &piece[..]).collect();
    let body = join(&all);
    let those = |becomes: &[ExpectedFate], wanted: &[ExpectedFate]| -> Vec<&[u8]> {
        let pairs = all.iter().zip(becomes);
        let chosen = pairs.filter(|(_, becomes)| wanted.contains(becomes));
        chosen.map(|(piece, _)| *piece).collect()
    };
    for policy in POLICIES {
        let Some(becomes) = expected_fates(&kinds, policy, ScrubMode::Remove) else {
            let refused = Err(ScrubError::ClientCredential);
            assert_eq!(scrub_in_memory(content_type, policy, &body), refused);
            for mode in [ScrubMode::Remove, ScrubMode::Mask] {
                assert_eq!(scrub_in_chunks(content_type, policy, mode, &body, lengths), refused);
            }
            continue;
        };
        let found = |changed, mode| ScrubReport {
            credential: expected_credential(&kinds, policy, mode),
            ..ScrubState::new(policy, mode).report(changed)
        };

        let left = join(&those(&becomes, &[ExpectedFate::Kept, ExpectedFate::Moved]));
        let again = scrub_in_memory(content_type, policy, &left).unwrap();
        let expected = Ok((left, found(becomes.contains(&ExpectedFate::Removed), ScrubMode::Remove)));
        assert_eq!(scrub_in_memory(content_type, policy, &body), expected, "{policy:?}");
        assert!(!again.1.is_changed, "{policy:?}: what is clean stays as it is");

        let mut order = those(&becomes, &[ExpectedFate::Kept]);
        order.extend(those(&becomes, &[ExpectedFate::Moved]));
        let changed = becomes.iter().any(|becomes| *becomes != ExpectedFate::Kept);
        let expected = Ok((join(&order), found(changed, ScrubMode::Remove)));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = scrub_in_chunks(content_type, policy, ScrubMode::Remove, &body, lengths);
            assert_eq!(left, expected, "{policy:?}");
        }

        let becomes = expected_fates(&kinds, policy, ScrubMode::Mask).unwrap();
        let masked: Vec<Vec<u8>> = all
            .iter()
            .zip(&becomes)
            .map(|(piece, becomes)| match becomes {
                ExpectedFate::Kept => piece.to_vec(),
                ExpectedFate::Moved | ExpectedFate::Removed => mask(piece),
            })
            .collect();
        let masked = join(&masked.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(masked.len(), body.len());
        let changed = becomes.contains(&ExpectedFate::Removed);
        let expected = Ok((masked, found(changed, ScrubMode::Mask)));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = scrub_in_chunks(content_type, policy, ScrubMode::Mask, &body, lengths);
            assert_eq!(left, expected, "{policy:?}, masked");
        }
    }
}

#[test]
fn bodies_of_other_kinds_are_not_read() {
    let body = b"access_token=EAAG";
    for content_type in [
        "text/csv",
        "application/octet-stream",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/mixed; boundary=a",
        "application/x-www-form-urlencodedx",
        "",
    ] {
        for policy in POLICIES {
            assert!(Scrubber::from_headers(&headers(content_type), policy, ScrubMode::Remove).is_none());
            let (left, scrubbed) = scrub_in_memory(content_type, policy, body).unwrap();
            assert_eq!((left, scrubbed.is_changed), (body.to_vec(), false));
        }
    }
}

#[test]
fn a_body_without_a_type_is_a_form() {
    let none = HeaderMap::new();
    assert!(Scrubber::from_headers(&none, ClientCredentialPolicy::Replace, ScrubMode::Remove).is_some());
    let (left, _found) = scrub(&none, ClientCredentialPolicy::Replace, b"a=1&access_token=EAAG&b").unwrap();
    assert_eq!(left.as_deref(), Some(&b"a=1&b"[..]));
}

#[test]
fn every_syntax_of_the_content_type_is_accepted() {
    for content_type in [
        FORM,
        "Application/X-WWW-Form-URLEncoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded ;charset=UTF-8",
    ] {
        let (left, _) = scrub_in_memory(content_type, ClientCredentialPolicy::Replace, b"access_token=E&a").unwrap();
        assert_eq!(left, b"a", "{content_type}");
    }
}

#[test]
fn an_encoded_body_is_not_read() {
    let mut headers = headers(FORM);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    assert!(Scrubber::from_headers(&headers, ClientCredentialPolicy::Replace, ScrubMode::Remove).is_some());
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert!(Scrubber::from_headers(&headers, ClientCredentialPolicy::Replace, ScrubMode::Remove).is_none());
}

#[test]
fn a_body_without_credentials_is_not_copied() {
    for (content_type, body) in [
        (FORM, "a=1&b=2&application=3"),
        (FORM, "access_token=1|s&appsecret_proof=ab"),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n",
        ),
    ] {
        let (edited, _) = scrub(&headers(content_type), ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
        assert_eq!(edited, None, "{body}");
    }
}

#[test]
fn no_secret_is_shown() {
    let mut scrubber =
        Scrubber::from_headers(&headers(FORM), ClientCredentialPolicy::Replace, ScrubMode::Remove).unwrap();
    let mut out = BytesMut::new();
    scrubber
        .push(b"access_token=12|SECRET&access_token=34|SECRET", &mut out)
        .unwrap();
    assert!(!format!("{scrubber:?}").contains("SECRET"));
    assert!(!format!("{scrubber:?}").contains("83, 69"));
}
