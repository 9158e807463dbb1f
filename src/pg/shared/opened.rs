//! How many distinct secrets were opened within the hour: a keeper that opens more than are expected may be in other
//! hands.
//!
//! A bit for each, by a hash: two secrets may share one, so that of a thousand about four are not counted. Forgotten
//! by a restart.

use password_verify_core::rules::account::Timestamp;

use super::piece::{Guard, LockGuard, Piece};
use crate::pg::server;

const BITS: usize = 1 << 17;
/// Microseconds.
const HOUR: Timestamp = 3_600_000_000;

pub static OPENED: Piece<Opened> = Piece::new();

#[repr(C)]
pub struct Opened {
    /// When the hour began.
    since: Timestamp,
    count: u32,
    /// Was it told?
    told: bool,
    bits: [u64; BITS / 64],
}

/// Counts a secret, by its random id. True the first time in an hour that there are more than `expected`; 0 is no
/// limit.
pub fn count(id: &[u8; 16], expected: u32) -> bool {
    let now = server::now();
    let _held = LockGuard::take(Guard::Unlocked);
    // SAFETY: see `Piece::get`; the lock makes this process the only one here.
    let opened = unsafe { &mut *OPENED.get() };
    if !(opened.since..opened.since.saturating_add(HOUR)).contains(&now) {
        (opened.since, opened.count, opened.told) = (now, 0, false);
        opened.bits.fill(0);
    }
    let hash = u32::from_be_bytes([id[0], id[1], id[2], id[3]]) as usize % BITS;
    let (word, bit) = (&mut opened.bits[hash / 64], 1u64 << (hash % 64));
    opened.count += u32::from(*word & bit == 0);
    *word |= bit;
    let beyond = expected != 0 && opened.count > expected;
    beyond && !std::mem::replace(&mut opened.told, true)
}
