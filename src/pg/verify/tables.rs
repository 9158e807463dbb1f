//! `pv_verify_credentials`: are the tables exactly what was written?
//!
//! Every row has a MAC of its own, and a row that is missing, repeated, or put back to what it once was shows in the
//! sum of its table, which the anchor holds. All of it is read in one snapshot: the worker writes a table and its sum
//! in one transaction, and what the changes of a session add to the sum of credentials is in
//! `password_verify.open_change` until it is in the anchor.

use std::ffi::CStr;
use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::trail::anchor::{Anchor, Sums};
use pgrx::PgMemoryContexts;

use crate::error::Error;
use crate::pg::heap::descent::Descents;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row;
use crate::pg::heap::row::Seen;
use crate::pg::heap::shape;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::whole::Whole;
use crate::pg::kept::jobs::JobRow;
use crate::pg::kept::results::ResultRow;
use crate::pg::kept::secrets::SecretRow;
use crate::pg::kept::table::Kept;
use crate::pg::kept::vaults::VaultRow;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::session::transaction;
use crate::pg::shared::central::Correction;
use crate::pg::shared::databases;
use crate::pg::tables::anchors::Anchors;
use crate::pg::tables::open_changes::OpenChanges;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::pg::worker::arrival;
use crate::settings;

/// A table, and the index by which its rows are found.
type Indexed = (&'static CStr, &'static CStr);

/// What the keeper keeps. Its rows are in one sum with credentials.
const KEPT: [Indexed; 4] = [
    (SecretRow::TABLE, SecretRow::INDEX),
    (JobRow::TABLE, JobRow::INDEX),
    (ResultRow::TABLE, ResultRow::INDEX),
    (VaultRow::TABLE, VaultRow::INDEX),
];

/// The tables that are added up, apart from `open_change`.
const TABLES: [Indexed; 5] = [
    (c"credential", c"credential_pkey"),
    (c"account", c"account_pkey"),
    (c"throttle", c"throttle_pkey"),
    (c"event_fold", c"event_fold_pkey"),
    (c"cost_class", c"cost_class_pkey"),
];
/// Sessions add to it, and the worker takes away: it is in no sum.
const FORGETTING: Indexed = (c"forgetting", c"forgetting_pkey");
const OPEN_CHANGE: Indexed = (c"open_change", c"open_change_pkey");

/// Those with a sum of their own, in the order of [`Sums::to_array`].
const OTHERS: [&CStr; 4] = [c"throttle", c"event_fold", c"open_change", c"cost_class"];

/// What does not hold, and of which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    pub table: &'static CStr,
    pub what: &'static str,
}

#[derive(Default)]
pub struct Report {
    /// Rows that are as they were written.
    pub rows: i64,
    /// The first problem of each kind and table.
    pub problems: Vec<Problem>,
    /// Is every row signed?
    sealed: bool,
    /// What the anchor would have to hold beside what it holds; `None` if it cannot be read.
    pub correction: Option<Correction>,
}

impl Report {
    /// Tells what was found: the log in words, and the worker, which writes an event.
    pub fn tell(&self) {
        for Problem { table, what } in &self.problems {
            let name = table.to_string_lossy();
            pgrx::log!("password_verify: table {name} is not as it was written: {what}");
            databases::note_altered(shape::of(table).map_or(0, shape::Shape::bit));
        }
        if self.is_sealed() {
            databases::note_sealed();
        }
    }

    /// Is every row signed, and as it was written?
    pub fn is_sealed(&self) -> bool {
        self.problems.is_empty() && self.sealed
    }

    /// Do the tables add up to what the anchor says?
    fn compare(&mut self, found: &Sums, anchor: &Anchor) {
        match anchor.adds_up(found.credentials) {
            Some(true) => {}
            Some(false) => self.add(c"credential", ROWS),
            None => self.add(c"credential", "a restore came in the middle of too many changes"),
        }
        let (found, expected) = (found.to_array(), anchor.sums.to_array());
        for (i, table) in OTHERS.into_iter().enumerate() {
            if found[i + 1] != expected[i + 1] {
                self.add(table, ROWS);
            }
        }
        let sums = std::array::from_fn(|i| found[i].wrapping_sub(expected[i]).to_be_bytes());
        self.correction = Some(Correction { sums, accepted: anchor.accepted });
    }

    fn add(&mut self, table: &'static CStr, what: &'static str) {
        let problem = Problem { table, what };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Waits for the worker, which looks first, and tells it what is found.
///
/// # Errors
/// [`Error::HasChanges`]; those of [`run`].
pub fn on_demand(progress: impl FnMut(i64)) -> Result<Report, Error> {
    transaction::require_unchanged()?;
    if !server::in_recovery() {
        let deadline = Instant::now() + settings::queue_timeout();
        databases::await_worker(databases::mine()?, deadline);
    }
    let report = run(progress)?;
    report.tell();
    Ok(report)
}

/// Reads every row of every table but the events. `progress` is called with the number of rows now and then.
///
/// # Errors
/// [`Error::NoKeyring`], [`Error::NotDeclared`]; [`Error::NotInstalled`]; [`Error::Locked`].
pub fn run(mut progress: impl FnMut(i64)) -> Result<Report, Error> {
    let of = BlindIndexKey::read()?.key.installation();
    let moment = Moment::now();
    let mut report = Report { sealed: true, ..Report::default() };
    let anchor = match Anchors::open(Access::Read)?.newest(Some(&moment)) {
        Err(error) if Anchors::is_of_the_row(error) => None,
        anchor => Some(anchor?.map(|(_, anchor)| anchor).ok_or_else(no_anchor)?),
    };
    let sums = TABLES.map(|table| add_up(table, of, &moment, &mut report, &mut progress));
    let [credential, account, throttle, event_fold, cost_class] = sums;
    let mut kept = 0u128;
    for table in KEPT {
        kept = kept.wrapping_add(add_up(table, of, &moment, &mut report, &mut progress)?);
    }
    add_up(FORGETTING, of, &moment, &mut report, &mut progress)?;
    let changes = OpenChanges::open(of, Access::Read)?;
    let open_change = add_up(OPEN_CHANGE, of, &moment, &mut report, &mut progress)?;
    // Committed as of the snapshot, and not in the anchor yet.
    let here = anchor.as_ref().is_some_and(|anchor| anchor.place == arrival::here());
    let (pending, unknown) = changes.committed_as_of(&moment, here)?;
    let found = Sums {
        credentials: credential?.wrapping_add(account?).wrapping_add(kept).wrapping_sub(pending),
        throttle: throttle?,
        event_fold: event_fold?,
        open_change,
        cost_class: cost_class?,
    };
    match anchor {
        Some(mut anchor) => {
            anchor.add_unknown(unknown);
            report.compare(&found, &anchor);
        }
        None => report.add(c"anchor", "it is not as the worker has written it"),
    }
    Ok(report)
}

/// Why there is no anchor.
pub fn no_anchor() -> Error {
    if keyring::is_there() { Error::NotDeclared } else { Error::NoKeyring }
}

/// How often progress is told.
const EVERY: i64 = 100_000;
const ROWS: &str = "rows are missing, repeated, or put back to what they once were";
const INDEX: &str = "its index does not lead to the rows that it has";
const FIRST: &str = "the row that belongs to nobody is missing";

fn add_up(
    (name, index): Indexed,
    of: Installation,
    moment: &Moment,
    report: &mut Report,
    progress: &mut impl FnMut(i64),
) -> Result<u128, Error> {
    let table = Table::open(name, of, Access::Read)?;
    let index = Index::open(index, &table)?;
    let by_time = JobRow::BY_TIME.filter(|_| name == JobRow::TABLE);
    let by_time =
        by_time.map(|(name, column)| Index::open_on(name, column, &table, lock::deadline()));
    let by_time = by_time.transpose()?;
    // SAFETY: the snapshot outlives the scan.
    let mut rows = unsafe { Whole::begin(&table, moment.snapshot()) };
    let (mut sum, mut memory) = (0u128, PgMemoryContexts::new("password_verify rows"));
    let mut has_first = !table.shape().has_first_row;
    // SAFETY: the snapshot outlives the scans.
    let begin = |index| unsafe { Descents::begin(&table, index, moment.snapshot()) };
    let (mut descents, mut by_time) = (begin(&index), by_time.as_ref().map(begin));
    loop {
        pgrx::check_for_interrupts!();
        let tuple = rows.next();
        if tuple.is_null() {
            break;
        }
        // SAFETY: a tuple of this table, valid until the next one is fetched.
        let seen = unsafe {
            descents.add(tuple);
            if let Some(by_time) = &mut by_time {
                by_time.add(tuple);
            }
            // What a row takes is given back before the next one.
            memory.reset();
            memory.switch_to(|_| row::seen(&table, tuple))?
        };
        sum = sum.wrapping_add(seen.share());
        match seen {
            Seen::Genuine(_) | Seen::Older(_) | Seen::Unsigned => {
                report.sealed &= !matches!(seen, Seen::Unsigned);
                report.rows += 1;
                if report.rows % EVERY == 0 {
                    progress(report.rows);
                }
            }
            Seen::First => has_first = true,
            Seen::NoKey => report.add(name, "the keyring lacks the key of a row"),
            Seen::Missing => report.add(name, "a row was made without a key"),
            Seen::Altered => report.add(name, "a row was changed or moved"),
        }
    }
    if !has_first {
        report.add(name, FIRST);
    }
    // Whoever edits catalogs can have rows where nobody looks for them.
    if !descents.all_found() || !by_time.is_none_or(Descents::all_found) {
        report.add(name, INDEX);
    }
    Ok(sum)
}
