//! `password_verify.result`: what jobs have brought, until it is acknowledged.

use std::ffi::CStr;

use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use pgrx::datum::{IntoDatum, Uuid};

use super::table::{Kept, Locked, Reseal, RowKey, Rows};
use crate::error::Error;
use crate::pg::heap::row::Row;
use crate::pg::heap::text;
use crate::pg::keys::keyring;

const COLUMNS: usize = 3;
/// The readable part of the seal.
const LABEL: &str = "result -";
/// The number of the column of that name.
pub const DELIVERED_AT: i32 = 3;
/// The key of a result begins with the key of its job.
const JOB: usize = 8;

pub type Results = Rows<COLUMNS, ResultRow>;

/// The most results of a job that are not acknowledged.
pub const MOST_RESULTS: usize = 1000;

pub struct ResultRow {
    pub job: i64,
    pub seq: i64,
    sealed: Secret,
    pub delivered_at: Timestamp,
}

fn key(job: i64, seq: i64) -> RowKey {
    let mut key = RowKey::default();
    key[..JOB].copy_from_slice(&job.to_be_bytes());
    key[JOB..].copy_from_slice(&seq.to_be_bytes());
    key
}

impl Results {
    /// Results of a job after a number that were delivered since a time, oldest first, with about `bytes` at most.
    ///
    /// # Errors
    /// Those of [`ResultRow::open`].
    pub fn open_after(
        &self,
        job: i64,
        seq: i64,
        since: Timestamp,
        bytes: usize,
    ) -> Result<Vec<(ResultRow, Secret)>, Error> {
        let (mut found, mut size) = (Vec::new(), 0);
        self.walk(key(job, seq.max(0).saturating_add(1)), JOB, |row| {
            if row.delivered_at >= since {
                let result = row.open()?;
                size += result.expose().len();
                found.push((row, result));
            }
            Ok(size < bytes)
        })?;
        Ok(found)
    }

    /// Has a job any results?
    pub fn any(&self, job: i64) -> bool {
        !self.keys(key(job, 0), JOB, 1).is_empty()
    }

    /// Deletes results of a job up to a number, at most `count` of them; false if somebody holds one, or there are
    /// more.
    ///
    /// # Errors
    /// Those of [`Rows::lock`].
    pub fn delete_up_to(&self, job: i64, seq: i64, count: usize) -> Result<bool, Error> {
        let found = self.keys(key(job, 0), JOB, count);
        let up_to = key(job, seq);
        for row in found.iter().filter(|row| **row <= up_to) {
            match self.lock(*row)? {
                Locked::Row(_, held) => self.delete(held)?,
                Locked::Absent => {}
                Locked::Busy => return Ok(false),
            }
        }
        Ok(found.len() < count || found.last().is_some_and(|row| *row > up_to))
    }
}

impl ResultRow {
    /// Seals a result.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn new(job: i64, seq: i64, result: &Secret, now: Timestamp) -> Result<Self, Error> {
        let sealed = keyring::seal(result, LABEL, &Binding::result(job, seq))?;
        Ok(Self { job, seq, sealed, delivered_at: now })
    }

    /// The result.
    ///
    /// # Errors
    /// Those of [`Kept::unseal`].
    pub fn open(&self) -> Result<Secret, Error> {
        self.unseal(&self.sealed, &Binding::result(self.job, self.seq))
    }
}

impl Kept<COLUMNS> for ResultRow {
    const TABLE: &'static CStr = c"result";
    const INDEX: &'static CStr = c"result_pkey";

    fn key(&self) -> RowKey {
        key(self.job, self.seq)
    }

    unsafe fn read(row: Row<COLUMNS>) -> Result<Self, Error> {
        let wrong = Error::NotInstalled;
        let [key, sealed, delivered_at] = row;
        // SAFETY: the caller's promise; types as the SQL file declares, copied at once.
        unsafe {
            let key = *key.ok_or(wrong)?.cast_mut_ptr::<RowKey>();
            let (halves, _) = key.as_chunks::<JOB>();
            Ok(Self {
                job: i64::from_be_bytes(halves[0]),
                seq: i64::from_be_bytes(halves[1]),
                sealed: text::to_utf8(sealed.ok_or(wrong)?)?,
                delivered_at: delivered_at.ok_or(wrong)?.value() as Timestamp,
            })
        }
    }

    fn columns(&mut self) -> Result<Row<COLUMNS>, Error> {
        Ok([
            Uuid::from_bytes(self.key()).into_datum(),
            Some(text::to_datum(self.sealed.expose())?),
            self.delivered_at.into_datum(),
        ])
    }

    fn sealed(&mut self, each: &mut Reseal) -> Result<(), Error> {
        each(&mut self.sealed, LABEL, &Binding::result(self.job, self.seq))
    }
}
