//! One row of `password_verify.credential`, the only place where its seals are opened.

use password_verify_core::kept::record::{Record, label};
use password_verify_core::kept::seal::{self, Binding, Owner};
use password_verify_core::rules::account::{Account, State, Terms, Timestamp};
use password_verify_core::rules::history;
use password_verify_core::rules::reset_token::Token;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::accounts::AccountRow;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::row;
use crate::pg::heap::row::Formed;
use crate::pg::heap::table::Table;
use crate::pg::heap::text;
use crate::pg::keys::keyring;

/// The readable part of the seal of a reset token.
const RESET_LABEL: &str = "reset -";
/// The readable part of the seal of earlier passwords.
const HISTORY_LABEL: &str = "history -";

/// A row.
pub struct Credential {
    /// Its place in the blind index, which identifies it in error messages.
    pub number: RecordNumber,
    /// In canonical form.
    pub user_id: String,
    verifier: Kept,
    /// Terms decided together with the password.
    pub terms: Terms,
    /// The state set by managers, from the account's row in another table.
    state: Result<State, Error>,
    pub created_at: Timestamp,
    /// When a new password was last set; renewals do not count.
    pub changed_at: Timestamp,
    reset: Option<Reset>,
    /// Records of earlier passwords as stored, sealed or not.
    former: Option<Secret>,
    /// Is the row as it was written? If not, nothing in it counts but that there is one.
    genuine: bool,
    /// What the row adds to the sum of the table, as stored.
    pub(super) share: u128,
}

/// The newest reset token.
struct Reset {
    /// Its digest as stored, sealed or not.
    text: Secret,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

enum Kept {
    /// As stored, sealed or not, with the values its seal is bound to.
    Stored { text: Secret, terms: Terms, changed_at: Timestamp },
    /// Set since the row was read.
    Plain(Secret),
}

impl Credential {
    /// A new row for a user who has none.
    pub fn new(number: RecordNumber, user: &UserId, record: &Record, now: Timestamp) -> Self {
        Self {
            number,
            user_id: user.as_str().to_owned(),
            verifier: Kept::Plain(record.expose()),
            terms: Terms::default(),
            state: Ok(State::default()),
            created_at: now,
            changed_at: now,
            reset: None,
            former: None,
            genuine: true,
            share: 0,
        }
    }

    /// The row under another user id. Hashes computed over the old id keep it as their name; a
    /// reset token, which names the place, becomes invalid.
    ///
    /// # Errors
    /// Those of [`Credential::state`], [`Credential::unseal`] and [`keyring::seal`].
    pub fn renamed(&self, number: RecordNumber, user: &UserId) -> Result<Self, Error> {
        let keep_name = |text: &Secret| {
            let record = Record::parse(text.expose(), u32::MAX)
                .map_err(|why| Error::stored(why, self.number))?;
            Ok::<_, Error>(record.keeping_name(&self.user_id).expose())
        };
        let former: Vec<_> = self.open_former()?.iter().flat_map(keep_name).collect();
        let mut row = Self {
            number,
            user_id: user.as_str().to_owned(),
            verifier: Kept::Plain(keep_name(&self.unseal()?)?),
            terms: self.terms,
            state: Ok(self.state?),
            created_at: self.created_at,
            changed_at: self.changed_at,
            reset: None,
            former: None,
            genuine: true,
            share: 0,
        };
        let text = history::write(&former);
        row.former = text.map(|text| row.seal_former(&text)).transpose()?;
        Ok(row)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns; [`Error::Corrupt`] when the
    /// row is not as it was written.
    ///
    /// # Safety
    /// `tuple` is a valid tuple of `table`, which is `password_verify.credential`.
    pub unsafe fn read(table: &Table, tuple: pg_sys::HeapTuple) -> Result<Self, Error> {
        // SAFETY: the caller's promise; the columns are in the order of the SQL file, and what they
        // point to stays valid while it is copied.
        unsafe {
            let (row, seen) = row::look::<11>(table, tuple)?;
            let [
                number,
                user_id,
                verifier,
                must_change,
                expires_at,
                created_at,
                changed_at,
                reset_digest,
                reset_issued_at,
                reset_expires_at,
                former,
            ] = row;
            let number = *number.ok_or(Error::NotInstalled)?.cast_mut_ptr::<RecordNumber>();
            let broken = Error::Corrupt(number);
            let string = |column: Option<pg_sys::Datum>| {
                text::to_utf8(column.ok_or(broken)?).map_err(|_| broken)
            };
            let time = |datum: pg_sys::Datum| datum.value() as Timestamp;
            let terms = Terms {
                expires_at: expires_at.map(time),
                must_change: must_change.ok_or(broken)?.value() != 0,
            };
            let changed_at = changed_at.map(time).ok_or(broken)?;
            let text = string(verifier)?;
            let genuine = seen.admits(table, text.expose());
            Ok(Self {
                number,
                user_id: string(user_id)?.expose().to_owned(),
                verifier: Kept::Stored { text, terms, changed_at },
                terms,
                state: Err(Error::CorruptAccount(number)),
                created_at: created_at.map(time).ok_or(broken)?,
                changed_at,
                reset: match (reset_digest, reset_issued_at, reset_expires_at) {
                    (Some(text), Some(issued_at), Some(expires_at)) => {
                        let text = text::to_utf8(text).map_err(|_| broken)?;
                        let (issued_at, expires_at) = (time(issued_at), time(expires_at));
                        Some(Reset { text, issued_at, expires_at })
                    }
                    _ => None,
                },
                former: former.map(|text| text::to_utf8(text).map_err(|_| broken)).transpose()?,
                genuine,
                share: seen.share(),
            })
        }
    }

    /// Takes the state from the row at hand if it is the account's own. The row is opened in any
    /// case.
    pub fn judge(&mut self, account: Option<Result<AccountRow, Error>>) {
        let number = self.number;
        self.state = match account {
            Some(Ok(row)) => row.unseal().and_then(|state| {
                let its = (row.number, row.created_at) == (number, self.created_at)
                    && row.user_id == self.user_id;
                if its { Ok(state) } else { Err(Error::CorruptAccount(number)) }
            }),
            Some(Err(Error::NotInstalled)) => Err(Error::NotInstalled),
            Some(Err(_)) | None => Err(Error::CorruptAccount(number)),
        };
    }

    /// The state that managers have set for the account.
    ///
    /// # Errors
    /// Those of [`AccountRow::unseal`].
    pub fn state(&self) -> Result<State, Error> {
        self.state
    }

    /// What the account's state and the password's terms allow.
    ///
    /// # Errors
    /// Those of [`Credential::state`].
    pub fn account(&self) -> Result<Account, Error> {
        self.require_genuine()?;
        Ok(self.state?.of(self.terms, self.changed_at))
    }

    /// The text of the record, unparsed: it may be corrupt.
    ///
    /// # Errors
    /// Those of [`keyring::unseal`].
    pub fn unseal(&self) -> Result<Secret, Error> {
        match &self.verifier {
            Kept::Plain(text) => Ok(Secret::new(text.expose().to_owned())),
            Kept::Stored { .. } if !self.genuine => Err(Error::Corrupt(self.number)),
            Kept::Stored { text, terms, changed_at } => {
                keyring::unseal(text.expose(), &self.binding(*terms, *changed_at), self.number)
            }
        }
    }

    /// Another record of the same password, in the form in which it would be stored, and the digest
    /// of the stored text it is to replace.
    ///
    /// # Errors
    /// Those of [`keyring::seal`]; [`Error::Corrupt`] for a row that is not stored yet.
    pub fn renewal(&self, record: &Secret) -> Result<([u8; 32], Secret), Error> {
        let Kept::Stored { text, terms, changed_at } = &self.verifier else {
            return Err(Error::Corrupt(self.number));
        };
        let binding = self.binding(*terms, *changed_at);
        let renewed = keyring::seal(record, &label(record.expose()), &binding)?;
        Ok((seal::digest(text.expose()), renewed))
    }

    /// Stores what [`Credential::renewal`] has made; false if another text is stored by now.
    pub fn renew(&mut self, replaces: [u8; 32], renewed: &Secret) -> bool {
        match &mut self.verifier {
            Kept::Stored { text, .. } if seal::digest(text.expose()) == replaces => {
                *text = Secret::new(renewed.expose().to_owned());
                true
            }
            Kept::Stored { .. } | Kept::Plain(_) => false,
        }
    }

    /// Sets another password, which invalidates reset tokens. Remembers the replaced and earlier
    /// passwords, at most `history` of them, except those that can no longer be opened.
    ///
    /// # Errors
    /// Those of [`keyring::seal`].
    pub fn replace(&mut self, record: Secret, now: Timestamp, history: usize) -> Result<(), Error> {
        let mut former: Vec<Secret> = self.unseal().ok().into_iter().collect();
        former.extend(self.open_former().unwrap_or_default());
        former.truncate(history);
        self.verifier = Kept::Plain(record);
        self.genuine = true;
        self.changed_at = self.state.map_or(now, |state| state.change_at(now));
        self.reset = None;
        let text = history::write(&former);
        self.former = text.map(|text| self.seal_former(&text)).transpose()?;
        Ok(())
    }

    /// Records of earlier passwords, the latest first.
    ///
    /// # Errors
    /// Those of [`keyring::unseal`].
    pub fn open_former(&self) -> Result<Vec<Secret>, Error> {
        self.require_genuine()?;
        let Some(text) = &self.former else { return Ok(Vec::new()) };
        let text = keyring::unseal(text.expose(), &self.former_binding(), self.number)?;
        Ok(history::read(&text))
    }

    fn seal_former(&self, text: &Secret) -> Result<Secret, Error> {
        keyring::seal(text, HISTORY_LABEL, &self.former_binding())
    }

    fn former_binding(&self) -> Binding<'_> {
        Binding::history(self.owner(self.changed_at))
    }

    /// Issues a reset token, which replaces any earlier one.
    ///
    /// # Errors
    /// Those of [`Credential::state`] and [`keyring::seal`].
    pub fn issue(&mut self, token: &Token, now: Timestamp, life: Timestamp) -> Result<(), Error> {
        let issued_at = self.state?.issue_at(now);
        let expires_at = now.saturating_add(life);
        let binding = self.reset_binding(issued_at, expires_at);
        let text = keyring::seal(&token.digest(), RESET_LABEL, &binding)?;
        self.reset = Some(Reset { text, issued_at, expires_at });
        Ok(())
    }

    /// Does this token allow a reset of the password?
    ///
    /// # Errors
    /// Those of [`Credential::state`] and [`keyring::unseal`].
    pub fn redeems(&self, token: &Token, now: Timestamp) -> Result<bool, Error> {
        let Some(reset) = self.usable_token(now)? else { return Ok(false) };
        Ok(token.is_of(&self.open_reset(reset)?))
    }

    /// When the currently usable reset token was issued, if there is one.
    ///
    /// # Errors
    /// Those of [`Credential::state`]; [`Error::Corrupt`].
    pub fn token_issued_at(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        Ok(self.usable_token(now)?.map(|reset| reset.issued_at))
    }

    fn require_genuine(&self) -> Result<(), Error> {
        if self.genuine { Ok(()) } else { Err(Error::Corrupt(self.number)) }
    }

    fn usable_token(&self, now: Timestamp) -> Result<Option<&Reset>, Error> {
        self.require_genuine()?;
        let state = self.state?;
        let usable = |reset: &&Reset| now < reset.expires_at && !state.is_revoked(reset.issued_at);
        Ok(self.reset.as_ref().filter(usable))
    }

    fn open_reset(&self, reset: &Reset) -> Result<Secret, Error> {
        let binding = self.reset_binding(reset.issued_at, reset.expires_at);
        keyring::unseal(reset.text.expose(), &binding, self.number)
    }

    fn reset_binding(&self, issued_at: Timestamp, expires_at: Timestamp) -> Binding<'_> {
        Binding::reset(self.owner(self.changed_at), issued_at, expires_at)
    }

    /// Is everything in it sealed as a new row would be?
    pub fn is_sealed_as_new(&self) -> bool {
        let current = |text: &Secret| keyring::is_current(text.expose());
        let reset = self.reset.as_ref().is_none_or(|reset| current(&reset.text))
            && self.former.as_ref().is_none_or(current);
        match &self.verifier {
            Kept::Stored { text, .. } => current(text) && reset && !self.is_unsigned(),
            Kept::Plain(_) => false,
        }
    }

    /// Does it count without a MAC, as a row from before the keyring?
    fn is_unsigned(&self) -> bool {
        self.genuine && self.share == 0 && keyring::is_there()
    }

    fn binding(&self, terms: Terms, changed_at: Timestamp) -> Binding<'_> {
        Binding::verifier(self.owner(changed_at), terms)
    }

    fn owner(&self, changed_at: Timestamp) -> Owner<'_> {
        Owner { user_id: &self.user_id, created_at: self.created_at, changed_at }
    }

    /// The row as a tuple in the current memory context, sealed with the active key.
    ///
    /// # Errors
    /// Those of [`keyring::unseal`], [`keyring::seal`], [`text::to_datum`] and [`row::form`].
    pub fn form(&mut self, table: &Table) -> Result<Formed, Error> {
        let plain = self.unseal()?;
        let binding = self.binding(self.terms, self.changed_at);
        let verifier = keyring::seal(&plain, &label(plain.expose()), &binding)?;
        let reset = match &self.reset {
            Some(reset) => {
                let binding = self.reset_binding(reset.issued_at, reset.expires_at);
                let digest = self.open_reset(reset)?;
                let text = keyring::seal(&digest, RESET_LABEL, &binding)?;
                Some((text::to_datum(text.expose())?, reset))
            }
            None => None,
        };
        let former = match &self.former {
            Some(text) => {
                let text = keyring::unseal(text.expose(), &self.former_binding(), self.number)?;
                Some(text::to_datum(self.seal_former(&text)?.expose())?)
            }
            None => None,
        };
        let row = [
            Some(pg_sys::Datum::from(self.number.as_mut_ptr())),
            Some(text::to_datum(&self.user_id)?),
            Some(text::to_datum(verifier.expose())?),
            self.terms.must_change.into_datum(),
            self.terms.expires_at.into_datum(),
            self.created_at.into_datum(),
            self.changed_at.into_datum(),
            reset.map(|(digest, _)| digest),
            reset.and_then(|(_, reset)| reset.issued_at.into_datum()),
            reset.and_then(|(_, reset)| reset.expires_at.into_datum()),
            former,
        ];
        // SAFETY: uuid, text, text, boolean, three timestamptz (int64), text, two timestamptz and
        // text, as the SQL file declares; the tuple holds copies.
        unsafe { row::form(table, row) }
    }
}
