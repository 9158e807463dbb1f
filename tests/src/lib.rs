//! Throw-away servers and the people who log in to them.
//!
//! A [`Cluster`] is a real PostgreSQL server in a temporary folder; a [`Site`] is a database in it
//! with the extension and an application's login. Which server: `PG_CONFIG`, as for `make`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cluster;
pub mod site;
pub mod trail;

pub use cluster::Cluster;
pub use site::{Answer, Site, refused, sqlstate};

/// A password that every rule accepts.
pub const GOOD: &str = "correct horse battery staple";
/// Another one.
pub const OTHER: &str = "velvet anvil under monsoon";
