//! A token that resets a password once.
//!
//! ```text
//! base64url, without padding, of: place of the record (16 bytes), secret (32 bytes)
//! ```
//!
//! The secret is 256 bits from the operating system's generator; only its digest is stored. The
//! place finds the record, and tells nothing without the table.

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U32};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::rules::secret::Secret;

/// Length of the secret in bytes.
pub const SECRET_BYTES: usize = 32;
const PLACE_BYTES: usize = 16;

/// A reset token, issued or presented.
pub struct Token {
    place: [u8; PLACE_BYTES],
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl Token {
    /// Makes a token for the record at `place`. `secret` must be fresh from the system's generator.
    pub fn new(place: [u8; PLACE_BYTES], secret: Zeroizing<[u8; SECRET_BYTES]>) -> Self {
        Self { place, secret }
    }

    /// Reads what [`Token::expose`] wrote. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; PLACE_BYTES + SECRET_BYTES]);
        if text.len() != Base64UrlUnpadded::encoded_len(&bytes[..]) {
            return None;
        }
        let read = Base64UrlUnpadded::decode(text, &mut bytes[..]).ok()?.len();
        let (place, rest) = bytes.split_first_chunk::<PLACE_BYTES>()?;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        secret.copy_from_slice(rest);
        (read == bytes.len()).then_some(Self { place: *place, secret })
    }

    /// The text of the token. Only its recipient may see it.
    pub fn expose(&self) -> Secret {
        let mut bytes = Zeroizing::new([0; PLACE_BYTES + SECRET_BYTES]);
        bytes[..PLACE_BYTES].copy_from_slice(&self.place);
        bytes[PLACE_BYTES..].copy_from_slice(&self.secret[..]);
        Secret::new(Base64UrlUnpadded::encode_string(&bytes[..]))
    }

    /// The place of the record that the token belongs to.
    pub fn place(&self) -> [u8; PLACE_BYTES] {
        self.place
    }

    /// The stored form: BLAKE2b-256 of the place, keyed with the secret, in base64. A secret with
    /// 256 bits of entropy needs no slow hash.
    pub fn digest(&self) -> Secret {
        // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
        #[allow(clippy::expect_used)]
        let mut mac = Blake2bMac::<U32>::new_from_slice(&self.secret[..]).expect("a 32-byte key");
        mac.update(b"password_verify reset token v1");
        mac.update(&self.place);
        let mut digest = Zeroizing::new([0; 32]);
        mac.finalize_into((&mut *digest).into());
        Secret::new(Base64Unpadded::encode_string(&digest[..]))
    }

    /// Whether `digest` is the digest of this token. Compares in constant time.
    pub fn is_of(&self, digest: &Secret) -> bool {
        self.digest().expose().as_bytes().ct_eq(digest.expose().as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(place: u8, secret: u8) -> Token {
        Token::new([place; 16], Zeroizing::new([secret; 32]))
    }

    #[test]
    fn a_token_is_64_characters_that_no_url_has_to_quote_and_reads_back() {
        let text = token(0xfb, 0xff).expose();
        assert_eq!(text.expose().len(), 64);
        assert!(text.expose().chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        let read = Token::parse(text.expose()).unwrap();
        assert_eq!(read.place(), [0xfb; 16]);
        assert!(read.is_of(&token(0xfb, 0xff).digest()));
    }

    #[test]
    fn another_secret_or_another_place_is_another_token() {
        let digest = token(1, 2).digest();
        assert!(token(1, 2).is_of(&digest));
        assert!(!token(1, 3).is_of(&digest) && !token(2, 2).is_of(&digest));
        assert!(!digest.expose().is_empty() && !token(1, 2).is_of(&Secret::new(String::new())));
    }

    #[test]
    fn known_answer() {
        // python3 -c "import base64, hashlib; print(base64.b64encode(hashlib.blake2b(b'password_verify reset token v1' + bytes([1] * 16), key=bytes([2] * 32), digest_size=32).digest()))"
        assert_eq!(token(1, 2).digest().expose(), "+P40fstHl4NmREhXgQRnL9DhNfuQRBz3gf18xYLNSc4");
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let text = token(1, 2).expose();
        let text = text.expose();
        let padded = format!("{}==", &text[..62]);
        let standard = format!("{}+", &text[..63]);
        for other in ["", &text[1..], &format!("{text}A"), &padded, &standard] {
            assert!(Token::parse(other).is_none(), "{other}");
        }
    }
}
