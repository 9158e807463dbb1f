//! Settings of what the keeper keeps.

use std::time::Duration;

use pgrx::guc::{GucFlags, GucSetting};

use super::define::{policy, size, value};

static SECRETS_PER_USER: GucSetting<i32> = GucSetting::<i32>::new(100);
static OPENED_EXPECTED: GucSetting<i32> = GucSetting::<i32>::new(1000);
static RESULT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 60);
static VAULT_UNLOCK_MAX: GucSetting<i32> = GucSetting::<i32>::new(60 * 60);
static VAULT_PLACES: GucSetting<i32> = GucSetting::<i32>::new(1024);

pub fn define() {
    policy(
        c"password_verify.secrets_per_user",
        c"Secrets that are kept for one user at most.",
        c"",
        &SECRETS_PER_USER,
        (1, 100),
        GucFlags::default(),
    );
    policy(
        c"password_verify.secrets_opened_expected",
        c"Distinct secrets that are opened within an hour without an alert.",
        c"0: any number. Secrets are told apart by a hash, so that a few are not counted.",
        &OPENED_EXPECTED,
        (0, 10_000),
        GucFlags::default(),
    );
    policy(
        c"password_verify.result_retention",
        c"How long the result of a job is kept if it is not acknowledged.",
        c"So are jobs that are over.",
        &RESULT_RETENTION,
        (1, 525_600),
        GucFlags::UNIT_MIN,
    );
    policy(
        c"password_verify.vault_unlock_max",
        c"How long a vault can be unlocked at most.",
        c"",
        &VAULT_UNLOCK_MAX,
        (10, 86_400),
        GucFlags::UNIT_S,
    );
    size(
        c"password_verify.vault_places",
        c"Unlocked vaults and jobs with a secret of one, in shared memory, 416 bytes each.",
        c"One login role can take half of them. 0: no vault can be unlocked.",
        &VAULT_PLACES,
        (0, 8192),
    );
}

/// The most secrets of a user: 1 to 100.
pub fn secrets_per_user() -> usize {
    value(&SECRETS_PER_USER) as usize
}

/// Distinct secrets that may be opened within an hour without an alert: 0 to 10,000; 0 is no limit.
pub fn secrets_opened_expected() -> u32 {
    value(&OPENED_EXPECTED)
}

/// How long results are kept, in microseconds: 1 minute to 1 year.
pub fn result_retention() -> i64 {
    i64::from(value(&RESULT_RETENTION)) * 60_000_000
}

/// How long a vault can be unlocked: 10 seconds to a day.
pub fn vault_unlock_max() -> Duration {
    Duration::from_secs(value(&VAULT_UNLOCK_MAX).into())
}

/// Places for unlocked vaults: 0 to 8192.
pub fn vault_places() -> usize {
    value(&VAULT_PLACES) as usize
}
