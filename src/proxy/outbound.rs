//! The request as it may leave: no hop-by-hop field, no host, no length, no credential of the app's.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, MAX_FORWARDS, USER_AGENT, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::arrival;
use super::body::Body;
use super::cleaning::Cleaning;
use super::headers::clean_request;
use super::judge::Judged;
use super::refusal::Refusal;
use super::tenant::{Links, Tenant};
use crate::graph::host::is_media;
use crate::graph::links::is_media_lookup;
use crate::graph::scrub::Scrubbed;
use crate::graph::{
    Cleaned, Destination, HeaderCredential, Narrowed, Presented, QueryCredential, Scheme, Service,
    Target, TargetError, authorization, narrow,
};
use crate::net::Security;
use crate::token::Credential;

/// The request as it may leave. Made once, stamped per attempt.
#[derive(Debug)]
pub(crate) struct Outbound {
    method: Method,
    target: Target,
    headers: HeaderMap,
    to: Destination,
    stamp: Stamp,
    /// Whether the query names what only our token's proof may prove.
    proven: bool,
    /// Whether the body is a file, whatever its type says.
    file: bool,
    batch: bool,
    links: Option<Box<Rewriting>>,
}

/// Which links of the answer are made to lead here, and where "here" is.
#[derive(Debug)]
pub(crate) struct Rewriting {
    /// Scheme and host as the app wrote them: `http://127.0.0.1:8080`.
    pub(crate) base: String,
    /// What to look for.
    pub(crate) links: Links,
}

/// How many fields come on top: `Authorization` here, `Host` and a length by hyper.
const ADDED: usize = 3;

/// What those are told that send no `User-Agent`: the media host answers nobody without one.
const PLAIN_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("graphward/", env!("CARGO_PKG_VERSION")));

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
    pub(crate) fn from_app(
        head: Parts,
        security: Security,
        tenant: &Tenant,
    ) -> Result<Self, Refusal> {
        let named = arrival::named(&head);
        let destinations = &tenant.destinations;
        let host = named.map(|(_authority, host)| host);
        let to = destinations.of(host, &head.method, head.uri.path()).clone();
        let links = rewriting(&head, named, security, tenant);
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
        let (target, stamp, batch) = resolve(&uri, header, tenant)?;
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
        if to.service == Service::Media && !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, PLAIN_AGENT);
        }
        if tenant.via {
            headers.append(VIA, HeaderValue::from_static("1.1 graphward"));
            count_down(&mut headers);
        }
        let upload = target.is_upload();
        Ok(Self {
            proven: to.takes_proof() && !upload,
            file: upload || to.service == Service::Upload,
            method,
            target,
            headers,
            to,
            stamp,
            batch,
            links,
        })
    }

    /// Whether the tenant's credential belongs on it.
    pub(crate) fn takes_credential(&self) -> bool {
        self.stamp != Stamp::Apps
    }

    /// How its body is cleaned; not at all if its credential is the app's own, or if it is a file and no parameters,
    /// whatever its type says: curl calls a file a form.
    pub(crate) fn cleaning<'a>(&'a self, tenant: &'a Tenant) -> Option<Cleaning<'a>> {
        (self.takes_credential() && !self.file).then_some(Cleaning {
            headers: &self.headers,
            presented: tenant.presented,
            metrics: &tenant.metrics,
        })
    }

    /// Takes note of what was found in the body: a credential that stays there is the app's, and the only one.
    pub(crate) fn settle(&mut self, found: &Scrubbed) {
        self.batch |= found.batch && !found.own_items;
        if found.credential.is_in_place() {
            self.stamp = Stamp::Apps;
        }
    }

    /// Whether it is a batch, all of whose items have our token: what becomes of that, only its answer says.
    pub(crate) const fn is_batch(&self) -> bool {
        self.batch
    }

    /// Whether the media host refused this. Its answers have no envelope, so its status has to do.
    pub(crate) fn is_refused_media(&self, judged: &Judged) -> bool {
        let media = self.to.service == Service::Media || is_media(self.target.path());
        media && matches!(judged.response.status().as_u16(), 401 | 403 | 404)
    }

    /// Its path and query.
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// Its method.
    pub(crate) const fn method(&self) -> &Method {
        &self.method
    }

    /// Which links of its answer are made to lead here.
    pub(crate) fn links(&self) -> Option<&Rewriting> {
        self.links.as_deref()
    }

    /// Whether the credential may go where this goes.
    ///
    /// # Errors
    ///
    /// [`Refusal::Family`] if it is of another family than the host.
    pub(crate) fn check_family(
        &self,
        tenant: &Tenant,
        credential: &Credential,
    ) -> Result<(), Refusal> {
        let checked = tenant.destinations.check(credential.family(), &self.to);
        checked.map_err(|token| Refusal::Family {
            token,
            host: self.to.origin.host().to_owned(),
        })
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
        *request.uri_mut() = self.uri(tenant, credential);
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

    fn uri(&self, tenant: &Tenant, credential: Option<&Credential>) -> Uri {
        let origin = &self.to.origin;
        let mut proven = None;
        if let (Stamp::Ours(_), true, Some(credential)) = (self.stamp, self.proven, credential) {
            credential.prove(
                || tenant.clock.wall(),
                |proof| proven = Some(self.target.to_proven_uri(origin, proof)),
            );
        }
        proven.unwrap_or_else(|| self.target.to_uri(origin))
    }
}

/// What is to be made of the answer's links. A host that is Graph's own was reached through us as a proxy is, or by
/// the name that it has everywhere else: there, Graph's links lead here already.
fn rewriting(
    head: &Parts,
    named: Option<(&str, &str)>,
    security: Security,
    tenant: &Tenant,
) -> Option<Box<Rewriting>> {
    let links = Links {
        media: tenant.links.media && is_media_lookup(&head.method, head.uri.path()),
        paging: tenant.links.paging,
    };
    if !(links.media || links.paging) {
        return None;
    }
    let (authority, host) = named?;
    if tenant.destinations.named(host).is_some() {
        return None;
    }
    let base = format!("{}://{authority}", security.scheme());
    Some(Box::new(Rewriting { base, links }))
}

/// What is asked for, with whose credential, and whether it is a batch.
fn resolve(
    uri: &Uri,
    header: HeaderCredential,
    tenant: &Tenant,
) -> Result<(Target, Stamp, bool), Refusal> {
    const FORM: Refusal = Refusal::Malformed("its target is not a path");
    let whole = || Target::as_sent(uri).map_err(|_form| FORM);
    let scheme = match header {
        // It says whose it is, and is used where only an app token will do.
        HeaderCredential::AppToken(_) => return Ok((whole()?, Stamp::Apps, false)),
        HeaderCredential::Token(scheme) => scheme,
        HeaderCredential::Absent | HeaderCredential::Other => Scheme::Bearer,
    };
    if matches!(header, HeaderCredential::Token(_) | HeaderCredential::Other) {
        match tenant.presented {
            Presented::Replace => tenant.metrics.presented("header"),
            Presented::Refuse => return Err(Refusal::Presented("Authorization header")),
            Presented::Keep => return Ok((whole()?, Stamp::Apps, false)),
        }
    }
    let Cleaned { target, found } =
        Target::from_app(uri, tenant.presented).map_err(|error| match error {
            TargetError::Form => FORM,
            TargetError::Presented => Refusal::Presented("query"),
            TargetError::Unclean(what) => Refusal::Unclean(what),
        })?;
    if found.credential == QueryCredential::Stale {
        tenant.metrics.presented("query");
    }
    let apps = found.credential.is_in_place() || target.is_token_endpoint();
    let stamp = if apps {
        Stamp::Apps
    } else {
        Stamp::Ours(scheme)
    };
    Ok((target, stamp, found.batch && !found.own_items))
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
