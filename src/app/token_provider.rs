//! From `[token]` to a supply: the places that show tokens, the act that mints them, and who says what one is worth.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{SecretLoadError, load_fernet, load_headers, load_secret, resolve_secret};
use crate::config::{
    AppConfig, Config, ExecCommand, HttpCall, PostgresSourceConfig, RenewerConfig, SecretRef, StoreConfig, TokenConfig,
    TokenSource,
};
use crate::graph::{Destinations, GraphService as Host, Origin, TokenFamily};
use crate::net::tls::{self, TlsError};
use crate::net::{Connector, ConnectorConfig, HttpClient, HttpVersion, Tasks};
use crate::renew::{
    ClientCredentials, DebugTokenInspector, ExchangeRenewer, ExecRenewer, HttpRenewer, MintRenewer, MintSettings,
    RefreshRenewer,
};
use crate::source::decode::Format;
use crate::source::{
    EnvSource, ExecSettings, ExecSource, FileSource, HttpSettings, HttpSource, PostgresError, PostgresSettings,
    PostgresSource, RenewedTokenStore,
};
use crate::token::{Source, TokenProvider};
use crate::types::{Clock, Secret};

/// Why there is no supply.
#[derive(Debug, thiserror::Error)]
pub enum TokenProviderError {
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretLoadError),
    /// The database cannot be used as it is configured.
    #[error("cannot use token.source.postgres")]
    Postgres(#[from] PostgresError),
    /// There is no app to renew in the name of.
    #[error("token.renew needs app.id and app.secret")]
    NoAppCredentials,
    /// There is nobody to ask for a renewal.
    #[error("token.renew needs {0}: add it to upstream.hosts")]
    NoHost(&'static str),
}

/// How calls of our own leave. Neither shares a connection with the app's requests.
#[derive(Debug)]
pub(super) struct HttpClients {
    /// To Graph: never in the clear.
    pub(super) graph: HttpClient,
    /// To services of the house, and webhooks.
    pub(super) internal: HttpClient,
}

/// The longest call of Graph: a replica that waits for its turn to mint does not wait much longer.
const GRAPH_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest call of the house, but where a key says otherwise.
const INTERNAL_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpClients {
    /// Over the upstream's detours and roots, in HTTP/1.1: a call now and then, each on a connection of its own. `graph` is
    /// the way to Graph if there is another one.
    pub(super) fn new(config: &Config, graph: Option<Connector>, tasks: &Tasks) -> Result<Self, TlsError> {
        let upstream = &config.upstream;
        let tls = tls::client(upstream.ca_file.as_deref(), HttpVersion::Http1.alpn())?;
        let connector_config = |allow_http| ConnectorConfig {
            connect_to: upstream.connect_to.clone(),
            tls: Arc::clone(&tls),
            timeout: upstream.connect_timeout,
            allow_http,
        };
        let graph = graph.unwrap_or_else(|| Connector::from_config(connector_config(false)));
        Ok(Self {
            graph: HttpClient::new(graph, GRAPH_CALL_TIMEOUT, tasks),
            internal: HttpClient::new(
                Connector::from_config(connector_config(true)),
                INTERNAL_CALL_TIMEOUT,
                tasks,
            ),
        })
    }
}

/// What a supply is made with.
struct ProviderDeps<'a> {
    clients: &'a HttpClients,
    destinations: &'a Destinations,
    app: Option<ClientCredentials>,
    app_secret: Option<Secret>,
    clock: Clock,
}

/// The supply that `[token]` asks for.
pub(super) fn token_provider(
    config: &Config,
    app_secret: Option<Secret>,
    (clients, destinations): (&HttpClients, &Destinations),
    clock: Clock,
) -> Result<TokenProvider, TokenProviderError> {
    let deps = ProviderDeps {
        clients,
        destinations,
        app: client_credentials(&config.app, app_secret.as_ref()),
        app_secret,
        clock,
    };
    build_token_provider(&config.token, &deps)
}

fn build_token_provider(
    token_config: &TokenConfig,
    deps: &ProviderDeps<'_>,
) -> Result<TokenProvider, TokenProviderError> {
    let mut sources = Vec::new();
    for (index, source) in token_config.sources.iter().enumerate() {
        let source = build_source(source, &deps.clients.internal, deps.clock)?;
        sources.push(match &token_config.store {
            Some(store) => Box::new(with_store(source, store, index, deps.clock)?),
            None => source,
        });
    }
    let provider = TokenProvider::from_sources(sources);
    let provider = match &token_config.renew {
        Some(renewal) => with_renewer(provider, renewal, deps)?,
        None => provider,
    };
    if !token_config.verify {
        return Ok(provider);
    }
    let inspector = DebugTokenInspector::new(&deps.clients.graph, deps.destinations.clone(), deps.app.clone());
    Ok(provider.with_inspector(inspector.with_app_secret(deps.app_secret.clone())))
}

/// The app's id and secret, if both are known.
fn client_credentials(app: &AppConfig, secret: Option<&Secret>) -> Option<ClientCredentials> {
    Some(ClientCredentials {
        id: app.id.clone()?,
        secret: secret?.clone(),
    })
}

/// A place of `[token] source`.
pub(super) fn build_source(
    source: &TokenSource,
    internal: &HttpClient,
    clock: Clock,
) -> Result<Box<dyn Source>, TokenProviderError> {
    Ok(match source {
        TokenSource::File {
            path,
            format,
            fernet_keys,
        } => Box::new(file_source(path, format, fernet_keys)?),
        TokenSource::Env { name } => Box::new(EnvSource::new(name.clone())),
        TokenSource::Http {
            call,
            poll_interval: every,
        } => {
            let settings = HttpSettings {
                url: call.url.clone(),
                format: call.format.clone(),
                headers: load_headers(&call.headers)?,
                poll_interval: *every,
                timeout: call.timeout,
            };
            Box::new(HttpSource::new(settings, internal.clone(), clock))
        }
        TokenSource::Exec {
            command,
            poll_interval: every,
        } => {
            let settings = ExecSettings {
                argv: command.argv.clone(),
                format: command.format.clone(),
                timeout: command.timeout,
                poll_interval: *every,
                keep_env: command.keep_env.clone(),
            };
            Box::new(ExecSource::new(settings, clock))
        }
        TokenSource::Postgres(row) => Box::new(postgres_source(row)?),
    })
}

/// The file of a source.
pub(super) fn file_source(
    path: &Path,
    format: &Format,
    fernet_keys: &[SecretRef],
) -> Result<FileSource, TokenProviderError> {
    let file = FileSource::new(path.to_owned(), format.clone());
    Ok(match load_fernet(fernet_keys)? {
        Some(fernet) => file.encrypted_with(fernet),
        None => file,
    })
}

fn postgres_source(row: &PostgresSourceConfig) -> Result<PostgresSource, TokenProviderError> {
    Ok(PostgresSource::new(PostgresSettings {
        url: resolve_secret("token.source.postgres", &row.url)?,
        query: row.query.clone(),
        params: row.params.clone(),
        update: row.update.clone(),
        listen: row.listen.clone(),
        poll_interval: row.poll_interval,
        fernet: load_fernet(&row.fernet_keys)?,
        ca_file: row.ca_file.clone(),
    })?)
}

/// A source whose renewed tokens are kept in the store. What is kept descends from what one source shows, so each source of
/// a list has a file of its own: `token`, `token.2`, …
pub(super) fn with_store(
    source: Box<dyn Source>,
    store: &StoreConfig,
    index: usize,
    clock: Clock,
) -> Result<RenewedTokenStore, TokenProviderError> {
    let mut path = store.path.clone().into_os_string();
    if index > 0 {
        path.push(format!(".{}", index + 1));
    }
    let stored = RenewedTokenStore::new(source, path.into(), clock);
    Ok(match load_fernet(&store.fernet_keys)? {
        Some(fernet) => stored.encrypted_with(fernet),
        None => stored,
    })
}

fn with_renewer(
    provider: TokenProvider,
    renewal: &RenewerConfig,
    deps: &ProviderDeps<'_>,
) -> Result<TokenProvider, TokenProviderError> {
    let graph = || deps.clients.graph.clone();
    let clock = deps.clock;
    let home_origin = |family| origin_for(deps.destinations, family);
    Ok(match renewal {
        RenewerConfig::Exchange { lifetime: lasting } => {
            let app = deps.app.clone().ok_or(TokenProviderError::NoAppCredentials)?;
            let origin = home_origin(TokenFamily::Facebook)?;
            provider.with_renewer(ExchangeRenewer::new(graph(), origin, app, *lasting, clock))
        }
        RenewerConfig::Mint {
            system_user,
            token,
            scopes,
            lifetime: lasting,
        } => {
            let app = deps.app.clone().ok_or(TokenProviderError::NoAppCredentials)?;
            let settings = MintSettings {
                system_user: system_user.clone(),
                token: load_secret("token.renew.mint.token", token)?,
                scopes: scopes.clone(),
                lifetime: *lasting,
            };
            let origin = home_origin(TokenFamily::Facebook)?;
            provider.with_renewer(MintRenewer::new(settings, graph(), origin, app, clock))
        }
        RenewerConfig::Instagram => {
            let origin = home_origin(TokenFamily::Instagram)?;
            provider.with_renewer(RefreshRenewer::instagram(graph(), origin, clock))
        }
        RenewerConfig::Threads => {
            let origin = home_origin(TokenFamily::Threads)?;
            provider.with_renewer(RefreshRenewer::threads(graph(), origin, clock))
        }
        RenewerConfig::Http(call) => provider.with_renewer(http_renewer(call, &deps.clients.internal, clock)?),
        RenewerConfig::Exec(command) => provider.with_renewer(exec_renewer(command, clock)),
    })
}

fn http_renewer(call: &HttpCall, internal: &HttpClient, clock: Clock) -> Result<HttpRenewer, SecretLoadError> {
    Ok(HttpRenewer::new(
        call.url.clone(),
        call.format.clone(),
        load_headers(&call.headers)?,
        internal.with_timeout(call.timeout),
        clock,
    ))
}

fn exec_renewer(command: &ExecCommand, clock: Clock) -> ExecRenewer {
    ExecRenewer::new(
        command.argv.clone(),
        command.format.clone(),
        command.timeout,
        command.keep_env.clone(),
        clock,
    )
}

/// Where tokens of a family are renewed. A main host of no known name, such as a fake's, is all of them in one.
fn origin_for(destinations: &Destinations, family: TokenFamily) -> Result<Origin, TokenProviderError> {
    let main = destinations.main();
    let matching = destinations
        .all()
        .find(|to| to.service == Host::Graph && to.family == Some(family));
    let destination = matching.or_else(|| main.family.is_none().then_some(main));
    let host = match family {
        TokenFamily::Facebook => "graph.facebook.com",
        TokenFamily::Instagram => "graph.instagram.com",
        TokenFamily::Threads => "graph.threads.net",
    };
    destination
        .map(|home| home.origin.clone())
        .ok_or(TokenProviderError::NoHost(host))
}
