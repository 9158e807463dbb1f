//! The records that this session's transaction has made, moved to another cost class, or deleted.
//!
//! They are counted only once the transaction has committed: otherwise an attacker could move
//! unknown users between classes with changes that are rolled back. Memory is bounded by the
//! nesting of savepoints, not by their number.

use std::cell::{Cell, RefCell};

use password_verify_core::decoys::cells::Move;
use password_verify_core::decoys::cost_class::{self, NO_CLASS};
use password_verify_core::decoys::recount::{Place, Span};
use pgrx::pg_sys;

use super::credential::Credential;
use crate::pg::server;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::class_counts::Tally;
use crate::pg::shared::class_counts::moves;
use crate::pg::shared::class_counts::recounts;
use crate::settings;

/// Distinct moves that one level of savepoints may have made. There are never more classes.
const AT_ONCE: usize = 64;

/// Equal moves.
struct Made {
    tally: Tally,
    /// Ranges of the places they left and entered.
    from: Span,
    to: Span,
}

thread_local! {
    /// In the order of their savepoints.
    static MADE: RefCell<Vec<(pg_sys::SubTransactionId, Made)>> = const { RefCell::new(Vec::new()) };
    /// Were there more moves than there is room for?
    static LOST: Cell<bool> = const { Cell::new(false) };
    /// Has this transaction announced that it is committing?
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// The cost class of a record as a template. `None` if there is no record, or it cannot be opened.
pub fn class_of(row: &Credential) -> Option<String> {
    row.unseal().ok().and_then(|text| cost_class::template(text.expose()))
}

/// Notes that a record at that place was replaced, as part of the transaction. `None`: there was no
/// record, or there is none now.
pub fn note(place: Place, from: Option<&str>, to: Option<&str>) {
    note_moved((place, from), (place, to));
}

/// Notes a record that also moves to another place, as one move and not as a deletion and an
/// insertion.
pub fn note_moved((left, from): (Place, Option<&str>), (came, to): (Place, Option<&str>)) {
    let key = |template: Option<&str>| template.map_or(NO_CLASS, cost_class::key);
    let current = settings::cost().map(cost_class::of_cost).ok();
    let ours = to.is_some() && to == current.as_deref();
    let made = Move { from: key(from), to: key(to), ours };
    if made.is_none() && left == came {
        return;
    }
    callbacks::at_end(&REGISTERED, on_transaction, on_savepoint);
    // SAFETY: a plain value of this process.
    let sub = unsafe { pg_sys::GetCurrentSubTransactionId() };
    let template = to.unwrap_or_default().to_owned();
    let tally = Tally { made, count: 1, template };
    MADE.with_borrow_mut(|all| {
        put(all, sub, Made { tally, from: Span::at(left), to: Span::at(came) });
    });
}

fn put(all: &mut Vec<(pg_sys::SubTransactionId, Made)>, sub: pg_sys::SubTransactionId, made: Made) {
    let level = all.iter().rposition(|(of, _)| *of < sub).map_or(0, |below| below + 1);
    let room = all.len() - level < AT_ONCE;
    match all[level..].iter_mut().find(|(_, other)| other.tally.made == made.tally.made) {
        Some((_, other)) => {
            other.tally.count = other.tally.count.saturating_add(made.tally.count);
            (other.from, other.to) = (other.from.join(made.from), other.to.join(made.to));
        }
        None if room => all.push((sub, made)),
        None => LOST.set(true),
    }
}

/// Assigns the moves of a released savepoint to its parent.
fn release(sub: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    MADE.with_borrow_mut(|all| {
        let level = all.iter().rposition(|(of, _)| *of < sub).map_or(0, |below| below + 1);
        for (_, made) in all.split_off(level) {
            put(all, parent, made);
        }
    });
}

static REGISTERED: Registered = Registered::new(false);

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => enter(),
        pg_sys::XactEvent::XACT_EVENT_COMMIT => report(),
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            MADE.take();
            LOST.set(false);
            leave();
        }
        _ => {}
    }
}

/// Runs before the changes become visible: a concurrent count of all records then waits until they
/// are reported.
fn enter() {
    if MADE.with_borrow(|all| !all.is_empty()) {
        ENTERED.set(recounts::enter(server::database()));
    }
}

fn report() {
    let (made, database) = (MADE.take(), server::database());
    // If they cannot all be reported, all records are counted again.
    let mut lost = LOST.take() || !made.is_empty() && !ENTERED.get();
    for (_, Made { tally, from, to }) in made {
        lost |= !moves::add(database, &tally, from, to);
    }
    if lost {
        recounts::lose(database, server::now());
    }
    leave();
}

fn leave() {
    if ENTERED.take() {
        recounts::leave(server::database());
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_savepoint(
    event: pg_sys::SubXactEvent::Type,
    sub: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => release(sub, parent),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            MADE.with_borrow_mut(|all| all.retain(|(of, _)| *of < sub));
        }
        _ => {}
    }
}
