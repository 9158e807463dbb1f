//! Deletes what the keeper keeps no longer: results that nobody has acknowledged in time, and jobs that have long been
//! over. A slice at a time, between two batches; progress is kept in shared memory. A million results take four minutes.
//!
//! Sessions write these tables, too: a row that one of them holds is left for the next pass.

use std::time::{Duration, Instant};

use password_verify_core::trail::anchor::Sums;

use super::anchored::Anchored;
use super::apart::{Attempt, attempt};
use super::served::Served;
use crate::pg::kept::Room;
use crate::pg::kept::results::DELIVERED_AT;
use crate::pg::keys::keyring;
use crate::pg::shared::{databases, unlocked};
use crate::pg::vault::shares;
use crate::settings;

/// A slice ends after this time: logins wait for it.
const LONGEST: Duration = Duration::from_millis(25);
/// How long the tables are left alone after a complete pass. Microseconds.
const REST: i64 = 600_000_000;

/// One slice, if one is due. A failure ends the pass, and has no other effect: the tables may be locked, or damaged.
pub fn slice(served: Served, number: usize, now: i64, anchored: &mut Option<Anchored>) {
    unlocked::sweep();
    let left = databases::handed_over(number);
    // If the clock was set back, the rest lasts no longer than it should.
    let rests = left.sweep_again_at > now && left.sweep_again_at - now <= REST;
    if rests || !keyring::is_there() {
        return;
    }
    let after = (left.swept_to != [0; 16]).then_some(left.swept_to);
    let swept = attempt(served, "results cannot be deleted", || {
        shares::take();
        let (room, began) = (Room::at_once_to_write()?, Instant::now());
        let (all, enough) = (room.all()?, || began.elapsed() > LONGEST);
        let oldest = now.saturating_sub(settings::result_retention());
        let last = all.results.sweep(after, (DELIVERED_AT, oldest), enough)?;
        if last.is_none() {
            all.delete_ended(&room, oldest, enough)?;
        }
        let sums = Sums { credentials: shares::take(), ..Sums::default() };
        Ok((last, Anchored::add_any(anchored.as_ref(), sums)?))
    });
    let last = match swept {
        Attempt::Done((last, now_anchored)) => {
            *anchored = now_anchored.or(anchored.take());
            last
        }
        Attempt::Locked | Attempt::Failed => None,
    };
    databases::hand_over(number, |left| {
        left.swept_to = last.unwrap_or_default();
        if last.is_none() {
            left.sweep_again_at = now + REST;
        }
    });
}
