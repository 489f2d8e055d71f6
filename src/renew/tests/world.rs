//! A fake Graph with its certificate, whoever calls it, and a server that says what it is told.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::graph::{Destinations, Origin};
use crate::net::{Caller, Connector, Dial, Http, Listener, Tasks, tls, wired};
use crate::renew::{AppKey, DebugToken, Exchange, Lasting, Mint, MintSettings, Sibling};
use crate::sim::tls::{Authority, Leaf};
use crate::sim::{Change, Running, Settings, Sim};
use crate::token::{Inspector as _, ObtainError, Outgoing, Renewer, Token};
use crate::types::{Clock, Secret};

pub(super) const APP_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct World {
    pub(super) sim: Sim,
    pub(super) caller: Caller,
    pub(super) clock: Clock,
    _running: Running,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(|_settings| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let clock = Clock::system();
        let mut settings = Settings::new(clock);
        change(&mut settings);
        let sim = Sim::new(settings);
        let authority = Authority::new(&clock).unwrap();
        let acceptor = authority.acceptor(&Leaf::graph(&clock), Http::Auto.alpn());
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::tcp(here).await.unwrap();
        let running = sim.start(listener, Some(acceptor.unwrap()));
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(authority.pem().as_bytes()).unwrap();
        let hosts = [
            "graph.facebook.com",
            "graph.instagram.com",
            "graph.threads.net",
        ];
        let to = running.address.to_string();
        let dial = Dial {
            connect_to: hosts.map(|host| (host.to_owned(), to.clone())).into(),
            tls: tls::client(Some(ca.path()), Http::Auto.alpn()).unwrap(),
            timeout: LIMIT,
            plain: false,
        };
        let caller = Caller::new(Connector::real(dial), LIMIT, &Tasks::default());
        Self {
            sim,
            caller,
            clock,
            _running: running,
        }
    }

    /// Makes a token look issued so long ago.
    pub(super) fn age(&self, token: &str, by: Duration) {
        let change = Change {
            issued: Some(self.clock.wall() - by),
            ..Change::default()
        };
        assert!(self.sim.change(token, change));
    }

    pub(super) fn exchange(&self, lasting: Lasting) -> Exchange {
        exchange(&self.caller, lasting)
    }

    pub(super) fn mint(&self, lasting: Lasting) -> Mint {
        mint(&self.caller, lasting)
    }

    pub(super) fn threads(&self) -> Sibling {
        let origin = origin("https://graph.threads.net");
        Sibling::threads(self.caller.clone(), origin, self.clock)
    }

    pub(super) fn instagram(&self) -> Sibling {
        let origin = origin("https://graph.instagram.com");
        Sibling::instagram(self.caller.clone(), origin, self.clock)
    }

    pub(super) fn debug_token(&self, key: Option<AppKey>) -> DebugToken {
        let beside = ["https://graph.instagram.com", "https://graph.threads.net"];
        let main = origin("https://graph.facebook.com");
        let destinations = Destinations::new(main, beside.map(origin));
        DebugToken::new(&self.caller, destinations, key)
    }
}

pub(super) const LIMIT: Duration = Duration::from_secs(10);
pub(super) const ADMIN: &str = "EAAadmin0of0the0house";

/// Whoever answers a call in memory, and how: these bytes once the call is there, then an end or silence.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Ends,
    Waits,
}

/// Calls that all get this answer.
pub(super) fn answering(
    bytes: impl AsRef<[u8]> + Clone + Send + Sync + 'static,
    then: Then,
) -> Caller {
    let tasks = Tasks::default();
    let servers = tasks.clone();
    let connector = Connector::new(move |_uri| {
        let bytes = bytes.clone();
        let (ours, mut theirs) = duplex(1024);
        let server = servers.spawn(async move {
            let mut call = vec![0; 64 * 1024];
            let _length = theirs.read(&mut call).await;
            drop(theirs.write_all(bytes.as_ref()).await);
            match then {
                Then::Ends => drop(theirs),
                Then::Waits => std::future::pending().await,
            }
        });
        drop(server);
        async move { Ok(wired(ours, false)) }
    });
    Caller::new(connector, LIMIT, &tasks)
}

/// An answer of this status, type and body, whole.
pub(super) fn whole(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

pub(super) fn exchange(caller: &Caller, lasting: Lasting) -> Exchange {
    let origin = origin("https://graph.facebook.com");
    Exchange::new(
        caller.clone(),
        origin,
        key(APP_SECRET),
        lasting,
        Clock::system(),
    )
}

pub(super) fn mint(caller: &Caller, lasting: Lasting) -> Mint {
    let settings = MintSettings {
        system_user: "122094563210074285".to_owned(),
        token: secret(ADMIN),
        scopes: ["whatsapp_business_messaging", "business_management"]
            .map(str::to_owned)
            .into(),
        lasting,
    };
    let origin = origin("https://graph.facebook.com");
    Mint::new(
        settings,
        caller.clone(),
        origin,
        key(APP_SECRET),
        Clock::system(),
    )
}

pub(super) fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

pub(super) fn key(app_secret: &str) -> AppKey {
    AppKey {
        id: "1234567890123456".to_owned(),
        secret: secret(app_secret),
    }
}

pub(super) fn token(text: &str) -> Token {
    Token::lasting(secret(text))
}

/// Renews a token that is alive as far as is known.
pub(super) async fn renewed(renewer: &mut dyn Renewer, old: &str) -> Result<Token, ObtainError> {
    let token = token(old);
    let outgoing = Outgoing {
        token: &token,
        dead: false,
    };
    renewer.renew(outgoing).await
}

/// Renews a token that is known to be dead.
pub(super) async fn revived(renewer: &mut dyn Renewer, old: &str) -> Result<Token, ObtainError> {
    let token = token(old);
    let outgoing = Outgoing {
        token: &token,
        dead: true,
    };
    renewer.renew(outgoing).await
}

pub(super) async fn inspected(
    inspector: &mut DebugToken,
    text: &str,
) -> Result<crate::graph::Inspection, ObtainError> {
    inspector.inspect(&token(text)).await
}

/// All that an error can be made to say.
pub(super) fn said(error: &ObtainError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

/// How many seconds from now a token ends.
pub(super) fn left(token: &Token) -> Option<u64> {
    let ends = token.expires_at?;
    let now: SystemTime = Clock::system().wall();
    Some(ends.duration_since(now).unwrap().as_secs())
}
