//! Lists for the tests.
// Each test uses only some of these, and they may panic as tests do.
#![allow(clippy::unwrap_used, dead_code)]

use password_verify_blocklist::Key;
use password_verify_blocklist::build::Keys;

/// The file of a list with these keys.
pub fn file(keys: Vec<Key>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Keys::new(keys).ok().unwrap().write(&mut bytes, |_| ()).unwrap();
    bytes
}

/// The passwords `{name} 0`, `{name} 1` and so on.
pub fn passwords(name: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{name} {number}"))
}

/// The file of a list with such passwords.
pub fn file_of(name: &str, count: usize) -> Vec<u8> {
    file(passwords(name, count).map(|password| Key::of(&password)).collect())
}

/// The key with this number.
pub fn key(number: u64) -> Key {
    let mut digest = [0; Key::SHA1_BYTES];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    Key::from_sha1(&digest)
}

/// Pseudo-random numbers, as SHA-1 would give them (Vigna's SplitMix64, public domain).
pub fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |step: u64| {
        let mut z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
