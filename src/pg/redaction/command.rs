//! What is known of the command that the client has sent, beside its text.

use core::ffi::c_char;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering::Relaxed};

use pgrx::pg_sys;

use super::{activity, text};
use crate::pg::server;
use crate::pg::shared::redacted;
use crate::settings;

unsafe extern "C" {
    // Reads a variable: without the guard that pgrx puts around it.
    safe fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
}

/// When no command begins. In a process that has no client, none has begun yet, at 0.
const NEVER: i64 = i64::MIN;

/// A command of this session, by when it began (every message of the client's begins one) and where
/// its text lies. Statics and no thread-local variables, because a session has one thread and every
/// statement asks.
pub struct Mark {
    began: AtomicI64,
    text: AtomicPtr<c_char>,
}

impl Mark {
    pub const fn new() -> Self {
        Self { began: AtomicI64::new(NEVER), text: AtomicPtr::new(null_mut()) }
    }

    /// Marks the current command.
    pub fn set(&self) {
        self.began.store(GetCurrentStatementStartTimestamp(), Relaxed);
        self.text.store(message().cast_mut(), Relaxed);
    }

    /// Is the current command marked?
    pub fn is_set(&self) -> bool {
        let text = message().cast_mut();
        !text.is_null()
            && self.text.load(Relaxed) == text
            && self.began.load(Relaxed) == GetCurrentStatementStartTimestamp()
    }
}

/// Nothing in the command's text calls a function that takes or gives a secret.
pub static CLEAN: Mark = Mark::new();
/// Its text is redacted.
static REDACTED: Mark = Mark::new();
/// When the command began in which a call was seen last.
static CALLED: AtomicI64 = AtomicI64::new(NEVER);
/// When the command began that was counted last.
static COUNTED: AtomicI64 = AtomicI64::new(NEVER);
/// Does the text call one that was looked at last?
static TEXT: AtomicBool = AtomicBool::new(false);

/// The text of the client's message, as PostgreSQL has it.
fn message() -> *const c_char {
    // SAFETY: a plain value of this process.
    unsafe { pg_sys::debug_query_string }
}

/// Has a call of a function that takes or gives a secret been seen in this command?
pub fn is_call() -> bool {
    CALLED.load(Relaxed) == GetCurrentStatementStartTimestamp()
}

/// Notes that one was seen.
pub fn note_call() {
    CALLED.store(GetCurrentStatementStartTimestamp(), Relaxed);
}

/// Does the text call one that PostgreSQL has last begun to analyse, plan or execute? It may print
/// what it has made of it.
pub fn is_text_a_call() -> bool {
    TEXT.load(Relaxed)
}

pub fn note_text(calls: bool) {
    TEXT.store(calls, Relaxed);
}

pub fn is_redacted() -> bool {
    REDACTED.is_set()
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
    REDACTED.set();
}

/// Counts a redacted statement for its login, once in a command.
pub fn count() {
    let now = GetCurrentStatementStartTimestamp();
    if COUNTED.swap(now, Relaxed) != now {
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
