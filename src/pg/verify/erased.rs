//! Are the ids that are erased those that events say they have erased?

use std::collections::BTreeMap;

use password_verify_core::rules::event::{Action, Event};
use password_verify_core::trail::erasable::Named;
use password_verify_core::trail::forgotten::{Erased, Forgotten};

use crate::pg::tables::event_row::EventRow;

/// What was met on the way, by epoch: a few numbers for each.
#[derive(Default)]
pub struct Ledger {
    met: BTreeMap<i64, Erased>,
    told: BTreeMap<i64, Erased>,
}

impl Ledger {
    /// The next row, which is as it was written.
    pub fn add(&mut self, row: &EventRow, event: &Event) {
        if let (Some(Named::Erased(_)), Ok(mac)) = (row.named, row.mac.as_slice().try_into()) {
            self.met.entry(row.epoch).or_default().add(mac);
        }
        let forgotten = event.detail.as_deref().filter(|_| event.action == Action::Forget);
        for (epoch, erased) in forgotten.and_then(Forgotten::parse).unwrap_or_default().erased {
            self.told.entry(epoch).or_default().plus(&erased);
        }
    }

    /// The first epoch from that one on whose ids were erased without an event that says so, or not erased although one
    /// says so. All of it was met.
    pub fn wrong(&self, first: i64) -> Option<i64> {
        let epochs =
            self.met.range(first..).chain(self.told.range(first..)).map(|(epoch, _)| *epoch);
        epochs.filter(|epoch| self.met.get(epoch) != self.told.get(epoch)).min()
    }
}
