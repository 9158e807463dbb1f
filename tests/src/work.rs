//! What a session has worked, whatever else runs on the machine.

use std::fs;
use std::time::Duration;

use postgres::Client;

/// A session, and the processor time that it has taken: the same on a busy machine.
pub struct Session {
    pub client: Client,
    schedstat: String,
}

impl Session {
    pub fn of(mut client: Client) -> Self {
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        Self { client, schedstat: format!("/proc/{pid}/schedstat") }
    }

    /// All of it until now.
    pub fn worked(&self) -> Duration {
        let text = fs::read_to_string(&self.schedstat).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}
