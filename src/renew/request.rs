//! Requests that carry secrets as parameters. The one file of renewals that sees a secret in the clear.
//!
//! # Why
//!
//! Graph takes tokens and app secrets as parameters of these calls, where the proxy sends a header. So what is built here
//! is written once, into a buffer that is large enough from the start and is zeroed when it is dropped, and the request's
//! URI and body are that buffer. Nothing is shown of a request but its method and its path.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Uri};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::graph::{Origin, ProofSigner, TokenFamily};
use crate::types::{Secret, SecretError};

/// A call in the making.
pub(super) struct RequestBuilder<'a> {
    origin: &'a Origin,
    path: &'a str,
    params: Vec<(&'static str, ParamValue<'a>)>,
}

/// A parameter's value.
enum ParamValue<'a> {
    Plain(&'a str),
    Secret(&'a Secret),
    /// Parameters as they are written, name and all.
    Encoded(Zeroizing<String>),
}

impl<'a> RequestBuilder<'a> {
    /// Of an endpoint, which is shown in errors: its path has no secret.
    pub(super) const fn new(origin: &'a Origin, path: &'a str) -> Self {
        Self {
            origin,
            path,
            params: Vec::new(),
        }
    }

    pub(super) fn param(mut self, name: &'static str, value: &'a str) -> Self {
        self.params.push((name, ParamValue::Plain(value)));
        self
    }

    pub(super) fn secret_param(mut self, name: &'static str, value: &'a Secret) -> Self {
        self.params.push((name, ParamValue::Secret(value)));
        self
    }

    /// The proof that whoever sends `admin_token` knows the app's secret.
    pub(super) fn appsecret_proof(mut self, app_secret: &Secret, token: &Secret) -> Self {
        let prover = ProofSigner::new(app_secret.expose().as_bytes());
        let proof = prover.sign(token.expose().as_bytes());
        let encoded = Zeroizing::new(proof.as_query().to_owned());
        self.params.push(("", ParamValue::Encoded(encoded)));
        self
    }

    /// What may be shown of it: `graph.facebook.com/oauth/access_token`.
    pub(super) fn endpoint_name(&self) -> String {
        format!("{}{}", self.origin.authority(), self.path)
    }

    /// As a GET, parameters in the query.
    pub(super) fn build_get(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let url = self.url();
        let mut buffer = Zeroizing::new(String::with_capacity(url.len() + 1 + self.max_encoded_len()));
        buffer.push_str(&url);
        buffer.push('?');
        self.write_params(&mut buffer);
        let uri = Uri::from_maybe_shared(zeroizing_bytes(buffer))?;
        Request::get(uri)
            .header(ACCEPT, "application/json")
            .body(Full::default())
    }

    /// As a POST, parameters in a form.
    pub(super) fn build_post(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut form = Zeroizing::new(String::with_capacity(self.max_encoded_len()));
        self.write_params(&mut form);
        Request::post(self.url())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(zeroizing_bytes(form)))
    }

    fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    fn write_params(&self, out: &mut String) {
        for (index, (name, value)) in self.params.iter().enumerate() {
            if index > 0 {
                out.push('&');
            }
            let text = match value {
                ParamValue::Plain(text) => *text,
                ParamValue::Secret(secret) => secret.expose(),
                ParamValue::Encoded(pair) => {
                    out.push_str(pair);
                    continue;
                }
            };
            out.push_str(name);
            out.push('=');
            out.extend(utf8_percent_encode(text, RESERVED));
        }
    }

    /// More than what is written can be long: a buffer that grew would leave a copy behind.
    fn max_encoded_len(&self) -> usize {
        let pairs = self.params.iter().map(|(name, value)| {
            let value = match value {
                ParamValue::Plain(text) => text.len(),
                ParamValue::Secret(secret) => secret.expose().len(),
                ParamValue::Encoded(pair) => pair.len(),
            };
            name.len() + 2 + 3 * value
        });
        pairs.sum()
    }
}

/// The app token, `<id>|<secret>`.
pub(super) fn app_token(id: &str, secret: &Secret) -> Result<Secret, SecretError> {
    Secret::new(&Zeroizing::new(format!("{id}|{}", secret.expose())))
}

/// Whose hosts a token is for; `None` if it does not say.
pub(super) fn token_family(token: &Secret) -> Option<TokenFamily> {
    TokenFamily::from_token(token.expose())
}

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes that are zeroed when the last who holds them lets go.
fn zeroizing_bytes(text: Zeroizing<String>) -> Bytes {
    struct Zeroed(Zeroizing<String>);
    impl AsRef<[u8]> for Zeroed {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    Bytes::from_owner(Zeroed(text))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn test_secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn test_origin() -> Origin {
        Origin::parse("https://graph.example:8443").unwrap()
    }

    #[tokio::test]
    async fn parameters_stand_in_the_query_or_in_the_form_with_their_odd_letters_encoded() {
        let (origin, token) = (test_origin(), test_secret("42|a+b/c=&%"));
        let builder = RequestBuilder::new(&origin, "/debug_token")
            .secret_param("input_token", &token)
            .param("scope", "a,b");
        let pairs = "input_token=42%7Ca%2Bb%2Fc%3D%26%25&scope=a%2Cb";
        let get = builder.build_get().unwrap();
        let address = format!("https://graph.example:8443/debug_token?{pairs}");
        assert_eq!(get.uri().to_string(), address);
        let post = builder.build_post().unwrap();
        assert_eq!(post.uri().query(), None);
        let form = post.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(form, pairs);
        assert_eq!(builder.endpoint_name(), "graph.example:8443/debug_token");
    }

    #[test]
    fn what_is_written_always_fits_the_buffer_that_was_made_for_it() {
        let (origin, longest_secret) = (test_origin(), test_secret(&"%".repeat(Secret::MAX_BYTES)));
        let builder = RequestBuilder::new(&origin, "/x")
            .secret_param("a", &longest_secret)
            .appsecret_proof(&longest_secret, &longest_secret)
            .param("b", "|||");
        let mut out = String::with_capacity(builder.max_encoded_len());
        let before = (out.as_ptr(), out.capacity());
        builder.write_params(&mut out);
        assert_eq!((out.as_ptr(), out.capacity()), before);
    }
}
