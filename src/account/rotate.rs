//! `pv_rotate_keys`: records are sealed again with the active key.

use password_verify_core::rules::event::Action;

use super::recorded::recorded_with;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::lock::Access;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::reseal::Resealed;

/// Seals records after a place, at most `limit` of them, in the caller's transaction.
///
/// # Errors
/// Those of [`recorded_with`] and [`Store::reseal`].
pub fn batch(after: RecordNumber, limit: u64) -> Result<Resealed, Error> {
    let mut batch = Resealed::default();
    recorded_with(Action::Rotate, None, None, &[], || {
        batch = Store::open(Access::Write)?.reseal(after, limit)?;
        Ok::<_, Error>(batch.sealed > 0)
    })?;
    Ok(batch)
}
