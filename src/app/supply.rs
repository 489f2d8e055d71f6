//! From `[token]` to a supply: the places that show tokens, the act that mints them, and who says what one is worth.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{SecretFault, fernet, headers, secret, wording};
use crate::config::{
    App, Command, Config, Database, Renewal, SecretPlace, Store, TokenLife, TokenSource, WebCall,
};
use crate::graph::{Destinations, Family, Origin, Service as Host};
use crate::net::tls::{self, TlsError};
use crate::net::{Caller, Connector, Dial, Http, Tasks};
use crate::renew::{
    AppKey, DebugToken, Exchange, ExecRenewer, Mint, MintSettings, Service, Sibling,
};
use crate::source::decode::Format;
use crate::source::{
    EnvSource, ExecSettings, ExecSource, FileSource, HttpSettings, HttpSource, PostgresError,
    PostgresSettings, PostgresSource, Stored,
};
use crate::token::{Source, Supply};
use crate::types::{Clock, Secret};

/// Why there is no supply.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretFault),
    /// The database cannot be used as it is configured.
    #[error("cannot use token.source.postgres")]
    Postgres(#[from] PostgresError),
    /// There is no app to renew in the name of.
    #[error("token.renew needs app.id and app.secret")]
    NoApp,
    /// There is nobody to ask for a renewal.
    #[error("token.renew needs {0}: add it to upstream.hosts")]
    NoHost(&'static str),
}

/// How calls of our own leave. Neither shares a connection with the app's requests.
#[derive(Debug)]
pub(super) struct Callers {
    /// To Graph: never in the clear.
    pub(super) graph: Caller,
    /// To services of the house, and webhooks.
    pub(super) house: Caller,
}

/// The longest call of Graph: a replica that waits for its turn to mint does not wait much longer.
const GRAPH: Duration = Duration::from_secs(10);
/// The longest call of the house, but where a key says otherwise.
const HOUSE: Duration = Duration::from_secs(5);

impl Callers {
    /// Over the upstream's detours and roots, in HTTP/1.1: a call now and then, each on a connection of its own. `graph` is
    /// the way to Graph if there is another one.
    pub(super) fn new(
        config: &Config,
        graph: Option<Connector>,
        tasks: &Tasks,
    ) -> Result<Self, TlsError> {
        let upstream = &config.upstream;
        let tls = tls::client(upstream.ca_file.as_deref(), Http::One.alpn())?;
        let dial = |plain| Dial {
            connect_to: upstream.connect_to.clone(),
            tls: Arc::clone(&tls),
            timeout: upstream.connect_timeout,
            plain,
        };
        let graph = graph.unwrap_or_else(|| Connector::real(dial(false)));
        Ok(Self {
            graph: Caller::new(graph, GRAPH, tasks),
            house: Caller::new(Connector::real(dial(true)), HOUSE, tasks),
        })
    }
}

/// What a supply is made with.
struct Means<'a> {
    callers: &'a Callers,
    destinations: &'a Destinations,
    key: Option<AppKey>,
    app_secret: Option<Secret>,
    clock: Clock,
}

/// The supply that `[token]` asks for.
pub(super) fn supply(
    config: &Config,
    app_secret: Option<Secret>,
    (callers, destinations): (&Callers, &Destinations),
    clock: Clock,
) -> Result<Supply, SupplyError> {
    let means = Means {
        callers,
        destinations,
        key: app_key(&config.app, app_secret.as_ref()),
        app_secret,
        clock,
    };
    supply_by(&config.token, &means)
}

fn supply_by(life: &TokenLife, means: &Means<'_>) -> Result<Supply, SupplyError> {
    let mut sources = Vec::new();
    for (index, source) in life.sources.iter().enumerate() {
        let source = place(source, &means.callers.house, means.clock)?;
        sources.push(match &life.store {
            Some(store) => Box::new(stored(source, store, index, means.clock)?),
            None => source,
        });
    }
    let supply = Supply::of_all(sources);
    let supply = match &life.renew {
        Some(renewal) => renewed(supply, renewal, means)?,
        None => supply,
    };
    if !life.verify {
        return Ok(supply);
    }
    let inspector = DebugToken::new(
        &means.callers.graph,
        means.destinations.clone(),
        means.key.clone(),
    );
    Ok(supply.inspected_by(inspector.proving(means.app_secret.clone())))
}

/// The app's id and secret, if both are known.
fn app_key(app: &App, secret: Option<&Secret>) -> Option<AppKey> {
    Some(AppKey {
        id: app.id.clone()?,
        secret: secret?.clone(),
    })
}

/// A place of `[token] source`.
pub(super) fn place(
    source: &TokenSource,
    house: &Caller,
    clock: Clock,
) -> Result<Box<dyn Source>, SupplyError> {
    Ok(match source {
        TokenSource::File {
            path,
            format,
            fernet_keys,
        } => Box::new(file(path, format, fernet_keys)?),
        TokenSource::Env { name } => Box::new(EnvSource::new(name.clone())),
        TokenSource::Http { call, every } => {
            let settings = HttpSettings {
                url: call.url.clone(),
                format: call.format.clone(),
                headers: headers(&call.headers)?,
                every: *every,
                timeout: call.timeout,
            };
            Box::new(HttpSource::new(settings, house.clone(), clock))
        }
        TokenSource::Exec { command, every } => {
            let settings = ExecSettings {
                argv: command.argv.clone(),
                format: command.format.clone(),
                timeout: command.timeout,
                every: *every,
                keep_env: command.keep_env.clone(),
            };
            Box::new(ExecSource::new(settings, clock))
        }
        TokenSource::Postgres(row) => Box::new(database(row)?),
    })
}

/// The file of a source.
pub(super) fn file(
    path: &Path,
    format: &Format,
    fernet_keys: &[SecretPlace],
) -> Result<FileSource, SupplyError> {
    let file = FileSource::new(path.to_owned(), format.clone());
    Ok(match fernet(fernet_keys)? {
        Some(fernet) => file.sealed(fernet),
        None => file,
    })
}

fn database(row: &Database) -> Result<PostgresSource, SupplyError> {
    Ok(PostgresSource::new(PostgresSettings {
        url: wording("token.source.postgres", &row.url)?,
        query: row.query.clone(),
        params: row.params.clone(),
        update: row.update.clone(),
        listen: row.listen.clone(),
        every: row.every,
        keys: fernet(&row.fernet_keys)?,
        ca_file: row.ca_file.clone(),
    })?)
}

/// A source whose renewed tokens are kept in the store. What is kept descends from what one source shows, so each source of
/// a list has a file of its own: `token`, `token.2`, …
pub(super) fn stored(
    source: Box<dyn Source>,
    store: &Store,
    index: usize,
    clock: Clock,
) -> Result<Stored, SupplyError> {
    let mut path = store.path.clone().into_os_string();
    if index > 0 {
        path.push(format!(".{}", index + 1));
    }
    let stored = Stored::new(source, path.into(), clock);
    Ok(match fernet(&store.fernet_keys)? {
        Some(fernet) => stored.sealed(fernet),
        None => stored,
    })
}

fn renewed(supply: Supply, renewal: &Renewal, means: &Means<'_>) -> Result<Supply, SupplyError> {
    let graph = || means.callers.graph.clone();
    let clock = means.clock;
    let home = |family| home(means.destinations, family);
    Ok(match renewal {
        Renewal::Exchange { lasting } => {
            let key = means.key.clone().ok_or(SupplyError::NoApp)?;
            let origin = home(Family::Facebook)?;
            supply.renewed_by(Exchange::new(graph(), origin, key, *lasting, clock))
        }
        Renewal::Mint {
            system_user,
            token,
            scopes,
            lasting,
        } => {
            let key = means.key.clone().ok_or(SupplyError::NoApp)?;
            let settings = MintSettings {
                system_user: system_user.clone(),
                token: secret("token.renew.mint.token", token)?,
                scopes: scopes.clone(),
                lasting: *lasting,
            };
            let origin = home(Family::Facebook)?;
            supply.renewed_by(Mint::new(settings, graph(), origin, key, clock))
        }
        Renewal::Instagram => {
            let origin = home(Family::Instagram)?;
            supply.renewed_by(Sibling::instagram(graph(), origin, clock))
        }
        Renewal::Threads => {
            let origin = home(Family::Threads)?;
            supply.renewed_by(Sibling::threads(graph(), origin, clock))
        }
        Renewal::Http(call) => supply.renewed_by(service(call, &means.callers.house, clock)?),
        Renewal::Exec(command) => supply.renewed_by(command_renewer(command, clock)),
    })
}

fn service(call: &WebCall, house: &Caller, clock: Clock) -> Result<Service, SecretFault> {
    Ok(Service::new(
        call.url.clone(),
        call.format.clone(),
        headers(&call.headers)?,
        house.within(call.timeout),
        clock,
    ))
}

fn command_renewer(command: &Command, clock: Clock) -> ExecRenewer {
    ExecRenewer::new(
        command.argv.clone(),
        command.format.clone(),
        command.timeout,
        command.keep_env.clone(),
        clock,
    )
}

/// Where tokens of a family are renewed. A main host of no known name, such as a fake's, is all of them in one.
fn home(destinations: &Destinations, family: Family) -> Result<Origin, SupplyError> {
    let main = destinations.main();
    let own = destinations
        .all()
        .find(|to| to.service == Host::Graph && to.family == Some(family));
    let home = own.or_else(|| main.family.is_none().then_some(main));
    let host = match family {
        Family::Facebook => "graph.facebook.com",
        Family::Instagram => "graph.instagram.com",
        Family::Threads => "graph.threads.net",
    };
    home.map(|home| home.origin.clone())
        .ok_or(SupplyError::NoHost(host))
}
