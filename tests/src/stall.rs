//! Time without that in which the machine stood still: nobody waits for us in it.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A thread that sleeps this long, again and again, wakes up later when nothing runs.
const TICK: Duration = Duration::from_millis(5);

/// How much later so far, in microseconds.
static STOOD_STILL: AtomicU64 = AtomicU64::new(0);
static BEGUN: Once = Once::new();

/// A clock that stops while the machine stands still.
pub struct Clock {
    start: Instant,
    before: Duration,
}

impl Clock {
    pub fn start() -> Self {
        BEGUN.call_once(|| {
            thread::spawn(|| {
                loop {
                    let start = Instant::now();
                    thread::sleep(TICK);
                    let late = start.elapsed().saturating_sub(2 * TICK).as_micros() as u64;
                    STOOD_STILL.fetch_add(late, Ordering::Relaxed);
                }
            });
        });
        Self { start: Instant::now(), before: stood_still() }
    }

    /// The time since it was started.
    pub fn time(&self) -> Duration {
        let time = self.start.elapsed();
        time.saturating_sub(self.stood_still())
    }

    /// How long the machine stood still since then.
    pub fn stood_still(&self) -> Duration {
        // Until the thread has told of the last time.
        thread::sleep(2 * TICK);
        stood_still() - self.before
    }
}

fn stood_still() -> Duration {
    Duration::from_micros(STOOD_STILL.load(Ordering::Relaxed))
}
