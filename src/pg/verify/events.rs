//! `pv_verify_events`: is the audit trail exactly what was written?

use std::time::Instant;

use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::trail::anchor::Anchor;
use password_verify_core::trail::chain::Head;

use super::tables::no_anchor;
use super::walk::{Report, Walk};
use crate::error::Error;
use crate::gate::audit;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::session::transaction;
use crate::pg::shared::databases;
use crate::pg::tables::anchors::Anchors;
use crate::pg::tables::events::Events;
use crate::settings;

/// Reads every row and stops at the first that was changed, removed or inserted. With the head that somebody has
/// kept elsewhere, it begins there.
///
/// # Errors
/// [`Error::NotDeclared`], [`Error::NotInstalled`].
pub fn run(kept: Option<Head>) -> Result<Report, Error> {
    if !server::in_recovery() {
        let deadline = Instant::now() + settings::queue_timeout();
        databases::await_worker(databases::mine()?, deadline);
    }
    let events = Events::open(Access::Read)?;
    // Of one moment: the worker writes events, what it says of them, and where they end in one transaction.
    let moment = Moment::now();
    let anchor = match anchor(&moment) {
        Err(error) if Anchors::is_of_the_row(error) => {
            let problem = Some("the anchor is not as the worker has written it");
            return Ok(Report { problem, ..Report::default() });
        }
        anchor => anchor?,
    };
    Walk::run(anchor.as_ref(), kept, &events, &moment)
}

/// Puts on record who has had the whole audit verified, and what came of it, unless the transaction may only read. Whoever
/// asks whether the audit is as it was written gets the answer also if that cannot be recorded.
pub fn record(report: &Report) {
    if server::require_writable().is_err() {
        return;
    }
    let recorded = transaction::prepare().and_then(|prepared| {
        let mut queued = audit::queued_event(Action::Verify, None, None);
        queued.put_text(report.problem.unwrap_or_default());
        audit::wait_for(prepared.record_apart(queued, Outcome::Recorded))
    });
    if recorded.is_err() {
        pgrx::warning!("it could not be recorded that the audit was verified");
    }
}

/// The anchor; `None` without a keyring.
fn anchor(moment: &Moment) -> Result<Option<Anchor>, Error> {
    if !keyring::is_there() {
        return Ok(None);
    }
    let newest = Anchors::open(Access::Read)?.newest(Some(moment))?;
    newest.map(|(_, anchor)| Some(anchor)).ok_or_else(no_anchor)
}
