//! Settings for how often a secret may be tried.

use std::time::Duration;

use password_verify_core::rules::throttle::{Rate, Rules};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::define::{policy, size, value};

const DAY: i32 = 24 * 60;

static FREE_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(5);
static FIRST_WAIT: GucSetting<i32> = GucSetting::<i32>::new(30);
static MAX_WAIT: GucSetting<i32> = GucSetting::<i32>::new(3600);
// NIST SP 800-63B-4 section 3.2.2: no more than 100 consecutive failures on a single account.
static LOCK_AFTER: GucSetting<i32> = GucSetting::<i32>::new(100);
static FORGET_AFTER: GucSetting<i32> = GucSetting::<i32>::new(30 * DAY);
static KNOWN_CLIENT_FOR: GucSetting<i32> = GucSetting::<i32>::new(30 * DAY);
static CLIENT_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(50);
static CLIENT_REFILL: GucSetting<i32> = GucSetting::<i32>::new(5);
static CALLER_HASHES: GucSetting<i32> = GucSetting::<i32>::new(0);
static CALLER_REFILL: GucSetting<i32> = GucSetting::<i32>::new(60);
static QUEUE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5000);
static FORGIVE_REPEATS: GucSetting<bool> = GucSetting::<bool>::new(false);
static ENTRIES: GucSetting<i32> = GucSetting::<i32>::new(65536);

pub fn define() {
    let count = GucFlags::default;
    policy(
        c"password_verify.throttle_free_failures",
        c"Wrong passwords in a row that an account may get before it has to wait.",
        c"A known client has as many of its own once the account has to wait.",
        &FREE_FAILURES,
        (1, 100),
        count(),
    );
    policy(
        c"password_verify.throttle_first_wait",
        c"First wait of an account.",
        c"Each further wrong password doubles it, up to throttle_max_wait.",
        &FIRST_WAIT,
        (1, 86_400),
        GucFlags::UNIT_S,
    );
    policy(
        c"password_verify.throttle_max_wait",
        c"Longest wait of an account.",
        c"",
        &MAX_WAIT,
        (1, 604_800),
        GucFlags::UNIT_S,
    );
    policy(
        c"password_verify.throttle_lock_after",
        c"Wrong passwords in a row after which an account is locked until a manager unlocks it.",
        c"NIST SP 800-63B-4: no more than 100.",
        &LOCK_AFTER,
        (1, 100),
        count(),
    );
    policy(
        c"password_verify.throttle_forget_after",
        c"How long wrong passwords are remembered when no other follows.",
        c"Not those of an account that is locked.",
        &FORGET_AFTER,
        (60, 5_256_000),
        GucFlags::UNIT_MIN,
    );
    policy(
        c"password_verify.known_client_for",
        c"How long a client address is known to an account after it has logged in.",
        c"0: never.",
        &KNOWN_CLIENT_FOR,
        (0, 5_256_000),
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_bool_guc(
        c"password_verify.throttle_forgive_repeats",
        c"Does not charge an account for a wrong password that a known client has tried just before.",
        c"At most 20 times a day for each user and address.",
        &FORGIVE_REPEATS,
        GucContext::Suset,
        GucFlags::default(),
    );
    policy(
        c"password_verify.throttle_client_failures",
        c"Wrong passwords of one client address, over all accounts.",
        c"0: no limit.",
        &CLIENT_FAILURES,
        (0, 1_000_000),
        count(),
    );
    policy(
        c"password_verify.throttle_client_refill",
        c"How many of throttle_client_failures come back in a minute.",
        c"",
        &CLIENT_REFILL,
        (1, 60_000),
        count(),
    );
    policy(
        c"password_verify.throttle_caller_hashes",
        c"Password hashes that one login role may ask for, right or wrong.",
        c"0: no limit.",
        &CALLER_HASHES,
        (0, 1_000_000),
        count(),
    );
    policy(
        c"password_verify.throttle_caller_refill",
        c"How many of throttle_caller_hashes come back in a minute.",
        c"",
        &CALLER_REFILL,
        (1, 1_000_000),
        count(),
    );
    policy(
        c"password_verify.queue_timeout",
        c"How long an attempt waits for others before the answer is busy.",
        c"",
        &QUEUE_TIMEOUT,
        (10, 60_000),
        GucFlags::UNIT_MS,
    );
    size(
        c"password_verify.throttle_entries",
        c"Budgets that are kept in shared memory, 104 bytes each.",
        c"Others are read from the table when they are needed.",
        &ENTRIES,
        (1024, 16_777_216),
    );
}

/// The throttle policy that is in force in this session.
pub fn throttle() -> Rules {
    let [minute, second] = [60_000_000, 1_000_000];
    let microseconds = |setting, unit: i64| i64::from(value(setting)) * unit;
    let rate = |burst, refill| Rate {
        burst: value(burst),
        interval: minute / i64::from(value(refill).max(1)),
    };
    Rules {
        free_failures: value(&FREE_FAILURES),
        first_wait: microseconds(&FIRST_WAIT, second),
        max_wait: microseconds(&MAX_WAIT, second),
        lock_after: value(&LOCK_AFTER),
        forget_after: microseconds(&FORGET_AFTER, minute),
        known_for: microseconds(&KNOWN_CLIENT_FOR, minute),
        client: rate(&CLIENT_FAILURES, &CLIENT_REFILL),
        caller: rate(&CALLER_HASHES, &CALLER_REFILL),
    }
}

/// Whether an account is spared the charge for a wrong password that a known client repeats.
pub fn throttle_forgive_repeats() -> bool {
    FORGIVE_REPEATS.get()
}

/// How long an attempt waits for locks, budgets and slots: 10 ms to 1 minute.
pub fn queue_timeout() -> Duration {
    Duration::from_millis(value(&QUEUE_TIMEOUT).into())
}

/// The number of budgets in shared memory: 1024 to 16,777,216.
pub fn throttle_entries() -> usize {
    value(&ENTRIES) as usize
}
