//! The worker's tables: typed in, typed out.
//!
//! | file | table |
//! | --- | --- |
//! | [`journal`] | `password_verify.event`, the audit |
//! | [`folds`] | `password_verify.event_fold`, what is being counted |
//! | [`changes`] | `password_verify.open_change`, changes whose transaction has not ended |
//! | [`ledger`] | `password_verify.throttle`, budgets that are not at rest |
//! | [`keyed`] | what they have in common: a table that is read and written by its primary key |

pub mod changes;
pub mod folds;
pub mod journal;
pub mod keyed;
pub mod ledger;
