//! Wakes the keepers. The notification has no content: it says that there is something to do, to whoever listens.

use pgrx::IntoDatum;
use pgrx::pg_sys;

/// On which keepers listen.
const CHANNEL: &str = "password_verify_jobs";

/// Sent when the transaction commits.
pub fn keepers() {
    // SAFETY: a function of PostgreSQL that takes two texts, called in a transaction.
    unsafe {
        let _: Option<()> =
            pgrx::direct_function_call(pg_sys::pg_notify, &[CHANNEL.into_datum(), "".into_datum()]);
    }
}
