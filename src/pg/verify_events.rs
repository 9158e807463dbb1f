//! `pv_verify_events`: is the audit what was written?

use password_verify_core::chain::{Broken, Chain, Head, Opening};
use password_verify_core::event::Action;

use super::journal::{Journal, Row};
use super::keyring;
use super::table::Access;
use super::tidy::pruned_before;
use crate::error::Error;

/// What was found.
#[derive(Default)]
pub struct Report {
    /// Rows that are as they were written.
    pub events: i64,
    /// The first that is not: epoch and sequence number.
    pub at: Option<(i64, i64)>,
    /// What is wrong with it.
    pub problem: Option<&'static str>,
    /// The last row that is as it was written.
    pub head: Option<Head>,
}

/// Reads every row and stops at the first that is changed, missing or inserted.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn run() -> Result<Report, Error> {
    let journal = Journal::open(Access::Read)?;
    let first = first_epoch(&journal)?;
    let mut report = Report::default();
    let mut chain: Option<Chain> = None;
    let mut rows = journal.all();
    while let Some(row) = rows.next()? {
        pgrx::check_for_interrupts!();
        // On its way out: retention has announced it, and deletes it a little at a time.
        if row.epoch < first {
            continue;
        }
        if let Err(problem) = check(&row, &mut chain, first) {
            (report.at, report.problem) = (Some((row.epoch, row.seq)), Some(problem));
            return Ok(report);
        }
        report.events += 1;
        report.head = chain.as_ref().map(Chain::head);
    }
    Ok(report)
}

/// The first epoch that should be there. Where somebody says so falsely, that row is found later.
fn first_epoch(journal: &Journal) -> Result<i64, Error> {
    let mut first = 1;
    let mut rows = journal.all();
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

fn check(row: &Row, chain: &mut Option<Chain>, first: i64) -> Result<(), &'static str> {
    let Ok(event) = &row.event else { return Err("changed") };
    let head = chain.as_ref().map(Chain::head);
    if head.is_none_or(|head| head.epoch != row.epoch) {
        let opening = event.detail.as_deref().filter(|_| event.action == Action::Epoch);
        let Some(opening) = opening.and_then(Opening::parse) else {
            return Err("rows before this one are missing");
        };
        match head {
            Some(head) if opening.previous != Some(head) => {
                return Err("rows before this one are missing");
            }
            None if row.epoch != first => return Err("rows before this one are missing"),
            _ => {}
        }
        let Some(key) = keyring::of_chain(opening.key.as_deref()) else {
            return Err("the keyring does not have the key of this epoch");
        };
        *chain = Some(Chain::open(key, row.epoch));
    }
    match chain.as_mut().map(|chain| chain.check(row.seq, event, &row.mac)) {
        Some(Ok(())) => Ok(()),
        Some(Err(Broken::Missing)) => Err("rows before this one are missing"),
        _ => Err("changed"),
    }
}
