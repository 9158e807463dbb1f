//! Many connections that act at the same moment, and those that go on until they are told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use postgres::Client;

/// One such crowd at a time: a server has only so many connections.
static CROWD: Mutex<()> = Mutex::new(());

/// So many connections, each of its own, that all begin at the same moment.
pub fn at_once<T: Send>(
    count: usize,
    connect: impl Fn(usize) -> Client + Sync,
    act: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let _crowd = CROWD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let (barrier, connect, act) = (&barrier, &connect, &act);
        let threads: Vec<_> = (0..count)
            .map(|i| {
                scope.spawn(move || {
                    let mut client = connect(i);
                    barrier.wait();
                    act(i, &mut client)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Whatever becomes of a test, those who work until they are told to stop are told.
pub struct AtEnd<'a>(pub &'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
