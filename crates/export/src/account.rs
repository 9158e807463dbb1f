//! Rows of `password_verify.account`, which a dump has before the credentials.

use std::collections::HashMap;

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::{State, Timestamp};

use crate::field::{Columns, Time, optional, text, time};
use crate::not_exported::{NotExported, unseal};

/// The state of an account.
pub struct Account {
    pub user_id: String,
    pub created_at: Timestamp,
    pub disabled_at: Option<Time>,
    pub state: State,
}

/// All accounts by number, or why one cannot be read; 100 to 200 bytes each.
#[derive(Default)]
pub struct Accounts(HashMap<u128, Result<Account, NotExported>>);

impl Accounts {
    /// Adds a line of the dump. A line that is not a row has the same effect as a missing row.
    pub fn add(&mut self, line: &[u8], columns: &Columns<7>, ring: Option<&Keyring>) {
        if let Some(number) = columns.number(line).as_deref().and_then(place) {
            let account = read(line, columns, ring);
            // Two rows with the same number: it cannot be told which one is valid, so neither is.
            let account =
                if self.0.contains_key(&number) { Err(NotExported::Account) } else { account };
            self.0.insert(number, account);
        }
    }

    /// The state of the account with this number.
    ///
    /// # Errors
    /// [`NotExported::Account`] if there is no row; otherwise why it does not open.
    pub fn get(&self, number: Option<&str>) -> Result<&Account, NotExported> {
        let found = number.and_then(place).and_then(|number| self.0.get(&number));
        found.ok_or(NotExported::Account)?.as_ref().map_err(Clone::clone)
    }
}

fn place(number: &str) -> Option<u128> {
    u128::from_str_radix(&number.replace('-', ""), 16).ok()
}

fn read(line: &[u8], columns: &Columns<7>, ring: Option<&Keyring>) -> Result<Account, NotExported> {
    let fields = columns.fields(line).ok_or(NotExported::Account)?;
    let (account, seal) = parse(fields).ok_or(NotExported::Account)?;
    let binding = Binding::state(&account.user_id, account.created_at, &account.state);
    let opened = unseal(&seal, &binding, ring).map_err(|why| match why {
        NotExported::Broken | NotExported::Version => NotExported::Account,
        missing => missing,
    })?;
    let intact = opened.map_or(seal.is_empty(), |text| text.expose().is_empty());
    if intact { Ok(account) } else { Err(NotExported::Account) }
}

fn parse(fields: [&[u8]; 7]) -> Option<(Account, String)> {
    let [_, user_id, disabled_at, required_at, revoked_at, created_at, seal] = fields;
    let disabled_at = optional(disabled_at, time)?;
    let state = State {
        disabled_at: disabled_at.as_ref().map(|time| time.at),
        change_required_at: optional(required_at, time)?.map(|time| time.at),
        tokens_revoked_at: optional(revoked_at, time)?.map(|time| time.at),
    };
    let (user_id, created_at) = (text(user_id)?, time(created_at)?.at);
    Some((Account { user_id, created_at, disabled_at, state }, text(seal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "0123abcd-0000-0000-0000-000000000000";
    const NOW: &str = "2026-01-02 03:04:05+00";

    fn columns() -> Columns<7> {
        let names = crate::row::ACCOUNT.map(str::to_owned);
        Columns::of(&names, crate::row::ACCOUNT).ok().unwrap()
    }

    fn one(fields: [&str; 7]) -> Accounts {
        let mut accounts = Accounts::default();
        accounts.add(fields.join("\t").as_bytes(), &columns(), None);
        accounts
    }

    #[test]
    fn a_row() {
        let accounts = one([NUMBER, "42", NOW, "infinity", "\\N", NOW, ""]);
        let account = accounts.get(Some(NUMBER)).ok().unwrap();
        assert_eq!(
            (account.user_id.as_str(), account.state.change_required_at),
            ("42", Some(i64::MAX))
        );
        assert_eq!(account.disabled_at.as_ref().unwrap().text, NOW);
        let other = NUMBER.replace('1', "2");
        assert_eq!(accounts.get(Some(&other)).err(), Some(NotExported::Account));
        assert_eq!(accounts.get(None).err(), Some(NotExported::Account));
    }

    #[test]
    fn what_says_nothing() {
        let good = [NUMBER, "42", "\\N", "\\N", "\\N", NOW, ""];
        assert!(one(good).get(Some(NUMBER)).is_ok());
        for (place, field) in
            [(1, "\\N"), (2, "never"), (5, "\\N"), (6, "\\N"), (6, "x"), (6, "$sealed$v=1$a")]
        {
            let mut fields = good;
            fields[place] = field;
            assert_eq!(one(fields).get(Some(NUMBER)).err(), Some(NotExported::Account), "{field}");
        }
        let sealed = "$sealed$v=1$a$0123456789abcdef$account -$AAAA";
        let fields = [NUMBER, "42", "\\N", "\\N", "\\N", NOW, sealed];
        assert_eq!(one(fields).get(Some(NUMBER)).err(), Some(NotExported::UnknownKey("a".into())));
        let mut twice = one(good);
        twice.add(good.join("\t").as_bytes(), &columns(), None);
        assert_eq!(twice.get(Some(NUMBER)).err(), Some(NotExported::Account));
    }
}
