//! Hash slots: they bound how many hashes the whole server computes at once, with a queue for
//! sessions that find no free slot.
//!
//! First come, first served: a slot that becomes free is handed to the first in the queue, and no
//! later session can take it.

use super::condition::Condition;
use super::piece::{Guard, LockGuard, Piece};
use crate::settings;

/// No place in the queue.
const NONE: u32 = u32::MAX;

pub static SLOTS: Piece<Slots> = Piece::new();
pub static WAITERS: Piece<Waiter> = Piece::new();
pub static READY: Piece<Condition> = Piece::new();

/// The state of the slots and of their queue.
#[repr(C)]
pub struct Slots {
    taken: u32,
    waiting: u32,
    first: u32,
    last: u32,
    free: u32,
    /// The most slots taken at once since the server started.
    peak: u32,
    /// Hashes computed in small pages since the server started.
    small_pages: u64,
}

/// A place in the queue, linked with its neighbours.
#[repr(C)]
pub struct Waiter {
    before: u32,
    /// The next in the queue, or the next free place.
    after: u32,
    granted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    Slot,
    Queue(u32),
    /// Nothing: the queue is full.
    Full,
}

/// Usage figures for `pv_stats`.
pub struct Use {
    pub taken: u32,
    pub waiting: u32,
    pub peak: u32,
    pub small_pages: u64,
}

impl Slots {
    pub fn init(&mut self, waiters: &mut [Waiter]) {
        (self.first, self.last, self.free) = (NONE, NONE, NONE);
        for (number, waiter) in waiters.iter_mut().enumerate().rev() {
            waiter.after = self.free;
            self.free = number as u32;
        }
    }

    fn enter(&mut self, waiters: &mut [Waiter], slots: u32) -> Entered {
        if self.taken < slots {
            // Invariant: no session waits while a slot is free, because a released slot is handed
            // on.
            self.taken += 1;
            self.peak = self.peak.max(self.taken);
            return Entered::Slot;
        }
        let number = self.free;
        let Some(waiter) = waiters.get_mut(number as usize) else { return Entered::Full };
        self.free = waiter.after;
        (waiter.before, waiter.after, waiter.granted) = (self.last, NONE, false);
        match waiters.get_mut(self.last as usize) {
            Some(last) => last.after = number,
            None => self.first = number,
        }
        self.last = number;
        self.waiting += 1;
        Entered::Queue(number)
    }

    /// Hands a slot to the first in the queue and returns its place, to be woken.
    fn give_back(&mut self, waiters: &mut [Waiter]) -> Option<u32> {
        let first = self.first;
        let Some(waiter) = waiters.get_mut(first as usize) else {
            self.taken -= 1;
            return None;
        };
        waiter.granted = true;
        self.unlink(waiters, first);
        Some(first)
    }

    fn unlink(&mut self, waiters: &mut [Waiter], number: u32) {
        let Waiter { before, after, .. } = waiters[number as usize];
        match waiters.get_mut(before as usize) {
            Some(waiter) => waiter.after = after,
            None => self.first = after,
        }
        match waiters.get_mut(after as usize) {
            Some(waiter) => waiter.before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }

    /// Frees a place in the queue; true if it had been granted a slot.
    fn leave(&mut self, waiters: &mut [Waiter], number: u32) -> bool {
        let granted = waiters[number as usize].granted;
        if !granted {
            self.unlink(waiters, number);
        }
        waiters[number as usize].after = self.free;
        self.free = number;
        granted
    }
}

/// The hash slots, for as long as their lock is held.
pub struct HashSlots {
    _held: LockGuard,
}

impl HashSlots {
    pub fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::HashSlots) }
    }

    /// The slots, and the places in their queue.
    pub fn parts(&mut self) -> (&mut Slots, &mut [Waiter]) {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe {
            let waiters = std::slice::from_raw_parts_mut(WAITERS.get(), settings::queue_length());
            (&mut *SLOTS.get(), waiters)
        }
    }
}

pub fn enter() -> Entered {
    let mut slots = HashSlots::lock();
    let (slots, waiters) = slots.parts();
    slots.enter(waiters, settings::hash_slots())
}

/// Has this place in the queue been granted a slot?
pub fn granted(number: u32) -> bool {
    HashSlots::lock().parts().1[number as usize].granted
}

/// Frees a place in the queue; true if it had been granted a slot, which is then the caller's.
#[must_use]
pub fn leave(number: u32) -> bool {
    let mut slots = HashSlots::lock();
    let (slots, waiters) = slots.parts();
    slots.leave(waiters, number)
}

/// Releases a slot and wakes the session it is handed to.
pub fn give_back() {
    let next = {
        let mut slots = HashSlots::lock();
        let (slots, waiters) = slots.parts();
        slots.give_back(waiters)
    };
    if let Some(next) = next {
        ready(next).broadcast();
    }
}

/// Counts a hash that is computed in small pages.
pub fn count_small_pages() {
    HashSlots::lock().parts().0.small_pages += 1;
}

pub fn usage() -> Use {
    let mut slots = HashSlots::lock();
    let Slots { taken, waiting, peak, small_pages, .. } = *slots.parts().0;
    Use { taken, waiting, peak, small_pages }
}

/// The condition on which the session at that place in the queue sleeps.
pub fn ready(waiter: u32) -> &'static Condition {
    assert!((waiter as usize) < settings::queue_length());
    // SAFETY: see `Piece::get`; a condition guards itself.
    unsafe { &*READY.get().add(waiter as usize) }
}
