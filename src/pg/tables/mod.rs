//! The worker's tables: typed in, typed out.
//!
//! | file | table |
//! | --- | --- |
//! | [`journal`] | `password_verify.event`, the audit trail |
//! | [`folds`] | `password_verify.event_fold`, events that are being folded |
//! | [`changes`] | `password_verify.open_change`, changes whose transaction has not ended |
//! | [`ledger`] | `password_verify.throttle`, budgets that are not at rest |
//! | [`keyed`] | their common base: a table read and written by its primary key |

pub mod changes;
pub mod folds;
pub mod journal;
pub mod keyed;
pub mod ledger;
