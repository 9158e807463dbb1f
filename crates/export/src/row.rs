//! One row of `password_verify.credential` in a dump.

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::{Binding, NotOpened, Owner, Sealed};
use password_verify_core::rules::account::{Terms, Timestamp};
use password_verify_core::rules::secret::Secret;

use crate::account::Account;
use crate::copy_text::decode;
use crate::timestamp;

/// The beginning of every sealed text, in any version.
const ANY_SEALED: &str = "$sealed$";

/// The positions of the columns. A later version may have more columns, in another order.
pub struct Columns {
    all: usize,
    places: [usize; 7],
}

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

/// A point in time: the dump's text, and its value.
#[derive(Clone)]
pub struct Time {
    pub text: String,
    pub at: Timestamp,
}

/// Why a row has no hash to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotExported {
    /// The row is cut off, or was changed so that it is no longer a row.
    Malformed,
    /// The keyring has no key with this id.
    UnknownKey(String),
    /// The keyring has another key with this id.
    OtherKey(String),
    /// The sealed text was changed or moved, and does not open.
    Broken,
    /// The secret is sealed in an unknown version.
    Version,
    /// The state of the account is missing, or was changed.
    Account,
}

impl NotExported {
    /// A description that contains nothing secret, only the id of a key.
    pub fn why(&self) -> String {
        match self {
            Self::Malformed => "it is not a row of this table, or is cut off".into(),
            Self::UnknownKey(id) => {
                format!("it is sealed with the key {id}, which the keyring does not have")
            }
            Self::OtherKey(id) => {
                format!(
                    "it is sealed with a key {id}, and the key {id} of the keyring is another one"
                )
            }
            Self::Broken => "it does not open: it was changed, or belongs to another row".into(),
            Self::Account => {
                "its row of password_verify.account is missing, was changed, or belongs to another row".into()
            }
            Self::Version => {
                "it is sealed in a way that a later version of this command knows".into()
            }
        }
    }
}

impl Columns {
    /// Finds the wanted columns among `names`.
    ///
    /// # Errors
    /// The name of a missing column.
    pub fn of(names: &[String], wanted: [&'static str; 7]) -> Result<Self, &'static str> {
        let mut places = [0; 7];
        for (place, name) in places.iter_mut().zip(wanted) {
            *place = names.iter().position(|other| other == name).ok_or(name)?;
        }
        Ok(Self { all: names.len(), places })
    }

    /// The wanted fields of a line, if the line is complete.
    pub fn fields<'a>(&self, line: &'a [u8]) -> Option<[&'a [u8]; 7]> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
        (fields.len() == self.all).then(|| self.places.map(|place| fields[place]))
    }
}

/// The number of a row for messages, if it has one.
pub fn number(line: &[u8], columns: &Columns) -> Option<String> {
    let number = line.split(|byte| *byte == b'\t').nth(columns.places[0])?;
    let plain = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    let is_one = number.len() == 36 && number.iter().all(plain);
    is_one.then(|| String::from_utf8_lossy(number).into_owned())
}

impl Row {
    /// Reads a line. `None` if it is not a row.
    pub fn read(line: &[u8], columns: &Columns) -> Option<Self> {
        let [_, user_id, verifier, must_change, expires_at, created_at, changed_at] =
            columns.fields(line)?;
        let must_change = match must_change {
            b"t" => true,
            b"f" => false,
            _ => return None,
        };
        let expires_at = optional(expires_at)?;
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
        let text = self.verifier.expose();
        let Some(sealed) = Sealed::parse(text) else {
            return match text {
                "" => Err(NotExported::Malformed),
                _ if password_verify_core::kept::seal::is_sealed(text) => Err(NotExported::Broken),
                _ if text.starts_with(ANY_SEALED) => Err(NotExported::Version),
                _ => Ok(Secret::new(text.to_owned())),
            };
        };
        let owner = Owner {
            user_id: &self.user_id,
            created_at: self.created_at.at,
            changed_at: self.changed_at.at,
        };
        let binding = Binding::verifier(owner, self.terms);
        sealed.open(&binding, ring).map_err(|why| not_opened(why, sealed.key_id))
    }
}

/// Why a text that is sealed with this key does not open.
pub fn not_opened(why: NotOpened, key_id: &str) -> NotExported {
    match why {
        NotOpened::UnknownKey => NotExported::UnknownKey(key_id.to_owned()),
        NotOpened::OtherKey => NotExported::OtherKey(key_id.to_owned()),
        NotOpened::Broken => NotExported::Broken,
    }
}

pub fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(decode(field)?).ok()
}

pub fn time(field: &[u8]) -> Option<Time> {
    let text = text(field)?;
    timestamp::parse(&text).map(|at| Time { text, at })
}

/// A time that may be NULL. `None` if the field is not a time at all.
pub fn optional(field: &[u8]) -> Option<Option<Time>> {
    if field == b"\\N" { Some(None) } else { time(field).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use password_verify_core::rules::account::State;

    const NUMBER: &str = "0123abcd-0000-0000-0000-000000000000";
    const NOW: &str = "2026-01-02 03:04:05+00";

    fn columns(names: &[&str]) -> Result<Columns, &'static str> {
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
        assert_eq!(number(&line, &columns).as_deref(), Some(NUMBER));
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
    fn a_number_is_said_only_if_it_is_one() {
        let columns = columns(&CREDENTIAL).ok().unwrap();
        assert_eq!(number(NUMBER.as_bytes(), &columns).as_deref(), Some(NUMBER));
        for text in ["", "secret\tx", "$argon2id$v=19$m=65536,t=3,p=4$c2l4dG"] {
            assert_eq!(number(text.as_bytes(), &columns), None);
        }
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
