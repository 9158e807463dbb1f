//! How many statements of each login were redacted, by database.

use std::sync::atomic::{AtomicU64, Ordering};

use super::piece::Piece;

/// Logins that can be told apart, in all databases together. Statements of further ones are counted
/// for login 0.
const PLACES: usize = 1024;

pub static REDACTED: Piece<Redacted> = Piece::new();

#[repr(C)]
struct Place {
    /// Database and login; 0: free.
    key: AtomicU64,
    count: AtomicU64,
}

/// Needs no lock: a place is taken once, and never given back.
#[repr(C)]
pub struct Redacted([Place; PLACES]);

fn key(database: u32, login: u32) -> u64 {
    u64::from(database) << 32 | u64::from(login)
}

fn all() -> &'static Redacted {
    // SAFETY: see `Piece::get`; made of atomics.
    unsafe { &*REDACTED.get() }
}

/// Counts a statement.
pub fn count(database: u32, login: u32) {
    let place = place(key(database, login)).or_else(|| place(key(database, 0)));
    if let Some(place) = place {
        place.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks at every place at most: [`PLACES`] comparisons where all are taken.
fn place(key: u64) -> Option<&'static Place> {
    let places = &all().0;
    let start = (key ^ key >> 32) as usize % PLACES;
    places[start..].iter().chain(&places[..start]).find(|place| {
        let taken = place.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok() || taken == Err(key)
    })
}

/// The logins of a database with their counts.
pub fn of(database: u32) -> Vec<(u32, u64)> {
    let places = all()
        .0
        .iter()
        .map(|place| (place.key.load(Ordering::Relaxed), place.count.load(Ordering::Relaxed)));
    places
        .filter(|(key, _)| *key != 0 && key >> 32 == u64::from(database))
        .map(|(key, count)| (key as u32, count))
        .collect()
}
