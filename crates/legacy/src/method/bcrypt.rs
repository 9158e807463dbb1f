//! bcrypt (Provos and Mazières, "A Future-Adaptable Password Scheme", 1999) and what is built on it.

use base64ct::{Base64, Encoding};
use blowfish::Blowfish;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384};
use zeroize::Zeroizing;

use super::{Method, Prepared, Remainder, by_name, c_string, hex, trim};
use crate::codec::to_bcrypt;
use crate::fields::Fields;
use crate::limits::{ceiling, floor};
use crate::output::filled;
use crate::{Limits, OutOfMemory, Output, Refusal};

/// Length of the salt in bytes.
pub const SALT_BYTES: usize = 16;
/// Length of the output in bytes: 24 are computed, but every implementation stores 23.
pub const OUTPUT_BYTES: usize = 23;
/// Length of the key in bytes: bcrypt ignores the rest of a password.
const KEY_BYTES: usize = 72;

/// How a password is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prehash {
    /// `$2a$`, `$2b$`, `$2y$`: not at all. They differ in bugs of old implementations, which no
    /// UTF-8 password below 255 bytes triggers.
    None,
    /// `$2x$`: not at all, but crypt_blowfish before 1.1 sign-extended bytes above 0x7f.
    SignBug,
    /// passlib: base64 of SHA-256.
    Sha256,
    /// passlib: base64 of HMAC-SHA-256, keyed with the 22 characters of the salt.
    HmacSha256,
    /// Django: SHA-256 in hexadecimal.
    HexSha256,
    /// WordPress 6.8: base64 of HMAC-SHA-384 of the trimmed password.
    WordPress,
}

impl Prehash {
    const ALL: [Self; 6] = [
        Self::None,
        Self::SignBug,
        Self::Sha256,
        Self::HmacSha256,
        Self::HexSha256,
        Self::WordPress,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "bcrypt",
            Self::SignBug => "bcrypt-2x",
            Self::Sha256 => "passlib-bcrypt-sha256-v1",
            Self::HmacSha256 => "passlib-bcrypt-sha256-v2",
            Self::HexSha256 => "django-bcrypt-sha256",
            Self::WordPress => "wordpress-bcrypt",
        }
    }

    /// The key of bcrypt: a C string with its NUL, cut after 72 bytes.
    fn key(self, password: &[u8], salt: &[u8]) -> Zeroizing<Vec<u8>> {
        match self {
            Self::None => key(c_string(password)),
            Self::SignBug => sign_extended(&key(c_string(password))),
            Self::Sha256 => key(&base64(&Sha256::digest(password))),
            Self::HmacSha256 => {
                key(&base64(&hmac::<Hmac<Sha256>>(to_bcrypt(salt).as_bytes(), password)))
            }
            Self::HexSha256 => key(&hex(&Sha256::digest(password))),
            // WordPress trims passwords when they are set and when they are typed, so outer white
            // space never counted.
            Self::WordPress => key(&base64(&hmac::<Hmac<Sha384>>(b"wp-sha384", trim(password)))),
        }
    }
}

/// bcrypt with one of its prehashes.
pub struct Bcrypt {
    /// The preparation of the password.
    pub prehash: Prehash,
    /// The binary logarithm of the rounds, 4 to 31.
    pub cost: u32,
    pub salt: [u8; SALT_BYTES],
}

impl Bcrypt {
    pub fn read(name: &str, fields: &Fields<'_>) -> Result<Option<Box<dyn Method>>, Refusal> {
        let Some(prehash) = by_name(&Prehash::ALL, name, Prehash::name) else { return Ok(None) };
        let [cost] = fields.numbers(["cost"])?;
        let [salt] = fields.blobs()?;
        let salt = salt.try_into().map_err(|_| Refusal::Malformed)?;
        Ok(Some(Box::new(Self { prehash, cost, salt })))
    }
}

impl Method for Bcrypt {
    fn name(&self) -> &'static str {
        self.prehash.name()
    }

    fn fields(&self) -> Fields<'static> {
        Fields::new().number("cost", self.cost).blob(&self.salt)
    }

    fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        // bcrypt is undefined above 31, even if the ceiling is higher.
        ceiling(self.cost, limits.bcrypt_cost.min(31))?;
        floor(self.cost, 4u32)
    }

    fn compute(&self, password: &[u8], _: &str) -> Result<Output, OutOfMemory> {
        let key = self.prehash.key(password, &self.salt);
        let mut state = Blowfish::bc_init_state();
        state.salted_expand_key(&self.salt, &key);
        for _ in 0..1u32 << self.cost {
            state.bc_expand_key(&key);
            state.bc_expand_key(&self.salt);
        }
        let mut text = Zeroizing::new([0; 24]);
        for (out, magic) in
            text.as_chunks_mut::<8>().0.iter_mut().zip([*b"OrpheanB", *b"eholderS", *b"cryDoubt"])
        {
            let [a, b, c, d, e, f, g, h] = magic;
            let mut block = [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])];
            for _ in 0..64 {
                block = state.bc_encrypt(block);
            }
            out[..4].copy_from_slice(&block[0].to_be_bytes());
            out[4..].copy_from_slice(&block[1].to_be_bytes());
        }
        Ok(filled(OUTPUT_BYTES, |out| out.copy_from_slice(&text[..OUTPUT_BYTES])))
    }

    /// Fewer than 72 bytes without a NUL are all in the key, and so is their end. In `$2x$` a byte
    /// above 0x7f hides others, but sets the first bit of its word, which no ASCII key does.
    fn remainder(&self, password: &[u8]) -> Remainder {
        let whole = password.len() < KEY_BYTES;
        match self.prehash {
            Prehash::None if whole => Remainder::Nothing,
            Prehash::SignBug if whole && password.is_ascii() => Remainder::Nothing,
            Prehash::None | Prehash::SignBug => Remainder::All,
            Prehash::Sha256 | Prehash::HmacSha256 | Prehash::HexSha256 => Remainder::Nothing,
            Prehash::WordPress => Remainder::Part(Box::new(Prepared::Trimmed)),
        }
    }

    fn is_fast(&self) -> bool {
        false
    }

    /// Four S-boxes of 1 KiB and some more.
    fn memory_kib(&self) -> u32 {
        5
    }
}

fn key(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    key.extend(text.iter().copied().chain([0]).take(KEY_BYTES));
    key
}

/// The 18 words that the bug made of a key: a word is shifted in byte by byte, and a byte above
/// 0x7f set all bits of the word before it.
fn sign_extended(key: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = key.iter().copied().cycle();
    let mut extended = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    for _ in 0..KEY_BYTES / 4 {
        let word = bytes
            .by_ref()
            .take(4)
            .fold(0, |word: u32, byte| word << 8 | i32::from(byte.cast_signed()).cast_unsigned());
        extended.extend_from_slice(&word.to_be_bytes());
    }
    extended
}

fn base64(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Base64::encode_string(bytes).into_bytes())
}

fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Zeroizing<Vec<u8>> {
    // Invariant: HMAC accepts keys of any length.
    #[allow(clippy::expect_used)]
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}
