//! The keyring, read once when the server starts and inherited by every process.

use std::ffi::CStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use password_verify_core::chain::ChainKey;
use password_verify_core::keyring::{Keyring, Why};
use pgrx::pg_sys;
use zeroize::Zeroizing;

use crate::settings;

static KEYRING: OnceLock<Option<Keyring>> = OnceLock::new();

/// Reads the file of `password_verify.keyring_file`, if it is set. A server that cannot does not start:
/// FATAL, with what is wrong with the file and never what is in it.
pub fn load() {
    let Some(path) = settings::keyring_file().filter(|path| !path.is_empty()) else {
        let _ = KEYRING.set(None);
        return;
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    match read(path) {
        Ok(keyring) => {
            let _ = KEYRING.set(Some(keyring));
        }
        Err(why) => super::ErrorReport::new(
            pg_sys::errcodes::PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            format!("password_verify.keyring_file: {why}"),
            super::log::ROUTINE,
        )
        .report(pgrx::PgLogLevel::FATAL),
    }
}

/// The key that new chains are made with, and its id.
pub fn active() -> (ChainKey, Option<String>) {
    match KEYRING.get() {
        Some(Some(keyring)) => {
            let (id, key) = keyring.active();
            (ChainKey::from(key), Some(id.to_owned()))
        }
        _ => (ChainKey::Plain, None),
    }
}

/// The key that a chain was made with; `None` when the keyring does not have it.
pub fn of_chain(id: Option<&str>) -> Option<ChainKey> {
    let Some(id) = id else { return Some(ChainKey::Plain) };
    KEYRING.get()?.as_ref()?.get(id).map(ChainKey::from)
}

fn read(path: &Path) -> Result<Keyring, String> {
    if !path.is_absolute() {
        return Err("the path must be absolute".into());
    }
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    // SAFETY: a C string of the postmaster, set before libraries are loaded.
    let data = unsafe { CStr::from_ptr(pg_sys::DataDir) }.to_string_lossy().into_owned();
    let data = Path::new(&data).canonicalize().map_err(|error| error.to_string())?;
    if real.starts_with(&data) {
        return Err(
            "the file must lie outside the data directory, or a base backup carries it".into()
        );
    }
    let file = fs::metadata(&real).map_err(|error| error.to_string())?;
    // The data directory belongs to the server's user, or PostgreSQL would not start.
    let me = fs::metadata(&data).map_err(|error| error.to_string())?.uid();
    // As PostgreSQL demands of an SSL key.
    let private = match file.uid() {
        owner if owner == me => file.mode() & 0o077 == 0,
        0 => file.mode() & 0o027 == 0,
        _ => return Err("the file must belong to the server's user or to root".into()),
    };
    if !file.is_file() || !private {
        return Err("the file must be private: 0600, or 0640 if root owns it".into());
    }
    let text = fs::read(&real).map(Zeroizing::new).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&text).map_err(|_| "not a text file".to_owned())?;
    Keyring::parse(text).map_err(|wrong| {
        let why = match wrong.why {
            Why::Malformed => "not of the form id:base64",
            Why::BadId => "an id has 1 to 32 of A-Z a-z 0-9 _ . -",
            Why::BadKey => "a key is 32 bytes in base64",
            Why::RepeatedId => "the id is there already",
            Why::Empty => return "the file has no keys".to_owned(),
        };
        format!("line {}: {why}", wrong.line)
    })
}
