//! Chooses, once at server start, the code path on which Argon2id is computed.

use std::sync::atomic::{AtomicUsize, Ordering};

use password_verify_argon2::{Path, self_test};

use crate::settings;

/// For the tests of this project: forces a path by its name. All paths give the same hashes.
const FORCED: &str = "PASSWORD_VERIFY_ARGON2_PATH";

/// The chosen index of [`Path::ALL`]. The postmaster sets it, and every backend inherits it.
static PATH: AtomicUsize = AtomicUsize::new(Path::ALL.len() - 1);

/// Chooses the fastest path that this processor supports and that passes its self-test. Logs the
/// choice and the memory of all slots. Called once, while the server preloads the library.
pub fn choose() {
    let forced = std::env::var(FORCED).ok().and_then(|name| Path::from_name(&name));
    let right = |&path: &Path| {
        let right = self_test(path);
        if !right {
            pgrx::warning!("the {} path of argon2id fails its self-test", path.name());
        }
        right
    };
    let path = forced.into_iter().chain(Path::available()).find(right).unwrap_or(Path::Portable);
    PATH.store(Path::ALL.iter().position(|it| *it == path).unwrap_or_default(), Ordering::Relaxed);
    let (slots, limit) = (settings::hash_slots(), settings::hash_memory_limit());
    pgrx::log!(
        "password_verify: {slots} hash slots of {limit} kB at most, {} kB in all; argon2id path {}",
        u64::from(slots) * u64::from(limit),
        path.name()
    );
}

pub fn path() -> Path {
    Path::ALL[PATH.load(Ordering::Relaxed)]
}
