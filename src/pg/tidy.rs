//! What a worker does between two batches, a little at a time.

use std::time::{Duration, Instant};

use password_verify_core::event::{Action, Event, Outcome};

use super::journal::Journal;
use super::keyed::Key;
use super::ledger::Ledger;
use super::table::Access;
use crate::error::Error;
use crate::settings;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// Rows looked at, or deleted, each time.
const ROWS: usize = 1000;
/// No epoch is longer: retention removes whole ones. Microseconds.
const DAY: i64 = 86_400_000_000;

/// Where it has got to.
pub struct Tidy {
    last: Instant,
    budget: Option<Key>,
    /// The epoch whose end is on record.
    announced: Option<i64>,
}

impl Tidy {
    pub fn new() -> Self {
        Self { last: Instant::now(), budget: None, announced: None }
    }

    /// Is it time? From now on, not before the next time.
    pub fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }

    /// How long an epoch lasts, so that retention is exact to a quarter, or to a day. Microseconds.
    pub fn epoch_length(&self) -> i64 {
        settings::audit_retention().map_or(DAY, |kept| (kept / 4).min(DAY))
    }

    /// Deletes budgets that have come to rest by time alone. One that is in the cache meanwhile is
    /// written again with its next change.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn budgets(&mut self, now: i64) -> Result<(), Error> {
        let ledger = Ledger::open(Access::Write)?;
        let rules = settings::throttle();
        let rows = ledger.after(self.budget, ROWS)?;
        self.budget = rows.last().filter(|_| rows.len() == ROWS).map(|(key, ..)| *key);
        for (key, kind, budget) in rows {
            if kind.is_some_and(|kind| budget.at_rest(kind, now, &rules)) {
                ledger.write(key, None)?;
            }
        }
        Ok(())
    }

    /// Deletes the oldest epoch when all of it is older than the retention. An event says so: before
    /// the first row of it is deleted.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn events(&mut self, now: i64, current: i64) -> Result<Option<Event>, Error> {
        let Some(kept) = settings::audit_retention() else { return Ok(None) };
        let journal = Journal::open(Access::Write)?;
        let mut rows = journal.all();
        let Some(mut row) = rows.next()? else { return Ok(None) };
        let oldest = row.epoch;
        if oldest >= current {
            return Ok(None);
        }
        let Some(next) = journal.from(oldest + 1, 0).next()? else { return Ok(None) };
        if next.event?.at > now.saturating_sub(kept) {
            return Ok(None);
        }
        if self.announced.replace(oldest) != Some(oldest) {
            let mut event = Event::new(now, Action::Prune, Outcome::Recorded);
            event.detail = Some(prune_detail(oldest + 1));
            return Ok(Some(event));
        }
        for _ in 0..ROWS {
            journal.delete(&mut row);
            match rows.next()? {
                Some(next) if next.epoch == oldest => row = next,
                _ => break,
            }
        }
        Ok(None)
    }
}

/// What the event says that comes before rows are removed.
pub fn prune_detail(epochs_before: i64) -> String {
    format!(r#"{{"epochs_before":{epochs_before}}}"#)
}

/// Epochs before this one have been removed.
pub fn pruned_before(detail: &str) -> Option<i64> {
    detail.strip_prefix(r#"{"epochs_before":"#)?.strip_suffix('}')?.parse().ok()
}
