//! Sources of a keyring: a private file, or the output of a command. Their content never appears in
//! an error.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use password_verify_core::kept::keyring::{Keyring, Why};
use pgrx::pg_sys;
use zeroize::Zeroizing;

/// Reads `password_verify.keyring_file`.
///
/// # Errors
/// What is wrong with the file, in words; never its content.
pub fn read(path: &Path) -> Result<Keyring, String> {
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
    // The same rule as PostgreSQL's for an SSL key.
    let private = match file.uid() {
        owner if owner == me => file.mode() & 0o077 == 0,
        0 => file.mode() & 0o027 == 0,
        _ => return Err("the file must belong to the server's user or to root".into()),
    };
    if !file.is_file() || !private {
        return Err("the file must be private: 0600, or 0640 if root owns it".into());
    }
    parse(&Zeroizing::new(fs::read(&real).map_err(|error| error.to_string())?))
}

/// Runs `password_verify.keyring_command` in a shell and parses its output. Its standard error goes
/// to the server log.
///
/// # Errors
/// Those of [`read`]; an exit status other than 0.
pub fn run(command: &CString) -> Result<Keyring, String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(OsStr::from_bytes(command.to_bytes())).stdin(Stdio::null());
    let output = shell.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(format!("the command failed: {}", output.status));
    }
    parse(&printed)
}

fn parse(text: &[u8]) -> Result<Keyring, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not a text".to_owned())?;
    Keyring::parse(text).map_err(|wrong| {
        let why = match wrong.why {
            Why::Malformed => "not of the form id:base64",
            Why::BadId => "an id has 1 to 32 of A-Z a-z 0-9 _ . -",
            Why::BadKey => "a key is 32 bytes in base64",
            Why::RepeatedId => "the id is there already",
            Why::Empty => return "there are no keys".to_owned(),
        };
        format!("line {}: {why}", wrong.line)
    })
}
