//! The passwords that no user may choose: a site's breached ones, and the built-in common ones.
//!
//! The postmaster reads the site's list at server start, and its children share that memory. After
//! a reload a worker reads the file again into shared memory, where all backends find it; the
//! previous list is released after its last use. The file is copied, never mapped, so that
//! truncating it cannot crash a backend.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

use password_verify_blocklist::{Damaged, Filter};
use password_verify_core::rules::policy::Password;
use password_verify_core::strength::common;
use pgrx::PgLogLevel;

use crate::pg::report::{ErrorReport, ROUTINE, SqlState};
use crate::pg::shared::blocklist;
use crate::pg::shared::file;
use crate::settings;

/// The list of the commonest passwords.
static COMMON: OnceLock<Filter<'static>> = OnceLock::new();
/// `crates/blocklist/common/README.md` describes its contents.
static COMMON_FILE: &[u8] = include_bytes!("../../crates/blocklist/common/common.filter");

/// The list that the postmaster has read, in use until a reload replaces it.
static INHERITED: Mutex<Inherited> = Mutex::new(Inherited { file: Vec::new(), signature: 0 });

struct Inherited {
    /// A filter; empty if there is no list.
    file: Vec<u8>,
    signature: u64,
}

/// How often a look-up starts over because a reload has just replaced the list.
const LOOKS: usize = 1000;

fn inherited() -> MutexGuard<'static, Inherited> {
    INHERITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn path() -> Option<PathBuf> {
    let path = settings::blocklist_file().filter(|path| !path.is_empty())?;
    Some(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).to_owned())
}

/// Changes when the path or the file behind it changes.
fn signature(path: &Path, file: &File) -> Result<u64, String> {
    let facts = file.metadata().map_err(|why| why.to_string())?;
    let mut hasher = DefaultHasher::new();
    (path, facts.dev(), facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec())
        .hash(&mut hasher);
    Ok(hasher.finish())
}

/// Reads the lists, once, while the server preloads the library. A list that cannot be read keeps
/// the server from starting.
pub fn load() {
    let refuse = |message: String| {
        ErrorReport::new(SqlState::ERRCODE_CONFIG_FILE_ERROR, message, ROUTINE)
            .report(PgLogLevel::FATAL);
    };
    match Filter::open(COMMON_FILE) {
        Ok(filter) => drop(COMMON.set(filter)),
        Err(why) => refuse(format!("the list of common passwords: {why}")),
    }
    let Some(path) = path() else { return };
    match read(&path) {
        Ok(read) => *inherited() = read,
        Err(why) => refuse(format!("password_verify.blocklist_file: {why}")),
    }
}

fn read(path: &Path) -> Result<Inherited, String> {
    let opened = File::open(path).map_err(|why| why.to_string())?;
    let signature = signature(path, &opened)?;
    let file = std::fs::read(path).map_err(|why| why.to_string())?;
    announce(&Filter::open(&file).map_err(|why| why.to_string())?);
    Ok(Inherited { file, signature })
}

fn announce(filter: &Filter) {
    let (entries, rate) = (filter.entries(), 1.0 / filter.false_positive_rate());
    pgrx::log!(
        "password_verify: {entries} breached passwords; one other in {rate:.0} is refused too"
    );
}

/// Runs in the postmaster when shared memory has been created, at start or after a crash, and the
/// list of the last reload is lost. Reads the file again if it has changed; if it cannot be read,
/// the list stays as it was.
pub fn begin_again() {
    let changed = path().and_then(|path| {
        let opened = File::open(&path).ok()?;
        (signature(&path, &opened).ok()? != inherited().signature).then(|| read(&path).ok())?
    });
    if let Some(changed) = changed {
        *inherited() = changed;
    }
    if path().is_none() {
        *inherited() = Inherited { file: Vec::new(), signature: 0 };
    }
    blocklist::published().begin(inherited().signature);
}

/// Runs in a worker after a reload. The first worker that sees another file publishes it. A broken
/// file is reported, and the previous list stays.
pub fn reload() {
    let place = blocklist::published();
    place.saw_reload();
    let Some(path) = path() else {
        if let Some(turn) = place.turn(0) {
            place.publish(turn, None).into_iter().for_each(file::release);
        }
        return;
    };
    if let Err(why) = take_over(&path) {
        // The next reload tries this file again.
        place.forget();
        if place.complaints.is_first_complaint(&why) {
            pgrx::warning!("password_verify.blocklist_file is not used as it is now: {why}");
        }
    }
}

/// Runs when a worker starts: catches up on a reload while there was no worker, or on a standby.
pub fn reload_if_missed() {
    if blocklist::published().missed_reload() {
        reload();
    }
}

fn take_over(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|why| why.to_string())?;
    let place = blocklist::published();
    let Some(turn) = place.turn(signature(path, &file)?) else { return Ok(()) };
    let made = file::make(&mut file, |bytes| {
        Filter::open(bytes).map(|filter| announce(&filter)).map_err(|why: Damaged| why.to_string())
    })?;
    // Release the previous list, or this one if another worker has published a later file.
    place.publish(turn, Some(made)).into_iter().for_each(file::release);
    Ok(())
}

/// Whether a list has the password. The list of common passwords, if it is in force, is also asked
/// for the undecorated forms of the password; the site's list only for the password itself.
pub fn contains(password: &Password) -> bool {
    let common = |text: &str| COMMON.get().is_some_and(|filter| filter.contains(text));
    is_breached(password)
        || settings::common_passwords() && common::is_common(password.expose(), common)
}

fn is_breached(password: &Password) -> bool {
    let look = |file: &[u8]| {
        // Invariant: the file was opened, and so verified, when it was read.
        Filter::reopen(file).is_ok_and(|filter| filter.contains(password.expose()))
    };
    for _ in 0..LOOKS {
        match blocklist::published().current() {
            None => return look(&inherited().file),
            Some(None) => return false,
            Some(Some(handle)) => {
                if let Some(found) = file::with(handle, look) {
                    return found;
                }
            }
        }
        pgrx::check_for_interrupts!();
    }
    let message = "the list of breached passwords is not there".to_owned();
    ErrorReport::new(SqlState::ERRCODE_INTERNAL_ERROR, message, ROUTINE).report(PgLogLevel::ERROR);
    true
}
