//! Recognises a wrong password that was tried before, without keeping it.
//!
//! A device that still has the old password repeats it until the account is locked. A repeated
//! password is no new guess. It is recognised by a MAC of the slow hash's output, under a key that
//! is gone after a restart: to a thief the MAC is worth less than the record, and later nothing.

use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use zeroize::Zeroizing;

use crate::rules::account::Timestamp;

/// How many repeats a day are given back to an account, for each client address.
pub const A_DAY: u32 = 20;

/// One day in microseconds.
const DAY: i64 = 86_400_000_000;

/// The result of comparing a password with a record.
pub struct Comparison {
    right: bool,
    /// The output of the hash.
    output: Zeroizing<Vec<u8>>,
}

impl Comparison {
    pub(crate) fn new(right: bool, output: &[u8]) -> Self {
        Self { right, output: Zeroizing::new(output.to_vec()) }
    }

    /// The same comparison, which is right only if `possible` holds too.
    pub(crate) fn and(self, possible: bool) -> Self {
        Self { right: self.right && possible, ..self }
    }

    pub fn is_right(&self) -> bool {
        self.right
    }

    /// The mark that recognises this password when it is repeated. Never zero.
    pub fn mark(&self, key: &[u8; 32]) -> u64 {
        // Invariant: BLAKE2b takes keys of up to 64 bytes, and this one has 32.
        #[allow(clippy::expect_used)]
        let mut mac = Blake2bMac::<U16>::new_from_slice(key).expect("a 32-byte key");
        mac.update(&self.output);
        let [a, b, c, d, e, f, g, h, ..]: [u8; 16] = mac.finalize_fixed().into();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
    }
}

/// The marks of the last two wrong passwords of one user from one client address, and the number of
/// repeats given back that day. All zeros: none.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repeats {
    last: [u64; 2],
    day: u32,
    given_back: u32,
}

impl Repeats {
    /// Notes a wrong password. True if the account gets back what it was `charged`.
    pub fn note(&mut self, mark: u64, now: Timestamp, charged: bool) -> bool {
        let [newest, other] = self.last;
        let repeated = mark == newest || mark == other;
        self.last = [mark, if mark == newest { other } else { newest }];
        let today = now.div_euclid(DAY) as u32;
        // Also when the clock was set back: any other day starts a new count.
        if self.day != today {
            (self.day, self.given_back) = (today, 0);
        }
        let gives = repeated && charged && self.given_back < A_DAY;
        self.given_back += u32::from(gives);
        gives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_depends_on_output_and_key() {
        let mark = |output: &[u8], key| Comparison::new(false, output).mark(&[key; 32]);
        assert_eq!(mark(b"a", 1), mark(b"a", 1));
        assert_ne!(mark(b"a", 1), mark(b"b", 1));
        assert_ne!(mark(b"a", 1), mark(b"a", 2));
        // python3 -c "import hashlib; print(hashlib.blake2b(b'a', key=bytes([1]*32), digest_size=16).hexdigest()[:16])"
        let known = 0x7d71_10c8_7cb3_8c0a;
        assert_eq!(mark(b"a", 1), known);
    }

    #[test]
    fn the_last_two_are_known_again() {
        let mut repeats = Repeats::default();
        let mut note = |mark| repeats.note(mark, 0, true);
        assert_eq!([note(1), note(2), note(1), note(2), note(2)], [false, false, true, true, true]);
        assert_eq!([note(3), note(1), note(2)], [false; 3], "one of three has come too long ago");
        assert_eq!([note(1), note(2), note(3), note(1)], [true, true, false, false]);
    }

    #[test]
    fn twenty_a_day_are_given_back() {
        let mut repeats = Repeats::default();
        let mut given_back =
            |now, charged, count| (0..count).filter(|_| repeats.note(7, now, charged)).count();
        assert_eq!(given_back(0, true, 51), 20, "the first of them is none");
        assert_eq!(given_back(DAY - 1, true, 50), 0);
        assert_eq!(given_back(DAY, false, 50), 0, "what was not charged is not given back");
        assert_eq!(given_back(DAY, true, 50), 20);
        assert_eq!(given_back(0, true, 50), 20, "the clock was set back");
        assert_eq!(given_back(i64::MIN, true, 1) + given_back(i64::MAX, true, 1), 2);
    }
}
