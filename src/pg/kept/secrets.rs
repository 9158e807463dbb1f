//! `password_verify.secret`: users' secrets.
//!
//! A random data key encrypts the secret, with the secret's id and its destination as associated data. The data key is
//! wrapped under the keyring with the user's id, and before that, for a secret in a vault, under the vault's key. So
//! keys rotate and users are renamed without opening anything but the wrapping.

use std::ffi::CStr;

use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::keeper::destination::Destination;
use password_verify_core::keeper::schedule::SecretState;
use password_verify_core::keeper::vault::VaultKey;
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
use crate::salt;

const COLUMNS: usize = 12;
/// The readable part of the seal of a data key.
const LABEL: &str = "data-key -";

pub type Secrets = Rows<COLUMNS, SecretRow>;

pub struct SecretRow {
    pub key: RowKey,
    /// Random, and the same for as long as there is a secret of this name.
    pub id: [u8; 16],
    pub user_id: String,
    pub name: String,
    pub destination: String,
    data_key: Secret,
    pub in_vault: bool,
    sealed: Secret,
    pub state: SecretState,
    /// Why it was rejected.
    pub why: Option<String>,
    pub stored_at: Timestamp,
    /// When a job of it was last leased.
    pub opened_at: Option<Timestamp>,
}

impl SecretRow {
    /// A row without a secret: [`SecretRow::put`] follows.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn new(key: RowKey, user: &UserId, name: &str) -> Result<Self, Error> {
        Ok(Self {
            key,
            id: salt::random()?,
            user_id: user.as_str().to_owned(),
            name: name.to_owned(),
            destination: String::new(),
            data_key: Secret::new(String::new()),
            in_vault: false,
            sealed: Secret::new(String::new()),
            state: SecretState::New,
            why: None,
            stored_at: 0,
            opened_at: None,
        })
    }

    /// Encrypts a secret with a new data key. `vault`: locks that with the vault's key.
    ///
    /// # Errors
    /// [`Error::NoKeyring`], [`Error::NoRandomness`].
    pub fn put(
        &mut self,
        secret: &Secret,
        destination: &Destination,
        vault: Option<&VaultKey>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !keyring::is_there() {
            return Err(Error::NoKeyring);
        }
        let data_key = DataKey::new(salt::random()?);
        destination.as_str().clone_into(&mut self.destination);
        self.in_vault = vault.is_some();
        self.sealed =
            Secret::new(data_key.seal(secret, &self.id, &self.destination, salt::random()?));
        let inner = match vault {
            None => data_key.expose(),
            Some(vault) => vault.lock(&data_key, &self.id, salt::random()?),
        };
        self.data_key = keyring::seal(&inner, LABEL, &self.binding())?;
        (self.state, self.why) = (SecretState::New, None);
        self.stored_at = later_than(self.stored_at, now);
        Ok(())
    }

    /// Encrypts another secret for the same destination with the same data key: the keeper has used the one before,
    /// and got this in return.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn rotate(
        &mut self,
        secret: &Secret,
        data_key: &DataKey,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = data_key.seal(secret, &self.id, &self.destination, salt::random()?);
        self.sealed = Secret::new(sealed);
        self.stored_at = later_than(self.stored_at, now);
        Ok(())
    }

    /// Whose it is.
    ///
    /// # Errors
    /// Those of [`UserId::from_text`], which no stored id causes.
    pub fn user(&self) -> Result<UserId, Error> {
        Ok(UserId::from_text(&self.user_id)?)
    }

    fn binding(&self) -> Binding<'_> {
        Binding::data_key(&self.user_id, &self.id, self.in_vault)
    }

    /// The data key of a secret that is in no vault.
    ///
    /// # Errors
    /// [`Error::Altered`] when it was moved or changed; those of [`keyring::unseal`] for a missing key.
    pub fn data_key(&self) -> Result<DataKey, Error> {
        DataKey::parse(self.unwrap()?.expose()).ok_or_else(Self::altered)
    }

    /// That of one in the vault with this key; `None` if it is that of another vault.
    ///
    /// # Errors
    /// Those of [`SecretRow::data_key`].
    pub fn data_key_in(&self, vault: &VaultKey) -> Result<Option<DataKey>, Error> {
        Ok(vault.unlock(self.unwrap()?.expose(), &self.id))
    }

    /// Locks the data key with another vault's key.
    ///
    /// # Errors
    /// [`Error::Altered`] if it is not locked with the old one; those of [`SecretRow::data_key`].
    pub fn relock(&mut self, old: &VaultKey, new: &VaultKey) -> Result<(), Error> {
        let data_key = self.data_key_in(old)?.ok_or_else(Self::altered)?;
        let inner = new.lock(&data_key, &self.id, salt::random()?);
        self.data_key = keyring::seal(&inner, LABEL, &self.binding())?;
        Ok(())
    }

    fn unwrap(&self) -> Result<Secret, Error> {
        self.unseal(&self.data_key, &self.binding())
    }

    /// The secret itself.
    ///
    /// # Errors
    /// [`Error::Altered`] when secret, id or destination is not what it was.
    pub fn open(&self, data_key: &DataKey) -> Result<Secret, Error> {
        let opened = data_key.open(self.sealed.expose(), &self.id, &self.destination);
        opened.ok_or_else(Self::altered)
    }

    /// The row under another user's id. Opens nothing but the wrapping.
    ///
    /// # Errors
    /// Those of [`SecretRow::data_key`].
    pub fn rename(&mut self, key: RowKey, user: &UserId) -> Result<(), Error> {
        let inner = self.unwrap()?;
        (self.key, self.user_id) = (key, user.as_str().to_owned());
        self.data_key = keyring::seal(&inner, LABEL, &self.binding())?;
        Ok(())
    }
}

impl Kept<COLUMNS> for SecretRow {
    const TABLE: &'static CStr = c"secret";
    const INDEX: &'static CStr = c"secret_pkey";

    fn key(&self) -> RowKey {
        self.key
    }

    unsafe fn read(row: Row<COLUMNS>) -> Result<Self, Error> {
        let wrong = Error::NotInstalled;
        let [
            key,
            id,
            user_id,
            name,
            destination,
            data_key,
            in_vault,
            sealed,
            state,
            why,
            stored_at,
            opened_at,
        ] = row;
        // SAFETY: the caller's promise; types as the SQL file declares, copied at once.
        unsafe {
            let uuid = |datum: Option<pg_sys::Datum>| {
                Ok::<_, Error>(*datum.ok_or(wrong)?.cast_mut_ptr::<[u8; 16]>())
            };
            let secret = |datum: Option<pg_sys::Datum>| text::to_utf8(datum.ok_or(wrong)?);
            let string = |datum| Ok::<_, Error>(secret(datum)?.expose().to_owned());
            Ok(Self {
                key: uuid(key)?,
                id: uuid(id)?,
                user_id: string(user_id)?,
                name: string(name)?,
                destination: string(destination)?,
                data_key: secret(data_key)?,
                in_vault: in_vault.ok_or(wrong)?.value() & 0xff != 0,
                sealed: secret(sealed)?,
                state: SecretState::from_str(&string(state)?).ok_or(wrong)?,
                why: why.map(|why| string(Some(why))).transpose()?,
                stored_at: stored_at.ok_or(wrong)?.value() as Timestamp,
                opened_at: opened_at.map(|time| time.value() as Timestamp),
            })
        }
    }

    fn columns(&mut self) -> Result<Row<COLUMNS>, Error> {
        Ok([
            Some(pg_sys::Datum::from(self.key.as_mut_ptr())),
            Some(pg_sys::Datum::from(self.id.as_mut_ptr())),
            Some(text::to_datum(&self.user_id)?),
            Some(text::to_datum(&self.name)?),
            Some(text::to_datum(&self.destination)?),
            Some(text::to_datum(self.data_key.expose())?),
            self.in_vault.into_datum(),
            Some(text::to_datum(self.sealed.expose())?),
            Some(text::to_datum(self.state.as_str())?),
            self.why.as_deref().map(text::to_datum).transpose()?,
            self.stored_at.into_datum(),
            self.opened_at.into_datum(),
        ])
    }

    fn sealed(&mut self, each: &mut Reseal) -> Result<(), Error> {
        let binding = Binding::data_key(&self.user_id, &self.id, self.in_vault);
        each(&mut self.data_key, LABEL, &binding)
    }
}
