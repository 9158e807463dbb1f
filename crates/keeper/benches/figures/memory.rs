//! The memory of the daemon: with many accounts, and with as much mail at once as it takes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::mail::messages::{attachment, of_size};
use password_verify_tests::pv_keeper::PvKeeper;
use postgres::Client;

use crate::machine::connections_to;
use crate::stage::{Stage, done, names};
use crate::{say, verdict};

const ACCOUNTS: usize = 10_000;
/// With so many accounts, in MB.
const TARGET: f64 = 100.0;
/// What the settings say of a connection, in MB.
const CONNECTION: f64 = 2.0;
/// As long as the largest number of connections and the largest answers need to come together.
const WATCHED: Duration = Duration::from_secs(60);
const LARGE: usize = 10 << 20;
const LARGE_MAILBOXES: usize = 100;
const MANY: usize = 100_000;

pub fn print_many() {
    println!("## Memory with many accounts\n");
    println!(
        "{ACCOUNTS} accounts of one server, all of them due, seen for {} seconds.\n",
        WATCHED.as_secs()
    );
    head();
    let stage = Stage::new();
    let port = stage.dovecot.imaps_port();
    say(&format!("{ACCOUNTS} accounts are registered"));
    stage.register(&names("user", ACCOUNTS), "localhost", port);
    for (lines, what) in
        [("at_once = 64", "the usual settings"), ("per_host = 100", "`per_host` 100")]
    {
        let keeper = stage.keeper().connect(lines).start();
        watch(&keeper, port).row(what, TARGET);
    }
    println!();
}

pub fn print_large() {
    println!("## Memory with much mail\n");
    println!(
        "{LARGE_MAILBOXES} mailboxes with mails and files of 10 MB, and one with {MANY} mails, are read by as many connections\n\
         as may be, seen for {} seconds. Half of `at_once` is kept for servers that have yet to answer, of which there are none\n\
         here. The target is {CONNECTION} MB for each connection that is allowed.\n",
        WATCHED.as_secs()
    );
    head();
    let large = Large::new();
    let (port, mut app) = (large.stage.dovecot.imaps_port(), large.stage.kept.depositor());
    for at_once in [64_u32, 200] {
        say(&format!("large mails, {at_once} connections"));
        let requests = large.ask(&mut app);
        let limits = format!("at_once = {at_once}\nper_host = 100");
        let keeper = large.stage.keeper().connect(&limits).start();
        let seen = watch(&keeper, port);
        seen.row(&format!("`at_once` {at_once}, `per_host` 100"), CONNECTION * f64::from(at_once));
        drop(keeper);
        for request in requests {
            app.query_one("SELECT auth.pv_cancel_request($1)", &[&request]).unwrap();
        }
    }
    println!();
}

fn head() {
    println!("| | connections at most | jobs done | results | memory at most, MB | target | |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
}

/// What was seen.
struct Seen {
    connections: usize,
    done: usize,
    results: usize,
    most: f64,
}

impl Seen {
    /// `target`: in MB.
    fn row(&self, what: &str, target: f64) {
        let Self { connections, done, results, most } = self;
        let verdict = verdict(*most <= target);
        println!(
            "| {what} | {connections} | {done} | {results} | {most:.1} | {target:.0} | {verdict} |"
        );
    }
}

fn watch(keeper: &PvKeeper, port: u16) -> Seen {
    let (begun, mut connections) = (Instant::now(), 0);
    while begun.elapsed() < WATCHED {
        connections = connections.max(connections_to(port));
        sleep(Duration::from_millis(20));
    }
    let most = keeper.memory().1 as f64 * 1024.0 / 1e6;
    let results = keeper.metric("pv_keeper_results_total") as usize;
    Seen { connections, done: done(keeper), results, most }
}

/// Mailboxes with two mails of 10 MB each, one of them with a file, and one with many mails.
struct Large {
    stage: Stage,
    users: Vec<String>,
    validities: Vec<i64>,
}

impl Large {
    fn new() -> Self {
        let (stage, users) = (Stage::new(), names("user", LARGE_MAILBOXES));
        say("large mails arrive");
        let file: Vec<u8> = (0..LARGE * 3 / 4).map(|number| (number * 7 % 251) as u8).collect();
        let mails = [of_size("large", LARGE), attachment("a file", "text", "a.bin", &file)];
        for user in &users {
            mails.iter().for_each(|mail| stage.deliver(user, mail));
        }
        say(&format!("{MANY} mails arrive in one mailbox"));
        let mail = of_size("one of many", 500);
        stage.deliver(&many()[0], &mail);
        for _ in 1..MANY {
            stage.dovecot.deliver(&many()[0], &mail);
        }
        // The server numbers them now, and not while it is measured.
        let validity = |user: &String| stage.dovecot.status(user, "INBOX").uidvalidity.into();
        validity(&many()[0]);
        let validities = users.iter().map(validity).collect();
        let port = stage.dovecot.imaps_port();
        stage.register(&[&users[..], &many()].concat(), "localhost", port);
        let keeper = stage.keeper().start();
        stage.await_all_over();
        drop(keeper);
        Self { stage, users, validities }
    }

    /// More than can be read in the time: the requests.
    fn ask(&self, app: &mut Client) -> Vec<i64> {
        let ask = |app: &mut Client, users: &[String], more| self.stage.request(app, users, more);
        let mut all = ask(app, &many(), "parts => 'headers', max_mails => 10000");
        let attachment =
            "SELECT auth.pv_request_attachment($1::text, 'inbox', 'INBOX', $2, 2, '2')";
        for (user, validity) in self.users.iter().zip(&self.validities) {
            all.push(app.query_one(attachment, &[user, validity]).unwrap().get(0));
        }
        for _ in 0..4 {
            all.extend(ask(app, &self.users, "parts => 'raw', max_bytes => 409600"));
            all.extend(ask(app, &self.users, "parts => 'text', max_bytes => 409600"));
        }
        all
    }
}

fn many() -> [String; 1] {
    ["many".to_owned()]
}
