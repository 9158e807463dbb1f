//! What a session does for one call: it reads arguments, and takes, holds and waits for shared
//! resources, which it releases however the call ends.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`arg`] | function arguments | a user id is canonical, a password is bounded before it is read, copies are wiped |
//! | [`call`] | what a call requires before anything else | a statement with a secret is redacted before an error can come |
//! | [`result_row`] | composite results | as many columns as were declared |
//! | [`attempt`] | an attempt | stays charged and recorded however the session ends |
//! | [`slot`] | a hash slot | released however the session ends |
//! | [`transaction`] | changes | recorded before the transaction can commit |
//! | [`carried`] | budgets that follow a user to another id | released however the session ends |
//! | [`offer`] | a record renewed at a login | written by the worker, or lost |
//! | [`extension`] | the state of the extension | |
//! | [`log`] | lines of the server log | numbered and signed |
//! | [`event`] | bytes in shared memory | as an event |
//! | [`statistics`] | counters | |
//! | [`facts`] | what the doctor asks | |

pub mod arg;
pub mod attempt;
pub mod call;
pub mod carried;
pub mod event;
pub mod extension;
pub mod facts;
pub mod log;
pub mod notify;
pub mod offer;
pub mod result_row;
pub mod slot;
pub mod statistics;
pub mod transaction;
