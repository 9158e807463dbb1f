//! How new passwords are hashed and which are accepted.

use password_verify_core::cost::{
    Cost, MAX_ITERATIONS, MAX_MEMORY_KIB, MAX_PARALLELISM, MIN_MEMORY_KIB,
};
use password_verify_core::policy::Rules;
use pgrx::guc::{GucFlags, GucSetting};

use super::{policy, value};
use crate::error::Error;

// RFC 9106 section 4, the second recommended option: t = 3, p = 4, m = 64 MiB.
static ARGON2_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(65536);
static ARGON2_ITERATIONS: GucSetting<i32> = GucSetting::<i32>::new(3);
static ARGON2_PARALLELISM: GucSetting<i32> = GucSetting::<i32>::new(4);
// NIST SP 800-63B-4 section 3.1.1.2: 15 where the password is the only factor.
static MIN_LENGTH: GucSetting<i32> = GucSetting::<i32>::new(15);
static MIN_STRENGTH: GucSetting<i32> = GucSetting::<i32>::new(3);

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
}

/// The parameters for new hashes.
///
/// # Errors
/// [`Error::SettingsTooWeak`] when the settings reach no OWASP row. Bounds of single settings cannot
/// say that, because it depends on two of them.
pub fn cost() -> Result<Cost, Error> {
    let [m, t, p] = [&ARGON2_MEMORY, &ARGON2_ITERATIONS, &ARGON2_PARALLELISM].map(value);
    Cost::new(m, t, p).ok().filter(|cost| cost.meets_owasp()).ok_or(Error::SettingsTooWeak)
}

/// The rules for new passwords. Bounds: `min_length` 8 to 64, `min_strength` 0 to 4.
pub fn rules() -> Rules {
    Rules { min_length: value(&MIN_LENGTH) as usize, min_strength: value(&MIN_STRENGTH) as u8 }
}
