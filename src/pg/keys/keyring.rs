//! The keyring, whose keys are peppers: it is read when the server starts, inherited by every
//! process, and read again after a reload.
//!
//! Only workers react to a reload: they check the file and count the reload in shared memory. A
//! session that sees a new count reads the file before it uses a key.

use std::ffi::CString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use password_verify_core::kept::keyring::{Key, KeyId, Keyring};
use password_verify_core::kept::row_mac::RowKeys;
use password_verify_core::kept::seal::{self, Binding, NotOpened, Sealed};
use password_verify_core::rules::secret::Secret;
use password_verify_core::trail::chain::ChainKey;
use pgrx::pg_sys;

use super::{key_file, unsealed};
use crate::error::{Error, RecordNumber};
use crate::pg::report::{ErrorReport, ROUTINE};
use crate::pg::shared::reloads;
use crate::{salt, settings};

/// The keys, and what is derived from them once.
pub struct Ring {
    keys: Keyring,
    pub rows: RowKeys,
}

impl Ring {
    fn new(keys: Keyring) -> Arc<Self> {
        Arc::new(Self { rows: RowKeys::new(&keys), keys })
    }
}

struct State {
    ring: Option<Arc<Ring>>,
    /// The number of the reload after which it was read.
    reload: u64,
    /// The file that was read last in vain.
    in_vain: Option<Stamp>,
}

/// Which file it is, and when it was changed: inode, and seconds and nanoseconds.
type Stamp = (u64, i64, i64);

static STATE: Mutex<State> = Mutex::new(State { ring: None, reload: 0, in_vain: None });

fn state() -> std::sync::MutexGuard<'static, State> {
    // This process has one thread, so no other can have panicked with the lock held; the content is
    // replaced as a whole.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the keyring named by the settings. If that fails, the server does not start: FATAL, with
/// the reason but never the content. Called once, while the server preloads the library.
pub fn load() {
    let ring = match (file(), command()) {
        (None, None) => {
            pgrx::log!("password_verify: no keyring, so passwords are stored unsealed");
            return;
        }
        (Some(path), None) => key_file::read(&path).map_err(|why| ("keyring_file", why)),
        (None, Some(command)) => key_file::run(&command).map_err(|why| ("keyring_command", why)),
        (Some(_), Some(_)) => Err(("keyring_file", "keyring_command is set as well".into())),
    };
    match ring {
        Ok(keys) => {
            state().ring = Some(Ring::new(keys));
            super::unsealed::warn();
        }
        Err((setting, why)) => ErrorReport::new(
            pg_sys::errcodes::PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            format!("password_verify.{setting}: {why}"),
            ROUTINE,
        )
        .report(pgrx::PgLogLevel::FATAL),
    }
}

fn file() -> Option<PathBuf> {
    let path = settings::keyring_file().filter(|path| !path.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

fn command() -> Option<CString> {
    settings::keyring_command().filter(|command| !command.is_empty())
}

/// Reads the keyring again in the postmaster, because shared memory and its count of reloads were
/// reset after a crash.
pub fn begin_again() {
    let _ = read_again(0);
}

/// Checks the file after a reload, in a worker. An invalid file is logged once.
pub fn announce() {
    let Some(path) = file() else { return };
    match key_file::read(&path) {
        Ok(_) => reloads::keyring().announce(),
        Err(why) if reloads::keyring().is_first_complaint(&why) => {
            pgrx::warning!("password_verify.keyring_file is not used as it is now: {why}");
        }
        Err(_) => {}
    }
}

/// Reads the file again; false if there is none or it is invalid, which keeps the previous keyring.
fn read_again(reload: u64) -> bool {
    let mut state = state();
    state.reload = reload;
    let Some(ring) = file().and_then(|path| key_file::read(&path).ok()) else { return false };
    state.ring = Some(Ring::new(ring));
    true
}

/// The keyring, if there is one.
pub fn current() -> Option<Arc<Ring>> {
    let reload = reloads::keyring().count();
    if state().reload != reload {
        read_again(reload);
    }
    state().ring.clone()
}

/// Is there a keyring?
pub fn is_there() -> bool {
    current().is_some()
}

/// Id, `$` and fingerprint of every key.
pub fn ids() -> Vec<String> {
    let Some(ring) = current() else { return Vec::new() };
    ring.keys.all().map(|(id, key)| format!("{id}${}", seal::fingerprint(key))).collect()
}

/// What is wrong with the file as it is now, in words, if the keyring comes from one.
pub fn problem() -> Option<String> {
    key_file::read(&file()?).err()
}

/// The keyring after another look at the file, for a key that may be there by now. A file that is what it was is not
/// read again: there may be a million rows with that key.
pub fn again() -> Option<Arc<Ring>> {
    let stamp = |file: Metadata| (file.ino(), file.ctime(), file.ctime_nsec());
    let stamp = file().and_then(|path| path.metadata().ok()).map(stamp)?;
    if state().in_vain.replace(stamp) == Some(stamp) {
        return None;
    }
    read_again(reloads::keyring().count()).then(current).flatten()
}

/// Does the keyring have the key that sealed this text?
pub fn has_key_of(text: &str) -> bool {
    let has = |sealed: &Sealed| {
        current().is_some_and(|ring| {
            let key = ring.keys.get(sealed.key_id);
            key.is_some_and(|key| sealed.is_of(sealed.key_id, key))
        })
    };
    Sealed::parse(text).as_ref().is_some_and(has)
}

/// The key for new chains, and its id.
pub fn active() -> (ChainKey, Option<String>) {
    active_as(|key| ChainKey::from(key))
}

/// The key of an existing chain; `None` if the keyring lacks it.
pub fn of_chain(id: Option<&str>) -> Option<ChainKey> {
    named_as(id, |key| ChainKey::from(key))
}

/// The key that signs lines of the log, and its id.
pub fn active_for_log() -> (ChainKey, Option<String>) {
    active_as(ChainKey::for_log)
}

/// The key that signed a line; `None` if the keyring lacks it.
pub fn of_log(id: Option<&str>) -> Option<ChainKey> {
    named_as(id, ChainKey::for_log)
}

fn active_as(share: fn(&Key) -> ChainKey) -> (ChainKey, Option<String>) {
    match current() {
        Some(ring) => {
            let (id, key) = ring.keys.active();
            (share(key), Some(id.to_owned()))
        }
        None => (ChainKey::Plain, None),
    }
}

fn named_as(id: Option<&str>, share: fn(&Key) -> ChainKey) -> Option<ChainKey> {
    let Some(id) = id else { return Some(ChainKey::Plain) };
    current()?.keys.get(id).map(share)
}

/// Seals with the active key. Without a keyring, returns the text as it is.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn seal(secret: &Secret, label: &str, binding: &Binding) -> Result<Secret, Error> {
    Ok(Secret::new(match current() {
        Some(ring) => seal::seal(secret, label, binding, ring.keys.active(), salt::random()?),
        None => secret.expose().to_owned(),
    }))
}

/// Is the text sealed with the key that [`fn@seal`] would use? Without a keyring: is it unsealed?
pub fn is_current(text: &str) -> bool {
    match (current(), Sealed::parse(text)) {
        (None, None) => true,
        (Some(ring), Some(sealed)) => {
            let (id, key) = ring.keys.active();
            sealed.is_of(id, key)
        }
        _ => false,
    }
}

/// Id and fingerprint of the key that [`fn@seal`] uses.
pub fn active_seal() -> Option<(String, String)> {
    let ring = current()?;
    let (id, key) = ring.keys.active();
    Some((id.to_owned(), seal::fingerprint(key)))
}

/// The fingerprint of the key that signs rows; zeros without a keyring.
pub fn active_fingerprint() -> [u8; 8] {
    current().map_or([0; 8], |ring| seal::fingerprint_bytes(ring.keys.active().1))
}

/// Opens what [`fn@seal`] returned. Before it reports a missing key, it reads the file once more.
///
/// # Errors
/// [`Error::UnknownKey`], [`Error::OtherKey`]; [`Error::Corrupt`] for a text that was altered or
/// moved, or is not sealed although there is a keyring ([`unsealed::is_accepted`]).
pub fn unseal(text: &str, binding: &Binding, number: RecordNumber) -> Result<Secret, Error> {
    if !seal::is_sealed(text) {
        let may_be = current().is_none() || unsealed::is_accepted();
        return if may_be { Ok(Secret::new(text.to_owned())) } else { Err(Error::Corrupt(number)) };
    }
    let sealed = Sealed::parse(text).ok_or(Error::Corrupt(number))?;
    let mut opened = sealed.open(binding, current().as_ref().map(|ring| &ring.keys));
    let missing = matches!(opened, Err(NotOpened::UnknownKey | NotOpened::OtherKey));
    if missing && let Some(ring) = again() {
        opened = sealed.open(binding, Some(&ring.keys));
    }
    let id = KeyId::new(sealed.key_id).ok_or(Error::Corrupt(number))?;
    opened.map_err(|why| match why {
        NotOpened::UnknownKey => Error::UnknownKey(id),
        NotOpened::OtherKey => Error::OtherKey(id),
        NotOpened::Broken => Error::Corrupt(number),
    })
}
