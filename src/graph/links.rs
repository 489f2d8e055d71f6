//! Links in Graph's responses that lead around graphward: media, uploads and paging.
//!
//! # Why
//!
//! A media URL needs the token and leads to another host, so it is of no use to an app that has no token: by default
//! it is rewritten to point at graphward, and so is the URL that takes the bytes of a reel. A paging link is rewritten only if the operator asks for it
//! (`links.paging`): some clients want to recognize Graph's host in it, others call it as it is: see `config/clients/README.md`.
//!
//! The id of an upload session is no link, but apps make one of it: they put a base URL before it. So no prefix of a path can
//! name the tenant there; `access_token=tenant:NAME` after its signature can, and is removed from the next request, whose
//! other bytes stay as Graph signed them.
//!
//! Only scheme and host are replaced, spelled as they were (`\/`, `\u002f`, both again inside a batch's strings), and
//! the tenant's token is removed from a paging link. No other byte changes, and none at all if the body is not valid
//! JSON: a response that graphward does not understand is delivered as it is. `next` is never removed, because clients
//! test for its presence. The body has to be complete, so the caller sets a limit, and a longer body keeps Graph's links.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use memchr::memchr2;
use memchr::memmem::Finder;
use percent_encoding::percent_decode;
use serde::de::IgnoredAny;

use super::edit::{Edit, apply, remove_parameters};
use super::json::{Token, tokens};
use super::parameter::split_parameter;
use super::path::{is_upload_session, is_version};
use super::text::{SourceText, is_named};

/// Decides which hosts' links are rewritten: takes an authority, in lower case, without `:443`.
pub type HostPredicate<'test> = &'test dyn Fn(&str) -> bool;

/// Recognizes the tenant's token, which the app must not see, by a decoded value.
pub type TokenPredicate<'test> = &'test dyn Fn(&mut dyn Iterator<Item = u8>) -> bool;

/// The longest authority: a DNS name, and a port.
const MAX_AUTHORITY_BYTES: usize = 260;

/// The edges that start an upload.
const UPLOAD_EDGES: [&[u8]; 4] = [b"uploads", b"media", b"video_reels", b"video_stories"];

static PAGING_FINDERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["paging", r"\u006", r"\u007"].map(Finder::new));

/// Collects the edits of the links in one response.
struct LinkRewriter<'a> {
    body: &'a [u8],
    base: &'a str,
    is_rewritten_host: HostPredicate<'a>,
    is_own_token: TokenPredicate<'a>,
    edits: Vec<Edit>,
}

/// Returns whether the response may be that of `GET /{media-id}`: other responses need not be read at all.
///
/// Media ids are digits, and so are those of most other objects.
#[must_use]
pub fn is_media_lookup(method: &Method, path: &str) -> bool {
    if method != Method::GET {
        return false;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/');
    let (root, first, second) = (segments.next(), segments.next(), segments.next());
    let id = match (first, second) {
        (Some(version), Some(id)) if is_version(version.as_bytes()) => id,
        (Some(id), None) => id,
        _ => return false,
    };
    root == Some("") && segments.next().is_none() && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Rewrites the scheme and host of the top-level `url` of the response to a media look-up to `base`.
///
/// `base` is like `http://127.0.0.1:8080`. `None` if there is nothing to change.
#[must_use]
pub fn rewrite_media_link(body: &[u8], base: &str, is_rewritten_host: HostPredicate<'_>) -> Option<Bytes> {
    let mut rewriter = LinkRewriter::new(body, base, is_rewritten_host, &|_value| false)?;
    for (name, value) in top_level_strings(body) {
        if is_named(name, b"url") {
            rewriter.rewrite(&value);
        }
    }
    rewriter.finish()
}

/// Returns whether the response may say where the bytes of an upload go: that of a request that starts one, or goes on with it.
#[must_use]
pub fn is_upload_step(method: &Method, path: &str) -> bool {
    let mut from_last = path.as_bytes().rsplit(|byte| *byte == b'/');
    let edge = from_last.find(|segment| !segment.is_empty()).unwrap_or_default();
    (*method == Method::POST && UPLOAD_EDGES.contains(&edge)) || is_upload_session(path)
}

/// Rewrites the scheme and host of the top-level `upload_url` or `uri` of an upload to `base`, and adds the tenant to the id of
/// an upload session.
///
/// `base` is like `http://127.0.0.1:8080`. `None` if there is nothing to change.
#[must_use]
pub fn rewrite_upload_links(
    body: &[u8],
    base: &str,
    tenant: Option<&str>,
    is_rewritten_host: HostPredicate<'_>,
) -> Option<Bytes> {
    let mut rewriter = LinkRewriter::new(body, base, is_rewritten_host, &|_value| false)?;
    for (name, value) in top_level_strings(body) {
        if is_named(name, b"upload_url") || is_named(name, b"uri") {
            rewriter.rewrite(&value);
        } else if let Some(tenant) = tenant
            && is_named(name, b"id")
            && value.bytes().starts_with(b"upload:")
        {
            rewriter.add_token_slot(&value, tenant);
        }
    }
    rewriter.finish()
}

/// Rewrites the scheme and host of every `paging.next` and `paging.previous` to `base`, at any depth, and in the
/// bodies of a batch's items; and removes an `access_token` of the tenant's from them.
///
/// `base` is like `http://127.0.0.1:8080`. `None` if there is nothing to change.
#[must_use]
pub fn rewrite_paging_links(
    body: &[u8],
    base: &str,
    is_rewritten_host: HostPredicate<'_>,
    is_own_token: TokenPredicate<'_>,
) -> Option<Bytes> {
    if !may_have_paging(body) {
        return None;
    }
    let mut rewriter = LinkRewriter::new(body, base, is_rewritten_host, is_own_token)?;
    let text = SourceText::from_slice(body, 0);
    rewriter.rewrite_container(&text, 0..body.len(), b"");
    rewriter.rewrite_batch_items(&text);
    rewriter.finish()
}

// === impl LinkRewriter ===

impl<'a> LinkRewriter<'a> {
    /// `None` if the body is not valid JSON, or if `base` has characters that a URL in JSON must escape: the host may be
    /// the app's own choice.
    fn new(
        body: &'a [u8],
        base: &'a str,
        is_rewritten_host: HostPredicate<'a>,
        is_own_token: TokenPredicate<'a>,
    ) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]%".contains(&byte);
        (base.bytes().all(is_plain) && is_json(body)).then_some(Self {
            body,
            base,
            is_rewritten_host,
            is_own_token,
            edits: Vec::new(),
        })
    }

    /// Rewrites the paging links of a container, which is the value of `parent`. `serde_json` has bounded the depth.
    fn rewrite_container(&mut self, text: &SourceText<'_>, range: Range<usize>, parent: &[u8]) {
        for token in tokens(text.bytes(), range) {
            let Token::Member(member) = token else { continue };
            let name = text.slice(member.name);
            let value = text.slice(member.value.clone());
            match value.first() {
                Some(b'{' | b'[') if is_named(name, b"paging") || may_have_paging(value) => {
                    self.rewrite_container(text, member.value, name);
                }
                Some(b'"')
                    if is_named(parent, b"paging") && (is_named(name, b"next") || is_named(name, b"previous")) =>
                {
                    self.rewrite(&text.unescape_at(member.value));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Rewrites the paging links in the bodies of the items of a batch, which are strings with JSON.
    fn rewrite_batch_items(&mut self, text: &SourceText<'_>) {
        for token in tokens(text.bytes(), 0..text.bytes().len()) {
            let Token::Member(item) = token else { continue };
            if !item.name.is_empty() || !text.slice(item.value.clone()).starts_with(b"{") {
                continue;
            }
            for token in tokens(text.bytes(), item.value) {
                if let Token::Member(member) = token
                    && is_named(text.slice(member.name), b"body")
                    && text.slice(member.value.clone()).starts_with(b"\"")
                {
                    let item_body = text.unescape_at(member.value);
                    if is_json(item_body.bytes()) {
                        self.rewrite_container(&item_body, 0..item_body.bytes().len(), b"");
                    }
                }
            }
        }
    }

    /// Rewrites one link, if it leads to a host whose links are rewritten.
    fn rewrite(&mut self, url: &SourceText<'_>) {
        let Some((scheme, rest)) = url.bytes().split_at_checked(b"https://".len()) else {
            return;
        };
        let length = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let authority = rest.get(..length).unwrap_or_default();
        let is_authority = (1..=MAX_AUTHORITY_BYTES).contains(&length) && authority.iter().all(u8::is_ascii_graphic);
        if !scheme.eq_ignore_ascii_case(b"https://") || !is_authority {
            return;
        }
        let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
        let host = authority.strip_suffix(":443").unwrap_or(&authority);
        if host.is_empty() || !(self.is_rewritten_host)(host) {
            return;
        }
        let end = scheme.len() + length;
        let slash = self
            .body
            .get(url.document_offset(scheme.len() - 1)..url.document_offset(scheme.len()));
        self.edits.push(Edit {
            range: url.document_offset(0)..url.document_offset(end),
            replacement: self
                .base
                .as_bytes()
                .split(|byte| *byte == b'/')
                .collect::<Vec<_>>()
                .join(slash.unwrap_or(b"/")),
        });
        let mark = memchr2(b'?', b'#', url.slice(end..url.bytes().len())).map(|at| end + at);
        if let Some(mark) = mark.filter(|mark| url.slice(*mark..mark + 1) == b"?") {
            let query = url.slice(mark + 1..url.bytes().len());
            let length = memchr::memchr(b'#', query).unwrap_or(query.len());
            let query = mark + 1..mark + 1 + length;
            self.edits.extend(remove_parameters(url, query, |parameter| {
                self.is_own_token_parameter(url.slice(parameter))
            }));
        }
    }

    /// Adds a parameter that names the tenant to a path with or without a query.
    fn add_token_slot(&mut self, path: &SourceText<'_>, tenant: &str) {
        let separator = if path.bytes().contains(&b'?') { '&' } else { '?' };
        let end = path.document_offset(path.bytes().len());
        self.edits.push(Edit {
            range: end..end,
            replacement: format!("{separator}access_token=tenant:{tenant}").into_bytes(),
        });
    }

    fn is_own_token_parameter(&self, parameter: &[u8]) -> bool {
        let (name, value) = split_parameter(parameter);
        percent_decode(name).eq(*b"access_token") && (self.is_own_token)(&mut percent_decode(value))
    }

    fn finish(self) -> Option<Bytes> {
        (!self.edits.is_empty()).then(|| apply(self.body, self.edits).into())
    }
}

/// The members of the outermost object that are strings.
fn top_level_strings(body: &[u8]) -> impl Iterator<Item = (&[u8], SourceText<'_>)> {
    let text = SourceText::from_slice(body, 0);
    let members = tokens(body, 0..body.len()).filter_map(Token::member);
    members.filter_map(move |member| {
        let is_string = text.slice(member.value.clone()).starts_with(b"\"");
        let name = body.get(member.name).unwrap_or_default();
        is_string.then(|| (name, text.unescape_at(member.value)))
    })
}

/// Returns whether a document may have a member `paging`, in any escaping of its letters. Most have none, and cost next
/// to nothing.
fn may_have_paging(text: &[u8]) -> bool {
    PAGING_FINDERS.iter().any(|finder| finder.find(text).is_some())
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests;
