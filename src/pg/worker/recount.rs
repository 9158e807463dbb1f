//! Counts all records by cost class, a slice at a time: once after the server starts, once a day,
//! and whenever reports of moved records were lost. See [`password_verify_core::decoys::recount`].
//!
//! A record takes 20 to 40 microseconds, so a million take half a minute of processor time, in 500
//! to 2,000 slices, five in two seconds: a quarter of an hour at most on a server with constant logins. A
//! worker that has nothing else to do leaves after five slices, and the next one continues. A login
//! waits for one slice at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use password_verify_core::decoys::cost_class::{self, ClassKey, NO_CLASS};
use password_verify_core::decoys::recount::{Counted, Place};
use password_verify_core::kept::row_mac::Installation;
use password_verify_core::trail::anchor::Sums;
use pgrx::pg_sys;

use super::anchored::Anchored;
use super::apart::{Attempt, attempt};
use super::served::Served;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::scan::{Scan, Seek};
use crate::pg::heap::uncounted::Uncounted;
use crate::pg::shared;
use crate::pg::shared::class_counts::recounts;
use crate::pg::vault::class_moves::class_of;
use crate::pg::vault::cost_classes::CostClasses;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;
use crate::settings;

/// What fails, for the log.
const COUNTED: &str = "records cannot be counted";
/// Records in a slice.
const ROWS: usize = 2000;
/// A slice ends after this time, however many records it has read.
const LONGEST: Duration = Duration::from_millis(25);
/// Where other sessions move records all the time, a slice is short enough to fit between two
/// moves.
const FEWEST: usize = 50;

/// How many records the next slice reads.
pub struct Recount {
    rows: usize,
}

impl Default for Recount {
    fn default() -> Self {
        Self { rows: ROWS }
    }
}

impl Recount {
    /// Counts one slice, if one is due. A failure discards the count and has no other effect.
    pub fn slice(
        &mut self,
        served: Served,
        database: pg_sys::Oid,
        of: Installation,
        now: i64,
        anchored: &mut Option<Anchored>,
    ) {
        if let Some((tallies, found, unread)) = recounts::result(database) {
            let cost = settings::cost().ok();
            let today = cost.map_or(NO_CLASS, |cost| cost_class::key(&cost_class::of_cost(cost)));
            let stored = attempt(served, COUNTED, || {
                let classes = CostClasses::open_by(of, Access::Write, Instant::now())?;
                classes.correct(&tallies, &found, unread, today)?;
                added(anchored.as_ref(), &classes)
            });
            match stored {
                Attempt::Done(now_anchored) => {
                    *anchored = now_anchored.or(anchored.take());
                    shared::class_counts::moves::counted(database, &tallies);
                    recounts::finish(database, now);
                }
                Attempt::Locked => {}
                Attempt::Failed => recounts::finish(database, now),
            }
            return;
        }
        let Some(slice) = recounts::begin(database, now) else { return };
        let seen = attempt(served, COUNTED, || {
            let (counted, templates) = look(slice.after, self.rows)?;
            let classes = CostClasses::open_by(of, Access::Write, Instant::now())?;
            classes.follow(templates)?;
            Ok((counted, added(anchored.as_ref(), &classes)?))
        });
        match seen {
            Attempt::Done((counted, now_anchored)) => {
                *anchored = now_anchored.or(anchored.take());
                let taken = recounts::take(database, slice, &counted);
                let rows = if taken { self.rows * 2 } else { self.rows / 2 };
                self.rows = rows.clamp(FEWEST, ROWS);
            }
            Attempt::Locked => {}
            Attempt::Failed => recounts::finish(database, now),
        }
    }
}

fn added(anchored: Option<&Anchored>, classes: &CostClasses) -> Result<Option<Anchored>, Error> {
    Anchored::add_any(anchored, Sums { cost_class: classes.added(), ..Sums::default() })
}

/// Reads up to `rows` records after a place: their counts, and one template of each class.
fn look(after: Place, rows: usize) -> Result<(Counted, BTreeMap<ClassKey, String>), Error> {
    let store = Store::open_by(Access::Read, Instant::now())?;
    let _uncounted = Uncounted::reads(&store.table, &store.index);
    let (mut counted, mut templates) = (Counted::default(), BTreeMap::new());
    // SAFETY: the snapshot of this transaction, which is active until it ends.
    let mut scan = unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        Scan::begin(&store.table, &store.index, snapshot, after, Seek::After)
    };
    let began = Instant::now();
    for looked_at in 0..rows {
        if looked_at >= FEWEST && began.elapsed() > LONGEST {
            break;
        }
        pgrx::check_for_interrupts!();
        let tuple = scan.next();
        if tuple.is_null() {
            counted.last = None;
            break;
        }
        // SAFETY: a tuple of this table, valid until the scan moves on.
        let (number, template) = match unsafe { Credential::read(&store.table, tuple) } {
            Ok(row) => (row.number, class_of(&row)),
            Err(Error::Corrupt(number)) => (number, None),
            Err(error) => return Err(error),
        };
        counted.last = Some(number);
        let Some(template) = template else {
            counted.unread += 1;
            continue;
        };
        let key = cost_class::key(&template);
        *counted.records.entry(key).or_default() += 1;
        templates.entry(key).or_insert(template);
    }
    Ok((counted, templates))
}
