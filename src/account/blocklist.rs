//! The lists of passwords that nobody may choose: a site's of breached ones, and one of the commonest, which is
//! part of the library.
//!
//! The site's is read by the postmaster when the server starts, and its processes share that memory as they
//! would share a mapping. After a reload a worker reads it again, into a piece of shared memory that every
//! session looks at from then on, old and new ones alike: nobody reads it for themselves, and the one before is
//! gone when the last look at it is over. It is copied, never mapped: whoever cuts the file short takes nobody
//! down with it.

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
use crate::pg::shared::list;
use crate::pg::shared::published;
use crate::settings;

/// The commonest passwords, as they are looked up.
static COMMON: OnceLock<Filter<'static>> = OnceLock::new();
/// `crates/blocklist/common/README.md` says what is in it.
static COMMON_FILE: &[u8] = include_bytes!("../../crates/blocklist/common/common.filter");

/// What the postmaster has read, for whom there was no reload since.
static INHERITED: Mutex<Inherited> = Mutex::new(Inherited { file: Vec::new(), signature: 0 });

struct Inherited {
    /// A filter, or empty.
    file: Vec<u8>,
    signature: u64,
}

/// How often a list is looked for that a reload has just replaced. Each time takes another reload.
const LOOKS: usize = 1000;

fn inherited() -> MutexGuard<'static, Inherited> {
    INHERITED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn path() -> Option<PathBuf> {
    let path = settings::blocklist_file().filter(|path| !path.is_empty())?;
    Some(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).to_owned())
}

/// Tells one file from another, and from what it was before.
fn signature(path: &Path, file: &File) -> Result<u64, String> {
    let facts = file.metadata().map_err(|why| why.to_string())?;
    let mut hasher = DefaultHasher::new();
    (path, facts.dev(), facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec())
        .hash(&mut hasher);
    Ok(hasher.finish())
}

/// Reads the lists. A server that cannot does not start. Called once, while the server preloads the library.
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

/// Shared memory was made, or made anew after a crash, and what a reload has put there is gone. In the
/// postmaster, which then reads what a reload would have read; what it cannot read it leaves as it was.
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
    published::blocklist().begin(inherited().signature);
}

/// Somebody has asked for a reload. In a worker; the first one that sees another file takes it over. A broken
/// one is complained of, and the list before it stays.
pub fn reload() {
    let place = published::blocklist();
    place.saw_reload();
    let Some(path) = path() else {
        if let Some(turn) = place.turn(0) {
            place.publish(turn, None).into_iter().for_each(list::release);
        }
        return;
    };
    if let Err(why) = take_over(&path) {
        // The next reload tries again.
        place.forget();
        if place.complaints.is_first_complaint(&why) {
            pgrx::warning!("password_verify.blocklist_file is not used as it is now: {why}");
        }
    }
}

/// A worker begins: was there a reload while there was none, or before the server was promoted?
pub fn reload_if_missed() {
    if published::blocklist().missed_reload() {
        reload();
    }
}

fn take_over(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|why| why.to_string())?;
    let place = published::blocklist();
    let Some(turn) = place.turn(signature(path, &file)?) else { return Ok(()) };
    let made = list::make(&mut file, |bytes| {
        Filter::open(bytes).map(|filter| announce(&filter)).map_err(|why: Damaged| why.to_string())
    })?;
    // The one before it, or this one where another worker has taken over a later file meanwhile.
    place.publish(turn, Some(made)).into_iter().for_each(list::release);
    Ok(())
}

/// Is it on one of the lists? Of the commonest passwords, if they are refused, however it is dressed up; of
/// the site's, if there is one, as it is.
pub fn contains(password: &Password) -> bool {
    let common = |text: &str| COMMON.get().is_some_and(|filter| filter.contains(text));
    is_breached(password)
        || settings::common_passwords() && common::is_common(password.expose(), common)
}

fn is_breached(password: &Password) -> bool {
    let look = |file: &[u8]| {
        // Invariant: opened, and so verified, when it was read.
        Filter::reopen(file).is_ok_and(|filter| filter.contains(password.expose()))
    };
    for _ in 0..LOOKS {
        match published::blocklist().current() {
            None => return look(&inherited().file),
            Some(None) => return false,
            Some(Some(handle)) => {
                if let Some(found) = list::with(handle, look) {
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
