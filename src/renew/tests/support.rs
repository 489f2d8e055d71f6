//! A fake Graph with its certificate, whoever calls it, and a server that says what it is told.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::graph::{Destinations, Origin};
use crate::net::ca::{CertAuthority, CertSpec};
use crate::net::{Connector, ConnectorConfig, HttpClient, HttpVersion, Tasks, boxed_io, tls};
use crate::renew::{
    ClientCredentials, DebugTokenInspector, ExchangeRenewer, MintRenewer, MintSettings, RefreshRenewer, TokenLifetime,
};
use crate::token::{Inspector as _, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::{Clock, Secret};
use fake_graph::{FakeGraph, FakeGraphConfig, RunningServer, TokenChange};

pub(super) const APP_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct TestGraph {
    pub(super) sim: FakeGraph,
    pub(super) caller: HttpClient,
    pub(super) clock: Clock,
    _running: RunningServer,
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
        let listener = tokio::net::TcpListener::bind(loopback).await.unwrap();
        let running = sim.start(listener, Some(acceptor.unwrap())).unwrap();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(authority.pem().as_bytes()).unwrap();
        let hosts = ["graph.facebook.com", "graph.instagram.com", "graph.threads.net"];
        let graph_address = running.address.to_string();
        let connector_config = ConnectorConfig {
            connect_to: hosts.map(|host| (host.to_owned(), graph_address.clone())).into(),
            tls: tls::client(Some(ca.path()), HttpVersion::Auto.alpn()).unwrap(),
            timeout: CALL_TIMEOUT,
            allow_http: false,
        };
        let caller = HttpClient::new(
            Connector::from_config(connector_config),
            CALL_TIMEOUT,
            &Tasks::default(),
        );
        Self {
            sim,
            caller,
            clock,
            _running: running,
        }
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
        exchange(&self.caller, lifetime)
    }

    pub(super) fn mint(&self, lifetime: TokenLifetime) -> MintRenewer {
        mint(&self.caller, lifetime)
    }

    pub(super) fn threads(&self) -> RefreshRenewer {
        let origin = origin("https://graph.threads.net");
        RefreshRenewer::threads(self.caller.clone(), origin, self.clock)
    }

    pub(super) fn instagram(&self) -> RefreshRenewer {
        let origin = origin("https://graph.instagram.com");
        RefreshRenewer::instagram(self.caller.clone(), origin, self.clock)
    }

    pub(super) fn debug_token(&self, app: Option<ClientCredentials>) -> DebugTokenInspector {
        let additional = ["https://graph.instagram.com", "https://graph.threads.net"];
        let main = origin("https://graph.facebook.com");
        let destinations = Destinations::new(main, additional.map(origin));
        DebugTokenInspector::new(&self.caller, destinations, app)
    }
}

pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const ADMIN_TOKEN: &str = "EAAadmin0of0the0house";

/// Whoever answers a call in memory, and how: these bytes once the call is there, then an end or silence.
#[derive(Clone, Copy)]
pub(super) enum AfterResponse {
    Close,
    Hang,
}

/// Calls that all get this answer.
pub(super) fn caller_with_response(
    bytes: impl AsRef<[u8]> + Clone + Send + Sync + 'static,
    after: AfterResponse,
) -> HttpClient {
    let tasks = Tasks::default();
    let servers = tasks.clone();
    let connector = Connector::new(move |_uri| {
        let bytes = bytes.clone();
        let (ours, mut theirs) = duplex(1024);
        let server = servers.spawn(async move {
            let mut call = vec![0; 64 * 1024];
            let _length = theirs.read(&mut call).await;
            drop(theirs.write_all(bytes.as_ref()).await);
            match after {
                AfterResponse::Close => drop(theirs),
                AfterResponse::Hang => std::future::pending().await,
            }
        });
        drop(server);
        async move { Ok(boxed_io(ours, false)) }
    });
    HttpClient::new(connector, CALL_TIMEOUT, &tasks)
}

/// An answer of this status, type and body, whole.
pub(super) fn http_response(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

pub(super) fn exchange(caller: &HttpClient, lifetime: TokenLifetime) -> ExchangeRenewer {
    let origin = origin("https://graph.facebook.com");
    ExchangeRenewer::new(caller.clone(), origin, test_app(APP_SECRET), lifetime, Clock::system())
}

pub(super) fn mint(caller: &HttpClient, lifetime: TokenLifetime) -> MintRenewer {
    let settings = MintSettings {
        system_user: "122094563210074285".to_owned(),
        token: secret(ADMIN_TOKEN),
        scopes: ["whatsapp_business_messaging", "business_management"]
            .map(str::to_owned)
            .into(),
        lifetime,
    };
    let origin = origin("https://graph.facebook.com");
    MintRenewer::new(settings, caller.clone(), origin, test_app(APP_SECRET), Clock::system())
}

pub(super) fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

pub(super) fn test_app(app_secret: &str) -> ClientCredentials {
    ClientCredentials {
        id: "1234567890123456".to_owned(),
        secret: secret(app_secret),
    }
}

pub(super) fn token(text: &str) -> Token {
    Token::without_expiry(secret(text))
}

/// Renews a token that is alive as far as is known.
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

/// All that an error can be made to say.
pub(super) fn error_chain(error: &ObtainError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

/// How many seconds from now a token ends.
pub(super) fn seconds_left(token: &Token) -> Option<u64> {
    let expires_at = token.expires_at?;
    let now: SystemTime = Clock::system().now();
    Some(expires_at.duration_since(now).unwrap().as_secs())
}
