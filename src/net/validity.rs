//! Until when a certificate is valid.
//!
//! # Why
//!
//! rustls serves a certificate without looking at its dates, and its parser keeps them to itself. Two dates do not ask
//! for a parser of everything that X.509 has: they are the fifth field (RFC 5280, section 4.1), and are walked to.

use std::time::{Duration, SystemTime};

use crate::types::days;

/// The last moment of a DER certificate's validity; none if it cannot be found.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = read_tagged(certificate, SEQUENCE)?;
    let (mut fields, _) = read_tagged(certificate, SEQUENCE)?;
    if let Some((_version, rest)) = read_tagged(fields, VERSION) {
        fields = rest;
    }
    let (_serial, rest) = read_tagged(fields, INTEGER)?;
    let (_algorithm, rest) = read_tagged(rest, SEQUENCE)?;
    let (_issuer, rest) = read_tagged(rest, SEQUENCE)?;
    let (validity, _) = read_tagged(rest, SEQUENCE)?;
    let (_tag, _not_before, rest) = read_element(validity)?;
    let (tag, not_after, _) = read_element(rest)?;
    parse_time(tag, not_after)
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// What is in the element at the start, if it is of this kind; and what is behind it.
fn read_tagged(der: &[u8], expected_tag: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = read_element(der)?;
    (tag == expected_tag).then_some((content, rest))
}

/// The element at the start: its tag and content, and what is behind it.
fn read_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // As many bytes of length follow; four are more than any certificate has.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn parse_time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = parse_digits(text, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => parse_digits(text, 4)?,
        _ => return None,
    };
    let (month, rest) = parse_digits(rest, 2)?;
    let (day, rest) = parse_digits(rest, 2)?;
    let (hour, rest) = parse_digits(rest, 2)?;
    let (minute, rest) = parse_digits(rest, 2)?;
    let (second, rest) = parse_digits(rest, 2)?;
    let in_range = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || !rest.is_empty() {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn parse_digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    let all_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((all_digits.then(|| number.parse().ok())??, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_found_in_what_others_make() {
        for (year, month, day, seconds) in [
            (1999, 12, 31, 946_598_400),
            (2000, 2, 29, 951_782_400),
            (2049, 12, 31, 2_524_521_600),
            // From 2050 on the date is written in another form.
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = date_time_ymd(1990, 1, 1);
            params.not_after = date_time_ymd(year, month, day);
            let key = KeyPair::generate().unwrap();
            let made = params.self_signed(&key).unwrap();
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(not_after(made.der()), Some(end), "{year}-{month}-{day}");
            for cut in 0..made.der().len() - 1 {
                // Half a certificate has no end, and does no harm.
                assert_eq!(not_after(&made.der()[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn rubbish_has_no_end() {
        for rubbish in [&b""[..], b"\x30", b"\x30\x85\xff\xff\xff\xff\xff", b"\x30\x80\x00\x00"] {
            assert_eq!(not_after(rubbish), None);
        }
        for date in [
            "991231235959",
            "9912312359Z",
            "991331235959Z",
            "99123123595xZ",
            "+91231235959Z",
        ] {
            assert_eq!(parse_time(UTC_TIME, date.as_bytes()), None, "{date}");
        }
    }
}
