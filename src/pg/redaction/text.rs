//! Texts of statements in memory.

use core::ffi::{CStr, c_char};
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use password_verify_core::redaction::lexer::Backslash;
use password_verify_core::redaction::mask;
use password_verify_core::redaction::names::Names;
use password_verify_core::redaction::statement::Reader;
use pgrx::pg_sys;

use crate::pg::setting;
use crate::settings;

/// The names to look for, and the version of the setting that they are made of. A session has one
/// thread.
static NAMES: AtomicPtr<(u64, Names)> = AtomicPtr::new(null_mut());

/// The names of the setting as it is now. They stay until the setting is found changed, which is
/// looked at here only.
fn names() -> &'static Names {
    let version = setting::version();
    let kept = NAMES.load(Relaxed);
    // SAFETY: null, or made below; whoever had a reference has returned when the setting changes.
    match unsafe { kept.as_ref() } {
        Some((of, names)) if *of == version => names,
        _ => {
            let list = settings::redact_functions().unwrap_or_default();
            let fresh = Box::into_raw(Box::new((version, Names::new(list.to_bytes()))));
            NAMES.store(fresh, Relaxed);
            // SAFETY: the first was made like the second, which is valid.
            unsafe {
                if !kept.is_null() {
                    drop(Box::from_raw(kept));
                }
                &(*fresh).1
            }
        }
    }
}

/// Calls `read` with what reads texts of this session.
pub fn reading<T>(read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let names = names();
    // SAFETY: a plain setting of this process.
    let standard = unsafe { pg_sys::standard_conforming_strings };
    let backslash = if standard { Backslash::Plain } else { Backslash::Escape };
    let none = |_: &[u8]| false;
    let within = Reader { names, backslash, prepared: &none };
    let prepared = |name: &[u8]| prepared(name).is_some_and(|text| within.calls(text));
    read(&Reader { names, backslash, prepared: &prepared })
}

/// The text of this session's prepared statement of that name.
fn prepared(name: &[u8]) -> Option<&'static [u8]> {
    let source = prepared_source(&CString::new(name).ok()?)?;
    // SAFETY: the source has a text as long as the statement is prepared, and nothing in between
    // deallocates it.
    Some(unsafe { CStr::from_ptr((*source).query_string).to_bytes() })
}

/// What PostgreSQL keeps of this session's prepared statement of that name.
pub fn prepared_source(name: &CStr) -> Option<*mut pg_sys::CachedPlanSource> {
    // SAFETY: looks into a table of this process, and raises nothing without its second argument.
    let found = unsafe { pg_sys::FetchPreparedStatement(name.as_ptr(), false) };
    // SAFETY: null, or a prepared statement.
    (!found.is_null()).then(|| unsafe { (*found).plansource })
}

/// The text of a statement; empty for null.
///
/// # Safety
/// `text` is null or a C string, which stays as it is while the result is used.
pub unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if text.is_null() { &[] } else { unsafe { CStr::from_ptr(text).to_bytes() } }
}

/// Redacts a text where it lies, without a change of its length: positions in it, which others have
/// noted, stay right. `all`: where it calls nothing by its text, all of it.
///
/// # Safety
/// `text` is null or a C string, of which nobody reads again what a statement does: the message that
/// a client has sent, or the copy that a prepared statement or a portal has of its own. What SPI, a
/// procedural language or the catalog holds would be parsed again, and the password would be
/// `<redacted>`.
pub unsafe fn redact_in_place(text: *const c_char, all: bool) {
    // SAFETY: the caller's promise; no other reference to it exists meanwhile.
    let text = unsafe {
        let len = bytes(text).len();
        if len == 0 {
            return;
        }
        std::slice::from_raw_parts_mut(text.cast_mut().cast::<u8>(), len)
    };
    reading(|reader| {
        if !reader.redact_in_place(text) && all {
            reader.redact_all_in_place(text);
        }
    });
}

/// A redacted copy of the same length, in the current memory context; the text itself if nothing in it
/// has to be redacted.
///
/// # Safety
/// `text` is a C string.
pub unsafe fn redacted_copy(text: *const c_char) -> *const c_char {
    // SAFETY: the caller's promise; the copy is ours.
    unsafe {
        let copy = pg_sys::pstrdup(text);
        redact_in_place(copy, false);
        if bytes(copy) == bytes(text) {
            pg_sys::pfree(copy.cast());
            return text;
        }
        copy
    }
}

/// A number for a statement, in place of the one that PostgreSQL makes of its text or its tree, from
/// which a secret could be guessed.
///
/// # Safety
/// `text` is a C string.
pub unsafe fn query_id(text: *const c_char) -> u64 {
    // SAFETY: the caller's promise.
    let text = unsafe { bytes(text) };
    let redacted = reading(|reader| reader.redacted(text));
    mask::fingerprint(&redacted.unwrap_or_default())
}

/// Does this text call a function that takes or gives a secret?
///
/// # Safety
/// `text` is null or a C string.
pub unsafe fn calls(text: *const c_char) -> bool {
    // SAFETY: the caller's promise.
    let text = unsafe { bytes(text) };
    !text.is_empty() && reading(|reader| reader.calls(text))
}
