//! Every setting: name, unit, bounds, context.
//!
//! Policy is SUSET: a DBA may set it per server, database or role, the application's login may not. Sizes
//! and key sources are POSTMASTER: they take a restart. Nothing is USERSET.

mod audit;
mod hashing;
mod keys;
mod throttle;

use std::ffi::CStr;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

pub use crate::settings::audit::{
    Durability, audit_durability, audit_queue, audit_retention, audit_timeout, standby_validation,
    workers,
};
pub use crate::settings::hashing::{
    blocklist_file, common_passwords, cost, hash_memory_limit, hash_slots, history, queue_length,
    rules,
};
pub use crate::settings::keys::{keyring_command, keyring_file};
pub use crate::settings::throttle::{
    queue_timeout, throttle, throttle_entries, throttle_forgive_repeats,
};

/// Called once, while the server preloads the library.
pub fn define() {
    hashing::define();
    throttle::define();
    audit::define();
    keys::define();
}

/// Policy: a number with bounds.
fn policy(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    unit: GucFlags,
) {
    GucRegistry::define_int_guc(name, short, long, setting, min, max, GucContext::Suset, unit);
}

/// A size, for which memory is taken when the server starts.
fn size(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
) {
    let context = GucContext::Postmaster;
    GucRegistry::define_int_guc(name, short, long, setting, min, max, context, GucFlags::default());
}

/// A size in kilobytes.
fn kilobytes(
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
fn value(setting: &GucSetting<i32>) -> u32 {
    setting.get().unsigned_abs()
}
