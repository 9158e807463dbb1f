//! The key of the blind index: made by CREATE EXTENSION, kept by the first record, carried by dumps.

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

/// The key that places are computed with.
pub struct ActiveKey {
    /// The key itself.
    pub key: IndexKey,
    /// Has any record been written under it? If not, it is the fresh one of CREATE EXTENSION.
    in_use: bool,
}

impl ActiveKey {
    /// The key in use, or else the fresh one.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] without a key, [`Error::TwoKeys`] with two in use.
    pub fn read() -> Result<Self, Error> {
        Self::read_by(lock::deadline())
    }

    /// The same, waiting for the table until the deadline.
    ///
    /// # Errors
    /// As [`ActiveKey::read`].
    pub fn read_by(deadline: Instant) -> Result<Self, Error> {
        Self::read_from(&Table::open_by(c"blind_index_key", Access::Read, deadline)?)
    }

    /// The same from the table, opened already.
    ///
    /// # Errors
    /// As [`ActiveKey::read`].
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

    /// Marks the key as in use with the first record that is written under it. From then on a dump
    /// carries it, and in a restored database it wins over the fresh one that CREATE EXTENSION made.
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
        // SAFETY: bytea, boolean and uuid, as the SQL file declares. The key itself is in no index, so two
        // first records at the same time leave two equal keys and nobody waits.
        unsafe { keys.insert(table::form(&keys, row)?) }
    }
}

/// A sequential scan of the key table, which has a row or two.
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
