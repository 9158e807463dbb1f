//! What the server log does not get to see, and what it does.
//!
//! With an error PostgreSQL logs the statement that ended in it, and as its context the statements and
//! parameters around it. A careless one has a password in it. Ours are logged without.

use std::ffi::CStr;
use std::sync::OnceLock;

use password_verify_core::chain::{Head, hex};
use password_verify_core::event::Event;
use password_verify_core::log_line::{self, Line};
use pgrx::{PgLogLevel, pg_sys};

use super::shared::queue::{self, Record};
use super::shared::segment;
use super::{ErrorReport, SqlState, keyring, record};

/// What every error of ours has as the name of its function ([`crate::error`]).
pub const ROUTINE: &str = "password_verify";

/// The hook that was there before, if any.
static NEXT: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// Called once, while the server preloads the library.
pub fn install() {
    // SAFETY: the postmaster has one thread; every backend is forked with the hook in place.
    unsafe {
        NEXT.get_or_init(|| pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(hide_statement);
    }
}

/// Raises nothing and allocates nothing: it runs while an error is being reported.
unsafe extern "C-unwind" fn hide_statement(error: *mut pg_sys::ErrorData) {
    // SAFETY: PostgreSQL passes the error that it is about to log; names are C strings or null.
    unsafe {
        let name = (*error).funcname;
        if !name.is_null() && CStr::from_ptr(name).to_bytes() == ROUTINE.as_bytes() {
            (*error).hide_stmt = true;
            (*error).hide_ctx = true;
        }
        if is_end_of_worker(error) {
            (*error).output_to_server = false;
        }
        if let Some(Some(next)) = NEXT.get() {
            next(error);
        }
    }
}

/// Workers come and go, and only one that ends with 1 is started again: what the postmaster says each
/// time is no news. (One that fails says why before it ends.)
///
/// # Safety
/// `error` is one that is being reported.
unsafe fn is_end_of_worker(error: *const pg_sys::ErrorData) -> bool {
    // SAFETY: the caller's promise; the message is a C string or null.
    unsafe {
        if pg_sys::MyProcPid != pg_sys::PostmasterPid || (*error).message.is_null() {
            return false;
        }
        let message = CStr::from_ptr((*error).message).to_bytes();
        let about_us = b"\"password_verify\" (PID ";
        message.ends_with(b"exited with exit code 1")
            && message.windows(about_us.len()).any(|part| part == about_us)
    }
}

/// Which record an error is about, whatever level of messages the client has asked for.
pub fn record(message: &str, number: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let message = format!("{message}: {number}");
    ErrorReport::new(state, message, ROUTINE).report(PgLogLevel::LOG_SERVER_ONLY);
}

/// A line of JSON, numbered and signed.
fn line(fields: &str) {
    let state = SqlState::ERRCODE_SUCCESSFUL_COMPLETION;
    let ((key, id), (started, number)) = (keyring::active_for_log(), segment::log_lines().next());
    let line = log_line::sign(fields, started, number, id.as_deref(), &key);
    ErrorReport::new(state, line, ROUTINE).report(PgLogLevel::LOG);
}

/// Is that a line of this server's, or of one with the same keyring? If not, why not.
pub fn check(text: &str) -> Result<(), &'static str> {
    let line = Line::parse(text).ok_or("not a line of password_verify")?;
    if line.key().is_none() && keyring::active_for_log().1.is_some() {
        return Err("without a key although there is a keyring");
    }
    let key =
        keyring::of_log(line.key()).ok_or("the keyring does not have the key of this line")?;
    if line.is_genuine(&key) { Ok(()) } else { Err("forged or changed") }
}

/// Where a chain of events stands: the loss of its last rows can be seen only against this.
pub fn head(database: &str, head: Head) {
    let (database, mac) = (json(database), hex(&head.mac));
    let Head { epoch, seq, .. } = head;
    line(&format!(
        r#""audit":"head","database":{database},"epoch":{epoch},"seq":{seq},"mac":"{mac}""#
    ));
}

/// An event that a DBA wants to hear of.
pub fn alert(database: &str, event: &Event) {
    let names: Vec<String> = event.alert.names().map(json).collect();
    let (names, database) = (names.join(","), json(database));
    line(&format!(r#""alert":[{names}],"database":{database},{}"#, fields(event)));
}

/// An event of a standby, which has no other place. `left_out`: how many before it were too many.
pub fn event(record: &Record) {
    if let (Some(left_out), Ok(event)) = (queue::may_log(), record::to_event(record)) {
        line(&format!(r#""event":"standby","left_out":{left_out},{}"#, fields(&event)));
    }
}

fn fields(event: &Event) -> String {
    let text = |value: &Option<String>| value.as_deref().map_or("null".to_owned(), json);
    format!(
        r#""action":"{}","outcome":"{}","user_id":{},"client_addr":{},"login_role":{},"peer_addr":{}"#,
        event.action.as_str(),
        event.outcome.as_str(),
        text(&event.user_id),
        text(&event.client_addr),
        text(&event.login_role),
        text(&event.peer_addr),
    )
}

/// A JSON string in ASCII and without braces: what somebody else chose cannot end the line or look like
/// another.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()) {
            Some(c @ (' ' | '!' | '#'..='[' | ']'..='z')) => out.push(c),
            _ => out.push_str(&format!("\\u{unit:04x}")),
        }
    }
    out.push('"');
    out
}
