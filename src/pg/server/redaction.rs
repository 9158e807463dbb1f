//! Keeps passwords out of the server log.
//!
//! With an error PostgreSQL logs the statement that failed and, as its context, the enclosing
//! statements and parameters, which may contain a password. Errors of this extension are logged
//! without them.

use std::ffi::CStr;
use std::sync::OnceLock;

use pgrx::pg_sys;

use crate::pg::report::ROUTINE;

static NEXT: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// Called once, while the server preloads the library.
pub fn install() {
    // SAFETY: the postmaster has one thread; every backend is forked with the hook in place.
    unsafe {
        NEXT.get_or_init(|| pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(hide_statement);
    }
}

/// Raises nothing and allocates nothing, because it runs while an error is being reported.
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

/// Is this the postmaster's message about a worker that has ended? It would be logged each time,
/// because only a worker that exits with 1 is started again. (A worker that fails logs the reason
/// itself.)
///
/// # Safety
/// `error` is being reported.
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
