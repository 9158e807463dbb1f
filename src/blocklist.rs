//! The list of breached passwords, read when the server starts and shared by every process.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use password_verify_blocklist::Filter;
use password_verify_core::policy::Password;
use pgrx::PgLogLevel;

use crate::pg::{ErrorReport, SqlState};
use crate::settings;

static FILTER: OnceLock<Filter<'static>> = OnceLock::new();

/// Reads the file of `password_verify.blocklist_file`, if it is set. A server that cannot does not start.
/// Called once, while the server preloads the library.
///
/// It is read, not mapped: the processes that the postmaster forks share its memory as they would share a
/// mapping, and somebody who cuts the file short takes nobody down with it.
pub fn load() {
    let Some(path) = settings::blocklist_file().filter(|path| !path.is_empty()) else { return };
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let opened = std::fs::read(path).map_err(|why| why.to_string()).and_then(|bytes| {
        // For as long as the server runs.
        Filter::open(bytes.leak()).map_err(|why| why.to_string())
    });
    match opened {
        Ok(filter) => {
            let (entries, rate) = (filter.entries(), 1.0 / filter.false_positive_rate());
            pgrx::log!(
                "password_verify: {entries} breached passwords; one other in {rate:.0} is refused too"
            );
            let _ = FILTER.set(filter);
        }
        Err(why) => ErrorReport::new(
            SqlState::ERRCODE_CONFIG_FILE_ERROR,
            format!("password_verify.blocklist_file: {why}"),
            crate::pg::log::ROUTINE,
        )
        .report(PgLogLevel::FATAL),
    }
}

/// Is it on the list? Never, without one.
pub fn contains(password: &Password) -> bool {
    FILTER.get().is_some_and(|filter| filter.contains(password.expose()))
}
