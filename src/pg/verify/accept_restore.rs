//! `pv_accept_restore`: a superuser says that the tables are to be taken as they are.

use password_verify_core::rules::event::{Action, Outcome};

use super::tables;
use crate::error::{Error, Name};
use crate::gate::audit;
use crate::pg::heap::shape;
use crate::pg::server;
use crate::pg::session::{extension, transaction};
use crate::pg::shared::databases;

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 255;

/// Accepts the state of all tables as of now: the worker opens an epoch that says so, from which on the trail is
/// verified, and corrects what the anchor says of the sums. At once, whatever becomes of the caller's transaction.
///
/// # Errors
/// [`Error::Altered`] if the anchor cannot be read, which the next call will find replaced;
/// [`Error::HasChanges`], [`Error::NotSuperuser`], [`Error::Reason`], [`Error::NoKeyring`], [`Error::NotDeclared`], [`Error::ReadOnly`],
/// [`Error::AuditBusy`], [`Error::AuditNotWritten`].
pub fn request(reason: &str) -> Result<(), Error> {
    if !server::caller::is_superuser() {
        return Err(Error::NotSuperuser);
    }
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(Error::Reason);
    }
    server::require_writable()?;
    extension::require_not_new()?;
    transaction::require_no_id()?;
    let found = tables::run(|_| {})?;
    let Some(correction) = found.correction else {
        // The worker, which is asked to write another, knows what it held.
        databases::note_altered_again(shape::of(c"anchor")?.bit())?;
        return Err(Error::Altered(Name::of(c"anchor")));
    };
    let prepared = transaction::prepare()?;
    databases::accept(correction);
    let mut queued = audit::queued_event(Action::AcceptRestore, None, None);
    queued.put_text(reason);
    audit::wait_for(prepared.record_apart(queued, Outcome::Recorded))
}
