//! One row of `password_verify.vault` in a dump, and the passwords of vaults.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use password_verify_argon2::Path;
use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::keeper::vault::{Lock, PREFIX, VaultKey};
use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::Binding;
use password_verify_core::kept::workspace::Workspace;
use password_verify_core::rules::cost::MAX_MEMORY_KIB;
use password_verify_core::rules::policy::{Password, Submitted};
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use crate::args::Stream;
use crate::failure::Failure;
use crate::field::{Columns, text, uuid};
use crate::keyring::is_private;
use crate::not_exported::{NotExported, unseal};

/// The columns that are read.
pub const VAULT: [&str; 4] = ["key", "id", "user_id", "sealed"];

/// The beginning of every data key in a vault, in any version.
const ANY_LOCKED: &str = "$locked$";

/// The vault of a user.
pub struct Vault {
    pub user_id: String,
    id: [u8; 16],
    sealed: Secret,
}

impl Vault {
    /// Reads a line. `None` if it is not a row.
    pub fn read(line: &[u8], columns: &Columns<4>) -> Option<Self> {
        let [_, id, user_id, sealed] = columns.fields(line)?;
        Some(Self { user_id: text(user_id)?, id: uuid(id)?, sealed: Secret::new(text(sealed)?) })
    }

    /// Has the user chosen a vault password?
    pub fn is_locked(&self) -> bool {
        !self.sealed.expose().is_empty()
    }

    /// The key of the vault. One hash, at the cost of when its password was set.
    ///
    /// # Errors
    /// [`NotExported`].
    pub fn open(
        &self,
        password: &Password,
        ring: Option<&Keyring>,
    ) -> Result<VaultKey, NotExported> {
        let binding = Binding::vault(&self.user_id, &self.id);
        let opened = unseal(self.sealed.expose(), &binding, ring).map_err(|why| match why {
            NotExported::Broken => NotExported::Vault,
            other => other,
        })?;
        // There is no vault that is not sealed.
        let text = opened.ok_or(NotExported::Vault)?;
        let lock = Lock::parse(text.expose(), MAX_MEMORY_KIB).map_err(|_| NotExported::Version)?;
        let mut workspace =
            Workspace::new(lock.cost(), Path::best()).map_err(|_| NotExported::OutOfMemory)?;
        let key = lock.open(password, &self.id, &mut workspace);
        key.map_err(|_| NotExported::OutOfMemory)?.ok_or(NotExported::VaultPassword)
    }
}

/// The data key of the secret with that id, which lies in a vault.
///
/// # Errors
/// [`NotExported::Broken`], [`NotExported::Version`].
pub fn unlock(vault: &VaultKey, locked: &Secret, id: &[u8; 16]) -> Result<DataKey, NotExported> {
    let text = locked.expose();
    let later = text.starts_with(ANY_LOCKED) && !text.starts_with(PREFIX);
    let why = if later { NotExported::Version } else { NotExported::Broken };
    vault.unlock(text, id).ok_or(why)
}

/// Reads vault passwords, by user id: a line for each user, with the escapes of COPY.
///
/// # Errors
/// [`Failure::Failed`] if others can use the file, and for a line that is not one; it never
/// contains any of the text.
pub fn passwords(stream: &Stream) -> Result<HashMap<String, Password>, Failure> {
    let (name, text) = match stream {
        Stream::Standard => ("standard input".into(), io::read_to_string(io::stdin())),
        Stream::File(path) => {
            let name = path.display().to_string();
            let mut file = File::open(path).map_err(|error| Failure::read(&name, &error))?;
            let about = file.metadata().map_err(|error| Failure::read(&name, &error))?;
            if !is_private(&about) {
                return Err(Failure::Failed(format!(
                    "others can use {name}, which is for vault passwords: let it be 0600, or 0640 if root owns it"
                )));
            }
            // With its final capacity: a string that grows leaves copies behind.
            let mut text = String::with_capacity(about.len() as usize + 1);
            (name, file.read_to_string(&mut text).map(|_| text))
        }
    };
    let text = Secret::new(text.map_err(|error| Failure::read(&name, &error))?);
    parse(text.expose()).map_err(|(line, why)| {
        Failure::Failed(format!("{name} has no vault passwords: line {line}: {why}"))
    })
}

/// The passwords, or the first line that is wrong, and why.
fn parse(file: &str) -> Result<HashMap<String, Password>, (usize, &'static str)> {
    let mut all = HashMap::new();
    for (at, line) in file.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let wrong = |why| (at + 1, why);
        let no_line =
            || wrong("it is not a user id, a tab and a password, with the escapes of COPY");
        let (user, password) = line.split_once('\t').ok_or_else(no_line)?;
        let field = |field: &str| if field.contains('\t') { None } else { text(field.as_bytes()) };
        let user = field(user).and_then(|user| UserId::from_text(&user).ok());
        let password = field(password).map(|text| Submitted::Text(Secret::new(text)));
        let (user, password) = user.zip(password).ok_or_else(no_line)?;
        let password =
            Password::normalize(password).map_err(|_| wrong("the password is too long"))?;
        if all.insert(user.as_str().to_owned(), password).is_some() {
            return Err(wrong("the user has two passwords"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(file: &str) -> Result<Vec<(String, String)>, (usize, &'static str)> {
        let mut all: Vec<_> = parse(file)?
            .into_iter()
            .map(|(user, password)| (user, password.expose().to_owned()))
            .collect();
        all.sort();
        Ok(all)
    }

    #[test]
    fn passwords_of_users() {
        let file = "42\tcorrect horse\r\n\na\\tb\tback\\\\slash \\t\nA0EEBC999C0B4EF8BB6D6BB9BD380A11\tzoe\u{308}";
        let expected = [
            ("42", "correct horse"),
            ("a\tb", "back\\slash \t"),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "zoë"),
        ];
        assert_eq!(parsed(file), Ok(expected.map(|(a, b)| (a.into(), b.into())).into()));
        assert_eq!(parsed(""), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_else() {
        let no_line = "it is not a user id, a tab and a password, with the escapes of COPY";
        let long = format!("a\tb\n42\t{}", "x".repeat(5000));
        for (file, line, why) in [
            ("secret", 1, no_line),
            ("a\tb\n\nsecret", 3, no_line),
            ("\tsecret", 1, no_line),
            ("\\N\tsecret", 1, no_line),
            ("42\t\\N", 1, no_line),
            ("42\tsecret\tx", 1, no_line),
            ("42\t\\xff", 1, no_line),
            ("42\ta\n42\tb", 2, "the user has two passwords"),
            (&long, 2, "the password is too long"),
        ] {
            assert_eq!(parsed(file), Err((line, why)), "{file}");
        }
    }
}
