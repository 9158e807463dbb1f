//! One row of `password_verify.credential`.

use password_verify_core::account::{Account, Timestamp};
use password_verify_core::seal::{Binding, CREDENTIAL};
use password_verify_core::secret::Secret;
use password_verify_core::user_id::UserId;
use password_verify_core::verifier::{Verifier, label};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::keyring;
use super::table::{self, Table};
use super::text;
use crate::error::{Error, RecordNumber};

/// A row.
pub struct Credential {
    /// Its place in the index, and its number in error messages.
    pub number: RecordNumber,
    /// Canonical.
    pub user_id: String,
    /// The PHC string.
    verifier: Kept,
    /// What the verifier is worth.
    pub account: Account,
    /// When the user was created.
    pub created_at: Timestamp,
    /// When the password was last set by somebody.
    pub changed_at: Timestamp,
}

enum Kept {
    /// As it was stored, sealed or not, and the state that it was sealed with.
    Stored { text: Secret, account: Account, changed_at: Timestamp },
    /// Set since.
    Plain(Secret),
}

impl Credential {
    /// A row for a user who had none.
    pub fn new(number: RecordNumber, user: &UserId, verifier: &Verifier, now: Timestamp) -> Self {
        Self {
            number,
            user_id: user.as_str().to_owned(),
            verifier: Kept::Plain(verifier.expose()),
            account: Account::default(),
            created_at: now,
            changed_at: now,
        }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns; [`Error::Corrupt`] when a column that is never NULL is, or a text is not text.
    ///
    /// # Safety
    /// `tuple` is a valid tuple of `table`, which is `password_verify.credential`.
    pub unsafe fn read(table: &Table, tuple: pg_sys::HeapTuple) -> Result<Self, Error> {
        // SAFETY: the caller's promise; the columns are in the order of the SQL file, and what is
        // pointed to stays valid while it is copied here.
        unsafe {
            let [
                number,
                user_id,
                verifier,
                must_change,
                expires_at,
                disabled_at,
                created_at,
                changed_at,
            ] = table::columns::<8>(table, tuple)?;
            let number = *number.ok_or(Error::NotInstalled)?.cast_mut_ptr::<RecordNumber>();
            let broken = Error::Corrupt(number);
            let string = |column: Option<pg_sys::Datum>| {
                text::to_utf8(column.ok_or(broken)?).map_err(|_| broken)
            };
            let time = |datum: pg_sys::Datum| datum.value() as Timestamp;
            let account = Account {
                disabled_at: disabled_at.map(time),
                expires_at: expires_at.map(time),
                must_change: must_change.ok_or(broken)?.value() != 0,
            };
            let changed_at = changed_at.map(time).ok_or(broken)?;
            Ok(Self {
                number,
                user_id: string(user_id)?.expose().to_owned(),
                verifier: Kept::Stored { text: string(verifier)?, account, changed_at },
                account,
                created_at: created_at.map(time).ok_or(broken)?,
                changed_at,
            })
        }
    }

    /// The PHC string, unparsed: it may be corrupt.
    ///
    /// # Errors
    /// What [`keyring::open`] says.
    pub fn open(&self) -> Result<Secret, Error> {
        match &self.verifier {
            Kept::Plain(text) => Ok(Secret::new(text.expose().to_owned())),
            Kept::Stored { text, account, changed_at } => {
                keyring::open(text.expose(), &self.binding(*account, *changed_at), self.number)
            }
        }
    }

    /// Puts another in its place.
    pub fn put(&mut self, verifier: Secret) {
        self.verifier = Kept::Plain(verifier);
    }

    /// Is it stored as it would be stored today?
    pub fn is_sealed_as_new(&self) -> bool {
        match &self.verifier {
            Kept::Stored { text, .. } => keyring::is_current(text.expose()),
            Kept::Plain(_) => false,
        }
    }

    fn binding(&self, account: Account, changed_at: Timestamp) -> Binding<'_> {
        let (user_id, created_at) = (self.user_id.as_str(), self.created_at);
        Binding { purpose: CREDENTIAL, user_id, account, created_at, changed_at }
    }

    /// The row as a tuple, allocated in the current memory context, and sealed as it is now.
    ///
    /// # Errors
    /// What [`keyring::open`], [`keyring::seal`], [`text::to_datum`] and [`table::form`] say.
    pub fn form(&mut self, table: &Table) -> Result<pg_sys::HeapTuple, Error> {
        let plain = self.open()?;
        let binding = self.binding(self.account, self.changed_at);
        let verifier = keyring::seal(&plain, &label(plain.expose()), &binding)?;
        let row = [
            Some(pg_sys::Datum::from(self.number.as_mut_ptr())),
            Some(text::to_datum(&self.user_id)?),
            Some(text::to_datum(verifier.expose())?),
            self.account.must_change.into_datum(),
            self.account.expires_at.into_datum(),
            self.account.disabled_at.into_datum(),
            self.created_at.into_datum(),
            self.changed_at.into_datum(),
        ];
        // SAFETY: uuid, text, text, boolean and four timestamptz (int64), as the SQL file declares;
        // the tuple holds copies.
        unsafe { table::form(table, row) }
    }
}
