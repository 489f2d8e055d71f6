//! The hosts of Graph: which token may go to which host, and which request goes to which.
//!
//! | host | what it serves | tokens |
//! |---|---|---|
//! | `graph.facebook.com`, `graph.beta.facebook.com` | everything | `EAA…`, app |
//! | `graph-video.facebook.com`, `graph-video.beta.facebook.com` | video uploads | the same |
//! | `rupload.facebook.com` | resumable uploads of binaries, scheme `OAuth` | the same |
//! | `lookaside.fbsbx.com` | downloads of WhatsApp media, `Bearer` only | the same |
//! | `graph.instagram.com`, `api.instagram.com` | the API with Instagram login | `IGAA…`, `IGQ…` |
//! | `graph.threads.net`, `graph.threads.com` | Threads | `THAA…`, `THQ…` |
//!
//! # Why
//!
//! Graph answers a token of one family at another's host with "Cannot parse access token", a 190 that a newer token does
//! not cure, and the token has been disclosed to another service. So families are kept apart here, before anything is
//! sent. Content networks (`scontent…`) take no token and are not listed.
//!
//! A prefix that is not in [`TOKEN_PREFIXES`](crate::types::TOKEN_PREFIXES) tells no family, and Meta may introduce one any
//! day. Then `token.family` decides, else the host that has called the token valid, else the origin.

use std::sync::Arc;

use http::Method;

use super::origin::Origin;
use crate::types::TokenFamily;

/// The service of a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GraphService {
    /// The API itself.
    Graph,
    /// The same API, for videos.
    Video,
    /// Uploads of binaries: nothing may be added to their URLs.
    Upload,
    /// Downloads of media: responses have no envelope, and nothing may be added to the URLs, which are signed.
    Media,
}

/// A host that requests may go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    /// Its address.
    pub origin: Origin,
    /// Its service.
    pub service: GraphService,
    /// The family of its tokens; `None` for a name that is not Meta's, such as a fake Graph's.
    pub family: Option<TokenFamily>,
}

/// All hosts that a request may go to.
#[derive(Clone, Debug)]
pub struct Destinations {
    main: Destination,
    // Shared: each tenant that is open has a clone.
    others: Arc<[Destination]>,
    /// The configured family of tokens with an unknown prefix.
    token_family: Option<TokenFamily>,
}

/// The hosts that go with `https://graph.facebook.com`.
pub const OTHER_GRAPH_HOSTS: [&str; 5] = [
    "graph-video.facebook.com",
    "rupload.facebook.com",
    MEDIA_HOST,
    "graph.instagram.com",
    "graph.threads.net",
];

/// The host of WhatsApp media.
pub const MEDIA_HOST: &str = "lookaside.fbsbx.com";

// === impl Destination ===

impl Destination {
    /// Derives service and family from the name of a host.
    #[must_use]
    pub fn from_origin(origin: Origin) -> Self {
        let host = origin.host();
        let first_label = host.split_once('.').map(|(label, _domain)| label.to_ascii_lowercase());
        let service = match first_label.as_deref() {
            Some("graph-video") => GraphService::Video,
            Some("rupload") => GraphService::Upload,
            Some("lookaside") => GraphService::Media,
            Some(_) | None => GraphService::Graph,
        };
        Self {
            family: TokenFamily::from_host(host),
            service,
            origin,
        }
    }

    /// Returns whether a proof may be added to a query that goes there: an Instagram or a Threads app has another
    /// secret, and the upload and media hosts take addresses as they are.
    #[must_use]
    pub fn accepts_proof(&self) -> bool {
        matches!(self.service, GraphService::Graph | GraphService::Video)
            && matches!(self.family, None | Some(TokenFamily::Facebook))
    }
}

// === impl Destinations ===

impl Destinations {
    /// The origin, and the hosts beside it.
    #[must_use]
    pub fn new(main: Origin, others: impl IntoIterator<Item = Origin>) -> Self {
        Self {
            main: Destination::from_origin(main),
            others: others.into_iter().map(Destination::from_origin).collect(),
            token_family: None,
        }
    }

    /// The same with a family for tokens with an unknown prefix (`token.family`).
    #[must_use]
    pub fn with_token_family(self, token_family: Option<TokenFamily>) -> Self {
        Self { token_family, ..self }
    }

    /// The configured family of tokens with an unknown prefix.
    #[must_use]
    pub const fn configured_family(&self) -> Option<TokenFamily> {
        self.token_family
    }

    /// The family of tokens about which nothing is known: the configured one, else the origin's, else Facebook.
    #[must_use]
    pub fn default_family(&self) -> TokenFamily {
        let family = self.token_family.or(self.main.family);
        family.unwrap_or(TokenFamily::Facebook)
    }

    /// The origin: where a request goes that names no other host.
    #[must_use]
    pub const fn main(&self) -> &Destination {
        &self.main
    }

    /// All destinations.
    pub fn all(&self) -> impl Iterator<Item = &Destination> {
        std::iter::once(&self.main).chain(&*self.others)
    }

    /// The origin of the Graph host that serves a family's tokens. A main host of no known family, such as a fake Graph,
    /// serves all of them.
    #[must_use]
    pub fn graph_origin(&self, family: TokenFamily) -> Option<&Origin> {
        let serves_family = |to: &&Destination| to.service == GraphService::Graph && to.family == Some(family);
        let fallback = self.main.family.is_none().then_some(&self.main);
        let destination = self.all().find(serves_family).or(fallback)?;
        Some(&destination.origin)
    }

    /// The destination of this name, without a port, in any case.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&Destination> {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.all()
            .find(|destination| destination.origin.host().eq_ignore_ascii_case(host))
    }

    /// The destination of a request: the host that it names, if that is listed; else the host that serves its path, if
    /// there is one; else the origin.
    #[must_use]
    pub fn route(&self, host: Option<&str>, method: &Method, path: &str) -> &Destination {
        if self.others.is_empty() {
            return &self.main;
        }
        if let Some(named) = host.and_then(|host| self.find(host)) {
            return named;
        }
        let service = service_for(method, path);
        if service == GraphService::Graph {
            return &self.main;
        }
        let main_family = self.main.family.unwrap_or(TokenFamily::Facebook);
        let mut others = self.others.iter();
        others
            .find(|other| other.service == service && other.family.is_none_or(|family| family == main_family))
            .unwrap_or(&self.main)
    }

    /// Checks that a token is of the host's family. A token of unknown family is of the [default](Self::default_family); a
    /// host of unknown family is there because an operator configured it.
    ///
    /// # Errors
    ///
    /// The token's family, if it is another.
    pub fn check_token_family(&self, token: Option<TokenFamily>, destination: &Destination) -> Result<(), TokenFamily> {
        let token = token.unwrap_or_else(|| self.default_family());
        match destination.family {
            Some(family) if family != token => Err(token),
            Some(_) | None => Ok(()),
        }
    }
}

/// The service that a path belongs to, on any host.
fn service_for(method: &Method, path: &str) -> GraphService {
    if is_media_path(path) {
        GraphService::Media
    } else if path.starts_with("/video-upload/") || path.starts_with("/ig-api-upload/") {
        GraphService::Upload
    } else if *method == Method::POST && path.ends_with("/videos") {
        GraphService::Video
    } else {
        GraphService::Graph
    }
}

/// Returns whether a path is that of a WhatsApp media download.
#[must_use]
pub fn is_media_path(path: &str) -> bool {
    path.starts_with("/whatsapp_business/attachments")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations() -> Destinations {
        let origin = |host: &str| Origin::parse(&format!("https://{host}")).unwrap();
        Destinations::new(origin("graph.facebook.com"), OTHER_GRAPH_HOSTS.map(origin))
    }

    fn routed_host(host: &str, method: &Method, path: &str) -> String {
        let all = destinations();
        all.route(Some(host), method, path).origin.host().to_owned()
    }

    #[test]
    fn a_request_goes_to_the_host_that_it_names() {
        for host in OTHER_GRAPH_HOSTS {
            assert_eq!(routed_host(host, &Method::GET, "/v25.0/me"), host);
        }
        assert_eq!(
            routed_host("GRAPH.Instagram.com.", &Method::GET, "/me"),
            "graph.instagram.com"
        );
        assert_eq!(
            routed_host("graph.facebook.com", &Method::POST, "/1/videos"),
            "graph.facebook.com"
        );
    }

    #[test]
    fn without_one_the_path_decides() {
        for (method, path, host) in [
            ("GET", "/v25.0/me", "graph.facebook.com"),
            ("GET", "/whatsapp_business/attachments/", "lookaside.fbsbx.com"),
            ("POST", "/video-upload/v25.0/1", "rupload.facebook.com"),
            ("POST", "/ig-api-upload/v25.0/1", "rupload.facebook.com"),
            ("POST", "/v25.0/1/videos", "graph-video.facebook.com"),
            ("GET", "/v25.0/1/videos", "graph.facebook.com"),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(routed_host("localhost", &method, path), host, "{path}");
            assert_eq!(routed_host("evil.example", &method, path), host, "{path}");
        }
    }

    #[test]
    fn a_single_origin_gets_every_request() {
        let origin = Origin::parse("https://127.0.0.1:8443").unwrap();
        let single = Destinations::new(origin.clone(), []);
        for path in ["/whatsapp_business/attachments/", "/1/videos"] {
            let to = single.route(Some("localhost"), &Method::POST, path);
            assert_eq!(to.origin, origin);
            assert_eq!(single.check_token_family(Some(TokenFamily::Threads), to), Ok(()));
        }
    }

    #[test]
    fn no_token_goes_to_another_family() {
        use crate::types::TokenFamily::{Facebook, Instagram, Threads};
        let all = destinations();
        let is_allowed = |token, host| all.check_token_family(token, all.find(host).unwrap()).is_ok();
        for (token, host) in [
            (Facebook, "lookaside.fbsbx.com"),
            (Facebook, "graph-video.facebook.com"),
            (Instagram, "graph.instagram.com"),
            (Threads, "graph.threads.net"),
        ] {
            assert!(is_allowed(Some(token), host));
        }
        for (token, host) in [
            (Facebook, "graph.instagram.com"),
            (Facebook, "graph.threads.net"),
            (Instagram, "graph.facebook.com"),
            (Instagram, "graph.threads.net"),
            (Threads, "rupload.facebook.com"),
        ] {
            assert!(!is_allowed(Some(token), host), "{token} {host}");
        }
        assert!(is_allowed(None, "graph.facebook.com"));
        assert!(!is_allowed(None, "graph.instagram.com"));
        let all = all.with_token_family(Some(Instagram));
        let is_allowed = |token, host| all.check_token_family(token, all.find(host).unwrap()).is_ok();
        assert!(is_allowed(None, "graph.instagram.com"));
        assert!(!is_allowed(None, "graph.facebook.com"));
        assert!(
            is_allowed(Some(Facebook), "graph.facebook.com"),
            "a prefix is more certain"
        );
    }
}
