//! Cleaning up between two batches, a slice at a time: expired budgets and epochs of the audit
//! trail. Progress is kept in shared memory, so the next worker continues. No event is deleted
//! before another event has announced its removal.

use std::time::{Duration, Instant};

use password_verify_core::rules::clock;
use password_verify_core::rules::event::{Action, Event, Outcome};

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::shared::databases;
use crate::pg::tables::events::Events;
use crate::pg::tables::throttle::Throttle;
use crate::settings;

/// How often a slice runs; also the delay before the first.
const EVERY: Duration = Duration::from_millis(500);
/// Rows examined or deleted in one slice.
const ROWS: usize = 2000;
/// How long the table of budgets is left alone after a complete pass. Microseconds.
const REST: i64 = 600_000_000;
/// The longest epoch: retention removes whole ones. Microseconds.
const DAY: i64 = 86_400_000_000;

pub struct Tidy {
    number: usize,
    last: Instant,
}

impl Tidy {
    /// For the database in this slot of shared memory.
    pub fn new(number: usize) -> Self {
        Self { number, last: Instant::now() }
    }

    /// Is a slice due? If so, the next one is due [`EVERY`] from now.
    pub fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= EVERY;
        if due {
            self.last = Instant::now();
        }
        due
    }

    /// How long an epoch lasts: a quarter of the retention, or a day if that is less, which is how
    /// exact the retention is. Microseconds.
    pub fn epoch_length(&self) -> i64 {
        settings::audit_retention().map_or(DAY, |kept| (kept / 4).min(DAY))
    }

    /// Deletes budgets that time alone has brought to rest. One that is in the cache is stored
    /// again with its next change.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn budgets(&self, now: i64) -> Result<(), Error> {
        let left = databases::handed_over(self.number);
        // If the clock was set back, the rest lasts no longer than it should.
        if left.tidy_again_at > now && left.tidy_again_at - now <= REST {
            return Ok(());
        }
        let throttle = Throttle::open(Access::Write)?;
        let rows = throttle.after(Some(left.tidied_to), ROWS)?;
        let last = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| *key);
        for (key, rests_at) in rows {
            if rests_at <= now {
                throttle.write(key, None)?;
            }
        }
        databases::hand_over(self.number, |left| {
            left.tidied_to = last.unwrap_or_default();
            left.tidy_again_at = if last.is_some() { 0 } else { now + REST };
        });
        Ok(())
    }

    /// If the whole oldest epoch is older than the retention, returns the first epoch to keep and
    /// the event that must announce the removal before any row is deleted.
    ///
    /// Costs two look-ups: the scan starts after the rows already removed, however long the index
    /// keeps them.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn announce(&self, now: i64, current: i64) -> Result<Option<(i64, Event)>, Error> {
        let Some(kept) = settings::audit_retention() else { return Ok(None) };
        let left = databases::handed_over(self.number);
        if left.pruned_before > left.oldest {
            return Ok(None);
        }
        let events = Events::open(Access::Read)?;
        let Some(first) = events.since(left.oldest).next()? else { return Ok(None) };
        let oldest = first.epoch;
        databases::hand_over(self.number, |left| left.oldest = oldest);
        if oldest >= current {
            return Ok(None);
        }
        let Some(next) = events.since(oldest + 1).next()? else { return Ok(None) };
        if next.event?.at > now.saturating_sub(kept) || !self.trusts_clock(&events, now, current)? {
            return Ok(None);
        }
        let mut event = Event::new(server::now(), Action::Prune, Outcome::Recorded);
        event.detail = Some(prune_detail(next.epoch));
        Ok(Some((next.epoch, event)))
    }

    /// Do the times in the audit trail support the clock? If not, the log says so once.
    fn trusts_clock(&self, events: &Events, now: i64, current: i64) -> Result<bool, Error> {
        let openings = (1..=current).rev().map(|epoch| {
            let row = events.since(epoch).next()?;
            // An event that cannot be read is no reason to remove anything.
            Ok(row.and_then(|row| row.event.ok()).map_or(i64::MAX, |event| event.at))
        });
        let plausible = clock::is_plausible::<Error>(now, self.epoch_length(), openings)?;
        let told = databases::handed_over(self.number).doubted;
        if told == plausible {
            databases::hand_over(self.number, |left| left.doubted = !plausible);
        }
        if !plausible && !told {
            pgrx::log!(
                "password_verify: nothing is removed from the audit for now, because its times have a gap: there were no logins for long, or the clock was set forward"
            );
        }
        Ok(plausible)
    }

    /// The event announcing the removal of epochs before this one is committed.
    pub fn announced(&self, before: i64) {
        databases::hand_over(self.number, |left| {
            (left.pruned_before, left.pruned_to) = (before, (before, 0));
        });
    }

    /// Deletes rows of epochs whose removal was announced, newest first, so that what remains is
    /// always a chain from its beginning. Continues where the last slice stopped and skips deleted
    /// rows, which an old snapshot can keep in the index. Returns how far it has come.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn events(&self) -> Result<Option<Deleted>, Error> {
        let left = databases::handed_over(self.number);
        if left.pruned_before <= left.oldest {
            return Ok(None);
        }
        let events = Events::open(Access::Write)?;
        let ((mut epoch, mut seq), mut budget) = (left.pruned_to, ROWS);
        loop {
            let mut rows = events.of_epoch_before(epoch, seq);
            while budget > 0 {
                let Some(mut row) = rows.next()? else { break };
                events.delete(&mut row)?;
                (seq, budget) = (row.seq, budget - 1);
            }
            if budget == 0 {
                return Ok(Some(Deleted { to: (epoch, seq), all: false }));
            }
            if epoch <= left.oldest {
                return Ok(Some(Deleted { to: (epoch, seq), all: true }));
            }
            match events.before(epoch).next()? {
                Some(row) => (epoch, seq) = (row.epoch, row.seq.saturating_add(1)),
                None => return Ok(Some(Deleted { to: (epoch, seq), all: true })),
            }
        }
    }

    /// The deletions of [`Tidy::events`] are committed.
    pub fn deleted(&self, deleted: Option<Deleted>) {
        let Some(Deleted { to, all }) = deleted else { return };
        databases::hand_over(self.number, |left| {
            left.pruned_to = to;
            if all {
                left.oldest = left.pruned_before;
            }
        });
    }
}

/// How far the deletion of announced epochs has come.
pub struct Deleted {
    to: (i64, i64),
    all: bool,
}

/// The detail of the event that announces a removal.
pub fn prune_detail(epochs_before: i64) -> String {
    format!(r#"{{"epochs_before":{epochs_before}}}"#)
}

/// Parses such a detail: epochs before the returned one have been removed.
pub fn pruned_before(detail: &str) -> Option<i64> {
    detail.strip_prefix(r#"{"epochs_before":"#)?.strip_suffix('}')?.parse().ok()
}
