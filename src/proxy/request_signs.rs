//! The signs of the tenant that a request is for, taken from its head and its body.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use smallvec::SmallVec;

use super::buffer::BufferedBody;
use super::refusal::Refusal;
use super::settings::TENANT_PREFIX;
use crate::graph::TenantSigns;
use crate::tenants::{Sign, SignKind};
use crate::types::TenantId;

/// The signs of a request that have been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestSigns {
    listener: Option<TenantId>,
    prefix: Option<Box<str>>,
    /// The values of the tenant header: nearly always one, which takes no allocation.
    headers: SmallVec<[HeaderValue; 1]>,
    /// What stands in the place of a token, and among the parameters.
    pub(crate) parameters: TenantSigns,
    /// Whether some of them stand in the body.
    pub(super) includes_body: bool,
    /// Whether there may be more in the rest of the body, which is still to arrive.
    pub(super) is_partial: bool,
}

// === impl RequestSigns ===

impl RequestSigns {
    /// Removes the tenant headers and the prefix of the path from the head of a request, since Graph knows neither, and returns the
    /// names in them, in the rest of the path and in the credentials; the query is read when it is cleaned. `listener` is the tenant
    /// whose own listener received the request, and `headers` are the tenant headers.
    ///
    /// # Errors
    ///
    /// [`Refusal::MalformedRequest`] if nothing valid is left of the path after its prefix.
    pub(super) fn take(head: &mut Parts, listener: Option<&TenantId>, headers: &[HeaderName]) -> Result<Self, Refusal> {
        let mut signs = Self {
            listener: listener.cloned(),
            ..Self::default()
        };
        for header in headers {
            if let http::header::Entry::Occupied(entry) = head.headers.entry(header) {
                let (_name, values) = entry.remove_entry_mult();
                values.for_each(|value| signs.headers.push(value));
            }
        }
        if let Some((name, uri)) = split_prefix(&head.uri)? {
            signs.prefix = Some(name);
            head.uri = uri;
        }
        // Now, since `Connection` may list them.
        for credentials in [AUTHORIZATION, PROXY_AUTHORIZATION] {
            let values = head.headers.get_all(credentials).iter();
            values.for_each(|value| signs.parameters.add_token_slot(value.as_bytes()));
        }
        signs.parameters.add_path(head.uri.path());
        Ok(signs)
    }

    /// Adds what stands in the body.
    pub(crate) fn add_body(&mut self, received: &mut BufferedBody) {
        if let Some(in_body) = received.findings.as_mut().and_then(|findings| findings.signs.take()) {
            self.add_found(*in_body);
        }
        self.is_partial = received.may_name_a_tenant();
    }

    /// Adds what was found in the body.
    pub(crate) fn add_found(&mut self, in_body: TenantSigns) {
        self.parameters.add(in_body);
        self.includes_body = true;
    }

    /// The first name that they have of a tenant, which need not exist.
    pub(crate) fn name(&self) -> Option<TenantId> {
        let names = self.all().filter(|sign| sign.kind != SignKind::Object);
        names.map(|sign| sign.value).find_map(|name| TenantId::new(name).ok())
    }

    /// All of them, names before ids.
    pub(super) fn all(&self) -> impl Iterator<Item = Sign<'_>> {
        let sign = |kind| move |value| Sign { kind, value };
        let listener = self.listener.iter().map(TenantId::as_str);
        let names = listener.map(sign(SignKind::Listener));
        let names = names.chain(self.prefix.as_deref().into_iter().map(sign(SignKind::Prefix)));
        let names = names.chain(self.headers.iter().map(header_text).map(sign(SignKind::Header)));
        names.chain(signs_of(&self.parameters))
    }
}

/// The signs in the parameters of a request, names before ids.
pub(super) fn signs_of(parameters: &TenantSigns) -> impl Iterator<Item = Sign<'_>> {
    let names = parameters.token_slots.iter();
    let names = names.map(|value| Sign {
        kind: SignKind::TokenSlot,
        value,
    });
    let ids = parameters.object_ids.iter();
    names.chain(ids.map(|value| Sign {
        kind: SignKind::Object,
        value,
    }))
}

/// The name in a tenant header. A value that is not UTF-8 becomes a name that no tenant has, so that the request is refused.
fn header_text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or("\u{fffd}").trim()
}

/// Splits `/-/NAME/rest?query` into the name and `/rest?query`; `None` if the path begins otherwise.
///
/// # Errors
///
/// [`Refusal::MalformedRequest`] if the prefix is spelled otherwise, or stands twice: Graph has no such path.
fn split_prefix(uri: &Uri) -> Result<Option<(Box<str>, Uri)>, Refusal> {
    let Some(rest) = uri
        .path_and_query()
        .and_then(|target| target.as_str().strip_prefix(TENANT_PREFIX))
    else {
        return check_no_prefix(uri.path()).map(|()| None);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let name: Cow<'_, [u8]> = percent_encoding::percent_decode_str(name).into();
    let target = if after.starts_with('/') {
        Cow::Borrowed(after)
    } else {
        Cow::Owned(format!("/{after}"))
    };
    check_no_prefix(target.split('?').next().unwrap_or_default())?;
    let malformed = |_error| Refusal::MalformedRequest("nothing valid follows the tenant in its path");
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(&*target).map_err(malformed)?);
    let uri = Uri::from_parts(parts).map_err(|_error| Refusal::MalformedRequest("its path names no tenant"))?;
    Ok(Some((String::from_utf8_lossy(&name).trim().into(), uri)))
}

fn check_no_prefix(path: &str) -> Result<(), Refusal> {
    // Bytes, because each request is split so.
    let mut segments = path.as_bytes().split(|byte| *byte == b'/');
    let first = segments.find(|segment| !segment.is_empty()).unwrap_or_default();
    if percent_encoding::percent_decode(first).eq(*b"-") {
        return Err(Refusal::MalformedRequest(
            "a tenant is named once, as /-/NAME/ at the start of the path",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_taken_off_and_every_other_byte_of_the_target_stays() {
        let split = |uri: &'static str| {
            let (name, uri) = split_prefix(&Uri::from_static(uri)).unwrap()?;
            Some((name.into_string(), uri.to_string()))
        };
        let expect = |name: &str, uri: &str| Some((name.to_owned(), uri.to_owned()));
        assert_eq!(
            split("/-/acme/v25.0//1%2F?a=/-/b/"),
            expect("acme", "/v25.0//1%2F?a=/-/b/")
        );
        assert_eq!(
            split("http://localhost:8080/-/a%40b/me"),
            expect("a@b", "http://localhost:8080/me")
        );
        assert_eq!(split("/-/acme"), expect("acme", "/"));
        assert_eq!(split("/-/acme?ids=1"), expect("acme", "/?ids=1"));
        assert_eq!(split("/-//me"), expect("", "/me"));
        for other in ["/", "/v25.0/-/acme/me", "/me?x=/-/acme/", "/--/acme"] {
            assert_eq!(split(other), None, "{other}");
        }
        for malformed in [
            "/-",
            "//-/acme/me",
            "/%2d/acme/me",
            "/-/acme/-/shop/me",
            "/-/acme//%2D/shop/me",
        ] {
            assert!(split_prefix(&Uri::from_static(malformed)).is_err(), "{malformed}");
        }
    }
}
