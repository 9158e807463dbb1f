//! Hands a record renewed at a login to the worker: a login that wrote its user's row would lock it
//! until the application's transaction ends.

use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::{board, databases, renewals};

/// Queues a record for the worker, to replace the one whose stored text has that digest.
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
