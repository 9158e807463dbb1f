//! What the server log is told of committed events.
//!
//! Lines are written after the commit, in the order of the rows. A worker that is killed in between leaves rows without a
//! line: the next one begins with these. It knows them by the place up to which there are lines; or, where the server has
//! been restarted meanwhile, as the rows of the last transaction, because none begins before the lines of the one before
//! are written. So every event has a line, and some have two.

use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::{Chain, Head};

use super::arrival;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::keys::keyring;
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

/// Logs events again that the last worker may not have logged. Only what is as it was written: a line is signed.
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
    let (mut rows, mut found, mut last) = (events.newest_first(), Vec::new(), None);
    let mut newest = None;
    while let Some(row) = rows.next()? {
        let head = row.head();
        newest = newest.or(Some((row.writer, head)));
        let is_known = match (left.epoch, newest) {
            (0, Some((writer, _))) => row.writer != writer,
            _ => (row.epoch, row.seq) <= left.told_to,
        };
        if is_known || found.len() == MOST {
            last = Some(head);
            break;
        }
        found.push(row);
    }
    drop(rows);
    for row in found.into_iter().rev() {
        let head = row.head();
        let Some((event, user)) = row.covered() else { break };
        let Some(mut chain) = chain_before(&events, head, last)? else { break };
        if chain.check(head.seq, event, user.as_ref(), &head.mac).is_err() {
            break;
        }
        log::event(database, event, head);
        last = Some(head);
    }
    if let Some((_, head)) = newest {
        databases::hand_over(number, |left| left.told_to = (head.epoch, head.seq));
    }
    Ok(())
}

/// The chain that ends before a row; `last`: the row before it. `None`: there is no such chain, or its key is not there.
fn chain_before(events: &Events, row: Head, last: Option<Head>) -> Result<Option<Chain>, Error> {
    let Some(opening) = arrival::opening_of(events, row.epoch)? else { return Ok(None) };
    let Some(key) = keyring::of_chain(opening.key.as_deref()) else { return Ok(None) };
    let last = last.filter(|last| last.epoch == row.epoch);
    Ok(match last {
        _ if row.seq == 0 => Some(Chain::open(key, row.epoch)),
        Some(last) => Some(Chain::resume(key, row.epoch, last.seq.wrapping_add(1), last.mac)),
        None => None,
    })
}
