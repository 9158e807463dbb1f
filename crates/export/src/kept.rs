//! One row of `password_verify.secret` in a dump: a secret that is kept for a user.

use password_verify_core::keeper::data_key::{self, DataKey};
use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::row_mac::{Installation, RowKeys, STORED_BYTES, Unfinished};
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use serde_json::Value;

use crate::field::{Columns, boolean, bytea, optional, text, time, uuid};
use crate::not_exported::{NotExported, unseal};

/// All columns, in the order in which the MAC covers them.
pub const SECRET: [&str; 13] = [
    "key",
    "id",
    "user_id",
    "name",
    "destination",
    "data_key",
    "in_vault",
    "sealed",
    "state",
    "why",
    "stored_at",
    "opened_at",
    "mac",
];
/// The table, as the MAC has it.
const TABLE: &[u8] = b"secret";
/// The beginning of every encrypted secret, in any version.
const ANY_KEPT: &str = "$kept$";

/// A secret that is kept for a user.
pub struct Kept {
    pub user_id: String,
    pub name: String,
    /// A JSON object.
    pub destination: Value,
    pub in_vault: bool,
    pub state: String,
    pub id: [u8; 16],
    key: [u8; 16],
    /// The text of the destination.
    bound_to: String,
    data_key: Secret,
    sealed: Secret,
    why: Option<String>,
    stored_at: Timestamp,
    opened_at: Option<Timestamp>,
    mac: Vec<u8>,
}

/// What opens rows and tells whether they are as they were written.
pub struct Keys<'a> {
    ring: Option<&'a Keyring>,
    rows: Option<RowKeys>,
}

impl<'a> Keys<'a> {
    pub fn new(ring: Option<&'a Keyring>) -> Self {
        Self { ring, rows: ring.map(RowKeys::new) }
    }

    pub fn ring(&self) -> Option<&'a Keyring> {
        self.ring
    }
}

impl Kept {
    /// Reads a line. `None` if it is not a row.
    pub fn read(line: &[u8], columns: &Columns<13>) -> Option<Self> {
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
            mac,
        ] = columns.fields(line)?;
        let bound_to = text(destination)?;
        let destination = serde_json::from_str(&bound_to).ok().filter(Value::is_object)?;
        Some(Self {
            user_id: text(user_id)?,
            name: text(name)?,
            destination,
            in_vault: boolean(in_vault)?,
            state: text(state)?,
            id: uuid(id)?,
            key: uuid(key)?,
            bound_to,
            data_key: Secret::new(text(data_key)?),
            sealed: Secret::new(text(sealed)?),
            why: optional(why, text)?,
            stored_at: time(stored_at)?.at,
            opened_at: optional(opened_at, time)?.map(|time| time.at),
            mac: bytea(mac)?,
        })
    }

    /// The data key as it lies under the seal of the keyring, if the row is as it was written.
    ///
    /// # Errors
    /// [`NotExported`].
    pub fn data_key(&self, keys: &Keys, of: &[Installation]) -> Result<Secret, NotExported> {
        let binding = Binding::data_key(&self.user_id, &self.id, self.in_vault);
        // There is no secret that is not sealed.
        let inner = unseal(self.data_key.expose(), &binding, keys.ring)?;
        let inner = inner.ok_or(NotExported::Broken)?;
        self.require_mac(keys, of).map(|()| inner)
    }

    fn require_mac(&self, keys: &Keys, of: &[Installation]) -> Result<(), NotExported> {
        let [of] = of else { return Err(NotExported::IndexKey) };
        if self.mac.len() != STORED_BYTES {
            return Err(NotExported::Altered);
        }
        let made = keys.rows.as_ref().and_then(|rows| rows.of(&self.mac));
        let mut mac = made.ok_or(NotExported::MacKey)?.begin(*of, TABLE);
        self.cover(&mut mac);
        if mac.finish().is(&self.mac) { Ok(()) } else { Err(NotExported::Altered) }
    }

    /// Gives the MAC its columns.
    fn cover(&self, mac: &mut Unfinished) {
        let opened_at = self.opened_at.map(Timestamp::to_be_bytes);
        let columns: [Option<&[u8]>; 12] = [
            Some(&self.key),
            Some(&self.id),
            Some(self.user_id.as_bytes()),
            Some(self.name.as_bytes()),
            Some(self.bound_to.as_bytes()),
            Some(self.data_key.expose().as_bytes()),
            Some(&[u8::from(self.in_vault)]),
            Some(self.sealed.expose().as_bytes()),
            Some(self.state.as_bytes()),
            self.why.as_deref().map(str::as_bytes),
            Some(&self.stored_at.to_be_bytes()),
            opened_at.as_ref().map(<[u8; 8]>::as_slice),
        ];
        columns.into_iter().for_each(|column| mac.column(column));
    }

    /// The secret itself.
    ///
    /// # Errors
    /// [`NotExported::Broken`], [`NotExported::Version`].
    pub fn open(&self, data_key: &DataKey) -> Result<Secret, NotExported> {
        let sealed = self.sealed.expose();
        let opened = data_key.open(sealed, &self.id, &self.bound_to);
        let later = sealed.starts_with(ANY_KEPT) && !sealed.starts_with(data_key::PREFIX);
        opened.ok_or(if later { NotExported::Version } else { NotExported::Broken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use password_verify_core::kept::seal;

    const NOW: &str = "2026-01-02 03:04:05+00";
    const UUID: &str = "0123abcd-0000-0000-0000-000000000000";
    const OF: [Installation; 1] = [Installation([7; 16])];
    const KEYS: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn columns() -> Columns<13> {
        Columns::of(&SECRET.map(str::to_owned), SECRET).ok().unwrap()
    }

    fn read(fields: [&str; 13]) -> Option<Kept> {
        Kept::read(fields.join("\t").as_bytes(), &columns())
    }

    /// A row with these sealed texts, and a MAC that fits.
    fn row(data_key: &str, sealed: &str) -> Kept {
        let fields =
            [UUID, UUID, "42", "imap", "{}", data_key, "f", sealed, "new", "\\N", NOW, "\\N", ""];
        let mut row = read(fields).unwrap();
        let ring = Keyring::parse(KEYS).unwrap();
        let mut mac = RowKeys::new(&ring).active().begin(OF[0], TABLE);
        row.cover(&mut mac);
        row.mac = mac.finish().stored().into();
        row
    }

    fn sealed(inner: &str) -> String {
        let ring = Keyring::parse(KEYS).unwrap();
        let id = uuid(UUID.as_bytes()).unwrap();
        let binding = Binding::data_key("42", &id, false);
        seal::seal(&Secret::new(inner.into()), "data-key -", &binding, ring.active(), [1; 24])
    }

    fn why(row: &Kept, keys: &str, of: &[Installation]) -> Option<NotExported> {
        let ring = Keyring::parse(keys).unwrap();
        row.data_key(&Keys::new(Some(&ring)), of).err()
    }

    #[test]
    fn a_row_is_as_it_was_written_or_told() {
        let good = || row(&sealed("x"), "y");
        assert_eq!(why(&good(), KEYS, &OF), None);
        assert_eq!(why(&good(), KEYS, &[]), Some(NotExported::IndexKey));
        assert_eq!(why(&good(), KEYS, &[OF[0], OF[0]]), Some(NotExported::IndexKey));
        let moved = [Installation([8; 16])];
        assert_eq!(why(&good(), KEYS, &moved), Some(NotExported::Altered));
        let unknown = Some(NotExported::UnknownKey("a".into()));
        assert_eq!(why(&good(), &KEYS.replace("a:", "b:"), &OF), unknown);
        assert_eq!(good().data_key(&Keys::new(None), &OF).err(), unknown);

        let changes: [fn(&mut Kept); 11] = [
            |row| row.key[0] ^= 1,
            |row| row.name.push('x'),
            |row| row.bound_to.push(' '),
            |row| row.sealed = Secret::new("z".into()),
            |row| row.state = "verified".into(),
            |row| row.why = Some(String::new()),
            |row| row.stored_at += 1,
            |row| row.opened_at = Some(0),
            |row| row.mac[STORED_BYTES - 1] ^= 1,
            |row| row.mac.clear(),
            |row| row.mac.push(0),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut row = good();
            change(&mut row);
            assert_eq!(why(&row, KEYS, &OF), Some(NotExported::Altered), "{at}");
        }
        let mut other_key = good();
        other_key.mac[0] ^= 1;
        assert_eq!(why(&other_key, KEYS, &OF), Some(NotExported::MacKey));
        let bound: [fn(&mut Kept); 3] =
            [|row| row.user_id.push('x'), |row| row.id[0] ^= 1, |row| row.in_vault = true];
        for change in bound {
            let mut row = good();
            change(&mut row);
            assert_eq!(why(&row, KEYS, &OF), Some(NotExported::Broken));
        }
    }

    #[test]
    fn what_is_not_sealed_is_no_data_key() {
        assert_eq!(why(&row("x", "y"), KEYS, &OF), Some(NotExported::Broken));
        assert_eq!(why(&row("$sealed$v=2$a$b", "y"), KEYS, &OF), Some(NotExported::Version));
    }

    #[test]
    fn a_secret_of_a_later_version() {
        let key = DataKey::new([1; 32]);
        let open = |text| row(&sealed("x"), text).open(&key).err();
        assert_eq!(open("$kept$v=2$AAAA"), Some(NotExported::Version));
        for text in ["", "x", "$kept$v=1$", "$kept$v=1$AAAA"] {
            assert_eq!(open(text), Some(NotExported::Broken), "{text}");
        }
    }

    #[test]
    fn what_is_no_row() {
        let good = [UUID, UUID, "42", "a", "{}", "x", "t", "x", "new", "\\N", NOW, "\\N", "\\\\x"];
        assert!(read(good).is_some());
        for (at, field) in [
            (0, "\\N"),
            (1, "x"),
            (2, "\\N"),
            (3, "\\xff"),
            (4, "\\N"),
            (4, "x"),
            (4, "[]"),
            (6, "\\N"),
            (7, "\\N"),
            (9, "\\xff"),
            (10, "\\N"),
            (11, "never"),
            (12, "\\N"),
            (12, "\\\\x0"),
            (12, "a\tb"),
        ] {
            let mut fields = good;
            fields[at] = field;
            assert!(read(fields).is_none(), "{at} {field}");
        }
    }
}
