//! `password_verify.vault`: one row for each user of whom anything is kept: how much, and the lock of the vault if the
//! user has chosen a vault password. Whoever adds or removes secrets or jobs of a user, or changes the lock, holds this
//! row until the transaction ends.

use std::ffi::CStr;

use password_verify_core::keeper::vault::Lock;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::table::{Kept, Reseal, RowKey, Rows, later_than};
use crate::error::Error;
use crate::pg::heap::row::Row;
use crate::pg::heap::text;
use crate::pg::keys::keyring;
use crate::{salt, settings};

const COLUMNS: usize = 8;
/// The readable part of the seal.
const LABEL: &str = "vault -";

pub type Vaults = Rows<COLUMNS, VaultRow>;

/// A vault's id, and when its lock was changed last.
pub type Version = ([u8; 16], Timestamp);

pub struct VaultRow {
    /// That of the user in the blind index.
    pub key: RowKey,
    pub id: [u8; 16],
    pub user_id: String,
    /// Empty without a lock.
    sealed: Secret,
    /// Secrets of the user, in the vault or not.
    pub secrets: i32,
    /// Jobs of these secrets.
    pub jobs: i32,
    pub created_at: Timestamp,
    /// What was unlocked before this time is locked again.
    pub changed_at: Timestamp,
}

impl VaultRow {
    /// A row without a lock, of a user of whom nothing is kept.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn new(key: RowKey, user: &UserId, now: Timestamp) -> Result<Self, Error> {
        let (id, user_id) = (salt::random()?, user.as_str().to_owned());
        let sealed = Secret::new(String::new());
        Ok(Self { key, id, user_id, sealed, secrets: 0, jobs: 0, created_at: now, changed_at: now })
    }

    /// Is there a lock on it?
    pub fn is_locked(&self) -> bool {
        !self.sealed.expose().is_empty()
    }

    /// Is anything kept?
    pub fn is_empty(&self) -> bool {
        self.secrets <= 0 && self.jobs <= 0 && !self.is_locked()
    }

    /// Which lock it is.
    pub fn version(&self) -> Version {
        (self.id, self.changed_at)
    }

    /// Takes the lock away.
    pub fn open(&mut self, now: Timestamp) {
        self.sealed = Secret::new(String::new());
        self.changed_at = later_than(self.changed_at, now);
    }

    /// Puts a lock on it, in place of any other.
    ///
    /// # Errors
    /// [`Error::NoKeyring`], [`Error::NoRandomness`].
    pub fn put(&mut self, lock: &Lock, now: Timestamp) -> Result<(), Error> {
        if !keyring::is_there() {
            return Err(Error::NoKeyring);
        }
        self.sealed = keyring::seal(&lock.expose(), LABEL, &self.binding())?;
        self.changed_at = later_than(self.changed_at, now);
        Ok(())
    }

    fn binding(&self) -> Binding<'_> {
        Binding::vault(&self.user_id, &self.id)
    }

    /// The lock.
    ///
    /// # Errors
    /// Those of [`Kept::unseal`], and of a lock above the limits.
    pub fn lock(&self) -> Result<Lock, Error> {
        let text = self.unwrap()?;
        let lock = Lock::parse(text.expose(), settings::hash_memory_limit());
        lock.map_err(|why| Error::stored(why, self.key))
    }

    fn unwrap(&self) -> Result<Secret, Error> {
        self.unseal(&self.sealed, &self.binding())
    }

    /// The row under another user's id.
    ///
    /// # Errors
    /// Those of [`VaultRow::lock`].
    pub fn rename(&mut self, key: RowKey, user: &UserId) -> Result<(), Error> {
        let inner = self.is_locked().then(|| self.unwrap()).transpose()?;
        (self.key, self.user_id) = (key, user.as_str().to_owned());
        if let Some(inner) = inner {
            self.sealed = keyring::seal(&inner, LABEL, &self.binding())?;
        }
        Ok(())
    }
}

impl Kept<COLUMNS> for VaultRow {
    const TABLE: &'static CStr = c"vault";
    const INDEX: &'static CStr = c"vault_pkey";

    fn key(&self) -> RowKey {
        self.key
    }

    unsafe fn read(row: Row<COLUMNS>) -> Result<Self, Error> {
        let wrong = Error::NotInstalled;
        let [key, id, user_id, sealed, secrets, jobs, created_at, changed_at] = row;
        let time = |datum: Option<pg_sys::Datum>| datum.map(|datum| datum.value() as Timestamp);
        // SAFETY: the caller's promise; types as the SQL file declares, copied at once.
        unsafe {
            Ok(Self {
                key: *key.ok_or(wrong)?.cast_mut_ptr::<RowKey>(),
                id: *id.ok_or(wrong)?.cast_mut_ptr::<[u8; 16]>(),
                user_id: text::to_utf8(user_id.ok_or(wrong)?)?.expose().to_owned(),
                sealed: text::to_utf8(sealed.ok_or(wrong)?)?,
                secrets: secrets.ok_or(wrong)?.value() as i32,
                jobs: jobs.ok_or(wrong)?.value() as i32,
                created_at: time(created_at).ok_or(wrong)?,
                changed_at: time(changed_at).ok_or(wrong)?,
            })
        }
    }

    fn columns(&mut self) -> Result<Row<COLUMNS>, Error> {
        Ok([
            Some(pg_sys::Datum::from(self.key.as_mut_ptr())),
            Some(pg_sys::Datum::from(self.id.as_mut_ptr())),
            Some(text::to_datum(&self.user_id)?),
            Some(text::to_datum(self.sealed.expose())?),
            self.secrets.into_datum(),
            self.jobs.into_datum(),
            self.created_at.into_datum(),
            self.changed_at.into_datum(),
        ])
    }

    fn sealed(&mut self, each: &mut Reseal) -> Result<(), Error> {
        if self.is_locked() {
            each(&mut self.sealed, LABEL, &Binding::vault(&self.user_id, &self.id))?;
        }
        Ok(())
    }
}
