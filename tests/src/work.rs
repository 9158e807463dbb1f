//! What a session has worked, whatever else runs on the machine.

use std::fs;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::hold::pid;

/// A session, and the processor time that it has taken: the same on a busy machine.
pub struct Session {
    pub client: Client,
    schedstat: String,
}

impl Session {
    pub fn of(mut client: Client) -> Self {
        let pid = pid(&mut client);
        Self { client, schedstat: format!("/proc/{pid}/schedstat") }
    }

    /// Does this in the session. What it worked meanwhile is the second.
    pub fn work<T>(&mut self, act: impl FnOnce(&mut Client) -> T) -> (T, Duration) {
        let before = self.worked();
        let done = act(&mut self.client);
        (done, self.worked() - before)
    }

    /// All of it until now.
    fn worked(&self) -> Duration {
        let text = fs::read_to_string(&self.schedstat).unwrap();
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
