//! Every message on its way to the server log, whatever its destination there. Its fields are those
//! that the client is sent as well.

use core::ffi::{CStr, c_char};
use std::cell::RefCell;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use password_verify_core::redaction::report::{Redacted, Report};
use pgrx::{PgLogLevel, pg_sys};
use zeroize::Zeroize;

use super::command::{CLEAN, Mark};
use super::text::{bytes, reading};
use super::{activity, command};
use crate::pg::report::ROUTINE;
use crate::settings;

static NEXT: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// PostgreSQL's own text of the client's statement, and the one that is printed in its place while a
/// message is; null where there is none.
static THEIRS: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
static OURS: AtomicPtr<c_char> = AtomicPtr::new(null_mut());
/// The command whose statement [`KEPT`] is made of.
static OF: Mark = Mark::new();

thread_local! {
    /// What is printed in place of the statement of a command, for all its messages.
    static KEPT: RefCell<CString> = RefCell::default();
}

/// Called in the postmaster whenever shared memory is made; the hook is installed once.
pub fn install() {
    // SAFETY: the postmaster has one thread; every backend is forked with the hook in place.
    unsafe {
        put_first!(NEXT, emit_log_hook, on_message);
    }
}

/// Gives PostgreSQL its own text of the client's statement back, where the last message has put
/// another one in its place.
pub fn restore_statement() {
    let ours = OURS.load(Relaxed);
    if ours.is_null() {
        return;
    }
    OURS.store(null_mut(), Relaxed);
    // SAFETY: a plain pointer of this process. If it is still ours, the command that theirs belongs to
    // goes on.
    unsafe {
        if pg_sys::debug_query_string == ours {
            pg_sys::debug_query_string = THEIRS.load(Relaxed);
        }
    }
}

/// Has this text printed as the client's statement. It lives until [`restore_statement`] is called.
fn print_as_statement(text: &CStr) {
    // SAFETY: a plain pointer of this process.
    unsafe {
        THEIRS.store(pg_sys::debug_query_string.cast_mut(), Relaxed);
        OURS.store(text.as_ptr().cast_mut(), Relaxed);
        pg_sys::debug_query_string = text.as_ptr();
    }
}

/// Holds nothing that has to be dropped: see [`super::hooks`].
unsafe extern "C-unwind" fn on_message(error: *mut pg_sys::ErrorData) {
    // SAFETY: what PostgreSQL passes is passed on.
    unsafe {
        prepare(error);
        if let Some(Some(next)) = NEXT.get() {
            next(error);
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn prepare(error: *mut pg_sys::ErrorData) {
    restore_statement();
    // SAFETY: PostgreSQL passes the message that it is about to print; names are C strings or null.
    unsafe {
        let is_ours = bytes((*error).funcname) == ROUTINE.as_bytes();
        // Our own lines stand alone, and so do our errors where nothing is redacted.
        if is_ours && ((*error).elevel < PgLogLevel::ERROR as i32 || !settings::redact()) {
            (*error).hide_stmt = true;
            (*error).hide_ctx = true;
        }
        if settings::redact() {
            redact(error, is_ours);
        }
        if is_end_of_worker(error) {
            (*error).output_to_server = false;
        }
    }
}

/// `is_ours`: it says nothing of the caller's, and may be signed.
///
/// # Safety
/// `error` is being reported.
unsafe fn redact(error: *mut pg_sys::ErrorData, is_ours: bool) {
    // SAFETY: the caller's promise; fields are C strings or null, and allocated with palloc, as
    // PostgreSQL frees them itself.
    unsafe {
        let optional = |text: *const c_char| (!text.is_null()).then(|| bytes(text));
        // What is known of the statement is not found out again for every message about it.
        let is_kept = OF.is_set();
        let is_clean = CLEAN.is_set() && !command::is_call() && !is_ours;
        let statement = optional(pg_sys::debug_query_string).filter(|_| !is_clean);
        let state = CStr::from_ptr(pg_sys::unpack_sql_state((*error).sqlerrcode)).to_owned();
        let report = Report {
            message: if is_ours { &[] } else { bytes((*error).message) },
            detail: optional((*error).detail).filter(|_| !is_ours),
            detail_log: optional((*error).detail_log),
            context: optional((*error).context),
            internal_query: optional((*error).internalquery),
            template: CStr::from_ptr(or_empty((*error).message_id)).to_str().unwrap_or_default(),
            names: [
                optional((*error).schema_name),
                optional((*error).table_name),
                optional((*error).column_name),
                optional((*error).datatype_name),
                optional((*error).constraint_name),
            ],
            state: state.to_str().unwrap_or_default(),
            routine: CStr::from_ptr(or_empty((*error).funcname)).to_str().unwrap_or_default(),
            statement: statement.filter(|_| !is_kept),
            // An error of ours may be about an argument that should not have been a secret.
            is_call: is_ours || is_kept || command::is_call() || is_fast_path(),
            is_tree_of_call: command::is_text_a_call(),
        };
        if !reading(|reader| reader.may_redact(&report)) {
            return;
        }
        if !has_room_for(&report) {
            return hide_everything(error, report.state == "53200");
        }
        // A panic in here would be an error while an error is reported.
        let redacted =
            catch_unwind(AssertUnwindSafe(|| reading(|reader| reader.redacted_report(&report))));
        let redacted = match redacted {
            Ok(Some(redacted)) => redacted,
            Ok(None) => return,
            Err(_) => return hide_everything(error, false),
        };
        // The statement is over, or its text has not been analysed yet: then others see it meanwhile.
        if command::is_client() && (is_kept || redacted.statement.is_some()) {
            if (*error).elevel >= PgLogLevel::ERROR as i32 {
                command::note_call();
                command::redact_message();
            } else if !command::is_redacted() {
                activity::redact();
            }
        }
        let Redacted { message, detail, detail_log, context, internal_query, statement } = redacted;
        replace(error, &raw mut (*error).message, message);
        replace(error, &raw mut (*error).detail, detail);
        replace(error, &raw mut (*error).detail_log, detail_log);
        replace(error, &raw mut (*error).context, context);
        replace(error, &raw mut (*error).internalquery, internal_query);
        if let Some(ours) = statement.and_then(|text| CString::new(text).ok()) {
            KEPT.replace(ours);
            OF.set();
        }
        if OF.is_set() {
            KEPT.with_borrow(|ours| print_as_statement(ours));
        }
    }
}

/// Is there memory for what may have to be made of these texts? Where a library written in Rust has
/// none, it aborts, and all sessions with it; and a message may well be about memory that has run out.
fn has_room_for(report: &Report<'_>) -> bool {
    let optional =
        [report.detail, report.detail_log, report.context, report.internal_query, report.statement];
    let sum: usize = optional.iter().flatten().map(|text| text.len()).sum();
    let enough = (report.message.len() + sum).saturating_mul(16).saturating_add(1 << 18);
    Vec::<u8>::new().try_reserve_exact(enough).is_ok()
}

/// Redacts what could not be read, without any memory. `is_about_memory`: what the message says is that
/// there is none left.
///
/// # Safety
/// `error` is being reported.
unsafe fn hide_everything(error: *mut pg_sys::ErrorData, is_about_memory: bool) {
    // SAFETY: the caller's promise; fields are C strings or null, each of which PostgreSQL has made for
    // this message.
    unsafe {
        let fields = [
            (*error).context,
            (*error).internalquery,
            (*error).message,
            (*error).detail,
            (*error).detail_log,
            (*error).hint,
        ];
        let number = if is_about_memory { 2 } else { fields.len() };
        for field in fields.into_iter().take(number).filter(|field| !field.is_null()) {
            let place = std::slice::from_raw_parts_mut(field.cast::<u8>(), bytes(field).len());
            place.fill(b' ');
            let word = b"<redacted>".iter().chain(std::iter::repeat(&0));
            place.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
        }
        if !pg_sys::debug_query_string.is_null() {
            print_as_statement(c"'<redacted>'");
        }
    }
}

fn or_empty(text: *const c_char) -> *const c_char {
    if text.is_null() { c"".as_ptr() } else { text }
}

/// A call of a function by its number (the protocol's `FunctionCall`) has no text.
fn is_fast_path() -> bool {
    // SAFETY: the entry is null where there is none, and this process alone writes its own.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        pg_sys::debug_query_string.is_null()
            && !entry.is_null()
            && (*entry).st_state == pg_sys::BackendState::STATE_FASTPATH
    }
}

/// Puts a text in place of a field, and wipes what was there.
///
/// # Safety
/// `error` is being reported, and `field` is one of its fields.
unsafe fn replace(error: *mut pg_sys::ErrorData, field: *mut *mut c_char, text: Option<Vec<u8>>) {
    let Some(mut text) = text else { return };
    // SAFETY: the caller's promise. PostgreSQL frees the field after it has printed it, whoever has
    // allocated it.
    unsafe {
        let context = (*error).assoc_context;
        let context = if context.is_null() { pg_sys::ErrorContext } else { context };
        let new = pg_sys::MemoryContextAlloc(context, text.len() + 1).cast::<u8>();
        new.copy_from_nonoverlapping(text.as_ptr(), text.len());
        *new.add(text.len()) = 0;
        let old = *field;
        *field = new.cast();
        if !old.is_null() {
            std::slice::from_raw_parts_mut(old.cast::<u8>(), bytes(old).len()).zeroize();
            pg_sys::pfree(old.cast());
        }
    }
    text.zeroize();
}

/// Is this the postmaster's message about a worker that has ended? It would be logged each time,
/// because only a worker that exits with 1 is started again. (A worker that fails logs the reason
/// itself.)
///
/// # Safety
/// `error` is being reported.
unsafe fn is_end_of_worker(error: *const pg_sys::ErrorData) -> bool {
    // SAFETY: the caller's promise; the message is a C string or null.
    unsafe {
        if pg_sys::MyProcPid != pg_sys::PostmasterPid {
            return false;
        }
        let message = bytes((*error).message);
        let about_us = b"\"password_verify\" (PID ";
        message.ends_with(b"exited with exit code 1")
            && message.windows(about_us.len()).any(|part| part == about_us)
    }
}
