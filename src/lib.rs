//! Passwords that an application can check but never read.
//!
//! # Threat model
//!
//! The attacker holds the application's database login and runs any SQL with it, from any number of
//! connections, inside any transaction, under any setting that the login may change. They may call
//! every function that the login's roles (such as the verifier role) grant, as often as they like.
//! They must not be able to read a verifier, replace one, learn whether an account exists from
//! anything but an answer that they are granted, or stop the server.
//!
//! Trusted are superusers, the server's memory and disk, and the operating system's random numbers.
//! `docs/security-model.md` lists what is not defended.
//!
//! # Where to start
//!
//! [`gate`] tests the secret that a claimant presents; [`account`] changes passwords and accounts.
//! [`api`] is the border to SQL. All authority (owners, SECURITY DEFINER, grants) is one block at
//! the end of `sql/password_verify--0.1.0.sql`. Whatever touches PostgreSQL's memory is in [`pg`].

mod account;
mod answer;
mod api;
mod counter;
mod error;
mod gate;
mod keeper;
mod kernel;
mod pg;
mod salt;
mod settings;

pgrx::pg_module_magic!();

// Only `cargo pgrx` uses this. An ordinary build installs the file as it is.
pgrx::extension_sql_file!(
    "../sql/password_verify--0.1.0.sql",
    name = "password_verify_0_1_0",
    bootstrap
);

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL errors pass through this library by unwinding");

/// Runs once in the postmaster if preloaded, or in one backend on a late LOAD. A late LOAD is
/// allowed, because pg_upgrade does it, but then every function refuses with SQLSTATE 55000.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    if pg::server::preloading() {
        pg::server::capture_no_backtraces();
        settings::define();
        pg::server::reserve_setting_prefix();
        kernel::choose();
        pg::keys::keyring::load();
        account::blocklist::load();
        pg::shared::segment::install(begin_again);
        if !pg::server::upgrading() {
            pg::worker::launch::register();
        }
    }
}

/// Runs when shared memory is created, at start or after a crash: after all libraries are preloaded.
/// Values from reloads are lost.
fn begin_again() {
    pg::redaction::install();
    pg::keys::keyring::begin_again();
    account::blocklist::begin_again();
}
