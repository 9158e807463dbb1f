//! Passwords that an application can check but never read.
//!
//! # Threat model
//!
//! The adversary holds the application's database login and runs any SQL with it, from any number
//! of connections, inside any transaction, under any setting that login may change. They must not
//! be able to read a verifier, put another one in its place, learn whether an account exists from
//! anything but an answer they are granted, or stop the server. They may call every function that
//! their kind grants, as often as they like.
//!
//! Trusted: superusers, the server's memory and disk, the operating system's random numbers. What is
//! not defended is listed in the README.
//!
//! # Where to start
//!
//! [`gate`] is what happens to a secret that somebody claims to know, [`account`] what happens to a new
//! password and to an account. [`api`] is the border to SQL. Authority (owners, SECURITY DEFINER, grants)
//! is one block at the end of `sql/password_verify--0.1.0.sql`. Whatever the compiler cannot check is in
//! [`pg`].

mod account;
mod answer;
mod api;
mod counter;
mod error;
mod gate;
mod kernel;
mod pg;
mod salt;
mod settings;

pgrx::pg_module_magic!();

// Only for `cargo pgrx`: an ordinary build installs the file as it is.
pgrx::extension_sql_file!(
    "../sql/password_verify--0.1.0.sql",
    name = "password_verify_0_1_0",
    bootstrap
);

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL errors pass through this library by unwinding");

/// Runs once in the postmaster when preloaded, or in one backend on a late LOAD, which is allowed
/// (pg_upgrade does it) and leaves every function refusing with 55000.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    if pg::server::preloading() {
        pg::server::capture_no_backtraces();
        pg::server::redaction::install();
        settings::define();
        pg::server::reserve_setting_prefix();
        kernel::choose();
        pg::vault::keyring::load();
        account::blocklist::load();
        pg::shared::segment::install(begin_again);
        if !pg::server::upgrading() {
            pg::worker::main::register();
        }
    }
}

/// Shared memory was made, or made anew after a crash, and what a reload has put there is gone.
fn begin_again() {
    pg::vault::keyring::begin_again();
    account::blocklist::begin_again();
}
