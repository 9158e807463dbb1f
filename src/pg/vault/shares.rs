//! What the writes of this session have added to the sum of `credential` and `account`.
//!
//! It goes into the audit event of the change, which the worker stores before the change can be committed, and
//! it is added to the anchor once the change is known to be committed.

use std::cell::Cell;

thread_local! {
    static ADDED: Cell<u128> = const { Cell::new(0) };
}

/// Notes that a row was replaced: what the old one added to the sum, and what the new one adds; 0 for none.
pub fn note(before: u128, after: u128) {
    ADDED.set(ADDED.get().wrapping_add(after).wrapping_sub(before));
}

/// What was noted since the last call.
pub fn take() -> u128 {
    ADDED.take()
}
