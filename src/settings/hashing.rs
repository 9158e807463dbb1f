//! Settings for hashing, and for the new passwords that are accepted.

use password_verify_core::rules::cost::{
    Cost, MAX_ITERATIONS, MAX_MEMORY_KIB, MAX_PARALLELISM, MIN_MEMORY_KIB,
};
use password_verify_core::rules::policy::Rules;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;
use std::sync::OnceLock;

use super::define::{kilobytes, policy, size, value};
use crate::error::Error;

// RFC 9106 section 4, the second recommended option: t = 3, p = 4, m = 64 MiB.
static ARGON2_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(65536);
static ARGON2_ITERATIONS: GucSetting<i32> = GucSetting::<i32>::new(3);
static ARGON2_PARALLELISM: GucSetting<i32> = GucSetting::<i32>::new(4);
// NIST SP 800-63B-4 section 3.1.1.2: 15 if the password is the only factor.
static MIN_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(15);
static MIN_STRENGTH: GucSetting<i32> = GucSetting::<i32>::new(3);
// NIST SP 800-63B-4 does not ask for a history.
static HISTORY: GucSetting<i32> = GucSetting::<i32>::new(0);
/// The default depends on the number of processors.
static HASH_SLOTS: OnceLock<GucSetting<i32>> = OnceLock::new();
static QUEUE_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(256);
static HASH_MEMORY_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(128 * 1024);

// NIST SP 800-63B-4 section 3.1.1.2: commonly used passwords are refused.
static COMMON_PASSWORDS: GucSetting<bool> = GucSetting::<bool>::new(true);
static BLOCKLIST_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The most hash slots.
const MAX_SLOTS: i32 = 256;

pub fn define() {
    policy(
        c"password_verify.argon2_memory",
        c"Memory for one Argon2id hash.",
        c"With argon2_iterations it must reach a row of the OWASP password storage cheat sheet.",
        &ARGON2_MEMORY,
        (MIN_MEMORY_KIB as i32, MAX_MEMORY_KIB as i32),
        GucFlags::UNIT_KB,
    );
    policy(
        c"password_verify.argon2_iterations",
        c"Passes of Argon2id over its memory.",
        c"With argon2_memory it must reach a row of the OWASP password storage cheat sheet.",
        &ARGON2_ITERATIONS,
        (1, MAX_ITERATIONS as i32),
        GucFlags::default(),
    );
    policy(
        c"password_verify.argon2_parallelism",
        c"Lanes of Argon2id.",
        c"Changes what is computed, not how many processors compute it.",
        &ARGON2_PARALLELISM,
        (1, MAX_PARALLELISM as i32),
        GucFlags::default(),
    );
    policy(
        c"password_verify.min_length",
        c"Shortest new password, in code points after NFC.",
        c"NIST SP 800-63B-4: 15 where a password is the only factor, never below 8.",
        &MIN_LENGTH,
        (8, 64),
        GucFlags::default(),
    );
    policy(
        c"password_verify.min_strength",
        c"Lowest zxcvbn score of a new password.",
        c"0 accepts anything that is long enough, 4 only what is very unguessable.",
        &MIN_STRENGTH,
        (0, 4),
        GucFlags::default(),
    );
    policy(
        c"password_verify.history",
        c"Last passwords of a user that are refused as new ones.",
        c"0: none but the current one, and that only by pv_change_password.",
        &HISTORY,
        (0, 24),
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"password_verify.common_passwords",
        c"Refuses the commonest passwords as new ones, however they are dressed up.",
        c"By a list that comes with the extension.",
        &COMMON_PASSWORDS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"password_verify.blocklist_file",
        c"File of breached passwords, made by password_verify_blocklist.",
        c"Passwords in it are refused as new ones.",
        &BLOCKLIST_FILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    size(
        c"password_verify.hash_slots",
        c"Hashes that are computed at once in the whole server.",
        c"Default: one fewer than processors, at most 16. Others wait in a queue.",
        HASH_SLOTS.get_or_init(|| GucSetting::<i32>::new(default_slots())),
        (1, MAX_SLOTS),
    );
    size(
        c"password_verify.queue_length",
        c"Sessions that may wait for a hash slot.",
        c"An attempt that comes when so many wait is answered with busy at once.",
        &QUEUE_LENGTH,
        (0, 100_000),
    );
    kilobytes(
        c"password_verify.hash_memory_limit",
        c"The most memory that one hash may take.",
        c"Times hash_slots it is all that hashing can take.",
        &HASH_MEMORY_LIMIT,
        (MIN_MEMORY_KIB as i32, MAX_MEMORY_KIB as i32),
    );
}

/// How many of a user's last passwords are refused as new ones: 0 to 24.
pub fn history() -> usize {
    value(&HISTORY) as usize
}

/// Whether the built-in list of common passwords is used.
pub fn common_passwords() -> bool {
    COMMON_PASSWORDS.get()
}

/// The path of the site's list of breached passwords.
pub fn blocklist_file() -> Option<CString> {
    BLOCKLIST_FILE.get()
}

/// All processors but one. One slot if the number of processors is unknown.
fn default_slots() -> i32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).clamp(1, 16) as i32
}

/// The number of hash slots: 1 to 256.
pub fn hash_slots() -> u32 {
    HASH_SLOTS.get().map_or(1, value)
}

/// The number of backends that may wait for a slot: 0 to 100,000.
pub fn queue_length() -> usize {
    value(&QUEUE_LENGTH) as usize
}

/// The most memory of one hash, in KiB: 7 MiB to 1 GiB.
pub fn hash_memory_limit() -> u32 {
    value(&HASH_MEMORY_LIMIT)
}

/// The parameters of new hashes.
///
/// # Errors
/// [`Error::SettingsTooWeak`] when the settings reach no OWASP row, [`Error::SettingsAboveLimit`]
/// when they exceed `hash_memory_limit`. Each depends on two settings, which bounds cannot express.
pub fn cost() -> Result<Cost, Error> {
    let [m, t, p] = [&ARGON2_MEMORY, &ARGON2_ITERATIONS, &ARGON2_PARALLELISM].map(value);
    let cost = Cost::new(m, t, p).ok().filter(|cost| cost.meets_owasp());
    let cost = cost.ok_or(Error::SettingsTooWeak)?;
    if m > hash_memory_limit() { Err(Error::SettingsAboveLimit) } else { Ok(cost) }
}

/// The rules for new passwords: `min_length` 8 to 64, `min_strength` 0 to 4.
pub fn rules() -> Rules {
    Rules { min_length: value(&MIN_LENGTH) as usize, min_strength: value(&MIN_STRENGTH) as u8 }
}
