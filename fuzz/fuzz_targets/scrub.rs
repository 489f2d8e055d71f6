//! What leaves of a form does not depend on how it was cut up; no credential survives `Refresh`; every other
//! byte survives; masking keeps the length; and what is clean stays as it is.

#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use graphward::graph::{Mode, Presented, QueryCredential, ScrubError, Scrubbed, Scrubber, scrub};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// What likely matters, and raw text after it.
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
const FORM: [&str; 16] = [
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
];
const MULTIPART: [&str; 16] = [
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
];
const JSON: [&str; 16] = [
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
];

type Left = Result<(Vec<u8>, Scrubbed), ScrubError>;

fuzz_target!(|input: Input<'_>| {
    let kind = usize::from(input.kind) % KINDS.len();
    let words = match kind {
        0 => FORM,
        3 => JSON,
        _ => MULTIPART,
    };
    let mut body = Vec::new();
    for (word, rest) in &input.words {
        body.extend_from_slice(words[usize::from(*word) % words.len()].as_bytes());
        body.extend_from_slice(rest);
    }
    let policy = match input.policy % 3 {
        0 => Presented::Replace,
        1 => Presented::Refuse,
        _ => Presented::Keep,
    };
    let content_type = HeaderValue::from_static(KINDS[kind]);
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);

    let mut results = Vec::new();
    for mode in [Mode::Cut, Mode::Mask] {
        let at_once = pushed(&headers, policy, mode, &body, &[u8::MAX]);
        for lengths in [&input.lengths[..], &[1]] {
            assert_eq!(pushed(&headers, policy, mode, &body, lengths), at_once);
        }
        if let Ok((left, scrubbed)) = &at_once {
            assert!(scrubbed.changed || *left == body);
            if mode == Mode::Mask {
                assert_eq!(left.len(), body.len());
            }
            let again = pushed(&headers, policy, mode, left, &[u8::MAX]);
            assert_eq!(again.as_ref().map(|(left, _)| left), Ok(left));
        }
        if kind == 0 && !body.windows(5).any(|word| word == b"batch") {
            check_form(&body, &at_once, policy, mode);
        }
        results.push(at_once);
    }

    // In memory the same is found, and what comes back stays where it is.
    let memory = scrub(&headers, policy, &body);
    match (&memory, &results[0]) {
        (Err(one), Err(other)) => assert_eq!(one, other),
        (Ok((edited, scrubbed)), Ok((left, pushed))) => {
            assert_eq!(
                (scrubbed.credential, scrubbed.batch),
                (pushed.credential, pushed.batch)
            );
            assert_eq!(edited.is_some(), scrubbed.changed);
            let memory = edited.as_deref().unwrap_or(&body);
            if !scrubbed.credential.is_in_place() {
                assert_eq!(memory, left);
            }
            let again = scrub(&headers, policy, memory);
            assert!(matches!(again, Ok((None, _))));
        }
        _ => panic!("{memory:?}"),
    }
});

fn pushed(headers: &HeaderMap, policy: Presented, mode: Mode, body: &[u8], lengths: &[u8]) -> Left {
    let mut scrubber = Scrubber::of(headers, policy, mode).expect("they are all read");
    let mut out = BytesMut::new();
    let mut rest = body;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(usize::from(*length).clamp(1, rest.len()));
        scrubber.push(piece, &mut out)?;
        rest = behind;
    }
    let scrubbed = scrubber.finish(&mut out)?;
    Ok((out.to_vec(), scrubbed))
}

/// Written without the code under test: in order, nothing is lost but credentials.
fn check_form(body: &[u8], left: &Left, policy: Presented, mode: Mode) {
    let (left, scrubbed) = match left {
        Ok(left) => left,
        Err(ScrubError::Presented) => return assert_eq!(policy, Presented::Refuse),
        Err(ScrubError::Unclean(_)) => return,
    };
    let split = |text: &[u8]| -> Vec<Vec<u8>> {
        let all = text.split(|byte| *byte == b'&').map(<[u8]>::to_vec);
        all.filter(|parameter| !is_credential(parameter)).collect()
    };
    if mode == Mode::Cut {
        let (mut sent, mut left) = (split(body), split(left));
        // One empty parameter and none are the same form.
        sent.retain(|parameter| !parameter.is_empty());
        left.retain(|parameter| !parameter.is_empty());
        assert_eq!(sent, left);
    }
    let any = left.split(|byte| *byte == b'&').any(is_credential);
    let stays = match scrubbed.credential {
        QueryCredential::AppToken | QueryCredential::Kept => true,
        QueryCredential::None | QueryCredential::Placeholder | QueryCredential::Stale => false,
    };
    assert_eq!(any, stays);
}

fn is_credential(parameter: &[u8]) -> bool {
    let name = parameter
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default();
    let name: Vec<u8> = percent_encoding::percent_decode(name).collect();
    [&b"access_token"[..], b"appsecret_proof", b"appsecret_time"].contains(&&name[..])
}
