//! The encryption of the keeper: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonces are
//! long enough to be random.
//!
//! ```text
//! nonce (24 bytes), ciphertext, tag (16 bytes)
//! ```

use base64ct::{Base64Unpadded, Encoding};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305};
use zeroize::{Zeroize, Zeroizing};

/// Length of every key in bytes.
pub(super) const KEY_BYTES: usize = 32;
/// Length of a nonce in bytes.
pub(super) const NONCE_BYTES: usize = 24;
/// Length of a sealed key in bytes.
pub(super) const SEALED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

const TAG_BYTES: usize = 16;

/// Takes a key over, and wipes the bytes that it came in. Copies that the compiler made of them on
/// the way here are out of reach.
pub(super) fn take_over(mut bytes: [u8; KEY_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
    let key = Zeroizing::new(bytes);
    bytes.zeroize();
    key
}

/// Seals `secret`. It opens only with the same key and the same `parts`, the first of which should
/// be a purpose. A nonce must come from the operating system's generator.
pub(super) fn seal(
    secret: &[u8],
    parts: &[&[u8]],
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_BYTES],
) -> Vec<u8> {
    // With its final capacity: it holds the secret until it is encrypted in place.
    let mut sealed = Vec::with_capacity(NONCE_BYTES + secret.len() + TAG_BYTES);
    sealed.extend(nonce);
    sealed.extend(secret);
    // Invariant: sealing fails only for texts of about 2^38 bytes and more.
    #[allow(clippy::expect_used)]
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(
            &nonce.into(),
            &associated_data(parts),
            sealed[NONCE_BYTES..].as_mut().into(),
        )
        .expect("a short text");
    sealed.extend(&tag[..]);
    sealed
}

/// Opens what [`seal`] made. `None` for anything else, and with another key or other `parts`.
pub(super) fn open(
    sealed: &[u8],
    parts: &[&[u8]],
    key: &[u8; KEY_BYTES],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let (encrypted, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut secret = Zeroizing::new(encrypted.to_vec());
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(
            &(*nonce).into(),
            &associated_data(parts),
            secret.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .ok()?;
    Some(secret)
}

/// Opens what [`seal`] made of a key.
pub(super) fn open_key(
    sealed: &[u8],
    parts: &[&[u8]],
    key: &[u8; KEY_BYTES],
) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let secret = open(sealed, parts, key)?;
    let mut opened = Zeroizing::new([0; KEY_BYTES]);
    opened.copy_from_slice(secret.first_chunk::<KEY_BYTES>()?);
    (secret.len() == KEY_BYTES).then_some(opened)
}

/// Writes what is sealed as a text: the prefix, and base64 without padding.
pub(super) fn to_text(prefix: &str, sealed: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + Base64Unpadded::encoded_len(sealed));
    text.push_str(prefix);
    text.push_str(&Base64Unpadded::encode_string(sealed));
    text
}

/// Reads what [`to_text`] wrote. `None` for any other text.
pub(super) fn from_text(prefix: &str, text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(text.strip_prefix(prefix)?).ok()
}

/// The associated data. Each part follows its length: no two lists of parts give the same bytes.
fn associated_data(parts: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(*part);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lists_of_parts_are_one() {
        let lists: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"", b""], &[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"]];
        for (i, one) in lists.iter().enumerate() {
            for other in &lists[i + 1..] {
                assert_ne!(associated_data(one), associated_data(other));
                let sealed = seal(b"x", one, &[1; 32], [2; 24]);
                assert!(open(&sealed, one, &[1; 32]).is_some());
                assert!(open(&sealed, other, &[1; 32]).is_none());
            }
        }
    }

    #[test]
    fn every_bit_and_every_byte_matters() {
        let sealed = seal(&[7; 32], &[b"a"], &[1; 32], [2; 24]);
        assert_eq!(sealed.len(), SEALED_KEY_BYTES);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed, &[b"a"], &[1; 32]).is_none(), "{bit}");
        }
        for end in 0..sealed.len() {
            assert!(open(&sealed[..end], &[b"a"], &[1; 32]).is_none(), "{end}");
        }
        for bit in 0..256 {
            let mut key = [1; 32];
            key[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&sealed, &[b"a"], &key).is_none(), "{bit}");
        }
    }

    #[test]
    fn a_key_has_its_length() {
        for length in [0, 31, 33, 64] {
            let sealed = seal(&vec![7; length], &[], &[1; 32], [2; 24]);
            assert!(open_key(&sealed, &[], &[1; 32]).is_none(), "{length}");
        }
        let sealed = seal(&[7; 32], &[], &[1; 32], [2; 24]);
        assert_eq!(open_key(&sealed, &[], &[1; 32]).unwrap()[..], [7; 32]);
    }

    #[test]
    fn what_is_sealed_never_grows() {
        // A buffer that grows leaves the secret behind in the old one.
        let sealed = seal(&[7; 1000], &[], &[1; 32], [2; 24]);
        assert_eq!((sealed.len(), sealed.capacity()), (1040, 1040));
        let text = to_text("$a$", &sealed);
        assert_eq!(text.len(), text.capacity());
    }
}
