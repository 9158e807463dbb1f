//! A record that was made anew at a login, left for the worker to write: a login that wrote its user's row
//! would hold it until the application's transaction ends.

use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::{board, databases, renewals};

/// Leaves a record for the worker, to be stored instead of the one with that digest.
///
/// # Errors
/// [`Error::TooManyDatabases`].
pub fn renewal(user: &UserId, replaces: [u8; 32], text: &Secret) -> Result<(), Error> {
    let database = databases::mine()?;
    if renewals::offer(server::database(), user, replaces, text) {
        databases::want_worker(database);
        board::of(database).work.broadcast();
    }
    Ok(())
}
