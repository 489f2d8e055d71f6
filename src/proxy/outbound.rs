//! The request as it may leave: no hop-by-hop field, no host, no length, no credential of the app's.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, MAX_FORWARDS, USER_AGENT, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::body::Body;
use super::body_scrub::ScrubConfig;
use super::classify::ClassifiedResponse;
use super::headers::strip_request_headers;
use super::refusal::Refusal;
use super::tenant::{LinkRewriteConfig, Tenant};
use super::validation;
use crate::graph::host::is_media_path;
use crate::graph::links::is_media_lookup;
use crate::graph::scrub::{BodyFormat, ScrubReport};
use crate::graph::{
    AcceptEncodingRewrite, AuthScheme, ClientCredentialPolicy, Destination, GraphService, HeaderCredential,
    ParameterCredential, ScrubbedTarget, Target, TargetError, parse_authorization, restrict_accept_encoding,
};
use crate::net::TransportSecurity;
use crate::token::Credential;

/// The request as it may leave. Made once, stamped per attempt.
#[derive(Debug)]
pub(crate) struct OutboundRequest {
    method: Method,
    target: Target,
    headers: HeaderMap,
    destination: Destination,
    credential_source: CredentialSource,
    /// Whether the query names what only our token's proof may prove.
    takes_proof: bool,
    /// Whether the body is a file, whatever its type says.
    is_file_upload: bool,
    is_batch: bool,
    links: Option<Box<LinkRewrite>>,
}

/// Which links of the answer are made to lead here, and where "here" is.
#[derive(Debug)]
pub(crate) struct LinkRewrite {
    /// Scheme and host as the app wrote them: `http://127.0.0.1:8080`.
    pub(crate) base: String,
    /// What to look for.
    pub(crate) links: LinkRewriteConfig,
}

/// How many fields come on top: `Authorization` here, `Host` and a length by hyper.
const ADDED_HEADERS: usize = 3;

/// What those are told that send no `User-Agent`: the media host answers nobody without one.
const DEFAULT_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("graphward/", env!("CARGO_PKG_VERSION")));

/// Which credential goes with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CredentialSource {
    /// The tenant's, under this scheme.
    Tenant(AuthScheme),
    /// What the app sent, or none: an app token, a call that makes tokens, `heal.client_credentials = "keep"`.
    Client,
}

// === impl OutboundRequest ===

impl OutboundRequest {
    /// Cleans a request's head.
    ///
    /// # Errors
    ///
    /// [`Refusal::ClientCredential`] if it has a credential and the tenant refuses those, [`Refusal::MalformedRequest`] if its
    /// target is no path.
    pub(crate) fn from_app(head: Parts, security: TransportSecurity, tenant: &Tenant) -> Result<Self, Refusal> {
        let request_host = validation::request_host(&head);
        let destinations = &tenant.destinations;
        let host = request_host.map(|(_authority, host)| host);
        let destination = destinations.route(host, &head.method, head.uri.path()).clone();
        let links = link_rewrite(&head, request_host, security, tenant);
        let Parts {
            method,
            uri,
            mut headers,
            ..
        } = head;
        strip_request_headers(&mut headers);
        let mut values = headers.get_all(AUTHORIZATION).iter();
        // Of several, no one is meant more than another: they count as one that is no app token.
        let header = match (values.next(), values.next()) {
            (None, _) => HeaderCredential::Absent,
            (Some(only), None) => parse_authorization(only.as_bytes()),
            (Some(first), Some(_)) => match parse_authorization(first.as_bytes()) {
                HeaderCredential::Token(scheme) | HeaderCredential::AppToken(scheme) => HeaderCredential::Token(scheme),
                HeaderCredential::Absent | HeaderCredential::Other => HeaderCredential::Other,
            },
        };
        let (target, stamp, batch) = resolve_credential(&uri, header, tenant)?;
        let keep_client_header = match header {
            HeaderCredential::AppToken(_) => true,
            HeaderCredential::Token(_) | HeaderCredential::Other => {
                tenant.client_credentials == ClientCredentialPolicy::Keep
            }
            HeaderCredential::Absent => false,
        };
        if !keep_client_header {
            headers.remove(AUTHORIZATION);
        }
        if let AcceptEncodingRewrite::Replaced(value) = restrict_accept_encoding(&headers) {
            headers.insert(ACCEPT_ENCODING, value);
        }
        if destination.service == GraphService::Media && !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, DEFAULT_USER_AGENT);
        }
        if tenant.via {
            headers.append(VIA, HeaderValue::from_static("1.1 graphward"));
            decrement_max_forwards(&mut headers);
        }
        let is_upload = target.is_upload();
        Ok(Self {
            takes_proof: destination.accepts_proof() && !is_upload,
            is_file_upload: is_upload || destination.service == GraphService::Upload,
            method,
            target,
            headers,
            destination,
            credential_source: stamp,
            is_batch: batch,
            links,
        })
    }

    /// Whether the tenant's credential belongs on it.
    pub(crate) fn uses_tenant_credential(&self) -> bool {
        self.credential_source != CredentialSource::Client
    }

    /// How its body is cleaned; not at all if its credential is the app's own, or if it is a file and no parameters,
    /// whatever its type says: curl calls a file a form.
    pub(crate) fn scrub_config<'tenant>(&self, tenant: &'tenant Tenant) -> Option<ScrubConfig<'tenant>> {
        if !self.uses_tenant_credential() || self.is_file_upload {
            return None;
        }
        Some(ScrubConfig {
            format: BodyFormat::from_headers(&self.headers)?,
            is_batch_endpoint: self.target.is_batch_endpoint(),
            client_credentials: tenant.client_credentials,
            metrics: &tenant.metrics,
        })
    }

    /// Takes note of what was found in the body: a credential that stays there is the app's, and the only one.
    pub(crate) fn apply_findings(&mut self, findings: &ScrubReport) {
        self.is_batch |= findings.has_batch && !findings.has_item_tokens;
        if findings.credential.is_forwarded() {
            self.credential_source = CredentialSource::Client;
        }
    }

    /// Whether it is a batch, all of whose items have our token: what becomes of that, only its answer says.
    pub(crate) const fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Whether the media host refused this. Its answers have no envelope, so its status has to do.
    pub(crate) fn is_media_rejection(&self, classified: &ClassifiedResponse) -> bool {
        let is_media_request = self.destination.service == GraphService::Media || is_media_path(self.target.path());
        is_media_request && matches!(classified.response.status().as_u16(), 401 | 403 | 404)
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
    pub(crate) fn links(&self) -> Option<&LinkRewrite> {
        self.links.as_deref()
    }

    /// Whether the credential may go where this goes.
    ///
    /// # Errors
    ///
    /// [`Refusal::FamilyMismatch`] if it is of another family than the host.
    pub(crate) fn check_family(&self, tenant: &Tenant, credential: &Credential) -> Result<(), Refusal> {
        let checked = tenant
            .destinations
            .check_token_family(credential.family(), &self.destination);
        checked.map_err(|token| Refusal::FamilyMismatch {
            token,
            host: self.destination.origin.host().to_owned(),
        })
    }

    /// A length must be declared for what hyper would otherwise send without its body: it drops, silently, the
    /// body of a GET or HEAD whose length it does not know.
    pub(crate) fn check_length(&self, body: &Body) -> Result<(), Refusal> {
        let needs_length = self.method == Method::GET || self.method == Method::HEAD;
        if needs_length && !body.has_known_length() {
            Err(Refusal::LengthRequired(self.method.clone()))
        } else {
            Ok(())
        }
    }

    /// The request of one attempt. Built anew, with no version of the app's: the connection decides that.
    pub(crate) fn to_request(&self, tenant: &Tenant, credential: Option<&Credential>, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri(tenant, credential);
        // A clone would have no room left, and grow twice.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + ADDED_HEADERS);
        let fields = self.headers.iter();
        headers.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        if let (CredentialSource::Tenant(scheme), Some(credential)) = (self.credential_source, credential) {
            let value = match scheme {
                AuthScheme::Bearer => credential.bearer(),
                AuthScheme::OAuth => credential.oauth(),
            };
            headers.insert(AUTHORIZATION, value.clone());
        }
        *request.headers_mut() = headers;
        request
    }

    fn uri(&self, tenant: &Tenant, credential: Option<&Credential>) -> Uri {
        let origin = &self.destination.origin;
        let mut proven_uri = None;
        if let (CredentialSource::Tenant(_), true, Some(credential)) =
            (self.credential_source, self.takes_proof, credential)
        {
            credential.with_proof(
                || tenant.clock.now(),
                |proof| proven_uri = Some(self.target.to_uri_with_proof(origin, proof)),
            );
        }
        proven_uri.unwrap_or_else(|| self.target.to_uri(origin))
    }
}

/// What is to be made of the answer's links. A host that is Graph's own was reached through us as a proxy is, or by
/// the name that it has everywhere else: there, Graph's links lead here already.
fn link_rewrite(
    head: &Parts,
    request_host: Option<(&str, &str)>,
    security: TransportSecurity,
    tenant: &Tenant,
) -> Option<Box<LinkRewrite>> {
    let links = LinkRewriteConfig {
        media: tenant.links.media && is_media_lookup(&head.method, head.uri.path()),
        paging: tenant.links.paging,
    };
    if !(links.media || links.paging) {
        return None;
    }
    let (authority, host) = request_host?;
    if tenant.destinations.find(host).is_some() {
        return None;
    }
    let base = format!("{}://{authority}", security.scheme());
    Some(Box::new(LinkRewrite { base, links }))
}

/// What is asked for, with whose credential, and whether it is a batch.
fn resolve_credential(
    uri: &Uri,
    header: HeaderCredential,
    tenant: &Tenant,
) -> Result<(Target, CredentialSource, bool), Refusal> {
    const INVALID_TARGET: Refusal = Refusal::MalformedRequest("its target is not a path");
    let unmodified_target = || Target::from_uri(uri).map_err(|_form| INVALID_TARGET);
    let scheme = match header {
        // It says whose it is, and is used where only an app token will do.
        HeaderCredential::AppToken(_) => {
            return Ok((unmodified_target()?, CredentialSource::Client, false));
        }
        HeaderCredential::Token(scheme) => scheme,
        HeaderCredential::Absent | HeaderCredential::Other => AuthScheme::Bearer,
    };
    if matches!(header, HeaderCredential::Token(_) | HeaderCredential::Other) {
        match tenant.client_credentials {
            ClientCredentialPolicy::Replace => tenant.metrics.count_client_credential("header"),
            ClientCredentialPolicy::Refuse => {
                return Err(Refusal::ClientCredential("Authorization header"));
            }
            ClientCredentialPolicy::Keep => {
                return Ok((unmodified_target()?, CredentialSource::Client, false));
            }
        }
    }
    let ScrubbedTarget { target, report: found } =
        Target::from_app(uri, tenant.client_credentials).map_err(|error| match error {
            TargetError::NotAPath => INVALID_TARGET,
            TargetError::ClientCredential => Refusal::ClientCredential("query"),
            TargetError::CannotScrub(what) => Refusal::ScrubFailed(what),
        })?;
    if found.credential == ParameterCredential::Removed {
        tenant.metrics.count_client_credential("query");
    }
    let is_client_credential = found.credential.is_forwarded() || target.is_token_endpoint();
    let stamp = if is_client_credential {
        CredentialSource::Client
    } else {
        CredentialSource::Tenant(scheme)
    };
    Ok((target, stamp, found.has_batch && !found.has_item_tokens))
}

/// One proxy less to go (RFC 9110, section 7.6.2). Zero has been answered before.
fn decrement_max_forwards(headers: &mut HeaderMap) {
    let remaining = headers
        .get(MAX_FORWARDS)
        .and_then(|left| left.to_str().ok()?.trim().parse::<u32>().ok());
    if let Some(remaining) = remaining.and_then(|left| left.checked_sub(1)) {
        headers.insert(MAX_FORWARDS, HeaderValue::from(remaining));
    }
}
