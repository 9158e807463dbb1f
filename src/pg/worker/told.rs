//! What the server log is told of committed events.
//!
//! Lines are written after the commit, in the order of the rows. A worker that is killed in between leaves rows without a
//! line: the next one begins with these. It knows them by the place up to which there are lines; or, where the server has
//! been restarted meanwhile, as the rows of the last transaction, because none begins before the lines of the one before
//! are written. So every event has a line, and some have two.

use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::Head;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::session::log;
use crate::pg::shared::central::HandOver;
use crate::pg::shared::databases;
use crate::pg::tables::events::Events;
use crate::settings;

/// More rows than one transaction of a worker writes. One that has restored a dump wrote all of them.
const MOST: usize = 10_000;

/// Logs what a transaction has written, which ends at `head`.
pub fn tell(number: usize, database: &str, events: &[(Event, Head)], head: Head) {
    for (event, place) in events {
        if !event.alert.is_empty() {
            log::alert(database, event);
        }
        if settings::log_events() {
            log::event(database, event, *place);
        }
    }
    databases::hand_over(number, |left| left.told_to = (head.epoch, head.seq));
}

/// Logs events again that the last worker may not have logged.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn tell_again(
    number: usize,
    left: &HandOver,
    database: &str,
    restored: bool,
) -> Result<(), Error> {
    // What was restored is in the log of the server on which it happened.
    if !settings::log_events() || restored {
        return Ok(());
    }
    let events = Events::open(Access::Read)?;
    let (mut rows, mut last, mut found) = (events.newest_first(), None, Vec::new());
    while found.len() < MOST
        && let Some(row) = rows.next()?
    {
        let is_known = match left.epoch {
            0 => *last.get_or_insert(row.writer) != row.writer,
            _ => (row.epoch, row.seq) <= left.told_to,
        };
        if is_known {
            break;
        }
        let place = row.head();
        found.extend(row.event.map(|event| (event, place)));
    }
    drop(rows);
    found.iter().rev().for_each(|(event, place)| log::event(database, event, *place));
    if let Some((_, newest)) = found.first() {
        databases::hand_over(number, |left| left.told_to = (newest.epoch, newest.seq));
    }
    Ok(())
}
