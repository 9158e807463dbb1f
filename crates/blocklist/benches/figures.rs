//! Measures a list of ten million passwords: `cargo bench -p password-verify-blocklist`.
//!
//! `ENTRIES` sets another number. The lookups are of keys that are not listed, in random order,
//! with and without the SHA-1 of a password before each.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use password_verify_blocklist::build::Keys;
use password_verify_blocklist::{Filter, Key};

const LOOKUPS: u32 = 2_000_000;

fn main() {
    let entries = std::env::var("ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    let name = |number: u64| Key::of(&format!("listed {number}"));
    let keys: Vec<Key> = (0..entries).map(name).collect();
    let mut bytes = Vec::with_capacity(3 * entries as usize);
    let (keys, sorting) = timed(|| Keys::new(keys).ok().unwrap());
    let before = peak();
    let ((), building) = timed(|| keys.write(&mut bytes, |_| ()).unwrap());
    let after = peak();
    drop(keys);
    let (filter, opening) = timed(|| Filter::open(&bytes).unwrap());

    let others: Vec<String> = (0..LOOKUPS).map(|number| format!("other {number}")).collect();
    let (found, passwords) = timed(|| others.iter().filter(|text| filter.contains(text)).count());
    let keys: Vec<Key> = others.iter().map(|text| Key::of(text)).collect();
    let ((), lookups) = timed(|| {
        for key in &keys {
            black_box(filter.contains_key(*key));
        }
    });

    let bits = bytes.len() as f64 * 8.0 / filter.entries() as f64;
    println!("entries         {}", filter.entries());
    println!("file            {} bytes, {bits:.2} bits per entry", bytes.len());
    println!("sorting         {sorting:.2?}");
    println!("building        {building:.2?}");
    println!("peak memory     {before} before building, {after} after, the file included");
    println!("open            {opening:.2?}");
    println!("contains        {:.0?}, with SHA-1", passwords / LOOKUPS);
    println!("contains_key    {:.0?}", lookups / LOOKUPS);
    println!("found           {found} of {LOOKUPS} that are not listed");
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// The peak memory of the process, as Linux reports it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap_or("unknown").trim().to_owned()
}
