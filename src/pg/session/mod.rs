//! What a session does with the server for one call: it takes, holds, waits, and gives back whatever ends it.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`arg`] | function arguments | a user id is canonical, a password is bounded before it is read, copies are wiped |
//! | [`row`] | composite results | as many columns as were declared |
//! | [`attempt`] | an attempt | stays charged and recorded whatever ends the session |
//! | [`slot`] | a hash slot | given back whatever ends the session |
//! | [`transaction`] | changes | recorded before the transaction can commit |
//! | [`carried`] | budgets that go with a user to another id | given back whatever ends the session |
//! | [`offer`] | a record that was made anew at a login | for the worker to write, or lost |
//! | [`extension`] | the row of `pg_extension` | |
//! | [`log`] | lines of the server log | numbered and signed |
//! | [`event`] | bytes in shared memory | as an event |
//! | [`statistics`] | counters | |

pub mod arg;
pub mod attempt;
pub mod carried;
pub mod event;
pub mod extension;
pub mod log;
pub mod offer;
pub mod row;
pub mod slot;
pub mod statistics;
pub mod transaction;
