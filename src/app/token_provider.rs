//! Builds the token provider of `[token]`: its sources, its store, its renewer and its inspector.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::context::BuildContext;
use super::secrets::{SecretLoadError, load_fernet, load_headers, load_meta_secret, resolve_text};
use super::state::state_dir;
use crate::config::{Config, TokenConfig};
use crate::graph::Destinations;
use crate::net::tls::TlsError;
use crate::net::{HttpEndpoint, Tasks};
use crate::renew::{
    AppCredentials, CodeExchange, DebugTokenInspector, ExchangeRenewer, GraphApi, GraphLivenessCheck, MeRequest,
    MintRenewer, RefreshRenewer, RenewerConfig,
};
use crate::source::decode::Format;
use crate::source::{
    FileSource, FileSourceConfig, FileTokenCache, HttpCallConfig, PolledSource, PostgresConfig, PostgresDeliveries,
    PostgresError, PostgresSettings, PostgresSource, RenewedTokenStore, StoreConfig, TenantTemplateError, TokenCommand,
    TokenService, TokenSource,
};
use crate::tenants::RowSource;
use crate::token::{InspectionScope, Source, TokenProvider};
use crate::types::{Clock, Secret, TokenFamily};

/// The reason why the token provider cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TokenProviderError {
    /// A secret cannot be loaded.
    #[error(transparent)]
    Secret(#[from] SecretLoadError),
    /// The database source cannot be used as configured.
    #[error("cannot use token.source.postgres")]
    Postgres(#[from] PostgresError),
    /// The table of the tenants cannot be used as configured.
    #[error("cannot use tenants_from.postgres")]
    Table(#[source] PostgresError),
    /// The template of `[tenants_from]` is not one.
    #[error("cannot use tenants_from")]
    Template(#[from] TenantTemplateError),
    /// The client of the tenants' service cannot be set up.
    #[error("cannot use tenants_from.http")]
    Client(#[source] TlsError),
    /// This needs the app's credentials.
    #[error("{0} needs app.id and app.secret")]
    NoAppCredentials(&'static str),
    /// The app could be locked out of its own file by a renewal.
    #[error("{0}")]
    FileAccess(String),
    /// The renewer's host is not configured.
    #[error("token.renew needs {0}: add it to upstream.hosts")]
    NoHost(&'static str),
}

/// The longest call of Graph for an answer that something waits for.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);

impl BuildContext {
    /// Builds the token provider of `[token]`.
    pub(super) fn token_provider(
        &self,
        config: &Config,
        app_secret: Option<Secret>,
    ) -> Result<TokenProvider, TokenProviderError> {
        let token_config = &config.token;
        let sources = self.sources(config)?;
        let mut provider = TokenProvider::from_sources(sources);
        if let Some(cache) = build_cache(token_config, &provider.describe_sources(), self.clock)? {
            provider = provider.with_cache(cache);
        }
        self.complete_provider(provider, config, app_secret)
    }

    /// Builds the sources of `[token]`, each with its store.
    pub(super) fn sources(&self, config: &Config) -> Result<Vec<Box<dyn Source>>, TokenProviderError> {
        let token_config = &config.token;
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        for (index, source) in token_config.sources.iter().enumerate() {
            let built = self.source(config, source)?;
            sources.push(match &token_config.store {
                Some(store) => Box::new(with_store(built, store, index, self.clock)?),
                None => built,
            });
            if let (TokenSource::File(file), None, Some(_)) = (source, &token_config.store, &token_config.renew) {
                let keeps_access = FileSource::new(file.path.clone(), file.format.clone()).check_keeps_access();
                keeps_access.map_err(TokenProviderError::FileAccess)?;
            }
        }
        Ok(sources)
    }

    /// Builds the token provider of a tenant whose token is in a row of a table. With `verify`, its token is used before Graph
    /// has been asked about it. Tenants share a limit of `inspections`.
    pub(super) fn row_provider(
        &self,
        config: &Config,
        source: RowSource,
        app_secret: Option<Secret>,
        inspections: &Arc<Semaphore>,
    ) -> Result<TokenProvider, TokenProviderError> {
        let provider = self.complete_provider(TokenProvider::from_source(source), config, app_secret)?;
        Ok(if config.token.verify {
            provider.with_background_inspections(Arc::clone(inspections))
        } else {
            provider
        })
    }

    /// Adds the renewer, the inspector and the question whether Graph accepts a token.
    pub(super) fn complete_provider(
        &self,
        mut provider: TokenProvider,
        config: &Config,
        app_secret: Option<Secret>,
    ) -> Result<TokenProvider, TokenProviderError> {
        let token_config = &config.token;
        let destinations = self.destinations.clone().with_token_family(token_config.family);
        let app = config.app.id.clone().zip(app_secret.clone());
        let app = app.map(|(id, secret)| AppCredentials { id, secret });
        if let Some(renewal) = &token_config.renew {
            provider = self.with_renewer(provider, renewal, &destinations, app.clone())?;
        }
        let client = self.graph_client.with_timeout(QUESTION_TIMEOUT);
        let me = MeRequest::new(client, destinations, app_secret);
        if !token_config.verify {
            // A date in the past is a hint all the same.
            let provider = provider.with_inspector(Arc::clone(&me));
            let provider = provider.with_inspection_scope(InspectionScope::ExpiredTokens);
            return Ok(provider.with_liveness_check(GraphLivenessCheck::new(None, me)));
        }
        let inspector = || {
            let inspector = DebugTokenInspector::new(Arc::clone(&me), app.clone());
            inspector.with_rejected_apps(self.rejected_apps.clone())
        };
        let provider = provider.with_inspector(inspector());
        Ok(provider.with_liveness_check(GraphLivenessCheck::new(Some(inspector()), me)))
    }

    /// Builds what exchanges OAuth codes for tokens of an app.
    pub(super) fn code_exchange(
        &self,
        config: &Config,
        app_secret: Option<Secret>,
    ) -> Result<CodeExchange, TokenProviderError> {
        let app = config.app.id.clone().zip(app_secret);
        let (id, secret) = app.ok_or(TokenProviderError::NoAppCredentials("the exchange of a code"))?;
        let api = self.graph_api(&self.destinations, TokenFamily::Facebook)?;
        let me = MeRequest::new(api.client.clone(), self.destinations.clone(), Some(secret.clone()));
        Ok(CodeExchange::new(api, AppCredentials { id, secret }, me))
    }

    /// Returns the API of the host that renews tokens of a family.
    fn graph_api(&self, destinations: &Destinations, family: TokenFamily) -> Result<GraphApi, TokenProviderError> {
        let host = match family {
            TokenFamily::Facebook => "graph.facebook.com",
            TokenFamily::Instagram => "graph.instagram.com",
            TokenFamily::Threads => "graph.threads.net",
        };
        let origin = destinations.graph_origin(family);
        Ok(GraphApi {
            client: self.graph_client.clone(),
            origin: origin.cloned().ok_or(TokenProviderError::NoHost(host))?,
            clock: self.clock,
        })
    }

    /// Builds one source of `[token] source`.
    pub(super) fn source(&self, config: &Config, source: &TokenSource) -> Result<Box<dyn Source>, TokenProviderError> {
        let absent = config.token.absent;
        Ok(match source {
            TokenSource::File(file) => Box::new(file_source(config, file)?),
            TokenSource::Env(variable) => Box::new(variable.clone()),
            TokenSource::Http(service) => {
                let call = self.token_service("token.source", &service.call)?;
                Box::new(PolledSource::new(call.with_absent(absent), Some(service.poll_interval)))
            }
            TokenSource::Exec(config) => {
                let command = TokenCommand::new(config.command.clone(), self.clock).with_absent(absent);
                Box::new(PolledSource::new(command, config.poll_interval))
            }
            TokenSource::Postgres(row) => Box::new(postgres_source(row, &self.tasks)?.with_absent(absent)),
        })
    }

    fn with_renewer(
        &self,
        provider: TokenProvider,
        renewal: &RenewerConfig,
        destinations: &Destinations,
        app: Option<AppCredentials>,
    ) -> Result<TokenProvider, TokenProviderError> {
        let api = |family| self.graph_api(destinations, family);
        let app = app.ok_or(TokenProviderError::NoAppCredentials("token.renew"));
        Ok(match renewal {
            RenewerConfig::Exchange(settings) => {
                provider.with_renewer(ExchangeRenewer::new(api(TokenFamily::Facebook)?, app?, *settings))
            }
            RenewerConfig::Mint { token, settings } => {
                let app = app?;
                let token = load_meta_secret("token.renew.mint.token", token)?;
                let api = api(TokenFamily::Facebook)?;
                provider.with_renewer(MintRenewer::new(settings.clone(), token, api, app))
            }
            RenewerConfig::Instagram {} => {
                provider.with_renewer(RefreshRenewer::instagram(api(TokenFamily::Instagram)?))
            }
            RenewerConfig::Threads {} => provider.with_renewer(RefreshRenewer::threads(api(TokenFamily::Threads)?)),
            RenewerConfig::Http(call) => provider.with_renewer(self.token_service("token.renew", call)?),
            RenewerConfig::Exec(command) => provider.with_renewer(TokenCommand::new(command.clone(), self.clock)),
        })
    }

    fn token_service(&self, section: &str, call: &HttpCallConfig) -> Result<TokenService, SecretLoadError> {
        let client = self.internal_client.with_timeout(call.timeout);
        let endpoint = HttpEndpoint::new(call.url.uri().clone(), load_headers(section, &call.headers)?, client);
        let format = call.pointer.clone().map_or(Format::Raw, Format::Pointer);
        Ok(TokenService::new(endpoint, format, self.clock))
    }
}

/// Builds a file source.
fn file_source(config: &Config, file: &FileSourceConfig) -> Result<FileSource, TokenProviderError> {
    let mut source = FileSource::new(file.path.clone(), file.format.clone()).with_absent(config.token.absent);
    if let Some(state_dir) = state_dir(&config.state) {
        source = source.with_state_dir(state_dir);
    }
    Ok(source.encrypted_with(
        load_fernet("token.source", &file.encryption.fernet_keys)?,
        file.encryption.plain,
    ))
}

/// Builds the cache for the last token that Graph accepted, if one is configured.
fn build_cache(config: &TokenConfig, sources: &str, clock: Clock) -> Result<Option<FileTokenCache>, SecretLoadError> {
    let Some(cache) = &config.cache else {
        return Ok(None);
    };
    let keys = load_fernet("token.cache", &cache.fernet_keys)?;
    Ok(keys.map(|keys| FileTokenCache::new(cache.path.clone(), keys, source_identity(config, sources), clock)))
}

/// Returns a hash of what the tokens of these sources are for: another tenant's row, URL or command has another one. It is the
/// same for two processes that read and store the token in the same places. `sources` describes the sources.
pub(super) fn source_identity(config: &TokenConfig, sources: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?} {sources}", config.sources));
    for source in &config.sources {
        // Its `Debug` leaves the arguments out.
        if let TokenSource::Exec(exec) = source {
            hash.update(exec.command.argv.join("\0"));
        }
    }
    let digits = hash.finalize().into_iter().take(8).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn postgres_source(
    row: &PostgresConfig<PostgresSettings>,
    tasks: &Tasks,
) -> Result<PostgresSource, TokenProviderError> {
    let url = resolve_text("token.source.postgres", &row.url)?;
    let source = PostgresSource::new(&url, row.settings.clone(), tasks.clone())?;
    Ok(source.encrypted_with(
        load_fernet("token.source", &row.encryption.fernet_keys)?,
        row.encryption.plain,
    ))
}

/// Returns what replicas know about each other's alerts, if they share a database.
pub(super) fn shared_deliveries(
    config: &TokenConfig,
    tasks: &Tasks,
) -> Result<Option<PostgresDeliveries>, TokenProviderError> {
    let row = config.sources.iter().find_map(|source| match source {
        TokenSource::Postgres(row) => Some(row),
        TokenSource::File(_) | TokenSource::Env(_) | TokenSource::Http(_) | TokenSource::Exec(_) => None,
    });
    row.map(|row| Ok(postgres_source(row, tasks)?.deliveries())).transpose()
}

/// Wraps a source whose renewed tokens are kept in the store. A stored token descends from the token of one source, so each
/// source of a list has a file of its own: `token`, `token.2`, …
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
    Ok(stored.encrypted_with(load_fernet("token.store", &store.fernet_keys)?))
}
