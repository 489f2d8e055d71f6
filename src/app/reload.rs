//! Applies a changed configuration to the running process.
//!
//! # Why
//!
//! Everything that can fail comes first: the file, the secrets and the certificate are read, and what is made of them is
//! built beside what runs. Then everything is replaced, which cannot fail. So a faulty configuration changes nothing.
//!
//! The token's sources and renewer are built anew even if their section has not changed, since their secrets may have. The
//! refresher continues with them: no request waits, and the current credential stays until a source has another one.
//!
//! The files are read on a thread of their own, because a file on a hanging filesystem must not stop the requests.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::build::{self, ReloadTrigger};
use super::context::{BuildContext, EGRESS_KEY};
use super::directory::build_tenants;
use super::error::StartError;
use super::row_settings::RowSettings;
use super::row_tenants::RowTenants;
use super::secret_files::SecretFiles;
use super::secrets;
use super::service_manager::ServiceManager;
use super::tenants::{RunningTenant, UnstartedTenant};
use super::token_reports::{SharedAlertSender, TokenReports};
use crate::admin::{AccessPolicy, Admin};
use crate::alert::{AlertSender, Webhook};
use crate::config::{Config, ConfigError, Overrides, ReloadedConfig, env_vars};
use crate::net::ServerCert;
use crate::proxy::{Proxy, Settings, TenantShare};
use crate::source::{TenantTable, TokenSource};
use crate::telemetry::{AuditFile, InLog};
use crate::token::{ObtainError, ProofSettings, Reconfiguration};
use crate::types::{TenantId, error_chain};

/// Reloads the configuration of a process.
pub(super) struct Reloader {
    pub(super) trigger: ReloadTrigger,
    /// The configuration that the process runs with.
    pub(super) config: Config,
    pub(super) context: BuildContext,
    pub(super) proxy: Arc<Proxy>,
    pub(super) admin: Arc<Admin>,
    pub(super) server_cert: Option<Arc<ServerCert>>,
    pub(super) alert_sender: SharedAlertSender,
    pub(super) service_manager: ServiceManager,
    pub(super) tenants: Vec<RunningTenant>,
    /// The tenants of the table, if there is one.
    pub(super) row_tenants: Option<Arc<RowTenants>>,
    /// Held while the files are read, so that no second thread reads them.
    pub(super) reading: Arc<Mutex<()>>,
}

/// The reason for a reload.
#[derive(Clone, Copy, Debug)]
enum ReloadCause {
    /// It was requested: the configuration is read, too.
    Requested,
    /// A secret has changed: it is used with the running configuration.
    SecretChanged,
}

/// What replaces the parts of the running process.
struct Replacement {
    reloaded: ReloadedConfig,
    settings: Arc<Settings>,
    tenants: Vec<ReplacementTenant>,
    /// `None` without `[tenants_from]`.
    row_settings: Option<RowSettings>,
    /// The table of the running configuration, with the secrets of now.
    table: Option<Box<dyn TenantTable>>,
    alert_sender: Option<AlertSender>,
    webhook: Option<Webhook>,
    audit_file: Option<AuditFile>,
    admin_access: AccessPolicy,
}

/// What replaces a tenant.
enum ReplacementTenant {
    /// It is there already.
    Running(TenantId, Box<Config>, Box<Reconfiguration>),
    New(Box<UnstartedTenant>),
}

/// The reason why the configuration was not reloaded.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Build(#[from] StartError),
    #[error("reading the configuration and the secrets took longer than {} s", READ_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the configuration could not be read")]
    Panicked(#[from] tokio::task::JoinError),
}

/// The longest wait for the files.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

// === impl ReloadCause ===

impl ReloadCause {
    /// What happened, for the log.
    const fn description(self) -> &'static str {
        match self {
            Self::Requested => "the operator requested it",
            Self::SecretChanged => "the file of a secret changed",
        }
    }
}

// === impl Reloader ===

impl Reloader {
    /// Reloads when that is requested, or when a secret has changed, until it is dropped.
    pub(super) async fn run(mut self, mut secret_files: SecretFiles) {
        self.context.record_load();
        loop {
            let cause = tokio::select! {
                () = self.trigger.requested.notified() => ReloadCause::Requested,
                () = secret_files.changed() => ReloadCause::SecretChanged,
            };
            tracing::info!(
                cause = cause.description(),
                "reading the configuration and its secrets again"
            );
            // Noted before they are read: no change in between is missed.
            drop(timeout(READ_TIMEOUT, secret_files.note_contents()).await);
            Box::pin(self.reload(cause)).await;
            if matches!(cause, ReloadCause::Requested) {
                secret_files = SecretFiles::watch(&self.config.secret_files).await;
            }
        }
    }

    /// Rebuilds from the configuration, and from the secrets that it refers to, what can change while the process runs.
    async fn reload(&mut self, cause: ReloadCause) {
        self.service_manager.reloading();
        let prepared = timeout(READ_TIMEOUT, self.prepare(cause)).await;
        match prepared.unwrap_or(Err(ReloadError::TimedOut)) {
            Ok(replacement) => {
                self.apply(replacement).await;
                self.context.record_load();
                self.context.metrics.count_config_reload("applied");
                self.service_manager.reloaded("serving");
            }
            Err(error) => {
                self.context.metrics.count_config_reload("rejected");
                self.service_manager
                    .reloaded("serving; the changed configuration was rejected: see the log");
                let error = error_chain(&error);
                tracing::error!(
                    error,
                    "the configuration was not reloaded; the previous one stays in use"
                );
            }
        }
    }

    /// Reads and builds everything, or nothing.
    async fn prepare(&self, cause: ReloadCause) -> Result<Replacement, ReloadError> {
        let (context, overrides) = (self.context.clone(), self.trigger.overrides.clone());
        let (running, tenants) = (self.config.clone(), self.proxy.tenants.load_full());
        let alert_sender = Arc::clone(&self.alert_sender);
        // A thread that is stuck in a file holds this, so that there is never a second one.
        let reading = Arc::clone(&self.reading).lock_owned().await;
        let build = move || {
            let _held_until_done = reading;
            let mut reloaded = match cause {
                ReloadCause::Requested => load(&running, overrides)?,
                ReloadCause::SecretChanged => ReloadedConfig {
                    config: running.clone(),
                    needs_restart: Vec::new(),
                },
            };
            // The connections to Graph keep the proxy that the start has found.
            if context.is_egress_changed(&reloaded.config).map_err(StartError::from)? {
                reloaded.needs_restart.push(EGRESS_KEY.to_owned());
            }
            context.build(&running, reloaded, &tenants.settings, &alert_sender)
        };
        let replacement = tokio::task::spawn_blocking(build).await??;
        let loaded = build::load_server_cert(&self.config, self.context.clock).await;
        if let (Some(server_cert), Some((new, _reloader))) = (&self.server_cert, loaded.map_err(StartError::from)?) {
            server_cert.replace_with(&new);
        }
        Ok(replacement)
    }

    /// Puts everything in use.
    async fn apply(&mut self, replacement: Replacement) {
        let ReloadedConfig { config, needs_restart } = replacement.reloaded;
        self.trigger.log.apply(config.log.output);
        self.context.metrics.set_tenant_label(config.metrics.tenant_label);
        let taken_over = self.replace_tenants(replacement.tenants);
        let running: Vec<_> = self.tenants.iter().collect();
        let new_share = || TenantShare::new(&self.proxy.concurrency_limit, &self.proxy.budgets);
        let settings = replacement.settings;
        let rows = replacement.table.as_ref().map(|table| table.rows());
        if let (Some(row_tenants), Some(settings), Some(rows)) = (&self.row_tenants, replacement.row_settings, rows) {
            row_tenants.reload(settings, rows).await;
        }
        // The task that reads the table may replace them meanwhile.
        self.proxy
            .tenants
            .rcu(|before| build_tenants(&config, &self.context, &settings, &running, Some(before), new_share));
        self.proxy.budgets.memory.set_limit(config.heal.memory_total);
        self.proxy.budgets.disk.set_limit(config.heal.disk_total);
        self.admin.access.store(Arc::new(replacement.admin_access));
        self.admin.readiness.store(Arc::new(config.ready.tokens));
        let identity = build::first_source_identity(&running);
        self.admin.source_identity.store(Arc::new(identity));
        self.admin.tenants.store(Arc::new(build::admin_tenants(&running)));
        self.replace_webhook(replacement.alert_sender, replacement.webhook);
        self.context.audit.replace_file(replacement.audit_file);
        // A read of the table, or a refresher that is busy, delays none of what is above, nor another one. What is undecided about an
        // id since then is decided by reads of the other table.
        if let (Some(row_tenants), Some(table)) = (&self.row_tenants, replacement.table) {
            row_tenants.replace_table(table).await;
        }
        taken_over.await;
        self.config = config;
        tracing::info!("reloaded the configuration");
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            tracing::warn!(
                keys,
                "these keys have changed and are read only at a start; restart graphward to apply them"
            );
        }
    }

    /// Reconfigures the tenants that stay, and starts the new ones. The returned future drops the others: await it when no directory
    /// has them any more. It ends when the refreshers of those that stay have their new configuration.
    fn replace_tenants(&mut self, replacements: Vec<ReplacementTenant>) -> impl Future + use<> {
        let (mut before, mut taken_over) = (mem::take(&mut self.tenants), Vec::new());
        for replacement in replacements {
            let tenant = match replacement {
                ReplacementTenant::New(tenant) => {
                    tracing::info!(tenant = %tenant.running.id, "a new tenant");
                    tenant.start(&self.context)
                }
                ReplacementTenant::Running(id, config, reconfiguration) => {
                    let Some(index) = before.iter().position(|tenant| tenant.id == id) else {
                        continue;
                    };
                    let mut tenant = before.swap_remove(index);
                    taken_over.push(Box::pin(tenant.reconfigure(*config, *reconfiguration)));
                    tenant
                }
            };
            self.tenants.push(tenant);
        }
        let statement = || ObtainError::absent("removed", "the configuration does not have this tenant any more");
        let is_gone = |before: &&RunningTenant| !self.tenants.iter().any(|tenant| tenant.id == before.id);
        let withdrawals = before
            .iter()
            .filter(is_gone)
            .filter_map(|gone| gone.withdrawal(statement()));
        let withdrawals: Vec<_> = withdrawals.collect();
        TokenReports::new(&self.context, &self.alert_sender).withdrawn(&withdrawals, InLog::Missing);
        async move {
            drop(before);
            join_all(taken_over).await
        }
    }

    /// A webhook whose URL has not changed stays, since it knows which alerts were delivered.
    fn replace_webhook(&self, sender: Option<AlertSender>, webhook: Option<Webhook>) {
        if self.alert_sender.load().as_deref().map(AlertSender::url) == sender.as_ref().map(AlertSender::url) {
            return;
        }
        let old = self.alert_sender.swap(sender.map(Arc::new));
        drop(webhook.map(|webhook| self.context.tasks.spawn(webhook.run())));
        if let Some(old) = old {
            drop(self.context.tasks.spawn(async move { old.close().await }));
        }
    }
}

/// Reads the configuration.
fn load(running: &Config, overrides: Overrides) -> Result<ReloadedConfig, ConfigError> {
    let loaded = Config::load(overrides, &env_vars())?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(running.reloaded(loaded.config))
}

// === impl BuildContext ===

impl BuildContext {
    fn record_load(&self) {
        let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.set_config_loaded_at(now.as_secs_f64());
    }

    /// Reads the secrets and builds from them.
    fn build(
        &self,
        running: &Config,
        reloaded: ReloadedConfig,
        settings: &Settings,
        alert_sender: &SharedAlertSender,
    ) -> Result<Replacement, ReloadError> {
        let (config, running_tenants) = (&reloaded.config, running.of_tenants());
        let replacement = |(id, own): (TenantId, Config)| {
            let before = running_tenants.iter().find(|(before, _)| *before == id);
            // A request that was routed by an id keeps the token that belongs to it: a tenant that has lost one is another one.
            let keeps_ids = || running.ids_of(&id).iter().all(|own| config.ids_of(&id).contains(own));
            let before = before.filter(|_| keeps_ids());
            Ok::<_, StartError>(match before {
                Some((_, before)) => {
                    let reconfiguration = self.token_side(&own, before).map_err(|error| error.of_tenant(&id))?;
                    ReplacementTenant::Running(id, Box::new(own), Box::new(reconfiguration))
                }
                None => ReplacementTenant::New(Box::new(UnstartedTenant::build(self, id, own, alert_sender, None)?)),
            })
        };
        let tenants = config.of_tenants().into_iter().map(replacement);
        let tenants = tenants.collect::<Result<Vec<_>, _>>()?;
        let (alert_sender, webhook) = build::build_webhook(config, self)?.unzip();
        let settings = Arc::new(build::reloaded_settings(config, settings));
        let from = config.tenants_from.as_ref();
        let row_settings = from.map(|_| RowSettings::new(config, Arc::clone(&settings)));
        let table = from.map(|from| self.tenant_table(from));
        Ok(Replacement {
            row_settings: row_settings.transpose()?,
            table: table.transpose().map_err(StartError::from)?,
            settings,
            tenants,
            alert_sender,
            webhook,
            audit_file: build::open_audit_file(config)?,
            admin_access: build::admin_access(config)?,
            reloaded,
        })
    }

    /// Builds what the refresher works with, for a process that ran with another configuration before.
    pub(super) fn token_side(&self, config: &Config, running: &Config) -> Result<Reconfiguration, StartError> {
        let app_secret = secrets::app_secret(&config.app)?;
        let proofs = app_secret
            .as_ref()
            .map(|secret| ProofSettings::new(secret, config.app.proof));
        let provider = self.token_provider(config, app_secret)?;
        let before = |source: &TokenSource| running.token.sources.iter().position(|before| before == source);
        Ok(Reconfiguration {
            provider,
            previous_sources: config.token.sources.iter().map(before).collect(),
            proofs,
            renew_before: config.token.renew_before,
        })
    }
}
