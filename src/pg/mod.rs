//! The only modules that use `unsafe` and call PostgreSQL's functions. Each may use those below it:
//!
//! | module | |
//! | --- | --- |
//! | [`verify`] | whether everything is as it was written |
//! | [`worker`] | the background workers |
//! | [`session`] | what a session holds during one call, and releases however the call ends |
//! | [`redaction`] | what the server logs, shows and keeps of statements |
//! | [`kept`] | what the keeper keeps: secrets, jobs, results, vaults |
//! | [`vault`] | stored credentials and accounts, sealed |
//! | [`tables`] | the worker's tables |
//! | [`heap`] | tables without the planner |
//! | [`keys`] | the keyring, and what is made with its keys |
//! | [`shared`] | shared memory |
//! | [`server`] | facts about this process |
//! | [`setting`] | a setting whose changes are noticed |
//! | [`report`] | converts this extension's errors to PostgreSQL's |
#![allow(unsafe_code)]

pub mod heap;
pub mod kept;
pub mod keys;
pub mod redaction;
pub mod report;
pub mod server;
pub mod session;
pub mod setting;
pub mod shared;
pub mod tables;
pub mod vault;
pub mod verify;
pub mod worker;
