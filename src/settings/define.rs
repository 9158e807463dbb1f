//! Registers settings (GUCs) with PostgreSQL.

use std::ffi::CStr;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Defines a policy setting, a number with bounds (SUSET).
pub fn policy(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    unit: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Suset, unit);
}

/// Defines a size, for which memory is allocated at server start (POSTMASTER).
pub fn size(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
) {
    let context = GucContext::Postmaster;
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, GucFlags::default());
}

/// Defines a size in kilobytes (POSTMASTER).
pub fn kilobytes(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
) {
    let context = GucContext::Postmaster;
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, GucFlags::UNIT_KB);
}

/// The value of a setting whose lower bound is not negative.
pub fn value(setting: &GucSetting<i32>) -> u32 {
    setting.get().unsigned_abs()
}
