//! The request as it may leave: no hop-by-hop field, no host, no length, no credential of the app's.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, MAX_FORWARDS, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::body::Body;
use super::headers::clean_request;
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::{
    Cleaned, HeaderCredential, Narrowed, Presented, QueryCredential, Scheme, Target, TargetError,
    authorization, narrow,
};
use crate::token::Credential;

/// The request as it may leave. Made once, stamped per attempt.
#[derive(Debug)]
pub(crate) struct Outbound {
    method: Method,
    target: Target,
    headers: HeaderMap,
    stamp: Stamp,
}

/// How many fields come on top: `Authorization` here, `Host` and a length by hyper.
const ADDED: usize = 3;

/// Which credential goes with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stamp {
    /// The tenant's, under this scheme.
    Ours(Scheme),
    /// What the app sent, or none: an app token, a call that makes tokens, `heal.presented = "keep"`.
    Apps,
}

// === impl Outbound ===

impl Outbound {
    /// Cleans a request's head.
    ///
    /// # Errors
    ///
    /// [`Refusal::Presented`] if it has a credential and the tenant refuses those, [`Refusal::Malformed`] if its
    /// target is no path.
    pub(crate) fn from_app(head: Parts, tenant: &Tenant) -> Result<Self, Refusal> {
        let Parts {
            method,
            uri,
            mut headers,
            ..
        } = head;
        clean_request(&mut headers);
        let mut values = headers.get_all(AUTHORIZATION).iter();
        // Of several, no one is meant more than another: they count as one that is no app token.
        let header = match (values.next(), values.next()) {
            (None, _) => HeaderCredential::Absent,
            (Some(only), None) => authorization(only.as_bytes()),
            (Some(first), Some(_)) => match authorization(first.as_bytes()) {
                HeaderCredential::Token(scheme) | HeaderCredential::AppToken(scheme) => {
                    HeaderCredential::Token(scheme)
                }
                HeaderCredential::Absent | HeaderCredential::Other => HeaderCredential::Other,
            },
        };
        let (target, stamp) = resolve(&uri, header, tenant)?;
        let meant = match header {
            HeaderCredential::AppToken(_) => true,
            HeaderCredential::Token(_) | HeaderCredential::Other => {
                tenant.presented == Presented::Keep
            }
            HeaderCredential::Absent => false,
        };
        if !meant {
            headers.remove(AUTHORIZATION);
        }
        if let Narrowed::To(value) = narrow(&headers) {
            headers.insert(ACCEPT_ENCODING, value);
        }
        if tenant.via {
            headers.append(VIA, HeaderValue::from_static("1.1 graphward"));
            count_down(&mut headers);
        }
        Ok(Self {
            method,
            target,
            headers,
            stamp,
        })
    }

    /// Whether the tenant's credential belongs on it.
    pub(crate) fn takes_credential(&self) -> bool {
        self.stamp != Stamp::Apps
    }

    /// Where it goes.
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// A length must be declared for what hyper would otherwise send without its body: it drops, silently, the
    /// body of a GET or HEAD whose length it does not know.
    pub(crate) fn check_length(&self, body: &Body) -> Result<(), Refusal> {
        let bodiless = self.method == Method::GET || self.method == Method::HEAD;
        if bodiless && !body.is_sized() {
            Err(Refusal::LengthRequired(self.method.clone()))
        } else {
            Ok(())
        }
    }

    /// The request of one attempt. Built anew, with no version of the app's: the connection decides that.
    pub(crate) fn stamp(
        &self,
        tenant: &Tenant,
        credential: Option<&Credential>,
        body: Body,
    ) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.to_uri(&tenant.origin);
        // A clone would have no room left, and grow twice.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + ADDED);
        let fields = self.headers.iter();
        headers.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        if let (Stamp::Ours(scheme), Some(credential)) = (self.stamp, credential) {
            let value = match scheme {
                Scheme::Bearer => credential.bearer(),
                Scheme::OAuth => credential.oauth(),
            };
            headers.insert(AUTHORIZATION, value.clone());
        }
        *request.headers_mut() = headers;
        request
    }
}

/// Where the request goes, and with whose credential.
fn resolve(
    uri: &http::Uri,
    header: HeaderCredential,
    tenant: &Tenant,
) -> Result<(Target, Stamp), Refusal> {
    const FORM: Refusal = Refusal::Malformed("its target is not a path");
    let whole = || Target::as_sent(uri).map_err(|_form| FORM);
    let scheme = match header {
        // It says whose it is, and is used where only an app token will do.
        HeaderCredential::AppToken(_) => return Ok((whole()?, Stamp::Apps)),
        HeaderCredential::Token(scheme) => scheme,
        HeaderCredential::Absent | HeaderCredential::Other => Scheme::Bearer,
    };
    if matches!(header, HeaderCredential::Token(_) | HeaderCredential::Other) {
        match tenant.presented {
            Presented::Replace => tenant.metrics.presented("header"),
            Presented::Refuse => return Err(Refusal::Presented("Authorization header")),
            Presented::Keep => return Ok((whole()?, Stamp::Apps)),
        }
    }
    let Cleaned { target, credential } =
        Target::from_app(uri, tenant.presented).map_err(|error| match error {
            TargetError::Form => FORM,
            TargetError::Presented => Refusal::Presented("query"),
        })?;
    if credential == QueryCredential::Stale {
        tenant.metrics.presented("query");
    }
    let apps = credential.is_in_place() || target.is_token_endpoint();
    Ok((
        target,
        if apps {
            Stamp::Apps
        } else {
            Stamp::Ours(scheme)
        },
    ))
}

/// One proxy less to go (RFC 9110, section 7.6.2). Zero has been answered before.
fn count_down(headers: &mut HeaderMap) {
    let left = headers
        .get(MAX_FORWARDS)
        .and_then(|left| left.to_str().ok()?.trim().parse::<u32>().ok());
    if let Some(left) = left.and_then(|left| left.checked_sub(1)) {
        headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    }
}
