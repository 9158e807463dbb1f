//! `pv_events_after`: the trail in order, for a system that collects the events of many.
//!
//! One worker writes all rows, in the order of their places, and commits in that order: whoever goes on after the last
//! place that she has seen misses none and meets none twice.

use password_verify_core::trail::ecs::{self, Written};

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::text;
use crate::pg::tables::events::Events;

/// The rows after a place, or from the first that there is, each as its place and a JSON object. Costs a look-up in an
/// index, and some ten microseconds for each row.
///
/// # Errors
/// [`Error::NotInstalled`], also for a row that is not as it was written; any PostgreSQL error.
pub fn after(place: Option<(i64, i64)>, max_rows: i32) -> Result<Vec<(i64, i64, String)>, Error> {
    let events = Events::open(Access::Read)?;
    let database = text::database_name();
    let (moment, max_rows) = (Moment::now(), usize::try_from(max_rows).unwrap_or_default());
    let mut found = Vec::new();
    let (epoch, seq) = place.unwrap_or((i64::MIN, i64::MIN));
    let rest_of_epoch = place.map(|_| events.of_epoch_as_of(epoch, seq.saturating_add(1), &moment));
    let later = match place {
        Some((epoch, _)) => epoch.checked_add(1),
        None => Some(epoch),
    };
    let later = later.map(|epoch| events.since_as_of(epoch, &moment));
    for mut rows in rest_of_epoch.into_iter().chain(later) {
        while found.len() < max_rows
            && let Some(row) = rows.next()?
        {
            pgrx::check_for_interrupts!();
            let head = row.head();
            let json = ecs::to_json(&row.event?, &database, Written::Row(head));
            found.push((head.epoch, head.seq, json));
        }
    }
    Ok(found)
}
