//! Redacted copies of texts that queries are executed with, freed when the query ends. A function in SQL
//! that is called for every row of a query would otherwise leave one for each call.

use core::ffi::c_char;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use pgrx::pg_sys;

/// How many there are, so that a query that has none is told without more.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Queries, each with its copy. A query that an error has ended stays here until another one is
    /// started at the same place, and its copy was freed with its memory context.
    static COPIES: RefCell<Vec<(usize, *const c_char)>> = const { RefCell::new(Vec::new()) };
}

/// Notes the text that a query is started with; `theirs` is PostgreSQL's own.
pub fn note(query: *mut pg_sys::QueryDesc, text: *const c_char, theirs: *const c_char) {
    if text == theirs && NUMBER.load(Relaxed) == 0 {
        return;
    }
    COPIES.with_borrow_mut(|copies| {
        copies.retain(|(of, _)| *of != query.addr());
        if text != theirs {
            copies.push((query.addr(), text));
        }
        // Of queries that errors have ended there may be many.
        if copies.len() > 64 {
            copies.drain(..32);
        }
        NUMBER.store(copies.len(), Relaxed);
    });
}

/// Frees the copy of a query that has ended, if it has one.
///
/// # Safety
/// The query has ended without an error, and nobody reads its text any more.
pub unsafe fn free(query: *mut pg_sys::QueryDesc) {
    if NUMBER.load(Relaxed) == 0 {
        return;
    }
    let copy = COPIES.with_borrow_mut(|copies| {
        let at = copies.iter().rposition(|(of, _)| *of == query.addr())?;
        let (_, copy) = copies.swap_remove(at);
        NUMBER.store(copies.len(), Relaxed);
        Some(copy)
    });
    if let Some(copy) = copy {
        // SAFETY: made by `pstrdup` for this query, which is alive, so its memory context is.
        unsafe { pg_sys::pfree(copy.cast_mut().cast()) };
    }
}
