//! Why a row is not written.

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::{self, Binding, NotOpened, Sealed};
use password_verify_core::rules::secret::Secret;

/// The beginning of every sealed text, in any version.
const ANY_SEALED: &str = "$sealed$";

/// Why a row is not written.
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
    /// The MAC of the row is another row's.
    Altered,
    /// The keyring lacks the key that made the MAC of the row.
    MacKey,
    /// The dump does not have the one key of the blind index, which the MAC depends on.
    IndexKey,
    /// The vault of the user is missing, or was changed.
    Vault,
    /// The vault password is wrong.
    VaultPassword,
    /// The system refused the memory for a hash.
    OutOfMemory,
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
            Self::Altered => "its MAC is not that of this row, which was changed or moved".into(),
            Self::MacKey => "its MAC was made with a key that the keyring does not have".into(),
            Self::IndexKey => {
                "password_verify.blind_index_key does not have the one key that its MAC depends on".into()
            }
            Self::Vault => {
                "the row of password_verify.vault of its user is missing, was changed, or belongs to another row".into()
            }
            Self::VaultPassword => {
                "the vault password that was given for its user is wrong".into()
            }
            Self::OutOfMemory => "there was not enough memory to open the vault of its user".into(),
        }
    }
}

/// What a sealed text holds; `None` if the text is not sealed.
///
/// # Errors
/// [`NotExported`] if it is sealed and does not open.
pub fn unseal(
    text: &str,
    binding: &Binding,
    ring: Option<&Keyring>,
) -> Result<Option<Secret>, NotExported> {
    match Sealed::parse(text) {
        Some(sealed) => {
            let opened = sealed.open(binding, ring).map(Some);
            opened.map_err(|why| not_opened(why, sealed.key_id))
        }
        None if seal::is_sealed(text) => Err(NotExported::Broken),
        None if text.starts_with(ANY_SEALED) => Err(NotExported::Version),
        None => Ok(None),
    }
}

/// Why a text that is sealed with this key does not open.
fn not_opened(why: NotOpened, key_id: &str) -> NotExported {
    match why {
        NotOpened::UnknownKey => NotExported::UnknownKey(key_id.to_owned()),
        NotOpened::OtherKey => NotExported::OtherKey(key_id.to_owned()),
        NotOpened::Broken => NotExported::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_open() {
        let open = |text| {
            unseal(text, &Binding::vault("42", &[0; 16]), None).map(|it| it.map(|_| "opened"))
        };
        let sealed = "$sealed$v=1$a$0123456789abcdef$vault -$AAAA";
        assert_eq!(open(sealed), Err(NotExported::UnknownKey("a".into())));
        assert_eq!(open("$sealed$v=1$a"), Err(NotExported::Broken));
        assert_eq!(open("$sealed$v=2$a$b"), Err(NotExported::Version));
        assert_eq!(open(""), Ok(None));
        assert_eq!(open("$2b$12$x"), Ok(None));
    }
}
