//! PostgreSQL, as the connector: the five functions and nothing else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use password_verify_core::keeper::schedule::Outcome;
use password_verify_core::rules::secret::Secret;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backoff::Backoff;
use crate::connector::Desk;
use crate::dsn::{CONNECT, config, trust};
use crate::job::{Destination, Held, Job};
use crate::lock::lock;
use crate::settings::{self, Fault};
use crate::trouble::Trouble;

/// Why the database did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is not there, or gives no answer.
    Away,
    /// The lease is over, or the secret is another one by now.
    Lost,
    /// The application has not acknowledged what was delivered.
    Full,
    /// Not now: a deadlock, a full disk, a limit on time or memory.
    Busy,
    /// It says no: the SQLSTATE is in the log.
    Refused,
}

/// The calls, with the schema in which the extension lies.
struct Calls {
    take: String,
    open: String,
    rotate: String,
    deliver: String,
    finish: String,
}

/// Connections, and what to say there.
pub struct Database {
    pool: Pool,
    /// Known once the extension was found.
    calls: Mutex<Option<Arc<Calls>>>,
    pub config: Config,
    pub tls: MakeRustlsConnect,
    /// The longest wait for an answer.
    pub patience: Duration,
}

impl Database {
    /// Reads the files. Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong.
    pub fn prepare(from: &settings::Database) -> Result<Self, Fault> {
        let patience = Duration::from_secs(from.timeout.into());
        let config = config(&from.dsn_file, patience)?;
        let tls = MakeRustlsConnect::new(trust(from)?);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(usize::from(from.connections))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience.min(CONNECT)))
            .recycle_timeout(Some(patience.min(CONNECT)));
        let pool = pool.build().map_err(|why| why.to_string())?;
        Ok(Self { pool, calls: Mutex::default(), config, tls, patience })
    }

    /// Connects, and looks for the extension and the right to use it.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn meet(&self) -> Result<(), Fault> {
        // The libraries' messages name hosts, users and certificates, and no password.
        let client = self.pool.get().await.map_err(|why| format!("no connection: {why}"))?;
        let sql = "SELECT pg_catalog.quote_ident(n.nspname),
                          pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
                          AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                     FROM pg_catalog.pg_extension e
                     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
                     JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid
                      AND p.proname OPERATOR(pg_catalog.=) 'pv_take_job'
                    WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify'";
        let found = timeout(self.patience, client.query_opt(sql, &[])).await;
        let found = found.map_err(|_| "no answer")?.map_err(|why| why.to_string())?;
        let found = found.ok_or("the extension password_verify is not in this database")?;
        let (schema, may): (String, bool) = (found.get(0), found.get(1));
        if !may {
            return Err("this login may not take jobs: grant it the kind connector".into());
        }
        let calls = Some(Arc::new(Calls::of(&schema)));
        *lock(&self.calls) = calls;
        Ok(())
    }

    /// Leases the next job, if one is due.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn take(&self, lease: Duration) -> Result<Option<Job>, Stop> {
        loop {
            let calls = self.calls()?;
            let rows = self.call(&calls.take, &[&lease.as_secs_f64()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            match job_of(row) {
                Some(job) => return Ok(Some(job)),
                // For a keeper that is newer than this one.
                None => {
                    let held = Held { number: row.get(0), lease: row.get(1) };
                    let (outcome, detail) = Trouble::Unknown.told();
                    self.finish(held, outcome, detail).await?;
                }
            }
        }
    }

    /// Ends the lease. A database that is away is asked again.
    ///
    /// # Errors
    /// [`Stop`].
    pub async fn finish(&self, held: Held, outcome: Outcome, detail: &str) -> Result<(), Stop> {
        let calls = self.calls()?;
        let outcome = outcome.as_str();
        self.insist(&calls.finish, &[&held.number, &outcome, &detail, &held.lease]).await.map(drop)
    }

    fn calls(&self) -> Result<Arc<Calls>, Stop> {
        lock(&self.calls).clone().ok_or(Stop::Away)
    }

    async fn call(&self, sql: &str, arguments: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        self.call_until(Instant::now() + self.patience, sql, arguments, None).await
    }

    /// `then`: what is asked for before the answer is given out.
    async fn call_until(
        &self,
        end: Instant,
        sql: &str,
        arguments: &[&(dyn ToSql + Sync)],
        then: Option<&str>,
    ) -> Result<Vec<Row>, Stop> {
        let client = timeout_at(end, self.pool.get()).await;
        let client = client.map_err(|_| Stop::Away)?.map_err(|_| Stop::Away)?;
        let answer = async {
            let statement = client.prepare_cached(sql).await?;
            let rows = client.query(&statement, arguments).await?;
            if let Some(then) = then {
                client.query(&client.prepare_cached(then).await?, &[]).await?;
            }
            Ok(rows)
        };
        let answer = timeout_at(end, answer).await;
        if answer.is_err() {
            // It may still come, and is of no use to whoever has this connection next.
            drop(Object::take(client));
        }
        answer.map_err(|_| Stop::Away)?.map_err(|why| stop_of(&why))
    }

    /// Opens a secret. A long answer comes after it, for which the connection needs another buffer: the one in which the
    /// secret lies is freed with the row, and wiped.
    async fn open(&self, sql: &str, arguments: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        const LONG: &str = "SELECT pg_catalog.repeat('x', 16384)";
        self.call_until(Instant::now() + self.patience, sql, arguments, Some(LONG)).await
    }

    /// Calls again while the database is away, for as long as one waits for an answer. What was done and not answered
    /// is done twice: for calls of which the second changes nothing.
    async fn insist(&self, sql: &str, arguments: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        let mut wait = Backoff::new(Duration::from_millis(250), Duration::from_secs(8));
        let last = Instant::now() + self.patience;
        loop {
            // One that is silent is asked again, too.
            let end = last.min(Instant::now() + self.patience / 3);
            match self.call_until(end, sql, arguments, None).await {
                Err(Stop::Away | Stop::Busy) if Instant::now() < last => {
                    sleep_until(last.min(Instant::now() + wait.next())).await;
                }
                done => return done,
            }
        }
    }
}

impl Calls {
    /// `schema`: quoted.
    fn of(schema: &str) -> Self {
        Self {
            take: format!(
                "SELECT job, lease, destination::text, what::text, progress::text
                   FROM {schema}.pv_take_job(make_interval(secs => $1))"
            ),
            open: format!("SELECT secret, reason FROM {schema}.pv_open_secret($1, $2)"),
            rotate: format!("SELECT {schema}.pv_store_rotated($1, $2, $3)::text"),
            deliver: format!("SELECT {schema}.pv_deliver($1, $2, $3, $4)"),
            finish: format!("SELECT {schema}.pv_finish_job($1, $2, $3, $4)::text"),
        }
    }
}

/// What a connector does with its job.
pub struct AtDatabase<'a> {
    pub database: &'a Database,
    pub held: Held,
    /// Results that were delivered.
    pub delivered: u64,
}

impl Desk for AtDatabase<'_> {
    async fn open(&mut self) -> Result<Secret, Trouble> {
        let Held { number, lease } = self.held;
        let calls = self.database.calls()?;
        let rows = self.database.open(&calls.open, &[&number, &lease]).await?;
        let row = rows.first().ok_or(Trouble::Internal)?;
        let secret: Option<String> = row.get(0);
        let reason: Option<&str> = row.get(1);
        secret.map(Secret::new).ok_or(match reason {
            Some("vault_locked") => Trouble::VaultLocked,
            _ => Trouble::Internal,
        })
    }

    async fn store_rotated(&mut self, secret: &Secret) -> Result<(), Trouble> {
        let Held { number, lease } = self.held;
        let calls = self.database.calls()?;
        // Nobody else has it, and the one before is worthless.
        let arguments: [&(dyn ToSql + Sync); 3] = [&number, &secret.expose(), &lease];
        Ok(self.database.insist(&calls.rotate, &arguments).await.map(drop)?)
    }

    async fn deliver(&mut self, result: &Value, progress: &Value) -> Result<(), Trouble> {
        let Held { number, lease } = self.held;
        let calls = self.database.calls()?;
        // Not as text: many may wait for a connection, each with a result, and the text is as long again.
        let arguments: [&(dyn ToSql + Sync); 4] = [&number, result, &lease, progress];
        // Once: whether it was done, if nobody answers, the next lease says.
        self.database.call(&calls.deliver, &arguments).await?;
        self.delivered += 1;
        Ok(())
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        if stop == Stop::Full { Self::Limited } else { Self::Internal }
    }
}

fn job_of(row: &Row) -> Option<Job> {
    let destination: &str = row.get(2);
    let what: &str = row.get(3);
    let progress: Option<&str> = row.get(4);
    Some(Job {
        held: Held { number: row.get(0), lease: row.get(1) },
        destination: serde_json::from_str::<Destination>(destination).ok()?,
        what: serde_json::from_str(what).ok()?,
        progress: progress.and_then(|it| serde_json::from_str(it).ok()),
    })
}

fn stop_of(why: &tokio_postgres::Error) -> Stop {
    match why.code() {
        None => Stop::Away,
        Some(code) if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => Stop::Lost,
        Some(code) if *code == SqlState::PROGRAM_LIMIT_EXCEEDED => Stop::Full,
        // It shuts down, starts, is a standby, or others hold what is needed.
        Some(code)
            if ["57P01", "57P02", "57P03", "25006", "55P03", "53300"].contains(&code.code()) =>
        {
            Stop::Away
        }
        Some(code) => {
            tracing::warn!(sqlstate = code.code(), "the database refuses a call");
            // Deadlocks, full disks and limits of memory, time and the system pass.
            let passes =
                ["40", "53", "57", "58"].iter().any(|class| code.code().starts_with(class));
            if passes { Stop::Busy } else { Stop::Refused }
        }
    }
}
