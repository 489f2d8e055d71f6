//! Bodies by way of the public functions, against rules that are written down a second time here.

mod clients;
mod forms;
mod json;
mod multipart;
mod tenants;

use http::HeaderValue;

use super::super::credential::ParameterCredential;
use super::*;

const POLICIES: [ClientCredentialPolicy; 4] = [
    ClientCredentialPolicy::Replace,
    ClientCredentialPolicy::Refuse,
    ClientCredentialPolicy::Keep,
    ClientCredentialPolicy::KeepAll,
];
const FORM: &str = "application/x-www-form-urlencoded";

fn headers(content_type: &str) -> HeaderMap {
    let value = HeaderValue::from_str(content_type).unwrap();
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}

type ScrubResult = Result<(Vec<u8>, ScrubReport), ScrubError>;

/// In memory, in a buffer of its own and in one that is shared. A body that need not change is the same buffer.
fn scrub_in_memory(content_type: &str, policy: ClientCredentialPolicy, body: &[u8]) -> ScrubResult {
    let Some(format) = BodyFormat::from_headers(&headers(content_type)) else {
        return Ok((body.to_vec(), ScrubReport::default()));
    };
    let (own, shared) = (Bytes::copy_from_slice(body), Bytes::copy_from_slice(body));
    let place = shared.as_ptr();
    let left = scrub(&format, rules(policy), own);
    assert_eq!(left, scrub(&format, rules(policy), shared.clone()));
    let (left, report) = left?;
    assert_eq!(shared, body, "a shared buffer keeps its content");
    assert_eq!(report.is_changed, left != body);
    if !report.is_changed && !body.is_empty() {
        let (same, _) = scrub(&format, rules(policy), shared)?;
        assert_eq!(same.as_ptr(), place, "nothing is copied");
    }
    Ok((left.to_vec(), report))
}

/// A multipart form as it streams, in chunks of these lengths, again and again.
fn scrub_in_chunks(
    content_type: &str,
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
    body: &[u8],
    lengths: &[usize],
) -> ScrubResult {
    let mut scrubber = scrubber(content_type, policy, mode);
    let mut out = BytesMut::new();
    let mut rest = body;
    for length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        scrubber.push(piece, &mut out)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let scrubbed = scrubber.finish(&mut out)?;
    Ok((out.to_vec(), scrubbed))
}

fn scrubber(content_type: &str, policy: ClientCredentialPolicy, mode: ScrubMode) -> Scrubber {
    match BodyFormat::from_headers(&headers(content_type)) {
        Some(BodyFormat::Multipart { boundary }) => Scrubber::new(&boundary, rules(policy), mode),
        other => panic!("{other:?} does not stream"),
    }
}

/// The kind of a piece of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TestParameter {
    Data,
    Proof,
    Placeholder,
    App,
    Token,
}

/// The result for it in memory; and, in a form that streams, whether it comes back at the end.
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
        ClientCredentialPolicy::KeepAll => true,
        ClientCredentialPolicy::Replace => app && !token && mode == ScrubMode::Remove,
    };
    let becomes = |(at, kind): (usize, &TestParameter)| match kind {
        TestParameter::Data => ExpectedFate::Kept,
        TestParameter::Placeholder => ExpectedFate::Removed,
        _ if !staying => ExpectedFate::Removed,
        TestParameter::Token | TestParameter::App if policy == ClientCredentialPolicy::Replace => ExpectedFate::Moved,
        TestParameter::Token | TestParameter::App => ExpectedFate::Kept,
        TestParameter::Proof if policy == ClientCredentialPolicy::KeepAll => ExpectedFate::Kept,
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
            ClientCredentialPolicy::Keep | ClientCredentialPolicy::KeepAll if has(TestParameter::Token) => {
                return ParameterCredential::Kept;
            }
            ClientCredentialPolicy::Replace => return ParameterCredential::Removed,
            ClientCredentialPolicy::Keep | ClientCredentialPolicy::KeepAll | ClientCredentialPolicy::Refuse => {}
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

/// The pieces of a body, and how they are joined.
struct PiecewiseBody<'a> {
    content_type: &'a str,
    pieces: &'a [(TestParameter, Vec<u8>)],
    join: &'a dyn Fn(&[&[u8]]) -> Vec<u8>,
}

impl PiecewiseBody<'_> {
    fn kinds(&self) -> Vec<TestParameter> {
        self.pieces.iter().map(|(kind, _)| *kind).collect()
    }

    fn whole(&self) -> Vec<u8> {
        (self.join)(&self.pieces.iter().map(|(_, piece)| &piece[..]).collect::<Vec<_>>())
    }

    /// The pieces with one of these fates.
    fn with_fates(&self, fates: &[ExpectedFate], wanted: &[ExpectedFate]) -> Vec<&[u8]> {
        let pairs = self.pieces.iter().zip(fates);
        let chosen = pairs.filter(|(_, fate)| wanted.contains(fate));
        chosen.map(|((_, piece), _)| &piece[..]).collect()
    }

    fn expected_report(&self, policy: ClientCredentialPolicy, mode: ScrubMode, is_changed: bool) -> ScrubReport {
        ScrubReport {
            credential: expected_credential(&self.kinds(), policy, mode),
            is_changed,
            ..ScrubReport::default()
        }
    }
}

/// Compares a body in memory with the rules.
fn assert_follows_rules_in_memory(body: &PiecewiseBody<'_>) {
    let whole = body.whole();
    for policy in POLICIES {
        let left = scrub_in_memory(body.content_type, policy, &whole);
        let Some(fates) = expected_fates(&body.kinds(), policy, ScrubMode::Remove) else {
            assert_eq!(left, Err(ScrubError::ClientCredential));
            continue;
        };
        let kept = (body.join)(&body.with_fates(&fates, &[ExpectedFate::Kept, ExpectedFate::Moved]));
        let again = scrub_in_memory(body.content_type, policy, &kept).unwrap();
        assert!(!again.1.is_changed, "{policy:?}: what is clean stays as it is");
        let is_changed = fates.contains(&ExpectedFate::Removed);
        let expected = Ok((kept, body.expected_report(policy, ScrubMode::Remove, is_changed)));
        assert_eq!(left, expected, "{policy:?}");
    }
}

/// Compares a body that streams, and is masked, with the rules. `mask` masks a piece.
fn assert_follows_rules_in_chunks(body: &PiecewiseBody<'_>, lengths: &[usize], mask: impl Fn(&[u8]) -> Vec<u8>) {
    let (kinds, whole) = (body.kinds(), body.whole());
    for policy in POLICIES {
        let Some(fates) = expected_fates(&kinds, policy, ScrubMode::Remove) else {
            for mode in [ScrubMode::Remove, ScrubMode::Mask] {
                let left = scrub_in_chunks(body.content_type, policy, mode, &whole, lengths);
                assert_eq!(left, Err(ScrubError::ClientCredential));
            }
            continue;
        };
        let mut order = body.with_fates(&fates, &[ExpectedFate::Kept]);
        order.extend(body.with_fates(&fates, &[ExpectedFate::Moved]));
        let is_changed = fates.iter().any(|fate| *fate != ExpectedFate::Kept);
        let report = body.expected_report(policy, ScrubMode::Remove, is_changed);
        let expected = Ok(((body.join)(&order), report));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = scrub_in_chunks(body.content_type, policy, ScrubMode::Remove, &whole, lengths);
            assert_eq!(left, expected, "{policy:?}");
        }

        let fates = expected_fates(&kinds, policy, ScrubMode::Mask).unwrap();
        let masked = body.pieces.iter().zip(&fates).map(|((_, piece), fate)| match fate {
            ExpectedFate::Kept => piece.clone(),
            ExpectedFate::Moved | ExpectedFate::Removed => mask(piece),
        });
        let masked: Vec<Vec<u8>> = masked.collect();
        let masked = (body.join)(&masked.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(masked.len(), whole.len());
        let is_changed = fates.contains(&ExpectedFate::Removed);
        let expected = Ok((masked, body.expected_report(policy, ScrubMode::Mask, is_changed)));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = scrub_in_chunks(body.content_type, policy, ScrubMode::Mask, &whole, lengths);
            assert_eq!(left, expected, "{policy:?}, masked");
        }
    }
}

#[test]
fn bodies_of_other_kinds_are_not_read() {
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
        assert_eq!(BodyFormat::from_headers(&headers(content_type)), None, "{content_type}");
    }
}

#[test]
fn a_body_without_a_type_is_a_form() {
    assert_eq!(BodyFormat::from_headers(&HeaderMap::new()), Some(BodyFormat::Form));
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
    assert_eq!(BodyFormat::from_headers(&headers), Some(BodyFormat::Form));
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(BodyFormat::from_headers(&headers), None);
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
        let (_, report) = scrub_in_memory(content_type, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
        assert!(!report.is_changed, "{body}");
    }
}

#[test]
fn no_secret_is_shown() {
    let multipart = "multipart/form-data; boundary=b";
    let mut scrubber = scrubber(multipart, ClientCredentialPolicy::Replace, ScrubMode::Remove);
    let part = "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n12|SECRET\r\n";
    let mut out = BytesMut::new();
    scrubber.push(part.repeat(2).as_bytes(), &mut out).unwrap();
    assert!(!format!("{scrubber:?}").contains("SECRET"));
    assert!(!format!("{scrubber:?}").contains("83, 69"));
}
