//! `pg_stat_activity`. PostgreSQL puts a statement there before any hook runs, and again with each
//! Bind and Execute; it is replaced at the first hook.

use std::ffi::CString;

use pgrx::pg_sys;

use super::text::{bytes, reading};

/// Shows the client's statement redacted: those of its statements that call a function that takes
/// or gives a secret, and if none does by its text, all of it.
pub fn redact() {
    // SAFETY: values of this process; the entry is null where there is none, and this process alone
    // writes its own.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        let statement = bytes(pg_sys::debug_query_string);
        if entry.is_null() || statement.is_empty() {
            return;
        }
        // Of a long statement no more than can be shown.
        let room = pg_sys::pgstat_track_activity_query_size.unsigned_abs() as usize;
        let shown = &statement[..statement.len().min(4 * room)];
        let redacted = reading(|reader| {
            reader.redacted_cut(shown).unwrap_or_else(|| reader.all_redacted(shown))
        });
        let (state, query) = ((*entry).st_state, (*entry).st_query_id);
        // What is written there ends with a zero: the end of a longer text would stay behind it.
        let blank = CString::new(vec![b' '; statement.len().min(room)]).unwrap_or_default();
        let redacted = CString::new(redacted).unwrap_or_default();
        pg_sys::pgstat_report_activity(state, blank.as_ptr());
        pg_sys::pgstat_report_activity(state, redacted.as_ptr());
        pg_sys::pgstat_report_query_id(query, true);
    }
}
