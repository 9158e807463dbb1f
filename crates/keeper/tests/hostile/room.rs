//! A keeper, its database, and what must be true of it in the end.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::Certificates;
use password_verify_tests::mail::hostile::Hostile;
use password_verify_tests::mail_app::Mailbox;
use password_verify_tests::pv_keeper::{PvKeeper, Setup};
use postgres::Client;

/// What nobody but the server may see.
pub const PASSWORD: &str = "Zw7-brass-lantern-orchard";

/// Seconds.
const SILENCE: u64 = 2;
/// The most memory of a keeper that reads from all these servers at once, in KiB.
const MEMORY: u64 = 80 << 10;

/// A keeper with little patience, and everything that it needs.
pub struct Room {
    pub kept: KeptSite,
    pub certificates: Certificates,
    pub keeper: PvKeeper,
    /// The longest that a job may last, in seconds.
    job: u64,
}

impl Room {
    pub fn new() -> Self {
        Self::with(10, SILENCE)
    }

    /// For jobs that last longer because there is much to do.
    pub fn patient() -> Self {
        Self::with(60, SILENCE)
    }

    /// For servers that may be silent for longer.
    pub fn still(silence: u64) -> Self {
        Self::with(60, silence)
    }

    fn with(job: u64, silence: u64) -> Self {
        let (kept, certificates) = (KeptSite::shared(), Certificates::new());
        let mut setup = Setup::new(env!("CARGO_BIN_EXE_pv-keeper"), &kept, &certificates);
        for line in [
            format!("job_timeout = {job}"),
            format!("silence_timeout = {silence}"),
            "connect_timeout = 2".into(),
            // All servers have the same name.
            "at_once = 1000".into(),
            "per_host = 100".into(),
        ] {
            setup = setup.connect(&line);
        }
        let keeper = setup.start();
        Self { kept, certificates, keeper, job }
    }

    /// A mailbox of that server.
    pub fn mailbox(&self, server: &Hostile, user: &str) -> Mailbox {
        Mailbox::new(&self.certificates, server.port(), user, PASSWORD)
    }

    /// The keeper has not ended.
    pub fn assert_runs(&self) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.keeper.pid())).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        assert!(!state.starts_with('Z'), "the keeper has ended:\n{}", self.keeper.log());
    }

    /// "outcome detail" of a request, once there is one.
    pub fn await_end(&self, app: &mut Client, mailbox: &Mailbox, request: i64) -> String {
        let start = Instant::now();
        loop {
            if let Some(end) = end(app, mailbox, request) {
                return end;
            }
            self.assert_runs();
            assert!(start.elapsed() < Duration::from_secs(60), "{} has no end", mailbox.user);
            sleep(Duration::from_millis(5));
        }
    }

    /// Nothing of it has left traces that it should not have.
    pub fn close(self) {
        self.assert_runs();
        let log = self.keeper.log();
        assert!(!log.contains("panic"), "{}", lines_with(&log, "panic"));
        let metrics = self.keeper.metrics();
        let line = Base64::encode_string(format!("\0user-000\0{PASSWORD}").as_bytes());
        for secret in [PASSWORD, &line[line.len() - 20..line.len() - 4]] {
            assert!(!log.contains(secret) && !metrics.contains(secret), "{secret} is not secret");
        }
        let longest = longest_job(&log);
        println!("longest job: {longest} ms");
        // With the end of a session, for which it waits once more.
        assert!(longest <= (self.job + 2 * SILENCE) * 1000, "{longest} ms");
        let (_, most) = self.keeper.memory();
        println!("memory: {most} KiB at most");
        assert!(most <= MEMORY, "{most} KiB");
        assert!(self.keeper.stop().success());
        self.kept.assert_sound();
    }
}

/// "outcome detail" of a request, once there is one.
pub fn end(app: &mut Client, mailbox: &Mailbox, request: i64) -> Option<String> {
    let sql = "SELECT outcome || ' ' || detail FROM auth.pv_requests($1::text) WHERE request = $2";
    app.query_one(sql, &[&mailbox.user, &request]).unwrap().get(0)
}

/// The longest of all jobs, in milliseconds.
fn longest_job(log: &str) -> u64 {
    let of = |line: &str| {
        let number: String = line
            .split_once("\"milliseconds\":")?
            .1
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        number.parse().ok()
    };
    log.lines().filter_map(of).max().unwrap()
}

fn lines_with(log: &str, word: &str) -> String {
    log.lines().filter(|line| line.contains(word)).collect::<Vec<_>>().join("\n")
}
