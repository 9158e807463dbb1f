//! Throw-away servers and the people who log in to them.
//!
//! A [`Cluster`] is a real PostgreSQL server in a temporary folder; a [`Site`] is a database in it
//! with the extension and an application's login. Which server: `PG_CONFIG`, as for `make`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod calls;
pub mod cluster;
pub mod crowd;
pub mod doctor;
pub mod feed;
pub mod hold;
pub mod hunt;
pub mod imports;
pub mod in_the_way;
pub mod keeper;
pub mod keyring;
pub mod kill;
pub mod mail;
pub mod mail_app;
pub mod network;
pub mod office;
pub mod pgbouncer;
pub mod pv_keeper;
pub mod query;
pub mod roles;
pub mod rotation;
pub mod site;
pub mod smtp;
pub mod stall;
pub mod tampering;
pub mod throttle;
pub mod tls;
pub mod told;
pub mod trail;
pub mod victim;
pub mod whole;
pub mod windows;
pub mod work;

pub use calls::{Answer, refused, sqlstate};
pub use cluster::Cluster;
pub use site::Site;

/// One line of `docs/attacks.md`: how often an attack was tried and how often it got through, which is
/// never.
pub fn attack(what: &str, tried: usize, through: usize) {
    println!("attack: {what} | {tried} | {through}");
    assert_eq!(through, 0, "{what}: {through} of {tried} got through");
}

/// A password that every rule accepts.
pub const GOOD: &str = "correct horse battery staple";
/// Another one.
pub const OTHER: &str = "velvet anvil under monsoon";
/// One that is never right.
pub const WRONG: &str = "seven wet umbrellas hum";

/// Everything about passwords that a login may be given.
pub const ALL_KINDS: [&str; 5] = ["verifier", "enroller", "registrar", "manager", "auditor"];
/// The kinds of the keeper: no login may be given both.
pub const KEEPER_KINDS: [&str; 2] = ["depositor", "connector"];
/// Those about passwords without reading the audit.
pub const ALL_BUT_AUDITOR: [&str; 4] = ["verifier", "enroller", "registrar", "manager"];
