//! `password_verify.anchor`: one row, which says where everything ended, sealed.
//!
//! Each batch inserts a row with the next number and deletes the one before: a look-up begins at the end of the
//! index, where it does not pass dead versions that an old snapshot keeps.

use std::rc::Rc;
use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::kept::seal::Binding;
use password_verify_core::trail::anchor::Anchor;
use password_verify_core::trail::audit_id::AuditIdKey;
use pgrx::pg_sys;

use super::keyed::{Keyed, RowKey};
use crate::error::{Error, Name};
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row::Seen;
use crate::pg::heap::shape;
use crate::pg::heap::text;
use crate::pg::keys::keyring;
use crate::pg::shared::databases;

const TABLE: &std::ffi::CStr = c"anchor";
/// Rows that the worker deletes, if it cannot read them. There should be one.
const MAX_STRANGE: usize = 10_000;
/// The readable part of the seal.
const LABEL: &str = "anchor -";

pub struct Anchors(Keyed<2>);

impl Anchors {
    /// # Errors
    /// Those of [`Keyed::open`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Self::open_by(access, lock::deadline())
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`Anchors::open`].
    pub fn open_by(access: Access, deadline: Instant) -> Result<Self, Error> {
        let of = Installation::UNKNOWN;
        Keyed::open_by(TABLE, c"anchor_pkey", of, access, deadline).map(Self)
    }

    /// The newest row and its number, now or as of a moment.
    ///
    /// # Errors
    /// [`Error::Altered`]; those of [`keyring::unseal`] for a missing key.
    pub fn newest(&self, moment: Option<&Moment>) -> Result<Option<(i64, Anchor)>, Error> {
        self.0.last(moment, |row, seen| {
            let altered = Error::Altered(Name::of(TABLE));
            let [Some(key), Some(sealed)] = row else { return Err(altered) };
            // SAFETY: uuid and text, as the SQL file declares; copied while the row is valid.
            let (key, sealed) = unsafe { (*key.cast_mut_ptr::<RowKey>(), text::to_utf8(sealed)?) };
            match seen {
                Seen::Genuine(_) | Seen::Older(_) => {}
                // With a keyring that lacks the key of the MAC and that of the seal, nothing can be said: opening it
                // names the key.
                Seen::NoKey if !keyring::has_key_of(sealed.expose()) => {}
                _ => {
                    databases::note_altered(shape::of(TABLE)?.bit());
                    return Err(altered);
                }
            }
            let number = number(key);
            let opened = keyring::unseal(sealed.expose(), &Binding::anchor(number), key);
            let opened = opened.map_err(|why| match why {
                Error::Corrupt(_) => altered,
                why => why,
            })?;
            let anchor = Anchor::parse(opened.expose()).ok_or(altered)?;
            Ok((number, anchor))
        })
    }

    /// Was the newest row not written by a worker with this keyring? A key that is lost is lost for good, and keeps
    /// nobody from going on.
    pub fn is_of_the_row(error: Error) -> bool {
        matches!(error, Error::Altered(_) | Error::UnknownKey(_) | Error::OtherKey(_))
    }

    /// Deletes what is there: rows that cannot be read.
    ///
    /// # Errors
    /// [`Error::Altered`] when there are too many.
    pub fn clear(&self) -> Result<(), Error> {
        for _ in 0..MAX_STRANGE {
            let Some(key) = self.0.last_key()? else { return Ok(()) };
            // SAFETY: there are no values.
            unsafe { self.0.put(key, None)? };
        }
        Err(Error::Altered(Name::of(TABLE)))
    }

    /// Puts a row in the place of the one with the number before. Rows that somebody has added are deleted, and the
    /// worker is told.
    ///
    /// # Errors
    /// Those of [`Keyed::put`], [`keyring::seal`] and [`Anchors::clear`].
    pub fn replace(&self, before: i64, anchor: &Anchor) -> Result<(), Error> {
        if before != 0 && self.0.last_key()? != Some(key(before)) {
            databases::note_altered(shape::of(TABLE)?.bit());
            self.clear()?;
        }
        let number = before + 1;
        let mut place = key(number);
        let sealed = keyring::seal(&anchor.to_text(), LABEL, &Binding::anchor(number))?;
        let row =
            [Some(pg_sys::Datum::from(place.as_mut_ptr())), Some(text::to_datum(sealed.expose())?)];
        // SAFETY: uuid and text, as the SQL file declares.
        unsafe {
            self.0.put(place, Some(row))?;
            self.0.put(key(before), None)
        }
    }
}

/// The key of digests of user ids; `None` without a keyring.
///
/// # Errors
/// Those of [`Anchors::open`] and [`Anchors::newest`].
pub fn audit_id_key() -> Result<Option<Rc<AuditIdKey>>, Error> {
    if !keyring::is_there() {
        return Ok(None);
    }
    let newest = Anchors::open(Access::Read)?.newest(None)?;
    Ok(newest.map(|(_, anchor)| anchor.audit_ids))
}

fn key(number: i64) -> RowKey {
    let mut key = RowKey::default();
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn number(key: RowKey) -> i64 {
    i64::from_be_bytes(key.as_chunks::<8>().0[0])
}
