//! PostgreSQL's own windows, through which a password in a statement may be seen, and ways to put one into a statement.
//!
//! A [`way::Way`] makes calls with texts that nobody has seen before, in a [`room::Room`]: a server that tells everything
//! it can. Afterwards they are looked for in everything that was seen in its windows ([`seen`]), in its log
//! ([`log`]), its files and its memory ([`hits`]).

pub mod bound;
pub mod core;
pub mod cut_off;
pub mod document;
pub mod failing;
pub mod from_code;
pub mod functions;
pub mod hits;
pub mod limits;
pub mod literals;
pub mod log;
pub mod memory;
pub mod room;
pub mod run;
pub mod seen;
pub mod setup;
pub mod spellings;
pub mod stage;
pub mod way;
pub mod wire;
