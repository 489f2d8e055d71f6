//! Forms and multipart forms by way of the public door, against rules that are written down a second time here.

mod clients;
mod forms;
mod multiparts;

use http::HeaderValue;

use super::super::presented::QueryCredential;
use super::*;

const POLICIES: [Presented; 3] = [Presented::Replace, Presented::Refuse, Presented::Keep];
const FORM: &str = "application/x-www-form-urlencoded";

fn headers(content_type: &str) -> HeaderMap {
    let value = HeaderValue::from_str(content_type).unwrap();
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

type Left = Result<(Vec<u8>, Scrubbed), ScrubError>;

/// In memory.
fn at_once(content_type: &str, policy: Presented, body: &[u8]) -> Left {
    let (edited, scrubbed) = scrub(&headers(content_type), policy, body)?;
    assert_eq!(edited.is_some(), scrubbed.changed);
    let left = edited.map_or_else(|| body.to_vec(), |edited| edited.to_vec());
    Ok((left, scrubbed))
}

/// As it arrives, in pieces of these lengths, again and again.
fn in_pieces(
    content_type: &str,
    policy: Presented,
    mode: Mode,
    body: &[u8],
    lengths: &[usize],
) -> Left {
    let Some(mut scrubber) = Scrubber::of(&headers(content_type), policy, mode) else {
        return Ok((body.to_vec(), Held::new(policy, mode).scrubbed(false)));
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
enum Kind {
    Data,
    Proof,
    Placeholder,
    App,
    Token,
}

/// What becomes of it in memory; and, as it arrives, whether it comes back at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Becomes {
    Stays,
    Moves,
    Goes,
}

/// The rules, seen from the end of the body. `None`: it is refused.
fn rules(kinds: &[Kind], policy: Presented, mode: Mode) -> Option<Vec<Becomes>> {
    let token = kinds.contains(&Kind::Token);
    let app = kinds.contains(&Kind::App);
    let staying = match policy {
        Presented::Refuse if token => return None,
        Presented::Refuse => app,
        Presented::Keep => app || token,
        Presented::Replace => app && !token && mode == Mode::Cut,
    };
    let becomes = |(at, kind): (usize, &Kind)| match kind {
        Kind::Data => Becomes::Stays,
        Kind::Placeholder => Becomes::Goes,
        _ if !staying => Becomes::Goes,
        Kind::Token | Kind::App if policy == Presented::Replace => Becomes::Moves,
        Kind::Token | Kind::App => Becomes::Stays,
        Kind::Proof => {
            let late = kinds[..at]
                .iter()
                .any(|kind| matches!(kind, Kind::App | Kind::Token));
            match (late && policy != Presented::Replace, mode) {
                (true, _) => Becomes::Stays,
                (false, Mode::Cut) => Becomes::Moves,
                (false, Mode::Mask) => Becomes::Goes,
            }
        }
    };
    Some(kinds.iter().enumerate().map(becomes).collect())
}

fn credential(kinds: &[Kind], policy: Presented, mode: Mode) -> QueryCredential {
    let has = |kind| kinds.contains(&kind);
    if has(Kind::Token) || (has(Kind::App) && mode == Mode::Mask) {
        match policy {
            Presented::Keep if has(Kind::Token) => return QueryCredential::Kept,
            Presented::Replace => return QueryCredential::Stale,
            Presented::Keep | Presented::Refuse => {}
        }
    }
    if has(Kind::App) {
        QueryCredential::AppToken
    } else if has(Kind::Placeholder) {
        QueryCredential::Placeholder
    } else {
        QueryCredential::None
    }
}

/// Holds a body of such pieces against the rules: in memory, as it arrives, and masked. `join` makes a body of pieces,
/// `mask` what a piece that goes is in a masked one.
fn hold_against_the_rules(
    content_type: &str,
    pieces: &[(Kind, Vec<u8>)],
    lengths: &[usize],
    join: impl Fn(&[&[u8]]) -> Vec<u8>,
    mask: impl Fn(&[u8]) -> Vec<u8>,
) {
    let kinds: Vec<_> = pieces.iter().map(|(kind, _)| *kind).collect();
    let all: Vec<&[u8]> = pieces.iter().map(|(_, piece)| &piece[..]).collect();
    let body = join(&all);
    let those = |becomes: &[Becomes], wanted: &[Becomes]| -> Vec<&[u8]> {
        let pairs = all.iter().zip(becomes);
        let chosen = pairs.filter(|(_, becomes)| wanted.contains(becomes));
        chosen.map(|(piece, _)| *piece).collect()
    };
    for policy in POLICIES {
        let Some(becomes) = rules(&kinds, policy, Mode::Cut) else {
            let refused = Err(ScrubError::Presented);
            assert_eq!(at_once(content_type, policy, &body), refused);
            for mode in [Mode::Cut, Mode::Mask] {
                assert_eq!(
                    in_pieces(content_type, policy, mode, &body, lengths),
                    refused
                );
            }
            continue;
        };
        let found = |changed, mode| Scrubbed {
            credential: credential(&kinds, policy, mode),
            ..Held::new(policy, mode).scrubbed(changed)
        };

        let left = join(&those(&becomes, &[Becomes::Stays, Becomes::Moves]));
        let again = at_once(content_type, policy, &left).unwrap();
        let expected = Ok((left, found(becomes.contains(&Becomes::Goes), Mode::Cut)));
        assert_eq!(at_once(content_type, policy, &body), expected, "{policy:?}");
        assert!(!again.1.changed, "{policy:?}: what is clean stays as it is");

        let mut order = those(&becomes, &[Becomes::Stays]);
        order.extend(those(&becomes, &[Becomes::Moves]));
        let changed = becomes.iter().any(|becomes| *becomes != Becomes::Stays);
        let expected = Ok((join(&order), found(changed, Mode::Cut)));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = in_pieces(content_type, policy, Mode::Cut, &body, lengths);
            assert_eq!(left, expected, "{policy:?}");
        }

        let becomes = rules(&kinds, policy, Mode::Mask).unwrap();
        let masked: Vec<Vec<u8>> = all
            .iter()
            .zip(&becomes)
            .map(|(piece, becomes)| match becomes {
                Becomes::Stays => piece.to_vec(),
                Becomes::Moves | Becomes::Goes => mask(piece),
            })
            .collect();
        let masked = join(&masked.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(masked.len(), body.len());
        let changed = becomes.contains(&Becomes::Goes);
        let expected = Ok((masked, found(changed, Mode::Mask)));
        for lengths in [lengths, &[1], &[usize::MAX]] {
            let left = in_pieces(content_type, policy, Mode::Mask, &body, lengths);
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
            assert!(Scrubber::of(&headers(content_type), policy, Mode::Cut).is_none());
            let (left, scrubbed) = at_once(content_type, policy, body).unwrap();
            assert_eq!((left, scrubbed.changed), (body.to_vec(), false));
        }
    }
}

#[test]
fn a_body_without_a_type_is_a_form() {
    let none = HeaderMap::new();
    assert!(Scrubber::of(&none, Presented::Replace, Mode::Cut).is_some());
    let (left, _found) = scrub(&none, Presented::Replace, b"a=1&access_token=EAAG&b").unwrap();
    assert_eq!(left.as_deref(), Some(&b"a=1&b"[..]));
}

#[test]
fn the_content_type_may_be_written_in_any_way() {
    for content_type in [
        FORM,
        "Application/X-WWW-Form-URLEncoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded ;charset=UTF-8",
    ] {
        let (left, _) = at_once(content_type, Presented::Replace, b"access_token=E&a").unwrap();
        assert_eq!(left, b"a", "{content_type}");
    }
}

#[test]
fn an_encoded_body_is_not_read() {
    let mut headers = headers(FORM);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    assert!(Scrubber::of(&headers, Presented::Replace, Mode::Cut).is_some());
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert!(Scrubber::of(&headers, Presented::Replace, Mode::Cut).is_none());
}

#[test]
fn a_clean_body_in_memory_is_not_copied() {
    for (content_type, body) in [
        (FORM, "a=1&b=2&application=3"),
        (FORM, "access_token=1|s&appsecret_proof=ab"),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n",
        ),
    ] {
        let (edited, _) =
            scrub(&headers(content_type), Presented::Replace, body.as_bytes()).unwrap();
        assert_eq!(edited, None, "{body}");
    }
}

#[test]
fn no_secret_is_shown() {
    let mut scrubber = Scrubber::of(&headers(FORM), Presented::Replace, Mode::Cut).unwrap();
    let mut out = BytesMut::new();
    scrubber
        .push(b"access_token=12|SECRET&access_token=34|SECRET", &mut out)
        .unwrap();
    assert!(!format!("{scrubber:?}").contains("SECRET"));
    assert!(!format!("{scrubber:?}").contains("83, 69"));
}
