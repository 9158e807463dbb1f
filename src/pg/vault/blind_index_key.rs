//! The key of the blind index: made by CREATE EXTENSION, marked as in use by the first record, and
//! carried by dumps.

use std::time::Instant;

use password_verify_core::kept::blind_index::IndexKey;
use password_verify_core::kept::row_mac::Installation;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::row;
use crate::pg::heap::row::Seen;
use crate::pg::heap::scan;
use crate::pg::heap::table;
use crate::pg::heap::table::Table;
use crate::pg::heap::text;
use crate::pg::heap::whole::Whole;
use crate::pg::keys::keyring;
use crate::pg::shared::databases;
use crate::pg::tables::anchors::Anchors;
use crate::salt;

/// The key from which places are computed.
pub struct BlindIndexKey {
    pub key: IndexKey,
    /// Has a record been written under it? If not, it is the fresh key of CREATE EXTENSION.
    in_use: bool,
}

impl BlindIndexKey {
    /// Reads the key in use, or else the fresh one.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without a key, [`Error::TwoKeys`] with two in use.
    pub fn read() -> Result<Self, Error> {
        Self::read_by(lock::deadline())
    }

    /// Reads it, waiting for the table until the deadline.
    ///
    /// # Errors
    /// Those of [`BlindIndexKey::read`].
    pub fn read_by(deadline: Instant) -> Result<Self, Error> {
        let found = Self::read_any_by(deadline)?;
        found.require_same(deadline)?;
        Ok(found)
    }

    /// What the rows are bound to that the worker writes; nothing without a keyring. The key is not compared with the
    /// anchor: the worker that comes does that itself.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without a key, [`Error::TwoKeys`] with two in use.
    pub fn keep_for_rows() -> Result<Installation, Error> {
        if !keyring::is_there() {
            return Ok(Installation::UNKNOWN);
        }
        let found = Self::read_any_by(lock::deadline())?;
        // A dump carries what the worker writes only with the key to it.
        found.keep()?;
        Ok(found.key.installation())
    }

    fn read_any_by(deadline: Instant) -> Result<Self, Error> {
        let name = c"blind_index_key";
        Self::read_from(&Table::open_by(name, Installation::UNKNOWN, Access::Read, deadline)?)
    }

    fn read_from(table: &Table) -> Result<Self, Error> {
        let (mut in_use, mut fresh): (Option<IndexKey>, Option<IndexKey>) = (None, None);
        // SAFETY: the snapshot is a static.
        let mut rows = unsafe { Whole::begin(table, scan::now()) };
        loop {
            let tuple = rows.next();
            if tuple.is_null() {
                break;
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched.
            let (key, used) = unsafe { read(table, tuple)? };
            if !used {
                fresh = Some(key);
            } else if in_use.as_ref().is_some_and(|other| !other.same_as(&key)) {
                return Err(Error::TwoKeys);
            } else {
                in_use = Some(key);
            }
        }
        match (in_use, fresh) {
            (Some(key), _) => Ok(Self { key, in_use: true }),
            (None, Some(key)) => Ok(Self { key, in_use: false }),
            (None, None) => Err(Error::NotInstalled),
        }
    }

    /// Signs the key again that is in use, if it would be signed differently now. Only the worker does.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn sign_again() -> Result<(), Error> {
        if !keyring::is_there() {
            return Ok(());
        }
        let table = Table::open(c"blind_index_key", Installation::UNKNOWN, Access::Write)?;
        // SAFETY: the snapshot is a static.
        let mut rows = unsafe { Whole::begin(&table, scan::now()) };
        loop {
            let tuple = rows.next();
            if tuple.is_null() {
                return Ok(());
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched. Nobody else updates it.
            unsafe {
                let (row, seen) = row::look::<3>(&table, tuple)?;
                if row[1].is_some_and(|used| used.value() & 1 != 0) && seen.is_outdated() {
                    let mut place = (*tuple).t_self;
                    table.update(&mut place, row::form(&table, row)?.tuple)?;
                }
            }
        }
    }

    /// With another key nobody's record would be found, and everybody could be created again. The worker
    /// has compared the key with the anchor when it came; before that, and on a standby, it is compared here.
    fn require_same(&self, deadline: Instant) -> Result<(), Error> {
        let (expected, events) = databases::installation();
        if expected == [0; 16] {
            return self.require_anchored(deadline);
        }
        let same = expected == self.key.installation().0;
        // Another table belongs to an extension that has been created anew meanwhile.
        if same || table::relation(c"event")?.to_u32() != events {
            Ok(())
        } else {
            Err(Error::OtherIndexKey)
        }
    }

    fn require_anchored(&self, deadline: Instant) -> Result<(), Error> {
        if !keyring::is_there() {
            return Ok(());
        }
        // The rows of the anchor are bound to no installation: it says which one this is.
        let newest = Anchors::open_by(Access::Read, deadline)?.newest(None)?;
        let same = newest.is_none_or(|(_, anchor)| anchor.installation == self.key.installation());
        if same { Ok(()) } else { Err(Error::OtherIndexKey) }
    }

    /// Marks the key as in use with its first record. From then on a dump carries it, and in a
    /// restored database it wins over the fresh key of CREATE EXTENSION.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn keep(&self) -> Result<(), Error> {
        if self.in_use {
            return Ok(());
        }
        let keys = Table::open(c"blind_index_key", Installation::UNKNOWN, Access::Write)?;
        let mut id: [u8; 16] = salt::random()?;
        let row = [
            self.key.expose().as_slice().into_datum(),
            true.into_datum(),
            Some(pg_sys::Datum::from(id.as_mut_ptr())),
        ];
        // SAFETY: bytea, boolean and uuid, as the SQL file declares. The key itself is in no index,
        // so two concurrent first records add two equal keys without waiting for each other.
        unsafe { keys.insert(row::form(&keys, row)?.tuple) }
    }
}

/// A row: the key, and whether it is in use.
///
/// # Safety
/// `tuple` is a valid tuple of `table`, which is `password_verify.blind_index_key`.
unsafe fn read(table: &Table, tuple: pg_sys::HeapTuple) -> Result<(IndexKey, bool), Error> {
    // SAFETY: the caller's promise; the columns are in the order of the SQL file.
    unsafe {
        let ([key, used, _], seen) = row::look::<3>(table, tuple)?;
        let used = used.is_some_and(|used| used.value() & 1 != 0);
        // CREATE EXTENSION has no keyring, and signs nothing. Where there is no MAC, or its key is lost, the anchor
        // says whether this is the right one.
        if used && matches!(seen, Seen::Altered) {
            seen.require(table)?;
        }
        let key = text::bytes(key.ok_or(Error::NotInstalled)?);
        Ok((IndexKey::new(&key).ok_or(Error::NotInstalled)?, used))
    }
}
