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

    /// All of it until now.
    pub fn worked(&self) -> Duration {
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
