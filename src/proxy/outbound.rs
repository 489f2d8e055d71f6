//! The request as it is sent to Graph: without hop-by-hop headers, `Host`, length, and client credentials.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body::Body as _;

use super::body::Body;
use super::body_scrub::{MustSearch, ScrubConfig};
use super::buffer::BufferedBody;
use super::headers::strip_request_headers;
use super::link_rewrite::LinkRewrite;
use super::max_forwards;
use super::refusal::Refusal;
use super::settings::Settings;
use super::tenant::{Authorization, Tenant};
use super::validation;
use crate::graph::calls::METHOD_HEADERS;
use crate::graph::host::is_media_path;
use crate::graph::parameter::overrides_method;
use crate::graph::scrub::{BodyFormat, ScrubReport, ScrubRules};
use crate::graph::{
    AuthScheme, Calls, ClientCredentialPolicy, Destination, GraphService, HeaderCredential, Origin,
    ParameterCredential, Rejection, RejectionProof, RequestHints, ScrubbedTarget, SignPolicy, Target, TenantSigns,
    parse_authorizations, restrict_accept_encoding,
};
use crate::net::TransportSecurity;
use crate::telemetry::metrics::RequestMetrics;

/// The request as it is sent to Graph, to which each attempt adds a credential.
#[derive(Debug)]
pub(crate) struct OutboundRequest {
    pub(crate) method: Method,
    /// The path and query.
    pub(crate) target: Target,
    headers: HeaderMap,
    destination: Destination,
    /// The scheme of the tenant's credential. `None` if the request carries the app's, or none: an app token, a call of a
    /// token endpoint, `heal.client_credentials = "keep"`.
    tenant_scheme: Option<AuthScheme>,
    /// How its body is cleaned; `None` if it is not searched.
    body_rules: Option<ScrubRules>,
    /// Whether Graph accepts an `appsecret_proof` on it.
    takes_proof: bool,
    /// Whether the body is a file, regardless of its `Content-Type`.
    is_file_upload: bool,
    /// What a rejection of it can prove at most: nothing, if a credential in its body may be what Graph rejects.
    strongest_proof: RejectionProof,
    /// Whether it is a batch whose items all carry the tenant's credential. Only its response body tells their results.
    pub(crate) is_batch: bool,
    /// Whether the app's `Authorization` header was replaced.
    replaces_header: bool,
    /// Whether a token was removed from the query.
    replaces_parameter: bool,
    /// What its parameters say about it.
    pub(crate) hints: RequestHints,
    /// The links of the response that are rewritten.
    pub(crate) links: Option<Box<LinkRewrite>>,
}

/// The number of headers that are added: `Authorization` here, `Host` and a length by hyper.
const ADDED_HEADERS: usize = 3;

/// For requests without a `User-Agent`: the media host refuses them.
const DEFAULT_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("graphward/", env!("CARGO_PKG_VERSION")));

// === impl OutboundRequest ===

impl OutboundRequest {
    /// Takes the head of the app's request and removes what must not be forwarded.
    ///
    /// # Errors
    ///
    /// [`Refusal::ClientCredential`] if it has a credential and the configuration refuses those,
    /// [`Refusal::MalformedRequest`] if its target is not a path.
    pub(crate) fn from_app(
        head: Parts,
        security: TransportSecurity,
        settings: &Settings,
        signs: Option<&mut TenantSigns>,
    ) -> Result<Self, Refusal> {
        let request_host = validation::request_host(&head);
        let destinations = &settings.destinations;
        let host = request_host.map(|(_authority, host)| host);
        let destination = destinations.route(host, &head.method, head.uri.path()).clone();
        let links = request_host
            .and_then(|(authority, host)| LinkRewrite::for_response_to(&head, authority, host, security, settings));
        let Parts {
            method,
            uri,
            mut headers,
            ..
        } = head;
        let has_authorization = headers.contains_key(AUTHORIZATION);
        strip_request_headers(&mut headers, &settings.removed_headers);
        let sign_policy = signs.as_ref().map_or(SignPolicy::Ignore, |_| SignPolicy::Read);
        let values = has_authorization.then(|| headers.get_all(AUTHORIZATION));
        let header = parse_authorizations(values.into_iter().flatten(), sign_policy);
        let mut tenant_scheme = replacement_scheme(header, settings.heal.client_credentials, destination.service)?;
        // Where its own credential stays, what it says about the tenant is read.
        let rules = |scheme: Option<AuthScheme>| {
            let credentials = scheme.map_or(ClientCredentialPolicy::KeepAll, |_| settings.heal.client_credentials);
            let is_searched = scheme.is_some() || sign_policy == SignPolicy::Read;
            is_searched.then_some(ScrubRules::new(credentials, sign_policy))
        };
        let ScrubbedTarget { target, report } = match rules(tenant_scheme) {
            Some(rules) => Target::from_app(&uri, rules),
            None => Target::from_uri(&uri).map(|target| target.with_report(ScrubReport::default())),
        }?;
        if let (Some(signs), Some(in_query)) = (signs, report.signs) {
            signs.add(*in_query);
        }
        if has_authorization && tenant_scheme.is_some() {
            headers.remove(AUTHORIZATION);
        }
        let is_token_endpoint = target.is_token_endpoint();
        if report.credential.is_forwarded() || is_token_endpoint {
            tenant_scheme = None;
        }
        let body_rules = rules(tenant_scheme);
        if let Some(value) = restrict_accept_encoding(&headers) {
            headers.insert(ACCEPT_ENCODING, value);
        }
        if destination.service == GraphService::Media && !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, DEFAULT_USER_AGENT);
        }
        if settings.via {
            headers.append(VIA, HeaderValue::from_static("1.1 graphward"));
            max_forwards::decrement(&mut headers);
        }
        let is_upload = target.is_upload();
        Ok(Self {
            takes_proof: destination.accepts_proof() && !is_upload,
            is_file_upload: is_upload || destination.service == GraphService::Upload,
            hints: RequestHints::from_target(target.path(), target.query()),
            method,
            target,
            headers,
            destination,
            tenant_scheme,
            body_rules,
            strongest_proof: RejectionProof::SessionEnded,
            is_batch: report.has_batch && !report.has_item_tokens,
            replaces_header: matches!(header, HeaderCredential::Token(_) | HeaderCredential::Other)
                && tenant_scheme.is_some(),
            replaces_parameter: report.credential == ParameterCredential::Removed,
            links,
        })
    }

    /// Takes the head of the app's request as it is, without what is about the app's connection or network.
    ///
    /// # Errors
    ///
    /// [`Refusal::MalformedRequest`] if its target is not a path.
    pub(crate) fn unchanged(head: Parts, settings: &Settings) -> Result<Self, Refusal> {
        let host = validation::request_host(&head).map(|(_authority, host)| host);
        let destination = settings.destinations.route(host, &head.method, head.uri.path()).clone();
        let target = Target::from_uri(&head.uri)?;
        let mut headers = head.headers;
        strip_request_headers(&mut headers, &[]);
        Ok(Self {
            takes_proof: false,
            is_file_upload: false,
            hints: RequestHints::from_target(target.path(), target.query()),
            method: head.method,
            target,
            headers,
            destination,
            tenant_scheme: None,
            body_rules: None,
            strongest_proof: RejectionProof::Unproven,
            is_batch: false,
            replaces_header: false,
            replaces_parameter: false,
            links: None,
        })
    }

    /// The origin that it goes to.
    pub(crate) const fn origin(&self) -> &Origin {
        &self.destination.origin
    }

    /// Returns whether Graph may process it twice without harm: it reads, and issues no token.
    pub(crate) fn is_idempotent(&self) -> bool {
        let reads = self.method == Method::GET || self.method == Method::HEAD;
        reads && !self.target.query().is_some_and(overrides_method) && !self.target.is_token_endpoint()
    }

    /// Counts the credentials of the app that were replaced.
    pub(crate) fn count_client_credentials(&self, metrics: &RequestMetrics) {
        if self.replaces_header {
            metrics.count_client_credential("header");
        }
        if self.replaces_parameter {
            metrics.count_client_credential("query");
        }
    }

    /// Returns whether it carries the tenant's credential.
    pub(crate) fn uses_tenant_credential(&self) -> bool {
        self.tenant_scheme.is_some()
    }

    /// The scrubber settings for its body. `None` if it carries the app's credential and can name no tenant, or if the body is
    /// a file, regardless of its `Content-Type`, since curl sends files as forms.
    pub(crate) fn scrub_config<'a>(&self, metrics: &'a RequestMetrics) -> Option<ScrubConfig<'a>> {
        let rules = self.body_rules.filter(|_| !self.is_file_upload)?;
        let may_have_tenants_items = self.uses_tenant_credential() && self.target.is_batch_endpoint();
        Some(ScrubConfig {
            format: BodyFormat::from_headers(&self.headers)?,
            finds_calls: false,
            must_search: may_have_tenants_items.then_some(MustSearch::Batch),
            rules,
            metrics,
        })
    }

    /// Returns whether this body may have parameters that cannot be read, because it is compressed.
    pub(crate) fn hides_parameters(&self, body: &Body) -> bool {
        !self.is_file_upload && !body.is_end_stream() && BodyFormat::is_hidden(&self.headers)
    }

    /// What its head says about its calls.
    pub(crate) fn calls_of_head(&self) -> Calls {
        let mut calls = Calls::default();
        calls.add_form(self.target.query().unwrap_or_default().as_bytes());
        for name in METHOD_HEADERS {
            let methods = self.headers.get_all(name).iter();
            methods.for_each(|method| calls.add_method(method.as_bytes().iter().copied()));
        }
        calls
    }

    /// Whether graphward replaces a token that the app sent.
    pub(crate) const fn replaces_credential(&self) -> bool {
        self.replaces_header || self.replaces_parameter
    }

    /// Checks each call that it makes by the rules of its tenant: its own, another method, the items of its batch.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotAllowed`]; [`Refusal::CallsUnsearched`] if its body cannot be searched; [`Refusal::ScrubFailed`] if a form that
    /// streams makes another call than the head.
    pub(crate) fn check_allowed(&self, received: &mut BufferedBody, tenant: &Tenant) -> Result<(), Refusal> {
        if tenant.allow.is_none() {
            return Ok(());
        }
        let mut calls = self.calls_of_head();
        let in_body = received.findings.as_mut().and_then(|findings| findings.calls.take());
        let is_unread = in_body.is_none() && !received.body.is_end_stream();
        if let Some(in_body) = in_body {
            calls.add(*in_body);
        } else if received.body.is_scrubbed() {
            received.body.forbid_calls()?;
        } else if is_unread && self.uses_tenant_credential() && !self.is_file_upload {
            self.check_calls(&calls, tenant)?;
            return Err(Refusal::CallsUnsearched);
        }
        self.check_calls(&calls, tenant)
    }

    /// Checks these calls by the rules of the tenant.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotAllowed`]
    pub(crate) fn check_calls(&self, calls: &Calls, tenant: &Tenant) -> Result<(), Refusal> {
        let Some(rules) = &tenant.allow else {
            return Ok(());
        };
        let checked = rules.check(self.method.as_str(), self.target.path(), calls);
        checked.map_err(|error| Refusal::NotAllowed {
            place: tenant.setting("allow"),
            error,
        })
    }

    /// Applies what the scrubber found: if the body keeps a credential, the request carries no other one.
    pub(crate) fn apply_findings(&mut self, findings: Option<&ScrubReport>) {
        let Some(findings) = findings else {
            self.strongest_proof = RejectionProof::Unproven;
            return;
        };
        self.is_batch |= findings.has_batch && !findings.has_item_tokens;
        self.hints = self.hints.or(findings.hints);
        if findings.credential.is_forwarded() {
            self.tenant_scheme = None;
        }
    }

    /// What a rejection of this request proves about the tenant's credential.
    pub(crate) const fn proof_of(&self, rejection: Rejection) -> RejectionProof {
        match self.strongest_proof {
            RejectionProof::SessionEnded => rejection.proof,
            RejectionProof::Unproven => RejectionProof::Unproven,
        }
    }

    /// Returns whether this status means that the media host refused the request: its responses have no error envelope.
    pub(crate) fn is_media_rejection(&self, status: StatusCode) -> bool {
        let is_media_request = self.destination.service == GraphService::Media || is_media_path(self.target.path());
        is_media_request && matches!(status.as_u16(), 401 | 403 | 404)
    }

    /// Checks that the host accepts the credential, if there is one.
    ///
    /// # Errors
    ///
    /// [`Refusal::FamilyMismatch`] if the credential is of another token family.
    pub(crate) fn check_family(&self, authorization: &Authorization<'_>) -> Result<(), Refusal> {
        let Some(credential) = authorization.credential() else {
            return Ok(());
        };
        let settings = &authorization.tenant().settings;
        let family = credential.family.or_else(|| authorization.tenant().family);
        let checked = settings.destinations.check_token_family(family, &self.destination);
        checked.map_err(|token| Refusal::FamilyMismatch {
            token,
            host: self.destination.origin.host().to_owned(),
        })
    }

    /// Requires a declared length where hyper would otherwise drop the body silently: it does so for a GET or HEAD whose
    /// body has an unknown length.
    ///
    /// # Errors
    ///
    /// [`Refusal::LengthRequired`].
    pub(crate) fn check_length(&self, body: &Body) -> Result<(), Refusal> {
        let needs_length = self.method == Method::GET || self.method == Method::HEAD;
        match needs_length && !body.has_known_length() {
            true => Err(Refusal::LengthRequired(self.method.clone())),
            false => Ok(()),
        }
    }

    /// Builds the request of one attempt. Its HTTP version is that of the connection, not the app's.
    pub(crate) fn to_request(&self, authorization: &Authorization<'_>, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri(authorization);
        // A clone would have no room for what is added.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + ADDED_HEADERS);
        let own = self.headers.iter();
        headers.extend(own.map(|(name, value)| (name.clone(), value.clone())));
        if let (Some(scheme), Some(credential)) = (self.tenant_scheme, authorization.credential()) {
            match scheme {
                AuthScheme::Bearer => headers.insert(AUTHORIZATION, credential.bearer.clone()),
                AuthScheme::OAuth => headers.insert(AUTHORIZATION, credential.oauth()),
            };
        }
        *request.headers_mut() = headers;
        request
    }

    fn uri(&self, authorization: &Authorization<'_>) -> Uri {
        let mut proven_uri = None;
        if let (Some(_), true, Some(credential)) = (self.tenant_scheme, self.takes_proof, authorization.credential()) {
            credential.with_proof(
                || authorization.tenant().settings.clock.now(),
                |proof| proven_uri = Some(self.target.to_uri_with_proof(proof)),
            );
        }
        proven_uri.unwrap_or_else(|| self.target.to_uri())
    }
}

/// Decides whether the tenant's credential replaces the app's `Authorization` header, and under which scheme. `None` if the
/// app's header is kept.
fn replacement_scheme(
    header: HeaderCredential,
    policy: ClientCredentialPolicy,
    service: GraphService,
) -> Result<Option<AuthScheme>, Refusal> {
    let scheme = match header {
        // An app token names its app, and is used where Graph accepts nothing else.
        HeaderCredential::AppToken(_) => return Ok(None),
        HeaderCredential::Absent if service == GraphService::Upload => return Ok(Some(AuthScheme::OAuth)),
        HeaderCredential::Absent => return Ok(Some(AuthScheme::Bearer)),
        HeaderCredential::TokenSlot(scheme) => return Ok(Some(scheme)),
        HeaderCredential::Token(scheme) => scheme,
        HeaderCredential::Other => AuthScheme::Bearer,
    };
    match policy {
        ClientCredentialPolicy::Replace => Ok(Some(scheme)),
        ClientCredentialPolicy::Refuse => Err(Refusal::ClientCredential("Authorization header")),
        ClientCredentialPolicy::Keep | ClientCredentialPolicy::KeepAll => Ok(None),
    }
}
