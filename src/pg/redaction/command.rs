//! What is known of the command that the client has sent, beside its text.

use core::ffi::c_char;
use std::cell::Cell;

use pgrx::pg_sys;

use super::{activity, text};
use crate::pg::server;
use crate::pg::shared::redacted;
use crate::settings;

thread_local! {
    /// When the command began in which a call was seen last.
    static CALLED: Cell<Option<pg_sys::TimestampTz>> = const { Cell::new(None) };
    /// When the command began whose text was redacted last, and where the text lies.
    static REDACTED: Cell<Option<Message>> = const { Cell::new(None) };
    /// Does the text call one that was looked at last?
    static TEXT: Cell<bool> = const { Cell::new(false) };
    /// When the command began that was counted last.
    static COUNTED: Cell<Option<pg_sys::TimestampTz>> = const { Cell::new(None) };
}

type Message = (pg_sys::TimestampTz, *const c_char);

/// Every message of the client's begins a command.
fn began() -> Option<pg_sys::TimestampTz> {
    // SAFETY: a plain value of this process.
    Some(unsafe { pg_sys::GetCurrentStatementStartTimestamp() })
}

/// Has a call of a function that takes or gives a secret been seen in this command?
pub fn is_call() -> bool {
    CALLED.get().is_some() && CALLED.get() == began()
}

/// Notes that one was seen.
pub fn note_call() {
    CALLED.set(began());
}

/// Does the text call one that PostgreSQL has last begun to analyse, plan or execute? It may print
/// what it has made of it.
pub fn is_text_a_call() -> bool {
    TEXT.get()
}

pub fn note_text(calls: bool) {
    TEXT.set(calls);
}

/// Is its text redacted?
pub fn is_redacted() -> bool {
    REDACTED.get().is_some() && REDACTED.get() == message()
}

fn message() -> Option<Message> {
    // SAFETY: a plain value of this process.
    began().map(|began| (began, unsafe { pg_sys::debug_query_string }))
}

/// Redacts its text where it lies, and in `pg_stat_activity`: those of its statements that call a
/// function that takes or gives a secret, and if none does by its text, all of it.
pub fn redact_message() {
    if is_redacted() {
        return;
    }
    // SAFETY: the client's message, or what a prepared statement or a portal has copied of it.
    unsafe { text::redact_in_place(pg_sys::debug_query_string, true) };
    activity::redact();
    REDACTED.set(message());
}

/// Counts a redacted statement for its login, once in a command.
pub fn count() {
    if COUNTED.replace(began()) != began() {
        redacted::count(server::database().to_u32(), server::login_role());
    }
}

/// Is this a client's own session, with a statement of the client's?
pub fn is_client() -> bool {
    // SAFETY: plain values of this process.
    unsafe {
        matches!(
            pg_sys::MyBackendType,
            pg_sys::BackendType::B_BACKEND | pg_sys::BackendType::B_WAL_SENDER
        ) && !pg_sys::debug_query_string.is_null()
    }
}

/// Called by every function that takes or gives a secret, before it looks at anything. If the
/// client's statement does not show that it calls one, as with a wrapper that is not listed, it is
/// redacted from here on.
pub fn begin_call() {
    if !settings::redact() || is_call() {
        return;
    }
    note_call();
    // SAFETY: values of this process; the text of a portal is its own.
    unsafe {
        if !is_client() || text::calls(pg_sys::debug_query_string) {
            return;
        }
        count();
        redact_message();
        let portal = pg_sys::ActivePortal;
        if !portal.is_null() && (*portal).sourceText != pg_sys::debug_query_string {
            text::redact_in_place((*portal).sourceText, true);
        }
    }
}
