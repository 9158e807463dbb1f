//! What work leaves on the stack, seen from outside: by another thread, in the memory of this process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;

use password_verify_core::rules::secret::leaving_nothing;

/// A secret that is nowhere in memory but where it is used.
fn secret(at: usize) -> u8 {
    (at as u8 ^ 0x5a).wrapping_mul(31)
}

/// Uses the stack as a library does that copies a secret.
#[inline(never)]
fn work() -> u8 {
    let copies: [u8; 1024] = std::array::from_fn(|at| secret(at % 64));
    black_box(&copies)[black_box(7)]
}

/// How often the secret is on the stack of a thread that has done something.
fn left_by(work: fn() -> u8) -> usize {
    let (tells, told) = mpsc::channel();
    let (ends, end) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        assert_eq!(work(), secret(7));
        let here = 0_u8;
        tells.send(std::ptr::from_ref(black_box(&here)).addr()).unwrap();
        // Its stack stays as it is meanwhile.
        end.recv().unwrap_err();
    });
    let here = told.recv().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let range = |line: &str| -> Option<(usize, usize)> {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    };
    let (start, end) =
        maps.lines().filter_map(range).find(|it| (it.0..it.1).contains(&here)).unwrap();
    let mut stack = vec![0; end - start];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut stack, start as u64).unwrap();
    drop(ends);
    thread.join().unwrap();
    stack
        .windows(64)
        .filter(|it| it.iter().enumerate().all(|(at, byte)| *byte == secret(at)))
        .count()
}

#[test]
fn what_work_left_on_the_stack_is_wiped() {
    assert!(left_by(work) > 10, "the search finds something");
    assert_eq!(left_by(|| leaving_nothing(work)), 0);
}
