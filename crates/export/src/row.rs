//! One row of `password_verify.credential` in a dump.

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::{Binding, Owner};
use password_verify_core::rules::account::Terms;
use password_verify_core::rules::secret::Secret;

use crate::account::Account;
use crate::field::{Columns, Time, boolean, optional, text, time};
use crate::not_exported::{NotExported, unseal};

/// The columns of the credentials that are read.
pub const CREDENTIAL: [&str; 7] =
    ["blind_index", "user_id", "verifier", "must_change", "expires_at", "created_at", "changed_at"];
/// The columns of the accounts that are read.
pub const ACCOUNT: [&str; 7] = [
    "blind_index",
    "user_id",
    "disabled_at",
    "change_required_at",
    "tokens_revoked_at",
    "created_at",
    "seal",
];

/// The credential of one user.
pub struct Row {
    pub user_id: String,
    verifier: Secret,
    terms: Terms,
    /// Whether the state of the account is known, or why not.
    account: Result<(), NotExported>,
    pub must_change: bool,
    pub expires_at: Option<Time>,
    pub disabled_at: Option<Time>,
    pub created_at: Time,
    pub changed_at: Time,
}

impl Row {
    /// Reads a line. `None` if it is not a row.
    pub fn read(line: &[u8], columns: &Columns<7>) -> Option<Self> {
        let [_, user_id, verifier, must_change, expires_at, created_at, changed_at] =
            columns.fields(line)?;
        let must_change = boolean(must_change)?;
        let expires_at = optional(expires_at, time)?;
        Some(Self {
            user_id: text(user_id)?,
            verifier: Secret::new(text(verifier)?),
            terms: Terms { expires_at: expires_at.as_ref().map(|time| time.at), must_change },
            account: Err(NotExported::Account),
            must_change,
            expires_at,
            disabled_at: None,
            created_at: time(created_at)?,
            changed_at: time(changed_at)?,
        })
    }

    /// Takes over the state of the account.
    pub fn judge(&mut self, account: Result<&Account, NotExported>) {
        self.account = account.and_then(|account| {
            if account.user_id != self.user_id || account.created_at != self.created_at.at {
                return Err(NotExported::Account);
            }
            self.disabled_at.clone_from(&account.disabled_at);
            self.must_change = account.state.of(self.terms, self.changed_at.at).must_change;
            Ok(())
        });
    }

    /// Whether this is the placeholder row, which belongs to no user.
    pub fn is_placeholder(&self) -> bool {
        self.user_id.is_empty() && self.verifier.expose().is_empty()
    }

    /// Opens the record of the password.
    ///
    /// # Errors
    /// [`NotExported`] if there is no hash to write.
    pub fn open(&self, ring: Option<&Keyring>) -> Result<Secret, NotExported> {
        let secret = self.open_verifier(ring)?;
        self.account.clone().map(|()| secret)
    }

    fn open_verifier(&self, ring: Option<&Keyring>) -> Result<Secret, NotExported> {
        let owner = Owner {
            user_id: &self.user_id,
            created_at: self.created_at.at,
            changed_at: self.changed_at.at,
        };
        let binding = Binding::verifier(owner, self.terms);
        let text = self.verifier.expose();
        match unseal(text, &binding, ring)? {
            Some(hash) => Ok(hash),
            None if text.is_empty() => Err(NotExported::Malformed),
            None => Ok(Secret::new(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use password_verify_core::rules::account::State;

    const NUMBER: &str = "0123abcd-0000-0000-0000-000000000000";
    const NOW: &str = "2026-01-02 03:04:05+00";

    fn columns(names: &[&str]) -> Result<Columns<7>, &'static str> {
        Columns::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), CREDENTIAL)
    }

    fn line(fields: [&str; 7]) -> Vec<u8> {
        fields.join("\t").into_bytes()
    }

    fn read(fields: [&str; 7]) -> Option<Row> {
        Row::read(&line(fields), &columns(&CREDENTIAL).unwrap())
    }

    #[test]
    fn a_row() {
        let row = read([NUMBER, "a\\tb", "$x$y", "t", "infinity", NOW, NOW]).unwrap();
        assert_eq!((row.user_id.as_str(), row.must_change), ("a\tb", true));
        assert_eq!(row.expires_at.as_ref().unwrap().at, i64::MAX);
        assert_eq!(row.open_verifier(None).ok().unwrap().expose(), "$x$y");
        assert_eq!(row.open(None).err(), Some(NotExported::Account));
    }

    #[test]
    fn an_account_is_of_one_user() {
        let mut row = read([NUMBER, "42", "$x$y", "f", "\\N", NOW, NOW]).unwrap();
        let at = row.created_at.at;
        let account = |user: &str, created_at, required| Account {
            user_id: user.into(),
            created_at,
            disabled_at: Some(row.created_at.clone()),
            state: State { change_required_at: Some(required), ..State::default() },
        };
        let (good, other) = (account("42", at, at), [account("43", at, at), account("42", 0, at)]);
        let met = account("42", at, at - 1);
        for other in &other {
            row.judge(Ok(other));
            assert_eq!(row.open(None).err(), Some(NotExported::Account));
            assert!(row.disabled_at.is_none());
        }
        row.judge(Ok(&met));
        assert!(row.open(None).is_ok() && !row.must_change);
        row.judge(Ok(&good));
        assert!(row.open(None).is_ok() && row.must_change && row.disabled_at.is_some());
    }

    #[test]
    fn columns_are_found_by_name() {
        let mut names = CREDENTIAL.to_vec();
        names.reverse();
        names.insert(3, "another");
        let columns = columns(&names).ok().unwrap();
        let fields = [NOW, NOW, "\\N", "ignored", "f", "$x$y", "42", NUMBER];
        let line = fields.join("\t").into_bytes();
        let row = Row::read(&line, &columns).unwrap();
        assert_eq!(row.user_id, "42");
        assert_eq!(columns.number(&line).as_deref(), Some(NUMBER));
        assert_eq!(super::tests::columns(&CREDENTIAL[..6]).err(), Some("changed_at"));
    }

    #[test]
    fn what_is_no_row() {
        let good = [NUMBER, "42", "$x$y", "f", "\\N", NOW, NOW];
        assert!(read(good).is_some());
        for (place, field) in [
            (1, "\\N"),
            (1, "\\xff"),
            (2, "\\N"),
            (3, "true"),
            (3, "\\N"),
            (4, "never"),
            (5, "\\N"),
            (6, "2026-01-02"),
            (6, "a\tb"),
        ] {
            let mut fields = good;
            fields[place] = field;
            assert!(read(fields).is_none(), "{place} {field}");
        }
        assert!(Row::read(b"", &columns(&CREDENTIAL).ok().unwrap()).is_none());
    }

    #[test]
    fn what_does_not_open() {
        let open = |verifier| {
            let row = read([NUMBER, "42", verifier, "f", "\\N", NOW, NOW]).unwrap();
            row.open_verifier(None).err()
        };
        let sealed = "$sealed$v=1$a$0123456789abcdef$argon2id m=1,t=1,p=1$AAAA";
        assert_eq!(open(sealed), Some(NotExported::UnknownKey("a".into())));
        assert_eq!(open("$sealed$v=1$a"), Some(NotExported::Broken));
        assert_eq!(open("$sealed$v=2$a$b"), Some(NotExported::Version));
        assert_eq!(open(""), Some(NotExported::Malformed));
        assert_eq!(open("$2b$12$x"), None);
    }
}
