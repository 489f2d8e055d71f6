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

use crate::graph::{Family, Origin, Prover};
use crate::types::{Secret, SecretError};

/// A call in the making.
pub(super) struct Ask<'a> {
    origin: &'a Origin,
    path: &'a str,
    pairs: Vec<(&'static str, Value<'a>)>,
}

/// A parameter's value.
enum Value<'a> {
    Plain(&'a str),
    Secret(&'a Secret),
    /// Parameters as they are written, name and all.
    Written(Zeroizing<String>),
}

impl<'a> Ask<'a> {
    /// Of an endpoint, which is shown in errors: its path has no secret.
    pub(super) const fn new(origin: &'a Origin, path: &'a str) -> Self {
        Self {
            origin,
            path,
            pairs: Vec::new(),
        }
    }

    pub(super) fn plain(mut self, name: &'static str, value: &'a str) -> Self {
        self.pairs.push((name, Value::Plain(value)));
        self
    }

    pub(super) fn secret(mut self, name: &'static str, value: &'a Secret) -> Self {
        self.pairs.push((name, Value::Secret(value)));
        self
    }

    /// The proof that whoever sends `token` knows the app's secret.
    pub(super) fn proof(mut self, app_secret: &Secret, token: &Secret) -> Self {
        let prover = Prover::new(app_secret.expose().as_bytes());
        let proof = prover.lasting(token.expose().as_bytes());
        let written = Zeroizing::new(proof.parameters().to_owned());
        self.pairs.push(("", Value::Written(written)));
        self
    }

    /// What may be shown of it: `graph.facebook.com/oauth/access_token`.
    pub(super) fn endpoint(&self) -> String {
        format!("{}{}", self.origin.authority(), self.path)
    }

    /// As a GET, parameters in the query.
    pub(super) fn get(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let address = self.address();
        let mut text = Zeroizing::new(String::with_capacity(address.len() + 1 + self.longest()));
        text.push_str(&address);
        text.push('?');
        self.write(&mut text);
        let uri = Uri::from_maybe_shared(shared(text))?;
        Request::get(uri)
            .header(ACCEPT, "application/json")
            .body(Full::default())
    }

    /// As a POST, parameters in a form.
    pub(super) fn post(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut form = Zeroizing::new(String::with_capacity(self.longest()));
        self.write(&mut form);
        Request::post(self.address())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(shared(form)))
    }

    fn address(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    fn write(&self, out: &mut String) {
        for (place, (name, value)) in self.pairs.iter().enumerate() {
            if place > 0 {
                out.push('&');
            }
            let text = match value {
                Value::Plain(text) => *text,
                Value::Secret(secret) => secret.expose(),
                Value::Written(pair) => {
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
    fn longest(&self) -> usize {
        let pairs = self.pairs.iter().map(|(name, value)| {
            let value = match value {
                Value::Plain(text) => text.len(),
                Value::Secret(secret) => secret.expose().len(),
                Value::Written(pair) => pair.len(),
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
pub(super) fn family(token: &Secret) -> Option<Family> {
    Family::of_token(token.expose())
}

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes that are zeroed when the last who holds them lets go.
fn shared(text: Zeroizing<String>) -> Bytes {
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

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn origin() -> Origin {
        Origin::parse("https://graph.example:8443").unwrap()
    }

    #[tokio::test]
    async fn parameters_stand_in_the_query_or_in_the_form_with_their_odd_letters_encoded() {
        let (origin, token) = (origin(), secret("42|a+b/c=&%"));
        let ask = Ask::new(&origin, "/debug_token")
            .secret("input_token", &token)
            .plain("scope", "a,b");
        let pairs = "input_token=42%7Ca%2Bb%2Fc%3D%26%25&scope=a%2Cb";
        let get = ask.get().unwrap();
        let address = format!("https://graph.example:8443/debug_token?{pairs}");
        assert_eq!(get.uri().to_string(), address);
        let post = ask.post().unwrap();
        assert_eq!(post.uri().query(), None);
        let form = post.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(form, pairs);
        assert_eq!(ask.endpoint(), "graph.example:8443/debug_token");
    }

    #[test]
    fn what_is_written_always_fits_the_buffer_that_was_made_for_it() {
        let (origin, worst) = (origin(), secret(&"%".repeat(Secret::MAX_BYTES)));
        let ask = Ask::new(&origin, "/x")
            .secret("a", &worst)
            .proof(&worst, &worst)
            .plain("b", "|||");
        let mut out = String::with_capacity(ask.longest());
        let before = (out.as_ptr(), out.capacity());
        ask.write(&mut out);
        assert_eq!((out.as_ptr(), out.capacity()), before);
    }
}
