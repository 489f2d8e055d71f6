//! The tenants of a configuration, for commands: read, checked and changed where they are, without a process that serves them.
//!
//! # Why
//!
//! A command needs no renewer, and none of its secrets. What cannot be built for one tenant is that tenant's error: a check
//! reports it beside what it finds out about the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::context::{BuildContext, UpstreamError};
use super::error::StartError;
use super::secrets::{self, SecretLoadError};
use super::token_provider::source_identity;
use crate::config::{AppConfig, Config};
use crate::net::{ProbedAddress, Tasks, tls};
use crate::renew::{AccountReader, AppCredentials, DebugTokenInspector, MeRequest};
use crate::source::{TenantRow, TenantTable};
use crate::telemetry::metrics::Metrics;
use crate::tenants::{RowCell, RowSource};
use crate::token::{ObtainError, OperatorCommand, Source, TokenChange};
use crate::types::{Clock, TenantId};

/// The tenants of a configuration, and what reaches their tokens and Graph.
#[derive(Debug)]
pub struct ConfiguredTenants {
    context: BuildContext,
    tls: Arc<ClientConfig>,
    config: Config,
    table: Option<Box<dyn TenantTable>>,
}

/// A tenant of a configuration.
#[derive(Clone, Debug)]
pub struct ConfiguredTenant {
    /// Its name.
    pub id: TenantId,
    /// The configuration as it is for this tenant. Tenants of a table whose tokens are of the same app share it.
    pub config: Arc<Config>,
    /// The ids of the objects that belong to it, if the configuration says so.
    pub object_ids: Vec<String>,
    /// Its row, if it is one of `[tenants_from]`.
    row: Option<TenantRow>,
}

/// The tenants of `[tenants_from]`.
#[derive(Debug)]
pub struct ListedTenants {
    /// The tenants.
    pub tenants: Vec<ConfiguredTenant>,
    /// What is wrong with rows that are no tenants.
    pub faults: Vec<String>,
}

/// What asks Graph about a tenant.
#[derive(Debug)]
pub struct GraphQuestions {
    /// Asks about tokens.
    pub inspector: DebugTokenInspector,
    /// Asks about the app and its phone numbers.
    pub accounts: AccountReader,
    /// The app, if its id and its secret are configured; or the reason why its secret cannot be read.
    pub app: Result<Option<AppCredentials>, SecretLoadError>,
}

/// The reason why a tenant cannot be checked or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredTenantError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Build(#[from] StartError),
    /// No tenant has this name, which is not shown: it may be a token in the wrong place.
    #[error("no tenant has this name; the tenants are: {0}")]
    Unknown(String),
    /// No name was given, and there are several tenants.
    #[error("there are several tenants; name one with --tenant: {0}")]
    Ambiguous(String),
    /// Its row cannot be read.
    #[error(transparent)]
    Read(#[from] ObtainError),
    /// The token was not changed.
    #[error("the token was not changed")]
    Change(#[source] ObtainError),
}

/// The longest call of Graph: a person waits for it, and no request does.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

// === impl ConfiguredTenants ===

impl ConfiguredTenants {
    /// Builds the clients and the table of a configuration.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration cannot be used.
    pub fn new(config: Config, clock: Clock) -> Result<Self, StartError> {
        let context = BuildContext::new(&config, Tasks::default(), clock, Metrics::new())?;
        let upstream = &config.upstream;
        let tls = tls::client(upstream.ca_file.as_deref(), upstream.settings.http.alpn());
        let table = config.tenants_from.as_ref().map(|from| context.tenant_table(from));
        Ok(Self {
            tls: tls.map_err(UpstreamError::from)?,
            table: table.transpose()?,
            context,
            config,
        })
    }

    /// The configuration of all tenants.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The tenants that the configuration itself names.
    #[must_use]
    pub fn named(&self) -> Vec<ConfiguredTenant> {
        let tenants = self.config.of_tenants().into_iter();
        let tenants = tenants.map(|(id, config)| ConfiguredTenant {
            object_ids: self.config.ids_of(&id).to_vec(),
            id,
            config: Arc::new(config),
            row: None,
        });
        tenants.collect()
    }

    /// Reads the tenants of `[tenants_from]`; `None` if it cannot list them, or there is no such section.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if they cannot be read.
    pub async fn listed(&mut self) -> Result<Option<ListedTenants>, ObtainError> {
        let Some(table) = &mut self.table else {
            return Ok(None);
        };
        let Some(contents) = table.read().await? else {
            return Ok(None);
        };
        let mut configs = HashMap::new();
        let tenants = contents.rows.into_iter().map(|row| {
            let config = configs.entry(row.app.clone());
            let config = config.or_insert_with(|| self.config_of_app(row.app.as_deref()));
            ConfiguredTenant::of_row(row, Arc::clone(config))
        });
        Ok(Some(ListedTenants {
            tenants: tenants.collect(),
            faults: contents.faults,
        }))
    }

    /// Finds a tenant by its name, or the only one.
    ///
    /// # Errors
    ///
    /// [`ConfiguredTenantError`] if there is no such tenant, or more than one.
    pub async fn find(&self, id: Option<&TenantId>) -> Result<ConfiguredTenant, ConfiguredTenantError> {
        let mut named = self.named();
        let Some(id) = id else {
            let is_only = named.len() == 1;
            let only = named.pop().filter(|_| is_only);
            return only.ok_or_else(|| ConfiguredTenantError::Ambiguous(self.config.tenant_names()));
        };
        if let Some(tenant) = named.into_iter().find(|tenant| tenant.id == *id) {
            return Ok(tenant);
        }
        let row = match &self.table {
            Some(table) => table.rows().read_row(id).await?,
            None => None,
        };
        let row = row.ok_or_else(|| ConfiguredTenantError::Unknown(self.config.tenant_names()))?;
        let config = self.config_of_app(row.app.as_deref());
        Ok(ConfiguredTenant::of_row(row, config))
    }

    /// The configuration as it is for a tenant of the table whose row names this app. The secret of an app that is not configured
    /// is unknown.
    fn config_of_app(&self, id: Option<&str>) -> Arc<Config> {
        let own = &self.config.app;
        let mut apps = std::iter::once(own).chain(self.config.tenants.values().map(|tenant| &tenant.app));
        let named = apps.find(|app| id.is_none() || app.id.as_deref() == id);
        let app = named.cloned().unwrap_or_else(|| AppConfig {
            id: id.map(str::to_owned),
            secret: None,
            ..own.clone()
        });
        Arc::new(self.config.of_row(&app))
    }

    /// Builds the sources of a tenant's token.
    ///
    /// # Errors
    ///
    /// [`StartError`] if they cannot be used as configured.
    pub fn sources(&self, tenant: &ConfiguredTenant) -> Result<Vec<Box<dyn Source>>, StartError> {
        match self.row_source(tenant) {
            Some(source) => Ok(vec![Box::new(source)]),
            None => Ok(self.context.sources(&tenant.config)?),
        }
    }

    fn row_source(&self, tenant: &ConfiguredTenant) -> Option<RowSource> {
        let (row, table) = (tenant.row.as_ref()?, self.table.as_ref()?);
        Some(RowSource::new(
            Arc::new(RowCell::new(row.clone(), Instant::now())),
            table.rows(),
        ))
    }

    /// A hash of the first tenant's sources, which a running process with the same configuration has, too; empty if all
    /// tenants are in `[tenants_from]`.
    ///
    /// # Errors
    ///
    /// [`StartError`] if they cannot be used as configured.
    pub fn source_identity(&self) -> Result<String, StartError> {
        let named = self.named();
        let Some(first) = named.first() else {
            return Ok(String::new());
        };
        let sources = self.sources(first)?;
        let sources: Vec<_> = sources.iter().map(|source| source.describe()).collect();
        Ok(source_identity(&first.config.token, &sources.join(", ")))
    }

    /// Builds what asks Graph about a tenant.
    #[must_use]
    pub fn questions(&self, tenant: &ConfiguredTenant) -> GraphQuestions {
        let config = &tenant.config;
        let secret = secrets::app_secret(&config.app);
        let known = secret.as_ref().ok().cloned().flatten();
        let app = config.app.id.clone().zip(known.clone());
        let app = app.map(|(id, secret)| AppCredentials { id, secret });
        let destinations = self.context.destinations.clone().with_token_family(config.token.family);
        let client = self.context.graph_client.with_timeout(QUESTION_TIMEOUT);
        let me = MeRequest::new(client, destinations, known);
        GraphQuestions {
            inspector: DebugTokenInspector::new(Arc::clone(&me), app.clone()),
            accounts: AccountReader::new(me),
            app: secret.map(|_| app),
        }
    }

    /// The id of the phone number in the configuration, which is that of the only tenant, or of the one of `[token]`.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it cannot be read.
    pub fn phone_number_id(&self, tenant: &ConfiguredTenant) -> Result<Option<String>, StartError> {
        let is_own = tenant.row.is_none() && (tenant.id == TenantId::default() || self.named().len() == 1);
        let configured = self.config.check.phone_number_id.as_ref().filter(|_| is_own);
        let Some(value) = configured else {
            return Ok(None);
        };
        let key = "check.phone_number_id";
        let text = secrets::resolve_text(key, value)?;
        if !could_be_number_id(&text) {
            let reason = "it is not the id of a phone number";
            return Err(secrets::load_error(key, "its place", reason).into());
        }
        Ok(Some(text.to_string()))
    }

    /// Changes the token of a tenant in its source, as the refresher of a process would.
    ///
    /// # Errors
    ///
    /// [`ConfiguredTenantError`] if nothing has changed.
    pub async fn change(
        &self,
        tenant: &ConfiguredTenant,
        command: OperatorCommand,
    ) -> Result<TokenChange, ConfiguredTenantError> {
        let mut config = Config::clone(&tenant.config);
        (config.token.renew, config.token.cache) = (None, None);
        let secret = secrets::app_secret(&config.app).map_err(StartError::from)?;
        let provider = match self.row_source(tenant) {
            Some(source) => self
                .context
                .row_provider(&config, source, secret, &Arc::new(Semaphore::new(1))),
            None => self.context.token_provider(&config, secret),
        };
        let mut provider = provider.map_err(StartError::from)?;
        let changed = provider.change_token(command, self.context.clock.now()).await;
        changed.map_err(ConfiguredTenantError::Change)
    }

    /// The address of Graph.
    #[must_use]
    pub fn graph(&self) -> String {
        self.context.destinations.main().origin.to_string()
    }

    /// Connects to every address of Graph.
    pub async fn probe_graph(&self) -> Vec<ProbedAddress> {
        let origin = &self.context.destinations.main().origin;
        let port = origin.authority().port_u16().unwrap_or(443);
        self.context.dialer.probe(origin.host(), port, &self.tls).await
    }
}

/// Returns whether a text may be the id of a phone number, and is no secret from another place. Accepts a phone number too, so that
/// `check` can name this mistake.
#[must_use]
pub fn could_be_number_id(text: &str) -> bool {
    let is_in_number = |byte: u8| byte.is_ascii_digit() || b" +-().".contains(&byte);
    (1..=40).contains(&text.len()) && text.bytes().all(is_in_number)
}

// === impl ConfiguredTenant ===

impl ConfiguredTenant {
    fn of_row(row: TenantRow, config: Arc<Config>) -> Self {
        Self {
            id: row.id.clone(),
            config,
            object_ids: row.object_ids.iter().map(|id| (**id).to_owned()).collect(),
            row: Some(row),
        }
    }
}
