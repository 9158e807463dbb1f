//! The hasher of one attempt: the only way to the memory in which a secret is tested.

use std::time::Instant;

use password_verify_core::kept::workspace::{OutOfMemory, Workspace};
use password_verify_core::rules::cost::Cost;
use password_verify_core::rules::reason::Reason;

use super::charge::Charged;
use crate::answer::Stop;
use crate::pg::session::slot::HashSlot;
use crate::pg::session::statistics;
use crate::settings;

/// Computes the hashes of one attempt.
pub struct Hasher<'a> {
    charged: &'a Charged,
    slot: Option<HashSlot>,
}

impl<'a> Hasher<'a> {
    pub(super) fn new(charged: &'a Charged, slot: Option<HashSlot>) -> Self {
        Self { charged, slot }
    }

    /// Computes one hash. The first uses the slot that the attempt has waited for; each further
    /// hash waits for a slot of its own, so that other attempts get their turn in between. From
    /// here on the attempt is a guess, and stays charged however it ends.
    ///
    /// # Errors
    /// [`Reason::Busy`] when no slot comes free within `queue_timeout`; [`OutOfMemory`].
    pub fn hash<T>(
        &mut self,
        cost: Option<Cost>,
        compute: impl FnOnce(&mut Workspace) -> Result<T, OutOfMemory>,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + settings::queue_timeout();
        let slot = self.slot.take().or_else(|| HashSlot::take(deadline));
        let mut slot = slot.ok_or(Reason::Busy)?;
        let start = Instant::now();
        let mut workspace = slot.workspace(cost)?;
        self.charged.begin_hash();
        let computed = compute(&mut workspace)?;
        drop((workspace, slot));
        statistics::count_hash(start.elapsed());
        Ok(computed)
    }
}
