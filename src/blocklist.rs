//! The lists of passwords that nobody may choose: a site's of breached ones, read when the server starts, and
//! one of the commonest, which is part of the library. Shared by every process.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use password_verify_blocklist::Filter;
use password_verify_core::common;
use password_verify_core::policy::Password;
use pgrx::PgLogLevel;

use crate::pg::{ErrorReport, SqlState};
use crate::settings;

static FILTER: OnceLock<Filter<'static>> = OnceLock::new();

/// The commonest passwords, as they are looked up.
static COMMON: OnceLock<Filter<'static>> = OnceLock::new();
/// `crates/blocklist/common/README.md` says what is in it.
static COMMON_FILE: &[u8] = include_bytes!("../crates/blocklist/common/common.filter");

/// Reads the file of `password_verify.blocklist_file`, if it is set. A server that cannot does not start.
/// Called once, while the server preloads the library.
///
/// It is read, not mapped: the processes that the postmaster forks share its memory as they would share a
/// mapping, and somebody who cuts the file short takes nobody down with it.
pub fn load() {
    match Filter::open(COMMON_FILE) {
        Ok(filter) => drop(COMMON.set(filter)),
        Err(why) => ErrorReport::new(
            SqlState::ERRCODE_INTERNAL_ERROR,
            format!("the list of common passwords: {why}"),
            crate::pg::log::ROUTINE,
        )
        .report(PgLogLevel::FATAL),
    }
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

/// Is it on one of the lists? Of the commonest passwords, if they are refused, however it is dressed up; of
/// the site's, if there is one, as it is.
pub fn contains(password: &Password) -> bool {
    let listed = |list: &OnceLock<Filter>, text: &str| {
        list.get().is_some_and(|filter| filter.contains(text))
    };
    listed(&FILTER, password.expose())
        || settings::common_passwords()
            && common::is_common(password.expose(), |text| listed(&COMMON, text))
}
