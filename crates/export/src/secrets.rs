//! The secrets on their way out.

use std::collections::HashMap;

use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::keeper::vault::VaultKey;
use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::policy::Password;
use password_verify_core::rules::secret::Secret;
use serde_json::Value;

use crate::dump::At;
use crate::failure::Failure;
use crate::hashes::object;
use crate::kept::{Kept, Keys};
use crate::not_exported::NotExported;
use crate::output::Output;
use crate::vault::{Vault, unlock};

pub struct Secrets<'a> {
    output: Output,
    keys: Keys<'a>,
    /// Of the users whose vault passwords were given.
    vaults: HashMap<String, OfUser>,
    /// Secrets that were written without the secret itself.
    locked: u64,
}

/// What is known of a user's vault.
enum OfUser {
    /// A dump has the vaults after the secrets.
    Awaited(Password, Vec<Waiting>),
    /// Its key, or why it does not open.
    Seen(Result<VaultKey, NotExported>),
}

/// A secret that waits for the vault of its user, and its data key in that vault.
struct Waiting {
    at: At,
    row: Kept,
    locked: Secret,
}

/// Rows that were not written, and why.
pub type Refused = Vec<(At, NotExported)>;

impl<'a> Secrets<'a> {
    pub fn new(
        output: Output,
        ring: Option<&'a Keyring>,
        passwords: HashMap<String, Password>,
    ) -> Self {
        let awaited = |(user, password)| (user, OfUser::Awaited(password, Vec::new()));
        let vaults = passwords.into_iter().map(awaited).collect();
        Self { output, keys: Keys::new(ring), vaults, locked: 0 }
    }

    /// Writes the secret of a row, or lets it wait for a vault.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn write(&mut self, at: At, row: Kept, of: &[Installation]) -> Result<Refused, Failure> {
        let inner = match row.data_key(&self.keys, of) {
            Ok(inner) => inner,
            Err(why) => return Ok(vec![(at, why)]),
        };
        let data_key = match self.vaults.get_mut(&row.user_id).filter(|_| row.in_vault) {
            None if row.in_vault => {
                self.output.write(&json(&row, None))?;
                self.locked += 1;
                return Ok(vec![]);
            }
            None => DataKey::parse(inner.expose()).ok_or(NotExported::Broken),
            Some(OfUser::Awaited(_, waiting)) => {
                waiting.push(Waiting { at, row, locked: inner });
                return Ok(vec![]);
            }
            Some(OfUser::Seen(key)) => unlocked(key, &inner, &row),
        };
        self.open(at, &row, data_key)
    }

    fn open(
        &mut self,
        at: At,
        row: &Kept,
        data_key: Result<DataKey, NotExported>,
    ) -> Result<Refused, Failure> {
        match data_key.and_then(|key| row.open(&key)) {
            Ok(secret) => self.output.write(&json(row, Some(&secret))).map(|()| vec![]),
            Err(why) => Ok(vec![(at, why)]),
        }
    }

    /// Opens a vault, if its password was given, and writes the secrets that have waited for it.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn open_vault(&mut self, vault: &Vault) -> Result<Refused, Failure> {
        let Some(OfUser::Awaited(password, waiting)) = self.vaults.get_mut(&vault.user_id) else {
            return Ok(vec![]);
        };
        let key = vault.open(password, self.keys.ring());
        let mut refused = Refused::new();
        for Waiting { at, row, locked } in std::mem::take(waiting) {
            refused.extend(self.open(at, &row, unlocked(&key, &locked, &row))?);
        }
        self.vaults.insert(vault.user_id.clone(), OfUser::Seen(key));
        Ok(refused)
    }

    /// The rows that still wait at the end, in the order of the dump.
    pub fn left(&mut self) -> Refused {
        let mut left = Refused::new();
        for of_user in self.vaults.values_mut() {
            if let OfUser::Awaited(_, waiting) = of_user {
                left.extend(waiting.drain(..).map(|it| (it.at, NotExported::Vault)));
            }
        }
        left.sort_by_key(|(at, _)| at.line);
        left
    }

    /// Ends the output. `whole`: the dump was read to its end.
    ///
    /// # Errors
    /// [`Failure::Failed`] if writing fails.
    pub fn end(mut self, whole: bool) -> Result<(), Failure> {
        let finished = self.output.finish();
        let (written, name) = (self.output.written, self.output.name());
        let unused = self.vaults.values().filter(|it| matches!(it, OfUser::Awaited(..))).count();
        if unused > 0 && whole {
            crate::say(&format!("vault passwords of users without a vault in the dump: {unused}"));
        }
        if written == 0 {
            if !whole || finished.is_err() {
                self.output.discard();
            }
            return finished;
        }
        crate::say(&format!("{written} secrets were written to {name}"));
        if self.locked > 0 {
            crate::say(&format!(
                "{} of them are in vaults: without the secret itself, for which the vault password was not given",
                self.locked
            ));
        }
        if written > self.locked {
            crate::say(&format!(
                "warning: {name} holds secrets in the clear, which whoever has them can use; delete it after use"
            ));
        }
        finished
    }
}

fn unlocked(
    vault: &Result<VaultKey, NotExported>,
    locked: &Secret,
    row: &Kept,
) -> Result<DataKey, NotExported> {
    unlock(vault.as_ref().map_err(Clone::clone)?, locked, &row.id)
}

/// One JSON object on one line.
fn json(row: &Kept, secret: Option<&Secret>) -> Secret {
    Secret::new(object([
        ("user_id", row.user_id.as_str().into()),
        ("name", row.name.as_str().into()),
        ("destination", row.destination.clone()),
        ("state", row.state.as_str().into()),
        ("in_vault", row.in_vault.into()),
        ("secret", secret.map_or(Value::Null, |secret| secret.expose().into())),
    ]))
}
