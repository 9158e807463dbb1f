//! Seals stored secrets with a key outside the database, and binds each to where it is stored.
//!
//! ```text
//! $sealed$v=1$<key id>$<fingerprint of the key, 16 hex>$<label>$<base64 of nonce, ciphertext and tag>
//! ```
//!
//! The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonces are long enough to
//! be random. The associated data cover everything before the last `$`, and the [`Binding`]: a
//! secret that is moved to another user, used for another purpose, or stored with another state
//! does not open.

use base64ct::{Base64Unpadded, Encoding};
use blake2::Blake2b;
use blake2::digest::{Digest, consts::U32};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::kept::keyring::{Key, Keyring, is_id};
use crate::rules::account::{State, Terms, Timestamp};
use crate::rules::secret::Secret;
use crate::trail::chain::hex;

/// Length of a nonce in bytes. It must come from the operating system's generator.
pub const NONCE_BYTES: usize = 24;
/// The beginning of every sealed text.
pub const PREFIX: &str = "$sealed$v=1$";
/// Longest label, in bytes.
pub const MAX_LABEL: usize = 64;

const TAG_BYTES: usize = 16;
/// Purpose of the keys for sealing.
const SEALING: &str = "seal v1";
/// Purpose of the keys for fingerprints.
const FINGERPRINT: &str = "fingerprint v1";

/// What a sealed secret belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// What the secret is used for.
    purpose: &'static str,
    /// The canonical user id.
    user_id: &'a str,
    /// Times stored beside the secret, in an order that depends on the purpose.
    times: [Option<Timestamp>; 4],
    flag: bool,
}

/// The user and the password that a secret belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The canonical user id.
    pub user_id: &'a str,
    /// When the user was created.
    pub created_at: Timestamp,
    /// When the password was last changed by a call, not renewed.
    pub changed_at: Timestamp,
}

impl<'a> Binding<'a> {
    /// Binds a user's verifier.
    pub fn verifier(owner: Owner<'a>, terms: Terms) -> Self {
        Self::new("credential", owner, [None, terms.expires_at], terms.must_change)
    }

    /// Binds former verifiers.
    pub fn history(owner: Owner<'a>) -> Self {
        Self::new("password history", owner, [None, None], false)
    }

    /// Binds the digest of a reset token.
    pub fn reset(owner: Owner<'a>, issued_at: Timestamp, expires_at: Timestamp) -> Self {
        Self::new("reset token", owner, [Some(issued_at), Some(expires_at)], false)
    }

    /// Binds the state of an account. There is no secret; the sealed text is empty.
    pub fn state(user_id: &'a str, created_at: Timestamp, state: &State) -> Self {
        let State { disabled_at, change_required_at, tokens_revoked_at } = *state;
        let times = [disabled_at, change_required_at, tokens_revoked_at, Some(created_at)];
        Self { purpose: "account", user_id, times, flag: false }
    }

    /// Binds the anchor of that number.
    pub fn anchor(number: Timestamp) -> Self {
        Self {
            purpose: "anchor",
            user_id: "",
            times: [Some(number), None, None, None],
            flag: false,
        }
    }

    /// Binds what a transaction or subtransaction adds to the sum of all credentials.
    pub fn share(top_xid: u64, xid: u64) -> Self {
        let times = [Some(top_xid.cast_signed()), Some(xid.cast_signed()), None, None];
        Self { purpose: "share", user_id: "", times, flag: false }
    }

    /// Binds the data key of a kept secret. `in_vault`: it is locked with the vault's key as well.
    pub fn data_key(user_id: &'a str, id: &[u8; 16], in_vault: bool) -> Self {
        Self { purpose: "data key", user_id, times: halves(id), flag: in_vault }
    }

    /// Binds a vault.
    pub fn vault(user_id: &'a str, id: &[u8; 16]) -> Self {
        Self { purpose: "vault", user_id, times: halves(id), flag: false }
    }

    /// Binds what is asked for in a job.
    pub fn job(number: i64) -> Self {
        let times = [Some(number), None, None, None];
        Self { purpose: "job", user_id: "", times, flag: false }
    }

    /// Binds what the keeper notes of a job.
    pub fn progress(number: i64) -> Self {
        Self { purpose: "progress", ..Self::job(number) }
    }

    /// Binds a result of a job.
    pub fn result(job: i64, seq: i64) -> Self {
        let times = [Some(job), Some(seq), None, None];
        Self { purpose: "result", user_id: "", times, flag: false }
    }

    /// Binds a data key that is open for one job while the vault is unlocked.
    pub fn opening(job: i64, id: &[u8; 16]) -> Self {
        let [high, low, ..] = halves(id);
        Self { purpose: "opening", user_id: "", times: [Some(job), high, low, None], flag: false }
    }

    fn new(
        purpose: &'static str,
        owner: Owner<'a>,
        [first, second]: [Option<Timestamp>; 2],
        flag: bool,
    ) -> Self {
        let Owner { user_id, created_at, changed_at } = owner;
        Self { purpose, user_id, times: [first, second, Some(created_at), Some(changed_at)], flag }
    }
}

/// An id in the place of two times.
fn halves(id: &[u8; 16]) -> [Option<Timestamp>; 4] {
    let (halves, _) = id.as_chunks::<8>();
    [Some(i64::from_be_bytes(halves[0])), Some(i64::from_be_bytes(halves[1])), None, None]
}

/// A sealed text, parsed.
pub struct Sealed<'a> {
    pub key_id: &'a str,
    /// 16 hexadecimal digits that identify the key.
    pub fingerprint: &'a str,
    /// The kind of the secret, readable without the key.
    pub label: &'a str,
    /// Everything before the body.
    head: &'a str,
    body: &'a str,
}

/// Why a sealed text cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// The keyring has no key with that id, or there is no keyring.
    UnknownKey,
    /// The keyring has another key with that id.
    OtherKey,
    /// The text was changed, or belongs somewhere else.
    Broken,
}

/// Seals a secret. `label` names its kind in the clear: at most [`MAX_LABEL`] bytes without `$`.
pub fn seal(
    secret: &Secret,
    label: &str,
    binding: &Binding,
    (id, key): (&str, &Key),
    nonce: [u8; NONCE_BYTES],
) -> String {
    debug_assert!(label.len() <= MAX_LABEL && !label.contains('$'));
    let head = format!("{PREFIX}{id}${}${label}$", fingerprint(key));
    let mut body =
        Zeroizing::new(Vec::with_capacity(NONCE_BYTES + secret.expose().len() + TAG_BYTES));
    body.extend(nonce);
    body.extend(secret.expose().as_bytes());
    let associated = associated_data(&head, binding);
    // Invariant: sealing fails only for texts of about 2^38 bytes and more.
    #[allow(clippy::expect_used)]
    let tag = cipher(key)
        .encrypt_inout_detached(&nonce.into(), &associated, body[NONCE_BYTES..].as_mut().into())
        .expect("a short text");
    body.extend(&tag[..]);
    head + &Base64Unpadded::encode_string(&body)
}

/// Whether the text is sealed.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Identifies a stored text, sealed or not.
pub fn digest(stored: &str) -> [u8; 32] {
    Blake2b::<U32>::digest(stored.as_bytes()).into()
}

/// Identifies a key and tells nothing else about it: 16 hexadecimal digits.
pub fn fingerprint(key: &Key) -> String {
    hex(&fingerprint_bytes(key))
}

/// The same as bytes.
pub fn fingerprint_bytes(key: &Key) -> [u8; 8] {
    let derived = key.derive(FINGERPRINT);
    derived.as_chunks::<8>().0[0]
}

impl<'a> Sealed<'a> {
    /// Parses what [`seal`] wrote. `None` for any other text.
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let mut parts = rest.split('$');
        let (key_id, fingerprint, label, body) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && is_id(key_id) && label.len() <= MAX_LABEL;
        let head = &text[..text.len() - body.len()];
        whole.then_some(Self { key_id, fingerprint, label, head, body })
    }

    /// Whether the text was sealed with this key.
    pub fn is_of(&self, id: &str, key: &Key) -> bool {
        self.key_id == id && self.fingerprint == fingerprint(key)
    }

    /// Opens the secret.
    ///
    /// # Errors
    /// [`NotOpened`] without the right key or binding.
    pub fn open(&self, binding: &Binding, keyring: Option<&Keyring>) -> Result<Secret, NotOpened> {
        let key = keyring.and_then(|keyring| keyring.get(self.key_id));
        let key = key.ok_or(NotOpened::UnknownKey)?;
        if fingerprint(key) != self.fingerprint {
            return Err(NotOpened::OtherKey);
        }
        let mut body = Zeroizing::new(vec![0; self.body.len()]);
        let length =
            Base64Unpadded::decode(self.body, &mut body).map_err(|_| NotOpened::Broken)?.len();
        let body = &mut body[..length];
        let (nonce, body) = body.split_first_chunk_mut::<NONCE_BYTES>().ok_or(NotOpened::Broken)?;
        let (text, tag) = body.split_last_chunk_mut::<TAG_BYTES>().ok_or(NotOpened::Broken)?;
        let associated = associated_data(self.head, binding);
        cipher(key)
            .decrypt_inout_detached(
                &(*nonce).into(),
                &associated,
                text.as_mut().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| NotOpened::Broken)?;
        let text = std::str::from_utf8(text).map_err(|_| NotOpened::Broken)?;
        Ok(Secret::new(text.to_owned()))
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.derive(SEALING)).into())
}

/// The associated data. Each part follows its length: no two bindings give the same bytes.
fn associated_data(head: &str, binding: &Binding) -> Vec<u8> {
    let Binding { purpose, user_id, times, flag } = *binding;
    let mut data = Vec::with_capacity(160 + head.len() + user_id.len());
    for text in [head, purpose, user_id] {
        data.extend((text.len() as u64).to_be_bytes());
        data.extend(text.as_bytes());
    }
    for time in times {
        data.push(u8::from(time.is_some()));
        data.extend(time.unwrap_or(0).to_be_bytes());
    }
    data.push(u8::from(flag));
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: &str = "old:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\
                        new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const HERE: Binding = Binding {
        purpose: "test",
        user_id: "42",
        times: [None, Some(5), Some(1), Some(2)],
        flag: false,
    };

    fn ring() -> Keyring {
        Keyring::parse(KEYS).unwrap()
    }

    fn sealed(text: &str) -> String {
        seal(&Secret::new(text.into()), "a label", &HERE, ring().active(), [9; NONCE_BYTES])
    }

    fn open(text: &str, binding: &Binding, ring: Option<&Keyring>) -> Result<String, NotOpened> {
        let sealed = Sealed::parse(text).ok_or(NotOpened::Broken)?;
        Ok(sealed.open(binding, ring)?.expose().to_owned())
    }

    #[test]
    fn what_is_sealed_opens_where_it_was_sealed() {
        let text = sealed("$argon2id$v=19$m=65536");
        assert!(is_sealed(&text) && !text.contains("argon2id"));
        let parts = Sealed::parse(&text).unwrap();
        assert_eq!((parts.key_id, parts.label), ("new", "a label"));
        assert_eq!(open(&text, &HERE, Some(&ring())), Ok("$argon2id$v=19$m=65536".into()));
    }

    #[test]
    fn known_answer() {
        // crates/core/tests/seal.py: libsodium's crypto_aead_xchacha20poly1305_ietf.
        assert_eq!(sealed("secret"), KNOWN);
    }
    const KNOWN: &str = "$sealed$v=1$new$cdfc35df61804b54$a label$CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJS33tKlstHvwEIWqoTCKXbpDYR6W/gg";

    #[test]
    fn a_digest_tells_texts_apart() {
        // printf abc | b2sum -l 256
        let known = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
        assert_eq!(hex(&digest("abc")), known);
        assert_ne!(digest(&sealed("a")), digest(&sealed("b")));
    }

    #[test]
    fn it_opens_nowhere_else() {
        let text = sealed("x");
        let times = |place: usize, time| {
            let mut times = HERE.times;
            times[place] = time;
            Binding { times, ..HERE }
        };
        for other in [
            Binding { purpose: "other", ..HERE },
            Binding { user_id: "43", ..HERE },
            times(0, Some(0)),
            times(1, None),
            times(1, Some(0)),
            times(2, Some(0)),
            times(3, Some(3)),
            Binding { flag: true, ..HERE },
        ] {
            assert_eq!(open(&text, &other, Some(&ring())), Err(NotOpened::Broken), "{other:?}");
        }
    }

    #[test]
    fn no_two_bindings_are_one() {
        let owner = Owner { user_id: "42", created_at: 1, changed_at: 2 };
        let terms = Terms { expires_at: Some(3), must_change: true };
        let state = State { disabled_at: Some(3), ..State::default() };
        let required = State { change_required_at: Some(3), ..State::default() };
        let all = [
            Binding::verifier(owner, terms),
            Binding::verifier(owner, Terms { must_change: false, ..terms }),
            Binding::verifier(Owner { changed_at: 9, ..owner }, terms),
            Binding::history(owner),
            Binding::reset(owner, 3, 4),
            Binding::reset(owner, 4, 3),
            Binding::state("42", 1, &state),
            Binding::state("42", 2, &state),
            Binding::state("43", 1, &state),
            Binding::state("42", 1, &required),
            Binding::state("42", 1, &State { tokens_revoked_at: Some(3), ..State::default() }),
            Binding::state("42", 1, &State::default()),
            Binding::anchor(1),
            Binding::share(1, 2),
            Binding::data_key("42", &ID, false),
            Binding::data_key("42", &ID, true),
            Binding::data_key("43", &ID, false),
            Binding::data_key("42", &TURNED, false),
            Binding::vault("42", &ID),
            Binding::vault("43", &ID),
            Binding::vault("42", &TURNED),
            Binding::job(1),
            Binding::job(2),
            Binding::progress(1),
            Binding::progress(2),
            Binding::result(1, 2),
            Binding::result(2, 1),
            Binding::opening(1, &ID),
            Binding::opening(2, &ID),
            Binding::opening(1, &TURNED),
        ];
        let data = all.map(|binding| associated_data("", &binding));
        for (i, one) in data.iter().enumerate() {
            assert!(data[i + 1..].iter().all(|other| other != one), "{i}");
        }
    }
    const ID: [u8; 16] = *b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02";
    const TURNED: [u8; 16] = *b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01";

    #[test]
    fn a_missing_key_is_not_a_wrong_one() {
        let text = sealed("x");
        assert_eq!(open(&text, &HERE, None), Err(NotOpened::UnknownKey));
        let (older, _) = KEYS.split_once('\n').unwrap();
        let ring = Keyring::parse(older).unwrap();
        assert_eq!(open(&text, &HERE, Some(&ring)), Err(NotOpened::UnknownKey));
        let renamed = Keyring::parse(&older.replace("old", "new")).unwrap();
        assert_eq!(open(&text, &HERE, Some(&renamed)), Err(NotOpened::OtherKey));
    }

    #[test]
    fn other_texts_are_not_taken_apart() {
        for text in
            ["", "$sealed$v=1$", "$sealed$v=1$a$b$c", "$sealed$v=2$a$b$c$d", "$argon2id$v=19"]
        {
            assert!(Sealed::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC{0,300}") {
            prop_assert_eq!(open(&sealed(&text), &HERE, Some(&ring())), Ok(text));
        }

        #[test]
        fn any_change_is_noticed(at in 0usize..200, to in b'!'..b'~') {
            let text = sealed("correct horse battery staple");
            let mut bytes = text.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = to;
            let changed = String::from_utf8(bytes).unwrap();
            if changed != text {
                prop_assert!(open(&changed, &HERE, Some(&ring())).is_err());
            }
        }

        #[test]
        fn any_truncation_is_noticed(end in 0usize..150) {
            let text = sealed("correct horse battery staple");
            prop_assert!(open(&text[..end.min(text.len() - 1)], &HERE, Some(&ring())).is_err());
        }
    }
}
