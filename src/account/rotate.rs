//! `pv_rotate_keys`: what is kept is sealed again with the active key.

use password_verify_core::rules::event::Action;

use super::recorded::recorded_with;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::lock::Access;
use crate::pg::kept::Room;
use crate::pg::keys::keyring;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::reseal::Resealed;

/// The tables are taken one after the other; credentials, with their accounts, are the first.
const STEPS: u32 = 5;

/// Seals rows of a table after a place, at most `limit` of them, in the caller's transaction. Returns the table in which
/// the next batch begins.
///
/// # Errors
/// Those of [`recorded_with`] and [`Store::reseal`].
pub fn batch(step: u32, after: RecordNumber, limit: u64) -> Result<(u32, Resealed), Error> {
    let mut batch = Resealed::default();
    recorded_with(Action::Rotate, None, None, &[], || {
        batch = match step {
            0 => Store::open(Access::Write)?.reseal(after, limit)?,
            // Without a keyring nothing else is kept.
            _ if !keyring::is_there() => Resealed { finished: true, ..Resealed::default() },
            1 => Room::open(Access::Write)?.secrets()?.reseal(after, limit)?,
            2 => Room::open(Access::Write)?.jobs()?.reseal(after, limit)?,
            3 => Room::open(Access::Write)?.results()?.reseal(after, limit)?,
            _ => Room::open(Access::Write)?.vaults()?.reseal(after, limit)?,
        };
        Ok::<_, Error>(batch.sealed > 0)
    })?;
    if batch.finished && step + 1 < STEPS {
        (batch.finished, batch.last) = (false, RecordNumber::default());
        return Ok((step + 1, batch));
    }
    Ok((step, batch))
}
