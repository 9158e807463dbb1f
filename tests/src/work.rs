//! What a session has worked, whatever else runs on the machine.

use std::time::{Duration, Instant};
use std::{fs, thread};

use postgres::Client;

use crate::hold::{pid, process_stat};
use crate::trail::SOON;

/// A session, and the processor time that it has taken: the same on a busy machine.
pub struct Session {
    pub client: Client,
    pid: i32,
}

impl Session {
    pub fn of(mut client: Client) -> Self {
        let pid = pid(&mut client);
        Self { client, pid }
    }

    /// Does this in the session. What it worked meanwhile is the second.
    pub fn work<T>(&mut self, act: impl FnOnce(&mut Client) -> T) -> (T, Duration) {
        let before = self.worked();
        let done = act(&mut self.client);
        (done, self.worked() - before)
    }

    /// The least work of so many times. Work that is disturbed is more, never less.
    pub fn least(&mut self, times: usize, mut act: impl FnMut(&mut Client)) -> Duration {
        (0..times).map(|_| self.work(&mut act).1).min().unwrap()
    }

    /// All of it until now. A process that runs has the work since the last tick of the clock (4 ms) still to be
    /// booked, and a session runs on for a little after its answer: it is asked when it has gone to sleep.
    fn worked(&self) -> Duration {
        let start = Instant::now();
        while !process_stat(self.pid).unwrap().starts_with('S') {
            assert!(start.elapsed() < SOON, "the session does not go to sleep");
            thread::yield_now();
        }
        // From the state to the booking: some microseconds, unless the machine stands still just then.
        thread::sleep(Duration::from_millis(1));
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid)).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}

/// The shortest time of so many.
pub fn shortest(times: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..times).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap()
}
