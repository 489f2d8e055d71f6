//! A row of a PostgreSQL table, or of whatever a query can show.
//!
//! # What is asked of the two statements
//!
//! * `query` shows one row. Its first column is the token (text, varchar, or bytea that is UTF-8; sealed by Fernet if
//!   there are keys). A second column, if there is one, is the token's end: a timestamptz, or seconds since 1970; NULL and
//!   0 are never. `params` are its `$1`, `$2` …; the server finds out their types, so that a text does for a uuid or a
//!   number without a cast.
//! * `update` gets the new token (sealed, if there are keys) as `$1`, and `params` as `$2`, `$3` …; if it uses the
//!   parameter after those, that is the new token's end in seconds since 1970, or NULL if it is unknown or never. It changes
//!   exactly one row, that which `query` shows. What it does with the token before is its own affair; for a rollback,
//!   `previous_access_token = access_token` does.
//!
//! ```sql
//! SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active
//! UPDATE tenant_whatsapp_config SET previous_access_token = access_token, access_token = $1
//!     WHERE tenant_id = $2 AND is_active
//! ```
//!
//! # Why
//!
//! * A deposit is one serializable transaction: `query`, compare, `update`, `query` again, compare, notify, commit. Other
//!   writers need not know of it: one that commits in between makes it fail and look again. An `update` that does not write
//!   where `query` looks is found out before it is committed, and not by the next start.
//! * A connection is kept only to listen. A look opens one and closes it: a pool of one for a statement every minute
//!   would be another thing that can be stale.
//! * A reconnect is a look, since notifications may have been missed. So there is one rule: `changed` waits for a
//!   notification or for the date of the next look, and what goes wrong brings that date nearer.

mod address;
mod binding;
mod claim;
mod deposit;
mod fault;
mod link;
mod place;
mod row;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Row;

use self::address::Address;
use self::fault::fault;
use self::link::{Failed, Link, MOST_ROWS};
use self::place::{Place, uses};
use super::fernet::Fernet;
use crate::token::{BoxFuture, Claim, Deposit, ObtainError, Source, Token};
use crate::types::{Fingerprint, Secret};

pub use self::address::PostgresError;

/// Where the row is, and how it is read and written.
#[derive(Debug)]
pub struct PostgresSettings {
    /// `postgres://user:password@host/dbname?sslmode=verify-full`, as libpq reads it; a host that begins with `/`
    /// (`%2Frun%2Fpostgresql`) is the directory of a socket.
    ///
    /// TLS is never unverified: `require`, `verify-ca` and `verify-full` are the same, and `prefer`, the default, speaks
    /// plainly with a server that has no TLS, but not with one that has a certificate which is not trusted.
    pub url: Secret,
    /// The statement that shows the token.
    pub query: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// The statement that replaces the token.
    pub update: Option<String>,
    /// The channel that says when there is news, spelt as `pg_notify` is told. A deposit notifies it.
    pub listen: Option<String>,
    /// How often to look where nothing says that there is news.
    pub every: Duration,
    /// What opens and seals the column.
    pub keys: Option<Fernet>,
    /// Roots besides Mozilla's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// A token in a row.
pub struct PostgresSource {
    place: Place,
    every: Duration,
    held: Duration,
    /// The connection that listens.
    link: Option<Link>,
    /// When to look without being told.
    due: Instant,
    /// Until then, a notification waits: a busy channel must not drive looks.
    calm: Instant,
    /// Failed looks in a row.
    failures: u32,
}

/// The limit for a look, connecting included.
const LOOK: Duration = Duration::from_secs(9);
/// The limit for a deposit, second turns included.
const DEPOSIT: Duration = Duration::from_secs(10);
/// How long a claim may be held: longer than minting takes, and a little less than others may wait for a dead holder.
const HELD: Duration = Duration::from_secs(25);
/// The shortest time between two looks.
const CALM: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The first pause after a failed look; each further one may last twice as long …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

// === impl PostgresSource ===

impl PostgresSource {
    /// The token that `query` shows. The server need not be there yet.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] if the settings cannot work.
    pub fn new(settings: PostgresSettings) -> Result<Self, PostgresError> {
        let address = Address::new(&settings.url, settings.ca_file.as_deref())?;
        if settings.query.trim().is_empty() {
            return Err(PostgresError::Query);
        }
        let listen = settings.listen;
        if listen.as_ref().is_some_and(|channel| {
            // As NAMEDATALEN has it; a longer one would be cut, and never notified.
            !(1..=63).contains(&channel.len()) || channel.contains('\0')
        }) {
            return Err(PostgresError::Listen);
        }
        if settings
            .update
            .as_ref()
            .is_some_and(|update| !uses(update, 1))
        {
            return Err(PostgresError::Update);
        }
        let every = settings.every.clamp(CALM, LONGEST_INTERVAL);
        let now = Instant::now();
        Ok(Self {
            place: Place {
                address,
                query: settings.query,
                params: settings.params,
                update: settings.update,
                listen,
                keys: settings.keys,
            },
            every,
            held: HELD,
            link: None,
            due: now + every,
            calm: now,
            failures: 0,
        })
    }

    /// The same with another limit for how long a claim is held; 25 s unless told. Whoever mints for longer loses it, and
    /// perhaps mints in vain.
    #[must_use]
    pub fn held_at_most(self, held: Duration) -> Self {
        Self { held, ..self }
    }

    async fn look(&mut self) -> Result<Token, ObtainError> {
        // Until it is known better; this future may be dropped at any await.
        self.due = Instant::now() + self.pause();
        let rows = timeout(LOOK, self.read())
            .await
            .unwrap_or(Err(Failed::Late));
        let looked = match rows {
            Ok(rows) => self.place.token(&rows),
            Err(failed) => Err(fault(&self.place.address.shown, "read", failed)),
        };
        let now = Instant::now();
        self.calm = now + CALM;
        match &looked {
            Err(error) if error.is_transient() && error.reason() != "missing" => {
                self.failures = self.failures.saturating_add(1);
                self.due = now + self.pause();
            }
            Ok(_) | Err(_) => {
                self.failures = 0;
                self.due = now + self.interval();
            }
        }
        looked
    }

    /// How long to wait before the next look: a little less than asked for, so that replicas do not march in step.
    fn interval(&self) -> Duration {
        self.every.mul_f64(1.0 - fastrand::f64() / 10.0)
    }

    /// How long to wait before the next attempt: any time up to a limit that doubles.
    fn pause(&self) -> Duration {
        let limit = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST_PAUSE);
        CALM + limit.mul_f64(fastrand::f64())
    }

    async fn read(&mut self) -> Result<Vec<Row>, Failed> {
        if let Some(mut link) = self.link.take() {
            // What has rung so far was committed before, and will be seen.
            link.take_rung();
            let rows = self.place.look(&mut link).await;
            // It may have died since the last look.
            if !rows.as_ref().is_err_and(Failed::is_gone) {
                self.keep(link, &rows).await;
                return rows;
            }
        }
        // It listens first and looks second: what is committed between the two rings.
        let mut link = self.place.connect().await?;
        let rows = self.place.look(&mut link).await;
        self.keep(link, &rows).await;
        rows
    }

    /// Keeps a connection that is to listen and still can.
    async fn keep(&mut self, mut link: Link, asked: &Result<Vec<Row>, Failed>) {
        if self.place.listen.is_none() {
            return;
        }
        let usable = match asked {
            Ok(rows) => rows.len() < MOST_ROWS,
            Err(failed) if failed.code().is_some() => link.run("ROLLBACK").await.is_ok(),
            Err(_) => false,
        };
        self.link = usable.then_some(link);
    }

    async fn news(&mut self) {
        loop {
            let Some(link) = &mut self.link else {
                sleep_until(self.due).await;
                break;
            };
            let ended = tokio::select! {
                heard = link.heard() => heard.is_err(),
                () = sleep_until(self.due) => break,
            };
            if ended {
                // Whoever looks will listen again.
                self.link = None;
                self.due = self.due.min(Instant::now() + self.pause());
            } else {
                // What rang stays so until this has been waited for.
                sleep_until(self.calm).await;
                link.take_rung();
                break;
            }
        }
        // If nobody looks after all, this must not be ready for ever.
        self.due = Instant::now() + self.interval();
    }
}

async fn claimed(place: &Place, held: Duration) -> Result<Claim, ObtainError> {
    let shown = &place.address.shown;
    let key = claim::key(&place.query, &place.params);
    match claim::claim(&place.address, key, held).await {
        Ok(Some(link)) => Ok(Claim::held(link)),
        Ok(None) => {
            let what = format!("another replica holds the right to renew the token of {shown}");
            Err(ObtainError::transient("claimed", what))
        }
        Err(failed) => Err(fault(shown, "claim the right to renew at", failed)),
    }
}

impl Source for PostgresSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.look())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.news())
    }

    fn describe(&self) -> String {
        self.place.address.shown.clone()
    }

    fn keeps(&self) -> Result<(), String> {
        match self.place.update {
            Some(_) => Ok(()),
            None => Err(self.place.only_read()),
        }
    }

    fn claim(&mut self) -> BoxFuture<'_, Result<Claim, ObtainError>> {
        Box::pin(claimed(&self.place, self.held))
    }

    fn deposit<'a>(
        &'a mut self,
        token: &'a Token,
        over: Fingerprint,
    ) -> BoxFuture<'a, Result<Deposit, ObtainError>> {
        let place = &self.place;
        Box::pin(async move {
            timeout(DEPOSIT, place.deposit(token, over))
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(fault(&place.address.shown, "write to", Failed::Late))
                })
        })
    }
}

impl fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSource")
            .field("place", &self.place.address.shown)
            .field("listens", &self.link.is_some())
            .finish_non_exhaustive()
    }
}
