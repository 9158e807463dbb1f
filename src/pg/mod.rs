//! The only place for `unsafe` and for PostgreSQL's own functions. One room above the other:
//!
//! | room | |
//! | --- | --- |
//! | [`worker`] | what the background worker does |
//! | [`session`] | what a session holds for one call, and gives back whatever ends it |
//! | [`vault`] | what is kept, sealed |
//! | [`tables`] | the worker's tables |
//! | [`heap`] | tables without a planner |
//! | [`shared`] | shared memory |
//! | [`server`] | facts about this process |
//! | [`report`] | how an error of ours becomes PostgreSQL's |
#![allow(unsafe_code)]

pub mod heap;
pub mod report;
pub mod server;
pub mod session;
pub mod shared;
pub mod tables;
pub mod vault;
pub mod worker;
