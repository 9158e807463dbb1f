//! Many connections that act at the same moment.

use std::sync::{Barrier, Mutex};
use std::thread;

use postgres::Client;

/// One such crowd at a time: a server has only so many connections.
static CROWD: Mutex<()> = Mutex::new(());

/// So many connections, each of its own, that all begin at the same moment.
pub fn at_once<T: Send>(
    count: usize,
    connect: impl Fn() -> Client + Sync,
    act: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let _crowd = CROWD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let (barrier, connect, act) = (&barrier, &connect, &act);
        let threads: Vec<_> = (0..count)
            .map(|i| {
                scope.spawn(move || {
                    let mut client = connect();
                    barrier.wait();
                    act(i, &mut client)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
