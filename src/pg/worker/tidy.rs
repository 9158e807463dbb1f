//! Cleaning up between two batches, a slice at a time: expired budgets and epochs of the audit
//! trail. Progress is kept in shared memory, so the next worker continues. No event is deleted
//! before another event has announced its removal.
//!
//! It goes on however much there is to write: otherwise a server that is never idle would keep all
//! events for ever. So what logins wait for is bounded: one [`Part`] is done every [`EVERY`], and
//! each is a slice of 25 ms or of [`ROWS`] rows.

use std::time::{Duration, Instant};

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::clock;
use password_verify_core::rules::event::{Action, Event, Outcome};
use password_verify_core::trail::anchor::Sums;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::shared::{databases, queue};
use crate::pg::tables::events::Events;
use crate::pg::tables::folds::Folds;
use crate::pg::tables::forgetting::Forgetting;
use crate::pg::tables::keyed::RowKey;
use crate::pg::tables::open_changes::OpenChanges;
use crate::pg::tables::throttle::Throttle;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::pg::vault::cost_classes::CostClasses;
use crate::settings;

/// How often a part is done; also the delay before the first. Several times in the shortest turn of
/// a worker for which other databases wait.
pub const EVERY: Duration = Duration::from_millis(50);
/// A slice ends after this time: logins wait for it.
const LONGEST: Duration = Duration::from_millis(25);
/// Rows examined in one slice of a pass.
const ROWS: usize = 2000;
/// Events deleted in one slice, of which there are ten a second: see [`Tidy::events`].
const EVENTS: u64 = 1000;
/// How long events are left alone that could not be deleted. Microseconds.
const PAUSE: i64 = 10_000_000;
/// How long the table of budgets is left alone after a complete pass. Microseconds.
const REST: i64 = 600_000_000;
/// The longest epoch: retention removes whole ones. Microseconds.
const DAY: i64 = 86_400_000_000;

/// The tables of a pass: [`renew`] numbers them.
const TABLES: u8 = 5;

/// A slice of a pass, and what it adds to the sums of the tables.
pub struct Slice {
    /// The table in which the next slice begins, and after which row.
    table: u8,
    last: Option<RowKey>,
    pub sums: Sums,
    signing_with: [u8; 8],
}

/// What is done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Events are deleted whose removal is announced.
    Events,
    /// Tables that only the worker writes.
    Pass,
    /// Records are counted by their costs.
    Recount,
    /// Results that nobody has acknowledged.
    Sweep,
    /// An epoch ends, or its removal is announced.
    Epochs,
}

/// In turn.
const PARTS: [Part; 8] = [
    Part::Events,
    Part::Pass,
    Part::Events,
    Part::Recount,
    Part::Events,
    Part::Sweep,
    Part::Events,
    Part::Epochs,
];

pub struct Tidy {
    number: usize,
    last: Instant,
}

impl Tidy {
    /// For the database in this slot of shared memory.
    pub fn new(number: usize) -> Self {
        Self { number, last: Instant::now() }
    }

    /// The part that is due, if one is. The next one is due [`EVERY`] from now; where the worker of a
    /// crowded server leaves, the next one goes on.
    pub fn due(&mut self) -> Option<Part> {
        if self.last.elapsed() < EVERY {
            return None;
        }
        self.last = Instant::now();
        let mut turn = 0;
        databases::hand_over(self.number, |left| {
            turn = usize::from(left.turn);
            left.turn = left.turn.wrapping_add(1);
        });
        Some(PARTS[turn % PARTS.len()])
    }

    /// How long an epoch lasts: a quarter of the retention, or a day if that is less, which is how
    /// exact the retention is. Microseconds.
    pub fn epoch_length(&self) -> i64 {
        settings::audit_retention().map_or(DAY, |kept| (kept / 4).min(DAY))
    }

    /// One slice of a pass over the tables that only the worker writes: deletes budgets that time alone has brought
    /// to rest (one that is in the cache is stored again with its next change), signs what was signed with an older
    /// key, and deletes what is not as it was written if a restore has been accepted. `None` if nothing is due. A
    /// million budgets take four minutes.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn pass(&self, now: i64, of: Installation) -> Result<Option<Slice>, Error> {
        let left = databases::handed_over(self.number);
        // If the clock was set back, the rest lasts no longer than it should.
        if left.tidy_again_at > now && left.tidy_again_at - now <= REST {
            return Ok(None);
        }
        // Before anything is signed: a key that comes meanwhile is not the one of this pass.
        let active = keyring::active_fingerprint();
        let begins = (left.tidying, left.tidied_to) == (0, [0; 16]);
        if begins {
            BlindIndexKey::sign_again()?;
        }
        let mut after = (left.tidied_to != [0; 16]).then_some(left.tidied_to);
        let (mut sums, mut table) = (Sums::default(), left.tidying);
        loop {
            let (last, added) = renew(table, of, after, left.discard, now)?;
            sums = sums.plus(added);
            (after, table) = (last, if last.is_some() { table } else { table + 1 });
            if last.is_some() || table == TABLES {
                let signing_with = if begins { active } else { left.signing_with };
                return Ok(Some(Slice { table, last, sums, signing_with }));
            }
        }
    }

    /// A slice is committed.
    pub fn passed(&self, slice: &Slice, now: i64) {
        databases::hand_over(self.number, |left| {
            left.signing_with = slice.signing_with;
            left.tidied_to = slice.last.unwrap_or_default();
            left.tidying = slice.table % TABLES;
            if slice.table == TABLES {
                (left.signed_with, left.discard) = (slice.signing_with, false);
                left.tidy_again_at = now + REST;
            }
        });
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
        let Ok(opening) = next.event else { return Ok(None) };
        if opening.at > now.saturating_sub(kept) || !self.trusts_clock(&events, now, current)? {
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
    /// Deletes twice as many as have come since the last slice, so that it keeps up with whatever the
    /// worker writes (if the disk lets it, in [`LONGEST`]), and while nothing waits to be written up to
    /// [`EVENTS`].
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn events(&self) -> Result<Deleted, Error> {
        let left = databases::handed_over(self.number);
        let events = Events::open(Access::Write)?;
        let ((mut epoch, mut seq), began) = (left.pruned_to, Instant::now());
        let least = left.came.saturating_mul(2);
        let (mut budget, mut deleted) = (least.max(EVENTS), 0);
        loop {
            let mut rows = events.of_epoch_before(epoch, seq);
            while budget > 0 {
                let Some(mut row) = rows.next()? else { break };
                let waits = deleted >= least && deleted % 16 == 0 && queue::has_work(self.number);
                if waits || began.elapsed() > LONGEST {
                    // The last one.
                    budget = 1;
                }
                deleted += 1;
                events.delete(&mut row)?;
                (seq, budget) = (row.seq, budget - 1);
            }
            if budget == 0 {
                return Ok(Deleted { to: (epoch, seq), all: false });
            }
            if epoch <= left.oldest {
                return Ok(Deleted { to: (epoch, seq), all: true });
            }
            match events.before(epoch).next()? {
                Some(row) => (epoch, seq) = (row.epoch, row.seq.saturating_add(1)),
                None => return Ok(Deleted { to: (epoch, seq), all: true }),
            }
        }
    }

    /// Are there events to delete now?
    pub fn has_events(&self, now: i64) -> bool {
        let left = databases::handed_over(self.number);
        left.pruned_before > left.oldest && clock::time_until(left.prune_again_at, now, PAUSE) == 0
    }

    /// The deletions of [`Tidy::events`] are committed; `None`: they have failed.
    pub fn deleted(&self, deleted: Option<Deleted>, now: i64) {
        let Some(Deleted { to, all }) = deleted else {
            return databases::hand_over(self.number, |left| left.prune_again_at = now + PAUSE);
        };
        databases::hand_over(self.number, |left| {
            (left.pruned_to, left.came) = (to, 0);
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

/// A slice of one table: the last row that was looked at, and what its sum grows by.
fn renew(
    table: u8,
    of: Installation,
    after: Option<RowKey>,
    discard: bool,
    now: i64,
) -> Result<(Option<RowKey>, Sums), Error> {
    let mut sums = Sums::default();
    let last = match table {
        0 => {
            let folds = Folds::open(of, Access::Write)?;
            let last = folds.renew(after, ROWS, discard)?;
            sums.event_fold = folds.added();
            last
        }
        1 => {
            let changes = OpenChanges::open(of, Access::Write)?;
            let last = changes.renew(after, ROWS, discard)?;
            sums.open_change = changes.added();
            last
        }
        2 => {
            let classes = CostClasses::open(of, Access::Write)?;
            let last = classes.renew(after, ROWS, discard)?;
            sums.cost_class = classes.added();
            last
        }
        3 => Forgetting::open(of, Access::Write)?.renew(after, ROWS, discard)?,
        _ => {
            let throttle = Throttle::open(of, Access::Write)?;
            let last = throttle.renew(after, ROWS, discard, now)?;
            sums.throttle = throttle.added();
            last
        }
    };
    Ok((last, sums))
}
