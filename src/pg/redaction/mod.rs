//! Keeps secrets in statements out of what the server logs, shows and keeps.
//!
//! PostgreSQL shows the text of a statement in many places, and a text that the application has put
//! a password into shows the password. What is a secret in it, `password_verify_core::redaction`
//! says; here is where texts are reached:
//!
//! | file | what it reaches |
//! | --- | --- |
//! | [`log`] | every message on its way to the log: statements, plans, parameters, errors |
//! | [`hooks`] | a statement before other libraries see it, and the copies that PostgreSQL keeps |
//! | [`activity`] | `pg_stat_activity` |
//! | [`command`] | whether the client's command has called a function that takes or gives a secret |
//! | [`text`], [`copies`] | texts in memory: which may be changed in place, and which are copied |
//!
//! `docs/windows.md` has the list of places, with what a test has found in each.

/// Puts a hook of ours before those that are there, once; theirs are kept in `$next`.
macro_rules! put_first {
    ($next:ident, $hook:ident, $ours:ident) => {
        $next.get_or_init(|| {
            let next = pg_sys::$hook;
            pg_sys::$hook = Some($ours);
            next
        })
    };
}

mod activity;
mod command;
mod copies;
mod hooks;
mod log;
mod text;

pub use crate::pg::redaction::command::begin_call;

/// Installs everything. Called when shared memory is made, once all libraries are preloaded: so what
/// is installed here runs before theirs, whatever order they are listed in.
pub fn install() {
    log::install();
    hooks::install();
}
