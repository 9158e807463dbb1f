//! Everything that changes an account: passwords are chosen, renewed, imported and deleted, and
//! managers set its state. Nothing here tests a secret: the gate does, and makes the proof of it.
//!
//! Everything but renewals is part of the caller's transaction: a sign-up and its password commit
//! or vanish together. Nothing is hashed before it is clear that the caller may write it.

pub mod blocklist;
pub mod calibrate;
pub mod change;
pub mod enroll;
mod failures;
pub mod import;
pub mod manage;
mod new_password;
pub mod recorded;
pub mod rename;
pub mod reset;
pub mod rotate;
pub mod validate;

pub use crate::account::new_password::{accept, in_slot};
