//! Every setting, with its name, unit, bounds and context.
//!
//! Policy is SUSET: a superuser may set it per server, database or role; the application's login
//! may not. Sizes and key sources are POSTMASTER: a change needs a restart. The blocklist is
//! SIGHUP. Nothing may be USERSET.

mod audit;
mod connection;
mod define;
mod hashing;
mod keeper;
mod keys;
mod redaction;
mod throttle;

pub use crate::settings::audit::{
    AuditUserIds, Durability, audit_durability, audit_queue, audit_retention, audit_timeout,
    audit_user_ids, log_events, standby_validation, workers,
};
pub use crate::settings::connection::demands;
pub use crate::settings::hashing::{
    blocklist_file, common_passwords, cost, hash_memory_limit, hash_slots, history, queue_length,
    rules,
};
pub use crate::settings::keeper::{
    result_retention, secrets_opened_expected, secrets_per_user, vault_places, vault_unlock_max,
};
pub use crate::settings::keys::{AcceptUnsealed, accept_unsealed, keyring_command, keyring_file};
pub use crate::settings::redaction::{redact, redact_functions};
pub use crate::settings::throttle::{
    queue_timeout, throttle, throttle_entries, throttle_forgive_repeats,
};

/// Defines all settings, once, while the server preloads the library.
pub fn define() {
    hashing::define();
    throttle::define();
    audit::define();
    connection::define();
    keys::define();
    keeper::define();
    redaction::define();
}
