//! `pv_verify_events`: is the audit trail exactly what was written?

use std::time::Instant;

use password_verify_core::rules::event::Action;
use password_verify_core::trail::chain::{Broken, Chain, Head, Opening};

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::shared::databases;
use crate::pg::tables::events::{EventRow, Events, Moment};
use crate::pg::worker::tidy::pruned_before;
use crate::settings;

#[derive(Default)]
pub struct Report {
    /// Rows that are intact.
    pub events: i64,
    /// The first row that is not intact: epoch and sequence number.
    pub at: Option<(i64, i64)>,
    pub problem: Option<&'static str>,
    /// The last intact row.
    pub head: Option<Head>,
}

struct Epoch {
    chain: Chain,
    keyed: bool,
}

/// Reads every row and stops at the first that was changed, removed or inserted.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn run() -> Result<Report, Error> {
    if !server::in_recovery() {
        let deadline = Instant::now() + settings::queue_timeout();
        databases::await_worker(databases::mine()?, deadline);
    }
    let events = Events::open(Access::Read)?;
    let moment = Moment::now();
    let first = first_epoch(&events, &moment)?;
    let mut report = Report::default();
    let mut chain: Option<Epoch> = None;
    let mut rows = events.all_as_of(&moment);
    while let Some(row) = rows.next()? {
        pgrx::check_for_interrupts!();
        if let Err(problem) = check(&row, &mut chain, first) {
            (report.at, report.problem) = (Some((row.epoch, row.seq)), Some(problem));
            return Ok(report);
        }
        report.events += 1;
        report.head = chain.as_ref().map(|chain| chain.chain.head());
    }
    // With a keyring, the worker requested above has opened an epoch with a key.
    if let Some(newest) = chain
        && !newest.keyed
        && keyring::active().1.is_some()
    {
        report.at = Some((newest.chain.head().epoch, 0));
        report.problem = Some("the newest epoch has no key although there is a keyring");
    }
    Ok(report)
}

/// The first epoch that should exist. A forged announcement moves it, but the row itself fails the
/// check later.
fn first_epoch(events: &Events, moment: &Moment) -> Result<i64, Error> {
    let mut first = 1;
    let mut rows = events.all_as_of(moment);
    while let Some(row) = rows.next()? {
        if let Ok(event) = row.event
            && event.action == Action::Prune
            && let Some(before) = event.detail.as_deref().and_then(pruned_before)
        {
            first = first.max(before);
        }
    }
    Ok(first)
}

fn check(row: &EventRow, chain: &mut Option<Epoch>, first: i64) -> Result<(), &'static str> {
    let Ok(event) = &row.event else { return Err("changed") };
    let head = chain.as_ref().map(|epoch| epoch.chain.head());
    if head.is_none_or(|head| head.epoch != row.epoch) {
        let opening = event.detail.as_deref().filter(|_| event.action == Action::Epoch);
        let Some(opening) = opening.and_then(Opening::parse) else {
            return Err("rows before this one are missing");
        };
        match head {
            // Retention deletes an announced epoch gradually, from its end.
            Some(head) if head.epoch >= first && opening.previous != Some(head) => {
                return Err("rows before this one are missing");
            }
            None if row.epoch > first || first == 1 && row.epoch != 1 => {
                return Err("rows before this one are missing");
            }
            _ => {}
        }
        let keyed = opening.key.is_some();
        if !keyed
            && chain.as_ref().is_some_and(|before| before.keyed)
            && keyring::active().1.is_some()
        {
            return Err("an epoch without a key follows one with a key");
        }
        let Some(key) = keyring::of_chain(opening.key.as_deref()) else {
            return Err("the keyring does not have the key of this epoch");
        };
        *chain = Some(Epoch { chain: Chain::open(key, row.epoch), keyed });
    }
    match chain.as_mut().map(|epoch| epoch.chain.check(row.seq, event, &row.mac)) {
        Some(Ok(())) => Ok(()),
        Some(Err(Broken::Missing)) => Err("rows before this one are missing"),
        _ => Err("changed"),
    }
}
