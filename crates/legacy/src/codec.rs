//! The encodings of bytes in password hashes.

use base64ct::{Base64, Base64Unpadded, Encoding};

/// `./0-9A-Za-z`, the alphabet of crypt(3).
const CRYPT: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// `./A-Za-z0-9`, the alphabet of bcrypt.
const BCRYPT: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The value of a character in the alphabet of crypt(3).
pub fn crypt_digit(c: u8) -> Option<u32> {
    digit(CRYPT, c)
}

fn digit(alphabet: &[u8; 64], c: u8) -> Option<u32> {
    alphabet.iter().position(|&a| a == c).and_then(|at| u32::try_from(at).ok())
}

/// A number of at most five characters, least significant first.
pub fn crypt_number(text: &[u8]) -> Option<u32> {
    debug_assert!(text.len() <= 5);
    text.iter().rev().try_fold(0, |sum, &c| Some(sum << 6 | crypt_digit(c)?))
}

/// Base64 of crypt(3) since MD5: every three bytes form a number, first byte least significant, and
/// its digits are written least significant first. Leftover bits must be zero.
pub fn crypt_le(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut word, mut bits) = (0, 0);
    for &c in text.as_bytes() {
        word |= digit(CRYPT, c)? << bits;
        bits += 6;
        if bits >= 8 {
            bytes.push((word & 0xff) as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    // A whole leftover digit is a character too many.
    (word == 0 && bits < 6).then_some(bytes)
}

/// Base64 of DES crypt: most significant bit first, in crypt(3)'s alphabet, leftover bits zero.
pub fn crypt_be(text: &str) -> Option<Vec<u8>> {
    big_endian(CRYPT, text).and_then(|(bytes, rest)| (rest == 0).then_some(bytes))
}

/// Base64 of bcrypt: most significant bit first. Leftover bits are ignored, because several
/// libraries wrote arbitrary ones at the end of a salt.
pub fn bcrypt(text: &str) -> Option<Vec<u8>> {
    big_endian(BCRYPT, text).map(|(bytes, _)| bytes)
}

/// Writes base64 as bcrypt does.
pub fn to_bcrypt(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 1);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| word << 8 | usize::from(*group.get(i).unwrap_or(&0)));
        for i in 0..=group.len() {
            text.push(char::from(BCRYPT[word >> (18 - 6 * i) & 63]));
        }
    }
    text
}

fn big_endian(alphabet: &[u8; 64], text: &str) -> Option<(Vec<u8>, u32)> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut word, mut bits) = (0, 0);
    for &c in text.as_bytes() {
        word = word << 6 | digit(alphabet, c)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
            word &= (1 << bits) - 1;
        }
    }
    (bits < 6).then_some((bytes, word))
}

/// Base64 (RFC 4648 section 4) without padding, as in the PHC string format.
pub fn unpadded(text: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(text).ok()
}

/// Base64 as [`unpadded`] reads it, or passlib's, which writes a dot instead of the plus sign.
pub fn unpadded_or_ab64(text: &str) -> Option<Vec<u8>> {
    unpadded(&text.replace('.', "+"))
}

/// Base64 (RFC 4648 section 4) with padding.
pub fn padded(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).ok()
}

/// Base64 in either alphabet of RFC 4648, with or without padding.
pub fn any_base64(text: &str) -> Option<Vec<u8>> {
    unpadded(&text.trim_end_matches('=').replace('-', "+").replace('_', "/"))
}

/// Hexadecimal in lower case, as every system here writes it.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// A decimal number without sign and leading zeros. A number that is too large becomes the largest
/// u32, which is above every ceiling.
pub fn decimal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes() {
        assert_eq!(crypt_number(b"J9.."), Some(725));
        assert_eq!(crypt_number(b"zzzzz"), Some((1 << 30) - 1));
        assert_eq!(crypt_le("zzD"), Some(vec![255, 255]));
        assert_eq!(crypt_le("zzz"), None, "two bits are left over");
        assert_eq!(crypt_be("zzw"), Some(vec![255, 255]));
        assert_eq!(crypt_be("zzz"), None, "two bits are left over");
        assert_eq!((crypt_le("z"), crypt_be(".")), (None, None), "a character is left over");
        assert_eq!(hex("00ff"), Some(vec![0, 255]));
        assert_eq!((hex("0"), hex("FF"), hex("0é")), (None, None, None));
        assert_eq!(
            (decimal("10"), decimal("0"), decimal("4294967296")),
            (Some(10), Some(0), Some(u32::MAX))
        );
        assert_eq!((decimal("010"), decimal("+1"), decimal("")), (None, None, None));
        assert_eq!(any_base64("-_8="), Some(vec![0xfb, 0xff]));
    }

    #[test]
    fn bcrypt_writes_what_it_reads_and_ignores_the_bits_left_over() {
        for text in ["CCCCCCCCCCCCCCCCCCCCC.", "abcdefghijklmnopqrstuu"] {
            assert_eq!(to_bcrypt(&bcrypt(text).unwrap()), text);
        }
        assert_eq!(bcrypt("CCCCCCCCCCCCCCCCCCCCC."), bcrypt("CCCCCCCCCCCCCCCCCCCCCN"));
        assert_eq!(bcrypt("C"), None);
    }
}
