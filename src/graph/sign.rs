//! What a request says about the tenant that it is for: names in the place of a token, and ids of objects.
//!
//! # Why
//!
//! A client library has a token for each client, but not each has a header or a base URL for each call. So `tenant:NAME` may
//! stand wherever a token may: in `Authorization`, in a query, a form, a multipart form, a JSON body, in the items of a batch.
//! It is the only sign that also comes through CONNECT, and from libraries that have Graph's address built in.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memchr2};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::credential::{read_decoded_token_slot, read_token_slot};
use super::parameter::{ParameterName, form_decode};
use super::path::{decode, segments_without_version};
use super::text::unescape_all;

/// The signs among the parameters of a request, sorted, each once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TenantSigns {
    /// The names that stand in the place of a token, without `tenant:`. They need not be valid.
    pub token_slots: SignList,
    /// What may be the id of an object that belongs to a tenant: a phone number, a business account, a page.
    pub object_ids: SignList,
}

/// Names or ids. Two short ones, the usual case, take no allocation.
pub type SignList = SmallVec<[SmolStr; 2]>;

/// The most that is kept of a name or an id, in bytes. No tenant has a longer one.
const MAX_SIGN_BYTES: usize = 129;
/// The most names and the most ids. Graph takes fifty items in a batch, and fifty ids in a list.
const MAX_SIGNS: usize = 4_096;
static TOKEN_NAME_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("access_token"));

// === impl TenantSigns ===

impl TenantSigns {
    /// Adds the name in the place of a token, such as the value of an `Authorization` header, if there is one. An empty one counts
    /// too: it names no tenant, so the request is refused and not that of another one.
    pub fn add_token_slot(&mut self, value: &[u8]) {
        read_token_slot(value, |name| push(&mut self.token_slots, name.as_bytes()));
    }

    /// Adds the name in the value of a parameter in the same way.
    pub fn add_decoded_token_slot(&mut self, value: impl Iterator<Item = u8> + Clone) {
        read_decoded_token_slot(value, |name| push(&mut self.token_slots, name.as_bytes()));
    }

    /// Adds what may be signs in a path: the ids in its first segment after the version, and the name after an `access_token`
    /// in it. An encoded slash separates segments, too.
    pub fn add_path(&mut self, path: &str) {
        self.add_hidden(path.as_bytes());
        let path = decode(path.as_bytes());
        // Where there is `.` or `..`, any segment may be the first one.
        let is_at_start = |at: usize| at == 0 || path.get(at - 1) == Some(&b'/');
        let has_dots = memchr_iter(b'.', &path).any(is_at_start);
        let segments = segments_without_version(&path);
        segments
            .take(if has_dots { usize::MAX } else { 1 })
            .for_each(|id| self.add_ids(id));
    }

    /// Adds the ids in the value of a parameter: one, or a list, separated by commas or as JSON, whose strings may have escapes.
    pub fn add_object_ids(&mut self, value: impl Iterator<Item = u8>) {
        let mut ids: Vec<u8> = value.collect();
        if memchr(b'\\', &ids).is_some() {
            ids = unescape_all(&ids).map(|(byte, _)| byte).collect();
        }
        self.add_ids(&ids);
    }

    /// Adds what a path or a parameter says to a parser that separates parameters with `;`, too, and what a client has encoded once
    /// more, or put after a second `?`: `a=1;ids=2`, `upload:MTph%3Fsig%3DAR%26access_token%3Dtenant:acme`.
    pub(super) fn add_hidden(&mut self, text: &[u8]) {
        for at in TOKEN_NAME_FINDER.find_iter(text).filter(|at| *at > 0) {
            let token = text.get(at..).unwrap_or_default();
            let end = memchr2(b'&', b';', token).unwrap_or(token.len());
            self.add_decoded_token_slot(form_decode(token.get(..end).unwrap_or_default()));
        }
        for parameter in text.split(|byte| *byte == b';').skip(1) {
            if let Some((ParameterName::ObjectIds, value)) = ParameterName::of_parameter(parameter) {
                self.add_object_ids(form_decode(value));
            }
        }
    }

    /// Adds what was found elsewhere in the request.
    pub fn add(&mut self, other: Self) {
        for (signs, others) in [
            (&mut self.token_slots, other.token_slots),
            (&mut self.object_ids, other.object_ids),
        ] {
            others.into_iter().for_each(|sign| insert(signs, sign));
        }
    }

    /// Whether some have been left out, because no request has so many.
    pub(super) fn has_too_many(&self) -> bool {
        self.token_slots.len() > MAX_SIGNS || self.object_ids.len() > MAX_SIGNS
    }

    /// Adds the ids in a text, without the blanks and the punctuation of a list or of JSON around them.
    fn add_ids(&mut self, text: &[u8]) {
        let ids = text.split(|byte| *byte <= b' ' || b",;:[]{}\"'".contains(byte));
        for id in ids.filter(|id| !id.is_empty()) {
            push(&mut self.object_ids, id);
            // `PAGE_POST`: a post belongs to its page.
            if let Some(page_end) = memchr(b'_', id) {
                push(&mut self.object_ids, id.get(..page_end).unwrap_or(id));
            }
        }
    }

    /// Adds what the path in the `relative_url` of a batch item says.
    pub(super) fn add_relative_url(&mut self, url: &[u8]) {
        let url = String::from_utf8_lossy(url);
        let path = without_origin(&url).split(['?', '#']).next();
        self.add_path(path.unwrap_or_default());
    }
}

/// A relative URL as it is, and what follows the host of an absolute one.
pub(super) fn without_origin(url: &str) -> &str {
    let url = url.trim_ascii();
    match url.split_once("://") {
        // Not the URL in a query.
        Some((scheme, after)) if !scheme.contains(['/', '?', '#']) => after
            .find(['/', '?', '#'])
            .and_then(|at| after.get(at..))
            .unwrap_or_default(),
        Some(_) | None => url,
    }
}

fn push(signs: &mut SignList, sign: &[u8]) {
    if signs.len() <= MAX_SIGNS {
        let sign = sign.trim_ascii();
        let sign = sign.get(..MAX_SIGN_BYTES).unwrap_or(sign);
        // Most are text, which this finds out faster.
        let sign = std::str::from_utf8(sign).map_or_else(|_invalid| String::from_utf8_lossy(sign), Cow::from);
        insert(signs, sign.into());
    }
}

fn insert(signs: &mut SignList, sign: SmolStr) {
    if let Err(at) = signs.binary_search(&sign) {
        signs.insert(at, sign);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(path: &str) -> Vec<String> {
        let mut signs = TenantSigns::default();
        signs.add_path(path);
        signs.object_ids.into_iter().map(String::from).collect()
    }

    #[test]
    fn a_name_in_the_place_of_a_token_is_recognized_and_kept_as_it_is() {
        let mut signs = TenantSigns::default();
        for value in ["tenant:acme", " tenant:Acme ", "tenant:acme", "tenant:a:b@c", "tenant:"] {
            signs.add_token_slot(value.as_bytes());
            signs.add_decoded_token_slot(value.bytes());
        }
        assert_eq!(*signs.token_slots, ["", "Acme", "a:b@c", "acme"]);
        for after in ["a".repeat(500), format!("acme{}x", " ".repeat(500))] {
            let mut signs = TenantSigns::default();
            signs.add_token_slot(format!("tenant:{after}").as_bytes());
            assert_eq!(signs.token_slots[0].len(), MAX_SIGN_BYTES, "too long to be a name");
        }
    }

    #[test]
    fn the_signs_of_a_usual_request_take_no_allocation() {
        let mut signs = TenantSigns::default();
        signs.add_token_slot(b"Bearer tenant:acme");
        signs.add_path("/v25.0/106540352242922_17/comments");
        for list in [&signs.token_slots, &signs.object_ids] {
            assert!(!list.is_empty() && !list.spilled(), "{list:?}");
            assert!(!list.iter().any(SmolStr::is_heap_allocated), "{list:?}");
        }
    }

    #[test]
    fn ids_are_read_from_the_path_and_from_lists() {
        assert_eq!(ids("/v25.0/106540352242922/messages"), ["106540352242922"]);
        assert_eq!(ids("//10654%30//media"), ["106540"]);
        for path in [
            "/%7625.0/106",
            "/v%32%35%2e0/106/media",
            "/V25.0/106",
            "//v25.0//106",
            "/v25.0%2F106%2fmedia",
            "/%2Fv25.0/106",
            "/106%2Fmedia",
        ] {
            assert_eq!(ids(path), ["106"], "{path}");
        }
        assert_eq!(ids("/101_7/comments"), ["101", "101_7"]);
        assert_eq!(ids("/%20101%0B%00;a=1/x"), ["101", "a=1"]);
        for (value, expected) in [
            ("1,2,,1", &["1", "2"][..]),
            (r#"["\u0038\u00301", ' 2 ']"#, &["2", "801"]),
            ("101_7", &["101", "101_7"]),
            ("{\"7\":\" 801\",\"a\":{b:9\0}}", &["7", "801", "9", "a", "b"]),
            (" \t\u{b}1;2 ", &["1", "2"]),
        ] {
            let mut signs = TenantSigns::default();
            signs.add_object_ids(value.bytes());
            let found: Vec<_> = signs.object_ids.iter().map(|id| &**id).collect();
            assert_eq!(found, expected, "{value}");
        }
        let many: Vec<_> = (0..100_000).map(|id| id.to_string()).collect();
        let mut signs = TenantSigns::default();
        signs.add_object_ids(many.join(",").into_bytes().into_iter());
        assert!(signs.has_too_many() && signs.object_ids.len() == MAX_SIGNS + 1);
        let of = |ids: &[String]| {
            let mut signs = TenantSigns::default();
            signs.add_object_ids(ids.join(",").into_bytes().into_iter());
            signs
        };
        let mut both = of(&many[..4_000]);
        both.add(of(&many[3_000..7_000]));
        assert_eq!(
            both.object_ids.len(),
            7_000,
            "none is left out of two lists that are not too long"
        );
        assert_eq!(ids("/me"), ["me"]);
        assert!(ids("/v25.0/").is_empty());
    }

    #[test]
    fn the_url_of_a_batch_item_may_be_relative_or_absolute() {
        for url in [
            "106/messages?phone_number_id=7",
            "/v25.0/106/messages?phone_number_id=7#x",
            " https://graph.facebook.com/v25.0/106?phone_number_id=7",
        ] {
            let mut signs = TenantSigns::default();
            signs.add_relative_url(url.as_bytes());
            assert_eq!(*signs.object_ids, ["106"], "{url}");
        }
        for (url, ids) in [
            ("https://graph.facebook.com", &[][..]),
            ("https://graph.facebook.com?ids=7", &[]),
            ("106?link=https://a.example/107", &["106"]),
            ("106/feed#://107/x", &["106"]),
        ] {
            let mut signs = TenantSigns::default();
            signs.add_relative_url(url.as_bytes());
            assert_eq!(
                signs.object_ids.iter().map(|id| &**id).collect::<Vec<_>>(),
                ids,
                "{url}"
            );
        }
    }
}
