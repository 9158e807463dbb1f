//! The worker's tables: typed in, typed out.
//!
//! | file | table |
//! | --- | --- |
//! | [`anchors`] | `password_verify.anchor`, where everything ended |
//! | [`events`] | `password_verify.event`, the audit trail |
//! | [`feed`] | its rows in order, for a system that collects the events of many |
//! | [`folds`] | `password_verify.event_fold`, events that are being folded |
//! | [`open_changes`] | `password_verify.open_change`, changes whose transaction has not ended |
//! | [`throttle`] | `password_verify.throttle`, budgets that are not at rest |
//! | [`keyed`] | their common base: a table read and written by its primary key |

pub mod anchors;
pub mod events;
pub mod feed;
pub mod folds;
pub mod keyed;
pub mod open_changes;
pub mod throttle;
