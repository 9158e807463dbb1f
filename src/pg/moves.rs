//! Which records this session's transaction has made, moved from one class of cost to another, or deleted.
//!
//! Nobody counts them before the transaction has committed: whoever could move classes by what is rolled back
//! would move those of unknown users alone. Memory is bounded by how deep savepoints are nested, not by how many
//! there were.

use std::cell::{Cell, RefCell};

use password_verify_core::cost_class::{self, NO_CLASS};
use password_verify_core::decoy::Move;
use pgrx::pg_sys;

use super::credential::Credential;
use super::session;
use super::shared::moves::{self, Tally};
use crate::settings;

/// Different moves that one level of savepoints may have made. There are as many classes as that at most.
const AT_ONCE: usize = 64;

thread_local! {
    /// In the order of their savepoints.
    static MADE: RefCell<Vec<(pg_sys::SubTransactionId, Tally)>> = const { RefCell::new(Vec::new()) };
}

/// What computing a record costs. `None`: there is none, or it cannot be opened, which is its user's trouble.
pub fn class_of(row: &Credential) -> Option<String> {
    row.open().ok().and_then(|text| cost_class::template(text.expose()))
}

/// A record of one class has been replaced by one of another, as part of the transaction. `None`: there was
/// none, or there is none now.
pub fn note(from: Option<&str>, to: Option<&str>) {
    let key = |template: Option<&str>| template.map_or(NO_CLASS, cost_class::key);
    let current = settings::cost().map(cost_class::of_cost).ok();
    let ours = to.is_some() && to == current.as_deref();
    let made = Move { from: key(from), to: key(to), ours };
    if made.is_none() {
        return;
    }
    register_callbacks();
    // SAFETY: a plain value of this process.
    let sub = unsafe { pg_sys::GetCurrentSubTransactionId() };
    let template = to.unwrap_or_default().to_owned();
    MADE.with_borrow_mut(|all| put(all, sub, Tally { made, count: 1, template }));
}

fn put(
    all: &mut Vec<(pg_sys::SubTransactionId, Tally)>,
    sub: pg_sys::SubTransactionId,
    tally: Tally,
) {
    let level = all.iter().rposition(|(of, _)| *of < sub).map_or(0, |below| below + 1);
    let room = all.len() - level < AT_ONCE;
    match all[level..].iter_mut().find(|(_, other)| other.made == tally.made) {
        Some((_, other)) => other.count = other.count.saturating_add(tally.count),
        None if room => all.push((sub, tally)),
        None => {}
    }
}

/// A savepoint is released: what was done in it is part of the one around it.
fn release(sub: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    MADE.with_borrow_mut(|all| {
        let level = all.iter().rposition(|(of, _)| *of < sub).map_or(0, |below| below + 1);
        for (_, tally) in all.split_off(level) {
            put(all, parent, tally);
        }
    });
}

fn register_callbacks() {
    thread_local! {
        static REGISTERED: Cell<bool> = const { Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: plain functions of this library, which stays loaded.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_savepoint), std::ptr::null_mut());
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            for (_, tally) in MADE.take() {
                // Where there is no place for it, it is not counted.
                let _ = moves::add(session::database(), &tally);
            }
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => drop(MADE.take()),
        _ => {}
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
