//! No credential of a body survives `Replace`, every other byte does, and cleaning twice changes nothing. The output of a
//! multipart form that streams does not depend on its chunks, keeps its length if it is masked, and says the same about its tenant.

#![no_main]

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use graphward::graph::{
    BodyFormat, ClientCredentialPolicy, ParameterCredential, ScrubError, ScrubMode, ScrubReport, ScrubRules, Scrubber,
    SignPolicy, scrub,
};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// Words that likely matter, with raw text after each.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    policy: u8,
    words: Vec<(u8, &'a [u8])>,
    lengths: [u8; 3],
}

const KINDS: [&str; 4] = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=\"--\"",
    "application/json",
];
const FORM: [&str; 20] = [
    "",
    "&",
    "=",
    "&access_token=",
    "access_token",
    "%61ccess_token=",
    "&appsecret_proof=",
    "appsecret_time",
    "&batch=",
    "&input_token=",
    "null",
    "1|s",
    "1%7c",
    "EAAG",
    "+",
    "[]",
    "&ids[]=1,2",
    "&%69d=",
    "&+access.token",
    "&%20ids[=",
];
const MULTIPART: [&str; 18] = [
    "",
    "\r\n",
    "\n",
    "--b",
    "\r\n--b\r\n",
    "\n--b--",
    "----",
    "\r\n--b\r\nContent-Disposition: form-data; name=",
    "\r\n\r\n",
    "\r\n----\r\ncontent-disposition:a;NAME=\"access_token\"\n\n",
    "\r\n--b \r\nContent-Disposition: form-data;\n name='access_token'\r\n\r\n",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"appsecret_proof\"\r\n\r\n",
    "; filename=\"a\"",
    "access_token",
    "1|s",
    "null",
    "tenant:a",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"ids[]\"\r\n\r\n1,2",
];
const JSON: [&str; 18] = [
    "",
    "{",
    "}",
    "\"access_token\":",
    "\"EAAG\"",
    "\"1|s\"",
    "null",
    ",",
    "\"\\u0061ccess_token\" : ",
    "\"appsecret_proof\":\"ab\"",
    "\"batch\":",
    "[",
    "]",
    "\"a\":1",
    "\\",
    "\"",
    "\"id\":12",
    "\"ids\":[\"1\",2]",
];

type Left = Result<(Vec<u8>, ScrubReport), ScrubError>;

fuzz_target!(|input: Input<'_>| {
    let kind = usize::from(input.kind) % KINDS.len();
    let words = match kind {
        0 => &FORM[..],
        3 => &JSON,
        _ => &MULTIPART,
    };
    let mut body = Vec::new();
    for (word, rest) in &input.words {
        body.extend_from_slice(words[usize::from(*word) % words.len()].as_bytes());
        body.extend_from_slice(rest);
    }
    let policy = match input.policy % 3 {
        0 => ClientCredentialPolicy::Replace,
        1 => ClientCredentialPolicy::Refuse,
        _ => ClientCredentialPolicy::Keep,
    };
    let content_type = HeaderValue::from_static(KINDS[kind]);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    let format = BodyFormat::from_headers(&headers).expect("graphward reads all of them");

    // In memory, what may stay keeps its place.
    let memory = scrubbed(&format, policy, &body);
    if let Ok((left, report)) = &memory {
        assert_eq!(report.is_changed, *left != body);
        let again = scrubbed(&format, policy, left);
        assert!(matches!(again, Ok((same, report)) if same == *left && !report.is_changed));
    }
    if kind == 0
        && !percent_encoding::percent_decode(&body)
            .collect::<Vec<_>>()
            .windows(5)
            .any(|word| word == b"batch")
    {
        check_form(&body, &memory, policy);
    }

    let BodyFormat::Multipart { boundary } = &format else {
        return;
    };
    for mode in [ScrubMode::Remove, ScrubMode::Mask] {
        let at_once = pushed(boundary, policy, mode, &body, &[u8::MAX]);
        for lengths in [&input.lengths[..], &[1]] {
            assert_eq!(pushed(boundary, policy, mode, &body, lengths), at_once);
        }
        if let Ok((left, report)) = &at_once {
            assert!(report.is_changed || *left == body);
            if mode == ScrubMode::Mask {
                assert_eq!(left.len(), body.len());
            }
            let again = pushed(boundary, policy, mode, left, &[u8::MAX]);
            assert_eq!(again.as_ref().map(|(left, _)| left), Ok(left));
        }
        // A form that streams has the same credentials as one in memory.
        match (&memory, &at_once) {
            _ if mode == ScrubMode::Mask => {}
            (Err(one), Err(other)) => assert_eq!(one, other),
            (Ok((memory, found)), Ok((streamed, also))) => {
                assert_eq!((found.credential, found.has_batch), (also.credential, also.has_batch));
                assert_eq!(found.signs, also.signs);
                if !found.credential.is_forwarded() {
                    assert_eq!(memory, streamed);
                }
            }
            _ => panic!("{memory:?}"),
        }
    }
});

fn scrubbed(format: &BodyFormat, policy: ClientCredentialPolicy, body: &[u8]) -> Left {
    let (left, report) = scrub(format, rules(policy), Bytes::copy_from_slice(body))?;
    Ok((left.to_vec(), report))
}

fn pushed(boundary: &[u8], policy: ClientCredentialPolicy, mode: ScrubMode, body: &[u8], lengths: &[u8]) -> Left {
    let mut scrubber = Scrubber::new(boundary, rules(policy), mode);
    let mut out = BytesMut::new();
    let mut rest = body;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(usize::from(*length).clamp(1, rest.len()));
        scrubber.push(chunk, &mut out)?;
        rest = after;
    }
    let report = scrubber.finish(&mut out)?;
    Ok((out.to_vec(), report))
}

/// Written without the code under test: in order, nothing is lost but credentials.
fn check_form(body: &[u8], left: &Left, policy: ClientCredentialPolicy) {
    let (left, report) = match left {
        Ok(left) => left,
        Err(ScrubError::ClientCredential) => return assert_eq!(policy, ClientCredentialPolicy::Refuse),
        Err(ScrubError::CannotScrub(_)) => return,
    };
    let split = |text: &[u8]| -> Vec<Vec<u8>> {
        let all = text.split(|byte| *byte == b'&').map(<[u8]>::to_vec);
        all.filter(|parameter| !is_credential(parameter)).collect()
    };
    let (mut before, mut after) = (split(body), split(left));
    // One empty parameter and none are the same form.
    before.retain(|parameter| !parameter.is_empty());
    after.retain(|parameter| !parameter.is_empty());
    assert_eq!(before, after);
    let any = left.split(|byte| *byte == b'&').any(is_credential);
    let stays = match report.credential {
        ParameterCredential::AppToken | ParameterCredential::Kept => true,
        ParameterCredential::None | ParameterCredential::Placeholder | ParameterCredential::Removed => false,
    };
    assert_eq!(any, stays);
}

fn is_credential(parameter: &[u8]) -> bool {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let name: Vec<u8> = percent_encoding::percent_decode(&name).collect();
    let start = name.iter().position(|byte| *byte > b' ').unwrap_or(name.len());
    let name = name[start..].split(|byte| *byte == 0).next().unwrap_or_default();
    [&b"access_token"[..], b"appsecret_proof", b"appsecret_time"]
        .iter()
        .any(|known| {
            let (name, after) = name.split_at(known.len().min(name.len()));
            let name: Vec<u8> = name
                .iter()
                .map(|byte| if b". [".contains(byte) { b'_' } else { *byte })
                .collect();
            name == *known && matches!(after.trim_ascii().first(), None | Some(b'['))
        })
}

/// The policy, with the names of tenants read.
const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}
