//! Settings of the audit: durability, retention and sizes.

use std::time::Duration;

use pgrx::PostgresGucEnum;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::define::{policy, size, value};

/// How events name users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum AuditUserIds {
    /// By their ids.
    #[name = c"text"]
    Text,
    /// By a keyed digest of whatever id was given.
    #[name = c"digest"]
    Digest,
}

/// When an answer may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Durability {
    /// After its event is committed.
    #[name = c"commit"]
    Commit,
    /// At once. A crash can lose the most recent events.
    #[name = c"async"]
    Async,
}

static DURABILITY: GucSetting<Durability> = GucSetting::<Durability>::new(Durability::Commit);
static USER_IDS: GucSetting<AuditUserIds> = GucSetting::<AuditUserIds>::new(AuditUserIds::Text);
static TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(400 * 24 * 60);
static QUEUE: GucSetting<i32> = GucSetting::<i32>::new(4096);
static WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static LOG_EVENTS: GucSetting<bool> = GucSetting::<bool>::new(false);
static STANDBY_VALIDATION: GucSetting<bool> = GucSetting::<bool>::new(false);

pub fn define() {
    GucRegistry::define_enum_guc(
        c"password_verify.audit_durability",
        c"When an answer may leave: after its event is committed, or at once.",
        c"",
        &DURABILITY,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"password_verify.audit_user_ids",
        c"How events name users: by their ids, or by a keyed digest of whatever id was given.",
        c"digest needs a keyring.",
        &USER_IDS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    policy(
        c"password_verify.audit_timeout",
        c"How long an answer waits for its event to be committed before the call fails.",
        c"",
        &TIMEOUT,
        (100, 600_000),
        GucFlags::UNIT_MS,
    );
    policy(
        c"password_verify.audit_retention",
        c"How long events are kept.",
        c"0: for ever.",
        &RETENTION,
        (0, 52_560_000),
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_bool_guc(
        c"password_verify.log_events",
        c"Writes each event to the server log as well, as a line of JSON.",
        c"After its commit, by the worker: set it for the server or a database.",
        &LOG_EVENTS,
        GucContext::Suset,
        GucFlags::default(),
    );
    size(
        c"password_verify.audit_queue",
        c"Events that can be on their way to the table, about 1000 bytes each.",
        c"A database may have a quarter of them.",
        &QUEUE,
        (64, 1_048_576),
    );
    size(
        c"password_verify.workers",
        c"Background workers that write budgets and events.",
        c"Databases in use at the same time share them.",
        &WORKERS,
        (1, 16),
    );
    GucRegistry::define_bool_guc(
        c"password_verify.standby_validation",
        c"Lets pv_validate_password work on a hot standby.",
        c"With budgets in memory only, and events in the server log only.",
        &STANDBY_VALIDATION,
        GucContext::Suset,
        GucFlags::default(),
    );
}

pub fn audit_durability() -> Durability {
    DURABILITY.get()
}

pub fn audit_user_ids() -> AuditUserIds {
    USER_IDS.get()
}

/// How long an answer waits for its audit event: 100 ms to 10 minutes.
pub fn audit_timeout() -> Duration {
    Duration::from_millis(value(&TIMEOUT).into())
}

/// How long audit events are kept, in microseconds. `None`: for ever.
pub fn audit_retention() -> Option<i64> {
    let minutes = i64::from(value(&RETENTION));
    (minutes > 0).then_some(minutes * 60_000_000)
}

/// The number of events that can be queued for the worker: 64 to 1,048,576.
pub fn audit_queue() -> usize {
    value(&QUEUE) as usize
}

/// The number of background workers: 1 to 16.
pub fn workers() -> u32 {
    value(&WORKERS)
}

/// Is each event also a line of the server log?
pub fn log_events() -> bool {
    LOG_EVENTS.get()
}

pub fn standby_validation() -> bool {
    STANDBY_VALIDATION.get()
}
