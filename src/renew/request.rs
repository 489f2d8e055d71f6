//! Requests that carry secrets as parameters. The one file of the renewals of Graph that sees a secret in the clear.
//!
//! # Why
//!
//! A token that authenticates a call travels in the `Authorization` header, as the proxy sends it. A token that a call is
//! about, and the app's secret, are parameters. The renewals of living
//! tokens are GETs with secrets in the query, because that is what Meta documents: Graph takes a form as well, as an option of
//! one client library shows, but no document promises it, and a call that is made every seven weeks must not fail on the
//! day on which it is needed. Only Graph sees the query, because it travels inside TLS; errors and logs show a request's
//! host and path.
//!
//! The parameters are not written into memory that is zeroed: reqwest, hyper and rustls copy a request into buffers of
//! their own, which they do not zero, so it would protect nothing.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::graph::{Origin, ProofSigner};
use crate::token::Token;
use crate::types::{Secret, SecretError, TokenFamily};

/// A call of Graph that is being built.
#[derive(Clone)]
pub(super) struct GraphRequest<'a> {
    method: Method,
    origin: &'a Origin,
    path: &'a str,
    params: String,
    /// The token in the `Authorization` header.
    bearer: Option<&'a Secret>,
}

/// How long a renewed token lives (`set_token_expires_in_60_days`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(from = "bool")]
pub enum TokenLifetime {
    /// Graph decides: some 60 days for a user token, no end for a system user's.
    #[default]
    Default,
    /// 60 days, which has to be asked for with a system user's token.
    SixtyDays,
}

impl From<bool> for TokenLifetime {
    fn from(is_set: bool) -> Self {
        if is_set { Self::SixtyDays } else { Self::Default }
    }
}

/// The id and the secret of the Meta app that the tokens belong to. They authenticate renewals, and together form the app
/// token.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The app's id, which is not a secret.
    pub id: String,
    /// The app's secret.
    pub secret: Secret,
}

impl<'a> GraphRequest<'a> {
    /// A GET with its parameters in the query. The path is shown in errors and has no secret.
    pub(super) const fn get(origin: &'a Origin, path: &'a str) -> Self {
        Self::new(Method::GET, origin, path)
    }

    /// `GET /me?fields=id`, which every living token may call.
    pub(super) fn me(origin: &'a Origin, token: &'a Token) -> Self {
        Self::get(origin, "/me").param("fields", "id").with_token(token)
    }

    /// Sends the token in the `Authorization` header.
    pub(super) fn with_token(self, token: &'a Token) -> Self {
        let bearer = Some(&token.secret);
        Self { bearer, ..self }
    }

    /// A POST with its parameters in a form.
    pub(super) const fn post(origin: &'a Origin, path: &'a str) -> Self {
        Self::new(Method::POST, origin, path)
    }

    const fn new(method: Method, origin: &'a Origin, path: &'a str) -> Self {
        Self {
            method,
            origin,
            path,
            params: String::new(),
            bearer: None,
        }
    }

    pub(super) fn param(self, name: &str, value: &str) -> Self {
        let mut request = self.encoded(name);
        request.params.push('=');
        request.params.extend(utf8_percent_encode(value, RESERVED));
        request
    }

    pub(super) fn secret_param(self, name: &str, value: &Secret) -> Self {
        self.param(name, value.expose())
    }

    /// Asks for a token that lives as long as this.
    pub(super) fn lifetime(self, lifetime: TokenLifetime) -> Self {
        match lifetime {
            TokenLifetime::Default => self,
            TokenLifetime::SixtyDays => self.param("set_token_expires_in_60_days", "true"),
        }
    }

    /// Proves that the sender of a token knows the app's secret.
    pub(super) fn appsecret_proof(self, app_secret: &Secret, token: &Secret) -> Self {
        let signer = ProofSigner::new(app_secret.expose().as_bytes());
        self.encoded(signer.sign(token.expose().as_bytes()).as_query())
    }

    /// Appends text that is encoded already.
    fn encoded(mut self, text: &str) -> Self {
        if !self.params.is_empty() {
            self.params.push('&');
        }
        self.params.push_str(text);
        self
    }

    /// The part of the request that may be shown: `graph.facebook.com/oauth/access_token`.
    pub(super) fn endpoint(&self) -> String {
        format!("{}{}", self.origin.authority(), self.path)
    }

    pub(super) fn build(self) -> Result<Request<Bytes>, http::Error> {
        let url = format!("{}{}", self.origin, self.path);
        let mut request = Request::builder().header(ACCEPT, "application/json");
        if let Some(token) = self.bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if self.method == Method::GET {
            return request.uri(format!("{url}?{}", self.params)).body(Bytes::new());
        }
        request
            .method(self.method)
            .uri(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.params.into())
    }
}

impl AppCredentials {
    /// Builds the app token, `<id>|<secret>`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the id has anything but visible ASCII.
    pub fn app_token(&self) -> Result<Secret, SecretError> {
        let Self { id, secret } = self;
        Secret::new(&Zeroizing::new(format!("{id}|{}", secret.expose())))
    }
}

/// The family whose hosts accept a token; `None` if the token does not show it.
#[must_use]
pub fn token_family(token: &Secret) -> Option<TokenFamily> {
    TokenFamily::from_token(token.expose())
}

/// All characters but those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_token_is_id_bar_secret_and_debug_shows_neither_secret() {
        let app = AppCredentials {
            id: "42".to_owned(),
            secret: Secret::new("hush0hush0hush").unwrap(),
        };
        let token = app.app_token().unwrap();
        assert_eq!(token.expose(), "42|hush0hush0hush");
        assert!(!format!("{app:?} {token:?}").contains("hush"));
        let invalid = AppCredentials {
            id: "4 2".to_owned(),
            ..app
        };
        assert_eq!(invalid.app_token().unwrap_err(), SecretError::InvalidCharacter);
    }

    #[test]
    fn the_token_that_authenticates_a_call_is_in_no_url() {
        let origin = Origin::parse("https://graph.example").unwrap();
        let token = Token::without_expiry(Secret::new("EAAGhush0123456789").unwrap());
        let request = GraphRequest::me(&origin, &token).build().unwrap();
        assert_eq!(request.uri(), "https://graph.example/me?fields=id");
        let value = &request.headers()[AUTHORIZATION];
        assert!(value == "Bearer EAAGhush0123456789" && value.is_sensitive());
    }

    #[test]
    fn parameters_stand_in_the_query_or_in_the_form_with_special_characters_encoded() {
        let origin = Origin::parse("https://graph.example:8443").unwrap();
        let token = Secret::new("42|a+b/c=&%").unwrap();
        let pairs = "input_token=42%7Ca%2Bb%2Fc%3D%26%25&scope=a%2Cb";
        fn with_params<'a>(request: GraphRequest<'a>, token: &Secret) -> GraphRequest<'a> {
            request.secret_param("input_token", token).param("scope", "a,b")
        }
        let get = with_params(GraphRequest::get(&origin, "/debug_token"), &token);
        assert_eq!(get.endpoint(), "graph.example:8443/debug_token");
        let get = get.build().unwrap();
        let url = format!("https://graph.example:8443/debug_token?{pairs}");
        assert_eq!((get.method(), get.uri().to_string()), (&Method::GET, url));
        let post = with_params(GraphRequest::post(&origin, "/debug_token"), &token)
            .build()
            .unwrap();
        assert_eq!((post.method(), post.uri().query()), (&Method::POST, None));
        assert_eq!(post.into_body(), pairs);
    }
}
