//! The source `http`: an internal credential service, whose responses hold a token, such as
//! `GET http://tenant-service:3007/tenants/acme/credentials/meta`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, ETAG, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Response, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::absent::AbsentPolicy;
use super::decode::{DecodeError, Format, check_resolved, decode_response};
use super::polled::{TokenCall, default_poll_interval};
use crate::net::{HttpEndpoint, HttpEndpointError, host_name};
use crate::token::{ObtainError, Token};
use crate::types::{Clock, MaybeSecret, error_chain};

/// A call of a credential service.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HttpCallConfig<U = ServiceUrl> {
    /// The service's URL, `http` or `https`.
    #[serde(rename = "http")]
    pub url: U,
    /// The JSON pointer to the token in the response.
    #[schemars(extend("pattern" = r"^(/([^~/]|~[01])*)+$", "patternErrorMessage" = "must be a JSON pointer, such as \"/access_token\" or \"/data/token\""))]
    pub pointer: Option<String>,
    /// The request's headers.
    #[serde(default, deserialize_with = "headers")]
    #[schemars(
        with = "BTreeMap<String, MaybeSecret>",
        extend(
            "propertyNames" = { "format": "header-name" },
            "format" = "header-value",
            "pattern" = r"^[\t -~]*$",
            "patternErrorMessage" = "must be a valid header value: printable text on one line"
        )
    )]
    pub headers: Vec<(HeaderName, MaybeSecret)>,
    /// The limit for the whole call; at most 15s.
    #[serde(default = "default_timeout")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "15s"))]
    pub timeout: Duration,
}

/// A credential service that is asked for the token from time to time.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct HttpSourceConfig<U = ServiceUrl> {
    /// The call.
    #[serde(flatten)]
    pub call: HttpCallConfig<U>,
    /// How often the service is asked, 100ms to 1d.
    #[serde(default = "default_poll_interval")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

/// The URL of a service: `http` or `https`, and a host.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Display)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("format" = "service-url"))]
pub struct ServiceUrl(Uri);

/// The reason why a text cannot be a URL or a header of a service. It does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServiceTextError {
    /// Another scheme, or no host.
    #[error("must be an http:// or https:// URL, such as \"http://tenant-service:3007/token\"")]
    Url,
    /// `$NAME`, `${NAME}`, `{{ name }}`: what a shell or a template would have replaced.
    #[error("contains a variable that was not replaced; write its value")]
    Variable,
    /// `{tenant}`.
    #[error(
        "contains {{: this is the URL of one token; write the tenant's name, or use [tenants_from] for all tenants"
    )]
    Template,
    /// A character that names do not have.
    #[error("must be a header name")]
    HeaderName,
    /// A header of the connection.
    #[error("cannot be set: graphward sets this header")]
    OwnHeader,
}

/// Reads the name of a header of a call. Headers of the connection are graphward's own.
///
/// # Errors
///
/// [`ServiceTextError`] for anything else.
pub fn service_header(name: &str) -> Result<HeaderName, ServiceTextError> {
    let own = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE];
    let name = name.parse().map_err(|_quotes_the_text| ServiceTextError::HeaderName)?;
    if own.contains(&name) {
        Err(ServiceTextError::OwnHeader)
    } else {
        Ok(name)
    }
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(HeaderName, MaybeSecret)>, D::Error> {
    let headers = BTreeMap::<String, MaybeSecret>::deserialize(from)?.into_iter();
    let headers = headers.map(|(name, value)| Ok((service_header(&name).map_err(D::Error::custom)?, value)));
    headers.collect()
}

/// A credential service that is asked for a token.
#[derive(Debug, derive_more::Display)]
#[display("service {endpoint}")]
pub struct TokenService {
    endpoint: HttpEndpoint,
    format: Format,
    clock: Clock,
    absent: AbsentPolicy,
    cached: Option<CachedToken>,
}

/// The last token, and the entity tag that the service gave it.
#[derive(Debug)]
struct CachedToken {
    etag: HeaderValue,
    token: Token,
}

// === impl ServiceUrl ===

impl ServiceUrl {
    /// The URL.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for ServiceUrl {
    type Err = ServiceTextError;

    fn from_str(text: &str) -> Result<Self, ServiceTextError> {
        if check_resolved(text) == Err(DecodeError::UnresolvedVariable) {
            return Err(ServiceTextError::Variable);
        }
        if text.contains('{') {
            return Err(ServiceTextError::Template);
        }
        let url: Uri = text.parse().map_err(|_quotes_the_text| ServiceTextError::Url)?;
        let is_host = |host: &Authority| host_name(host.host()).is_ok() && !host.as_str().ends_with(':');
        let is_valid = matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(is_host);
        is_valid.then_some(Self(url)).ok_or(ServiceTextError::Url)
    }
}

impl TryFrom<String> for ServiceUrl {
    type Error = ServiceTextError;

    fn try_from(text: String) -> Result<Self, ServiceTextError> {
        text.parse()
    }
}

// === impl TokenService ===

impl TokenService {
    /// Creates a service at this endpoint; `format` says where in the response the token is, and a lifetime in seconds counts
    /// by `clock`.
    #[must_use]
    pub const fn new(endpoint: HttpEndpoint, format: Format, clock: Clock) -> Self {
        Self {
            endpoint,
            format,
            clock,
            absent: AbsentPolicy::Keep,
            cached: None,
        }
    }

    /// Sets what it means if the service says that there is no token; the default is nothing.
    /// [`AbsentPolicy::Auto`] is a withdrawal.
    #[must_use]
    pub fn with_absent(self, absent: AbsentPolicy) -> Self {
        let absent = absent.or(AbsentPolicy::Withdraw);
        Self { absent, ..self }
    }

    /// Returns the token that the service answers to a JSON document.
    pub(crate) async fn post(&self, document: Bytes) -> Result<Token, ObtainError> {
        let requested_at = self.clock.now();
        let response = self.endpoint.post(document).await;
        self.decode(&response.map_err(|error| self.failed(&error))?, requested_at)
    }

    /// Asks for the token; `None` if the service says that there is nothing: 410, or 404 with a JSON document.
    pub(super) async fn look_up(&self) -> Result<Option<Token>, ObtainError> {
        let requested_at = self.clock.now();
        match self.endpoint.get(None).await {
            Ok(Some(response)) => self.decode(&response, requested_at).map(Some),
            Ok(None) | Err(HttpEndpointError::Absent(_)) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn decode(&self, response: &Response<Bytes>, requested_at: SystemTime) -> Result<Token, ObtainError> {
        decode_response(response.body(), &self.format, requested_at, &self, self.absent)
    }

    fn failed(&self, error: &HttpEndpointError) -> ObtainError {
        let message = format!("failed to get a token from {self}: {}", error_chain(error));
        if error.is_transient() {
            return ObtainError::transient(error.reason(), message);
        }
        let permanent = ObtainError::permanent(error.reason(), message);
        if matches!(error, HttpEndpointError::Absent(_)) {
            self.absent.apply(permanent)
        } else {
            permanent
        }
    }
}

impl TokenCall for TokenService {
    const LOOK_INTERVAL: Duration = Duration::from_secs(2);

    /// Fetches the token, or returns the cached one if the service says that it is current.
    async fn call(&mut self) -> Result<Token, ObtainError> {
        let requested_at = self.clock.now();
        let response = self.endpoint.get(self.cached.as_ref().map(|cached| &cached.etag)).await;
        let Some(response) = response.map_err(|error| self.failed(&error))? else {
            let token = self.cached.as_ref().map(|cached| cached.token.clone());
            return token.ok_or_else(ObtainError::nothing_new);
        };
        // An unusable response must be fetched again, whatever its entity tag.
        self.cached = None;
        let found = self.decode(&response, requested_at)?;
        self.cached = response.headers().get(ETAG).map(|etag| CachedToken {
            etag: etag.clone(),
            token: found.clone(),
        });
        Ok(found)
    }
}
