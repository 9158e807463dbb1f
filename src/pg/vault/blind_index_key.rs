//! The key of the blind index: made by CREATE EXTENSION, marked as in use by the first record, and
//! carried by dumps.

use std::time::Instant;

use password_verify_core::kept::blind_index::IndexKey;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::scan;
use crate::pg::heap::table;
use crate::pg::heap::table::Table;
use crate::pg::heap::text;
use crate::pg::server::unwinding;
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
        Self::read_from(&Table::open_by(c"blind_index_key", Access::Read, deadline)?)
    }

    /// Reads it from a table that is already open.
    ///
    /// # Errors
    /// Those of [`BlindIndexKey::read`].
    pub fn read_from(table: &Table) -> Result<Self, Error> {
        let (mut in_use, mut fresh): (Option<IndexKey>, Option<IndexKey>) = (None, None);
        let mut rows = Rows::begin(table);
        while let Some((key, used)) = rows.next()? {
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

    /// Marks the key as in use with its first record. From then on a dump carries it, and in a
    /// restored database it wins over the fresh key of CREATE EXTENSION.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn keep(&self) -> Result<(), Error> {
        if self.in_use {
            return Ok(());
        }
        let keys = Table::open(c"blind_index_key", Access::Write)?;
        let mut id: [u8; 16] = salt::random()?;
        let row = [
            self.key.expose().as_slice().into_datum(),
            true.into_datum(),
            Some(pg_sys::Datum::from(id.as_mut_ptr())),
        ];
        // SAFETY: bytea, boolean and uuid, as the SQL file declares. The key itself is in no index,
        // so two concurrent first records add two equal keys without waiting for each other.
        unsafe { keys.insert(table::form(&keys, row)?) }
    }
}

/// A sequential scan of the key table, which has one or two rows.
struct Rows<'a> {
    table: &'a Table,
    scan: pg_sys::SysScanDesc,
}

impl<'a> Rows<'a> {
    fn begin(table: &'a Table) -> Self {
        let (relation, snapshot) = (table.as_ptr(), scan::now());
        let (no_index, no_key) = (pg_sys::InvalidOid, std::ptr::null_mut());
        // SAFETY: the table is borrowed for as long as the scan lives; the snapshot is a static.
        let scan =
            unsafe { pg_sys::systable_beginscan(relation, no_index, false, snapshot, 0, no_key) };
        Self { table, scan }
    }

    fn next(&mut self) -> Result<Option<(IndexKey, bool)>, Error> {
        // SAFETY: the scan has begun and not ended; the tuple is read before the next is fetched.
        unsafe {
            let tuple = pg_sys::systable_getnext(self.scan);
            if tuple.is_null() {
                return Ok(None);
            }
            let [key, used, _] = table::columns::<3>(self.table, tuple)?;
            let key = text::bytes(key.ok_or(Error::NotInstalled)?);
            let key = IndexKey::new(&key).ok_or(Error::NotInstalled)?;
            Ok(Some((key, used.is_some_and(|used| used.value() != 0))))
        }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once.
            unsafe { pg_sys::systable_endscan(self.scan) };
        }
    }
}
