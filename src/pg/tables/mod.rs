//! The worker's tables: typed in, typed out.
//!
//! | file | table |
//! | --- | --- |
//! | [`anchors`] | `password_verify.anchor`, where everything ended |
//! | [`erasure`] | the way by which a user id is erased from events |
//! | [`events`] | `password_verify.event`, the audit trail |
//! | [`event_row`], [`event_rows`] | a row of it; its rows in the order of one of its indexes |
//! | [`feed`] | its rows in order, for a system that collects the events of many |
//! | [`folds`] | `password_verify.event_fold`, events that are being folded |
//! | [`forgetting`] | `password_verify.forgetting`, user ids that are still to be erased |
//! | [`open_changes`] | `password_verify.open_change`, changes whose transaction has not ended |
//! | [`throttle`] | `password_verify.throttle`, budgets that are not at rest |
//! | [`keyed`] | their common base: a table read and written by its primary key |

pub mod anchors;
pub mod erasure;
pub mod event_row;
pub mod event_rows;
pub mod events;
pub mod feed;
pub mod folds;
pub mod forgetting;
pub mod keyed;
pub mod open_changes;
pub mod throttle;
