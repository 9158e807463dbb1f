//! Dumps of real servers.
#![allow(clippy::unwrap_used)]

mod altered_secrets;
mod exporter;
mod hashes;
mod secrets;
