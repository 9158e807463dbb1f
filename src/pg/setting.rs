//! A setting whose changes are noticed without its value being copied.

use core::ffi::{CStr, c_char, c_void};
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// How often such a setting was set in this process.
static TIMES_SET: AtomicU64 = AtomicU64::new(1);

/// Defines a policy setting that is a text (SUSET), and has [`version`] count its changes.
pub fn define_watched(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
) {
    let (context, flags) = (GucContext::Suset, GucFlags::default());
    // SAFETY: `on_set` takes what an assign hook of a string is given, and raises nothing.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            context,
            flags,
            None,
            Some(on_set),
            None,
        );
    }
}

unsafe extern "C-unwind" fn on_set(_: *const c_char, _: *mut c_void) {
    TIMES_SET.fetch_add(1, Ordering::Relaxed);
}

/// Changes whenever a watched setting may have changed.
pub fn version() -> u64 {
    TIMES_SET.load(Ordering::Relaxed)
}
