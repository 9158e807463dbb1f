//! What a worker does between two batches, a little at a time. Where it has got to outlives the worker.

use std::time::{Duration, Instant};

use password_verify_core::event::{Action, Event, Outcome};

use super::journal::Journal;
use super::ledger::Ledger;
use super::session;
use super::shared::databases;
use super::table::Access;
use crate::error::Error;
use crate::settings;

/// How often, and how soon for the first time.
const EVERY: Duration = Duration::from_millis(500);
/// Rows looked at, or deleted, each time.
const ROWS: usize = 2000;
/// How long budgets are left alone after all have been looked at. Microseconds.
const REST: i64 = 600_000_000;
/// No epoch is longer: retention removes whole ones. Microseconds.
const DAY: i64 = 86_400_000_000;

/// The time of the last round.
pub struct Tidy {
    number: usize,
    last: Instant,
}

impl Tidy {
    /// For the database at that place.
    pub fn new(number: usize) -> Self {
        Self { number, last: Instant::now() }
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
    pub fn budgets(&self, now: i64) -> Result<(), Error> {
        let legacy = databases::legacy(self.number);
        // After a step of the clock nothing rests for longer than it should.
        if legacy.tidy_again_at > now && legacy.tidy_again_at - now <= REST {
            return Ok(());
        }
        let ledger = Ledger::open(Access::Write)?;
        let rows = ledger.after(Some(legacy.tidied_to), ROWS)?;
        let last = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| *key);
        for (key, rests_at) in rows {
            if rests_at <= now {
                ledger.write(key, None)?;
            }
        }
        databases::bequeath(self.number, |legacy| {
            legacy.tidied_to = last.unwrap_or_default();
            legacy.tidy_again_at = if last.is_some() { 0 } else { now + REST };
        });
        Ok(())
    }

    /// Is all of the oldest epoch older than the retention? Then an event says that it goes, before the
    /// first row of it does. The first epoch that stays, and the event.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn announce(&self, now: i64, current: i64) -> Result<Option<(i64, Event)>, Error> {
        let Some(kept) = settings::audit_retention() else { return Ok(None) };
        let journal = Journal::open(Access::Read)?;
        let Some(oldest) = journal.all().next()?.map(|row| row.epoch) else { return Ok(None) };
        if oldest >= current || oldest < databases::legacy(self.number).pruned_before {
            return Ok(None);
        }
        let Some(next) = journal.since(oldest + 1).next()? else { return Ok(None) };
        if next.event?.at > now.saturating_sub(kept) {
            return Ok(None);
        }
        let mut event = Event::new(session::now(), Action::Prune, Outcome::Recorded);
        event.detail = Some(prune_detail(next.epoch));
        Ok(Some((next.epoch, event)))
    }

    /// It is on record that epochs before this one go.
    pub fn announced(&self, before: i64) {
        databases::bequeath(self.number, |legacy| legacy.pruned_before = before);
    }

    /// Deletes rows of epochs that are on record as removed, the newest of them first: what is left
    /// meanwhile is still a chain from its beginning.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn events(&self) -> Result<(), Error> {
        let before = databases::legacy(self.number).pruned_before;
        if before == 0 {
            return Ok(());
        }
        let journal = Journal::open(Access::Write)?;
        let mut rows = journal.before(before);
        for _ in 0..ROWS {
            match rows.next()? {
                Some(mut row) => journal.delete(&mut row),
                None => break,
            }
        }
        Ok(())
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
