//! A fake Graph with its certificate, the renewers that call it, and servers that send given bytes.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::graph::{Destinations, Origin};
use crate::net::ca::{CertAuthority, CertSpec};
use crate::net::{Dialer, HttpClient, HttpClientConfig, HttpVersion, Tasks};
use crate::renew::{
    AppCredentials, DebugTokenInspector, ExchangeRenewer, ExchangeSettings, GraphApi, MeRequest, MintRenewer,
    MintSettings, RefreshRenewer, TokenLifetime,
};
use crate::token::{Inspector as _, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::{Clock, Secret};
use fake_graph::{FakeGraph, FakeGraphConfig, RunningServer, TokenChange, TokenType};

pub(super) const APP_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct TestGraph {
    pub(super) sim: FakeGraph,
    pub(super) client: HttpClient,
    pub(super) clock: Clock,
    running: RunningServer,
}

impl TestGraph {
    pub(super) async fn start() -> Self {
        Self::with(|_settings| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut FakeGraphConfig)) -> Self {
        let clock = Clock::system();
        let mut settings = FakeGraphConfig::new(fake_graph::Clock::system());
        change(&mut settings);
        let sim = FakeGraph::new(settings);
        let authority = CertAuthority::new(&clock).unwrap();
        let acceptor = authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Auto.alpn());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(loopback).await.unwrap();
        let running = sim.start(listener, Some(acceptor.unwrap())).unwrap();
        let client = trusting_client(&authority, running.address);
        Self {
            sim,
            client,
            clock,
            running,
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Makes a token look issued so long ago.
    pub(super) fn set_token_age(&self, token: &str, age: Duration) {
        let change = TokenChange {
            issued_at: Some(self.clock.now() - age),
            ..TokenChange::default()
        };
        assert!(self.sim.update_token(token, change));
    }

    pub(super) fn exchange(&self, lifetime: TokenLifetime) -> ExchangeRenewer {
        exchange(&self.client, lifetime)
    }

    pub(super) fn mint(&self, lifetime: TokenLifetime) -> MintRenewer {
        mint(&self.client, lifetime)
    }

    pub(super) fn threads(&self) -> RefreshRenewer {
        RefreshRenewer::threads(api(&self.client, "https://graph.threads.net"))
    }

    pub(super) fn instagram(&self) -> RefreshRenewer {
        RefreshRenewer::instagram(api(&self.client, "https://graph.instagram.com"))
    }

    /// Issues a token of a user, who develops the app, so that the token may inspect itself.
    pub(super) fn issue_for_developer(&self, ttl: Option<Duration>) -> String {
        let token = self.sim.issue(ttl);
        let change = TokenChange {
            kind: Some(TokenType::User),
            ..TokenChange::default()
        };
        assert!(self.sim.update_token(&token, change));
        token
    }

    pub(super) fn debug_token(&self, app: Option<AppCredentials>) -> DebugTokenInspector {
        let secret = app.as_ref().map(|app| app.secret.clone());
        self.debug_token_with_secret(app, secret)
    }

    pub(super) fn debug_token_with_secret(
        &self,
        app: Option<AppCredentials>,
        secret: Option<Secret>,
    ) -> DebugTokenInspector {
        let additional = ["https://graph.instagram.com", "https://graph.threads.net"];
        let main = origin("https://graph.facebook.com");
        let destinations = Destinations::new(main, additional.map(origin));
        DebugTokenInspector::new(MeRequest::new(self.client.clone(), destinations, secret), app)
    }
}

pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const ADMIN_TOKEN: &str = "EAAadmin0of0the0business";

/// A client that trusts this authority and finds all of Graph's hosts at this address.
fn trusting_client(authority: &CertAuthority, graph: SocketAddr) -> HttpClient {
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(authority.pem().as_bytes()).unwrap();
    let hosts = ["graph.facebook.com", "graph.instagram.com", "graph.threads.net"];
    let config = HttpClientConfig {
        dialer: Dialer {
            connect_to: hosts.map(|host| (host.to_owned(), graph.to_string())).into(),
            ..Dialer::default()
        },
        ca_file: Some(ca.path().to_owned()),
        ..HttpClientConfig::default()
    };
    HttpClient::new(config, CALL_TIMEOUT).unwrap()
}

/// What a server does after it has sent its bytes.
#[derive(Clone, Copy)]
pub(super) enum AfterResponse {
    Close,
    Hang,
}

/// A client of a server that sends these bytes over TLS once a request is there.
pub(super) async fn client_of_server(bytes: &'static [u8], after: AfterResponse) -> HttpClient {
    let clock = Clock::system();
    let authority = CertAuthority::new(&clock).unwrap();
    let acceptor = authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Http1.alpn());
    let acceptor: TlsAcceptor = acceptor.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = trusting_client(&authority, listener.local_addr().unwrap());
    drop(Tasks::default().spawn(async move {
        let mut open = Vec::new();
        loop {
            let (tcp, _peer) = listener.accept().await.unwrap();
            let mut io = acceptor.accept(tcp).await.unwrap();
            let _length = io.read(&mut [0; 64 * 1024]).await.unwrap();
            io.write_all(bytes).await.unwrap();
            io.flush().await.unwrap();
            match after {
                AfterResponse::Close => drop(io),
                AfterResponse::Hang => open.push(io),
            }
        }
    }));
    client
}

/// A client whose calls all get this response.
pub(super) fn client_with_response(status: u16, body: &str) -> HttpClient {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let respond = move |_request| {
        let response = http::Response::builder().status(status).body(body.clone());
        std::future::ready(Ok(response.unwrap()))
    };
    HttpClient::from_fn(respond, CALL_TIMEOUT)
}

/// A host of Graph, called by this client.
pub(super) fn api(client: &HttpClient, host: &str) -> GraphApi {
    GraphApi {
        client: client.clone(),
        origin: origin(host),
        clock: Clock::system(),
    }
}

pub(super) fn exchange(client: &HttpClient, lifetime: TokenLifetime) -> ExchangeRenewer {
    let api = api(client, "https://graph.facebook.com");
    let settings = ExchangeSettings {
        lifetime,
        ..ExchangeSettings::default()
    };
    ExchangeRenewer::new(api, test_app(APP_SECRET), settings)
}

pub(super) fn mint(client: &HttpClient, lifetime: TokenLifetime) -> MintRenewer {
    let settings = MintSettings {
        system_user: "122094563210074285".to_owned(),
        scopes: ["whatsapp_business_messaging", "business_management"]
            .map(str::to_owned)
            .into(),
        lifetime,
    };
    let api = api(client, "https://graph.facebook.com");
    MintRenewer::new(settings, secret(ADMIN_TOKEN), api, test_app(APP_SECRET))
}

pub(super) fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

pub(super) fn test_app(app_secret: &str) -> AppCredentials {
    AppCredentials {
        id: "1234567890123456".to_owned(),
        secret: secret(app_secret),
    }
}

pub(super) fn token(text: &str) -> Token {
    Token::without_expiry(secret(text))
}

/// Renews a token that is believed to be alive.
pub(super) async fn renew_live(renewer: &mut dyn Renewer, token_text: &str) -> Result<Token, ObtainError> {
    let token = token(token_text);
    let request = RenewalRequest {
        token: &token,
        is_dead: false,
    };
    renewer.renew(request).await
}

/// Renews a token that is known to be dead.
pub(super) async fn renew_dead(renewer: &mut dyn Renewer, token_text: &str) -> Result<Token, ObtainError> {
    let token = token(token_text);
    let request = RenewalRequest {
        token: &token,
        is_dead: true,
    };
    renewer.renew(request).await
}

pub(super) async fn inspect(
    inspector: &mut DebugTokenInspector,
    text: &str,
) -> Result<crate::graph::Inspection, ObtainError> {
    inspector.inspect(&token(text)).await
}

/// Everything that an error can show.
pub(super) fn error_chain(error: &ObtainError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

/// The seconds until a token expires.
pub(super) fn seconds_left(token: &Token) -> Option<u64> {
    let expires_at = token.expires_at?;
    let now: SystemTime = Clock::system().now();
    Some(expires_at.duration_since(now).unwrap().as_secs())
}
