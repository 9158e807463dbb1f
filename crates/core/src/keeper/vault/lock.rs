//! The lock of a vault, which opens with the vault password.
//!
//! ```text
//! $argon2id$v=19$m=65536,t=3,p=4$<salt>$<check>$<base64 of the sealed vault key>
//! ```
//!
//! Two values are derived from the output of Argon2id (RFC 9106), and neither tells the other: the
//! check value stands in the place of the output in a PHC string, and the other one is the key that
//! the vault key is sealed with.

use base64ct::{Base64Unpadded, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::keeper::cipher::{self, KEY_BYTES, NONCE_BYTES, SEALED_KEY_BYTES};
use crate::keeper::vault::VaultKey;
use crate::kept::keyring::derive;
use crate::kept::verifier::{NotAVerifier, SALT_BYTES, Verifier};
use crate::kept::workspace::{OutOfMemory, Workspace};
use crate::rules::cost::Cost;
use crate::rules::policy::Password;
use crate::rules::secret::Secret;

/// Purpose of the value that tells a wrong password.
const CHECK: &str = "vault check v1";
/// Purpose of the key that the vault key is sealed with, and what the associated data begin with.
const LOCK: &str = "vault lock v1";

/// What is stored of a vault. It has no `Debug` or `Display`; only [`Lock::expose`] gives its text,
/// which is to be sealed: whoever has it can guess the password without being counted.
pub struct Lock {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    check: Zeroizing<[u8; KEY_BYTES]>,
    /// The vault key: nonce, ciphertext and tag in base64 without padding. Empty in a decoy.
    wrapped: String,
}

impl Lock {
    /// Locks the vault with that id. `salt` and `nonce` must come from the operating system's
    /// generator.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn make(
        password: &Password,
        cost: Cost,
        salt: [u8; SALT_BYTES],
        key: &VaultKey,
        id: &[u8; 16],
        nonce: [u8; NONCE_BYTES],
        workspace: &mut Workspace,
    ) -> Result<Self, OutOfMemory> {
        let output = output(password, cost, &salt, workspace)?;
        let parts: [&[u8]; 2] = [LOCK.as_bytes(), id];
        let wrapped = cipher::seal(key.bytes(), &parts, &derive(&output, LOCK), nonce);
        let wrapped = Base64Unpadded::encode_string(&wrapped);
        Ok(Self { cost, salt, check: derive(&output, CHECK), wrapped })
    }

    /// Opens the vault with that id. `None` if the password is wrong, which is compared in constant
    /// time, and after that if the lock belongs to another vault.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the hash has too little memory.
    pub fn open(
        &self,
        password: &Password,
        id: &[u8; 16],
        workspace: &mut Workspace,
    ) -> Result<Option<VaultKey>, OutOfMemory> {
        let output = output(password, self.cost, &self.salt, workspace)?;
        if !bool::from(derive(&output, CHECK).ct_eq(&self.check[..])) {
            return Ok(None);
        }
        let parts: [&[u8]; 2] = [LOCK.as_bytes(), id];
        let key = cipher::from_text("", &self.wrapped)
            .and_then(|wrapped| cipher::open_key(&wrapped, &parts, &derive(&output, LOCK)));
        Ok(key.map(VaultKey::from_bytes))
    }

    /// A lock to spend `cost` on for a user without a vault. It never opens, and is never stored.
    pub fn decoy(cost: Cost) -> Self {
        let (salt, check) = ([0; SALT_BYTES], Zeroizing::new([0; KEY_BYTES]));
        Self { cost, salt, check, wrapped: String::new() }
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The text, for storing it only.
    pub fn expose(&self) -> Secret {
        // Invariant: both lengths are those of a new verifier.
        #[allow(clippy::expect_used)]
        let head = Verifier::from_parts(self.cost, &self.salt, &self.check[..])
            .expect("a salt of 16 and a tag of 32 bytes")
            .expose();
        let mut text = String::with_capacity(head.expose().len() + 1 + self.wrapped.len());
        text.push_str(head.expose());
        text.push('$');
        text.push_str(&self.wrapped);
        Secret::new(text)
    }

    /// Reads what [`Lock::expose`] wrote. `memory_limit_kib` limits the memory of one hash.
    ///
    /// # Errors
    /// [`NotAVerifier`] for any other text, a decoy's too, and above the limits.
    pub fn parse(text: &str, memory_limit_kib: u32) -> Result<Self, NotAVerifier> {
        let (head, wrapped) = text.rsplit_once('$').ok_or(NotAVerifier::Malformed)?;
        let verifier = Verifier::parse(head)?;
        let (salt, check) = verifier.parts();
        let salt = salt.try_into().map_err(|_| NotAVerifier::Malformed)?;
        let check = <[u8; KEY_BYTES]>::try_from(check).map_err(|_| NotAVerifier::Malformed)?;
        match cipher::from_text("", wrapped) {
            Some(sealed) if sealed.len() == SEALED_KEY_BYTES => {}
            _ => return Err(NotAVerifier::Malformed),
        }
        if verifier.cost().memory_kib() > memory_limit_kib {
            return Err(NotAVerifier::OverMemory);
        }
        let (cost, check) = (verifier.cost(), cipher::take_over(check));
        Ok(Self { cost, salt, check, wrapped: wrapped.to_owned() })
    }
}

/// The output of Argon2id, from which the two values of a lock are derived.
fn output(
    password: &Password,
    cost: Cost,
    salt: &[u8; SALT_BYTES],
    workspace: &mut Workspace,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, OutOfMemory> {
    let mut output = Zeroizing::new([0; KEY_BYTES]);
    workspace.argon2id(cost, password.expose().as_bytes(), salt, &mut output[..])?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policy::Submitted;

    const ID: [u8; 16] = [4; 16];

    fn password(text: &str) -> Password {
        Password::normalize(Submitted::Text(Secret::new(text.into()))).ok().unwrap()
    }

    fn cheap() -> Cost {
        Cost::new(32, 1, 1).unwrap()
    }

    fn workspace() -> Workspace {
        Workspace::new(cheap(), password_verify_argon2::Path::best()).unwrap()
    }

    fn made(text: &str) -> Lock {
        let key = VaultKey::new([7; 32]);
        let at = &mut workspace();
        Lock::make(&password(text), cheap(), [1; 16], &key, &ID, [9; 24], at).unwrap()
    }

    fn open(lock: &Lock, text: &str, id: &[u8; 16]) -> Option<[u8; 32]> {
        let key = lock.open(&password(text), id, &mut workspace()).unwrap();
        key.map(|key| *key.bytes())
    }

    #[test]
    fn known_answer() {
        // crates/core/tests/keeper.py: libsodium's Argon2id and XChaCha20-Poly1305.
        assert_eq!(made("correct horse").expose().expose(), KNOWN);
    }
    const KNOWN: &str = "$argon2id$v=19$m=32,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$aPoePok8PSSM5xsVAmAJiIxjsE8yx3IbqZjAcgpsX+4$CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJwDcpR5tbVonDu7mpCwO2wWKcNFr8nf7T9Cb3uMAZzP05MUgkUY49jnG4J6lP6iOa";

    #[test]
    fn a_lock_opens_with_its_password_and_in_its_place_only() {
        let text = made("correct horse").expose();
        let read = Lock::parse(text.expose(), 32).ok().unwrap();
        assert!(read.expose().same_as(&text) && read.cost() == cheap());
        assert_eq!(open(&read, "correct horse", &ID), Some([7; 32]));
        assert_eq!(open(&read, "correct hors", &ID), None);
        assert_eq!(open(&read, "correct horse", &[5; 16]), None);
    }

    #[test]
    fn a_password_can_be_replaced_without_a_new_key() {
        let key = made("old").open(&password("old"), &ID, &mut workspace()).unwrap().unwrap();
        let at = &mut workspace();
        let new = Lock::make(&password("new"), cheap(), [2; 16], &key, &ID, [3; 24], at).unwrap();
        assert_eq!((open(&new, "new", &ID), open(&new, "old", &ID)), (Some([7; 32]), None));
    }

    #[test]
    fn a_wrong_password_is_told_before_anything_is_opened() {
        // A check value that belongs to another password: what is wrapped is not even tried.
        let (mut lock, other) = (made("correct horse"), made("another"));
        lock.check = other.check;
        assert_eq!(open(&lock, "correct horse", &ID), None);
        // And with a right one, what is wrapped still decides.
        assert_eq!(open(&lock, "another", &ID), None);
    }

    #[test]
    fn a_decoy_takes_the_memory_but_never_opens_and_cannot_be_stored() {
        let decoy = Lock::decoy(cheap());
        assert_eq!(open(&decoy, "", &ID), None);
        assert!(decoy.open(&password(""), &ID, &mut Workspace::none()).is_err());
        assert!(Lock::parse(decoy.expose().expose(), 32).is_err());
    }

    #[test]
    fn what_takes_more_memory_is_over_the_limit() {
        let text = made("x").expose();
        assert_eq!(Lock::parse(text.expose(), 31).err(), Some(NotAVerifier::OverMemory));
        let work = text.expose().replace("t=1", "t=21");
        assert_eq!(Lock::parse(&work, 31).err(), Some(NotAVerifier::OverLimit));
    }

    #[test]
    fn any_change_is_malformed_or_never_opens() {
        let text = made("x").expose();
        let text = text.expose();
        for at in 0..text.len() {
            assert_eq!(Lock::parse(&text[..at], 32).err(), Some(NotAVerifier::Malformed), "{at}");
            let to = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
            if let Ok(lock) = Lock::parse(&changed, 32) {
                assert_eq!(lock.expose().expose(), changed);
                assert_eq!(open(&lock, "x", &ID), None, "{changed}");
            }
        }
        let (head, wrapped) = text.rsplit_once('$').unwrap();
        let salted = Verifier::from_parts(cheap(), &[1; 8], &[1; 32]).unwrap().expose();
        let tagged = Verifier::from_parts(cheap(), &[1; 16], &[1; 16]).unwrap().expose();
        for other in [
            head.to_owned(),
            format!("{text}$"),
            format!("{text}AAAA"),
            format!("{text} "),
            format!("{head}${}", &wrapped[4..]),
            format!("{head}$${wrapped}"),
            format!("{}${wrapped}", salted.expose()),
            format!("{}${wrapped}", tagged.expose()),
        ] {
            assert_eq!(Lock::parse(&other, 32).err(), Some(NotAVerifier::Malformed), "{other}");
        }
    }
}
