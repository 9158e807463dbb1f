//! A hundred servers that take a connection and say nothing, and one that answers at once: how long jobs for that one wait.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use password_verify_tests::pv_keeper::PvKeeper;
use password_verify_tests::query::text;
use postgres::Client;

use crate::stage::{Stage, await_for, ended, names};
use crate::{say, verdict};

const HOSTS: usize = 100;
/// Accounts at the quick server, which are tried one after the other.
const QUICK: usize = 50;
/// Between two jobs for the quick server.
const EVERY: Duration = Duration::from_millis(250);
/// Longer than the longest wait for a byte.
const WATCHED: Duration = Duration::from_secs(75);
/// How much longer the median may be than alone, and how long the first job after a start, in ms.
const TARGET: f64 = 2.0;
const FIRST: f64 = 90_000.0;

/// What the keeper knows when the slow servers come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knows {
    /// That the quick server answers.
    Quick,
    /// Nothing: it has just been started.
    Nothing,
}

/// Times in ms.
struct Waits {
    first: f64,
    median: f64,
    slow: f64,
    most: f64,
    count: usize,
    given_up: usize,
}

pub fn print() {
    let (stage, silent) = (Stage::new(), Silent::start());
    let quick = names("quick", QUICK);
    stage.register(&quick, "localhost", stage.dovecot.imaps_port());
    let keeper = start(&stage, &silent);
    stage.await_all_over();
    drop(keeper);
    println!("## Slow servers\n");
    println!(
        "{HOSTS} servers with names of their own take every connection and say nothing. Beside them four jobs a second are for\n\
         one server that answers, each a login. The time is from the request to its end. The target is a median of no more than\n\
         {TARGET} times that of the row before it. A keeper that has just started does not know who answers, and the quick server\n\
         waits for its turn among the others: the target is that the first job is over in {} seconds. Jobs are taken in the\n\
         order in which they are due: those for the slow servers come first.\n",
        FIRST / 1000.0
    );
    println!(
        "| | first, ms | median, ms | of 100 the slowest, ms | slowest, ms | jobs | given up at slow ones | target |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut alone = 0.0;
    for (each, knows) in [
        (0, Knows::Quick),
        (1, Knows::Quick),
        (0, Knows::Quick),
        (20, Knows::Quick),
        (1, Knows::Nothing),
        (20, Knows::Nothing),
    ] {
        let jobs = HOSTS * each;
        say(&format!("{jobs} jobs for slow servers"));
        let waits = measure(&stage, &silent, &quick, each, knows);
        let (what, aim) = match (each, knows) {
            (0, _) => ("alone".to_owned(), ""),
            (_, Knows::Quick) => {
                (format!("{jobs} jobs at slow servers"), verdict(waits.median <= TARGET * alone))
            }
            (_, Knows::Nothing) => {
                (format!("{jobs}, and just started"), verdict(waits.first <= FIRST))
            }
        };
        if each == 0 {
            alone = waits.median;
        }
        let Waits { first, median, slow, most, count, given_up } = waits;
        println!(
            "| {what} | {first:.0} | {median:.0} | {slow:.0} | {most:.0} | {count} | {given_up} | {aim} |"
        );
    }
    println!();
}

/// So many accounts at each slow server.
fn measure(stage: &Stage, silent: &Silent, quick: &[String], each: usize, knows: Knows) -> Waits {
    let mut app = stage.kept.depositor();
    let keeper = (knows == Knows::Quick).then(|| start(stage, silent));
    if keeper.is_some() {
        let request = ask(&mut app, &quick[0]);
        stage.await_all_over();
        acknowledge(&mut app, &[request]);
    }
    let slow = names(&format!("slow{each}of"), HOSTS * each);
    for (host, some) in names("slow", HOSTS).iter().zip(slow.chunks(each.max(1))) {
        stage.register(some, &format!("{host}.example.org"), silent.port);
    }
    let keeper = keeper.unwrap_or_else(|| start(stage, silent));
    let mut admin = stage.kept.admin();
    let since = text(&mut admin, "SELECT clock_timestamp()::text");
    let (begun, mut requests) = (Instant::now(), Vec::new());
    for user in quick.iter().cycle() {
        if begun.elapsed() > WATCHED {
            break;
        }
        requests.push(ask(&mut app, user));
        sleep((EVERY * requests.len() as u32).saturating_sub(begun.elapsed()));
    }
    let mut all = times(&mut admin, &since);
    acknowledge(&mut app, &requests);
    for user in &slow {
        app.query_one("SELECT auth.pv_forget_secret($1::text, 'inbox')", &[user]).unwrap();
    }
    let first = all[0];
    let given_up = ended(&keeper, "outcome=\"retry\"");
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
    Waits { first, median: at(0.5), slow: at(0.99), most: at(1.0), count: all.len(), given_up }
}

fn ask(app: &mut Client, user: &String) -> i64 {
    let sql = "SELECT auth.pv_request($1::text, 'inbox', '{\"imap\": \"verify\"}')";
    app.query_one(sql, &[user]).unwrap().get(0)
}

fn acknowledge(app: &mut Client, requests: &[i64]) {
    for request in requests {
        app.query_one("SELECT auth.pv_ack_results($1, 0)", &[request]).unwrap();
    }
}

/// Waits until all jobs that were asked for since then are over: how long each has taken, oldest first.
fn times(admin: &mut Client, since: &str) -> Vec<f64> {
    let left = "SELECT count(*) FROM password_verify.job WHERE state <> 'ended' AND created_at > $1::text::timestamptz";
    await_for(|| admin.query_one(left, &[&since]).unwrap().get::<_, i64>(0) == 0);
    let times = "SELECT extract(epoch FROM finished_at - created_at)::float8 * 1000 FROM password_verify.job
                  WHERE created_at > $1::text::timestamptz ORDER BY created_at";
    admin.query(times, &[&since]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Names of hosts are looked up in a file, by a library that stands between the keeper and the system.
fn start(stage: &Stage, silent: &Silent) -> PvKeeper {
    let hosts: String =
        (0..HOSTS).map(|number| format!("127.0.0.1 slow{number}.example.org\n")).collect();
    let path = stage.certificates.folder().join("hosts");
    fs::write(&path, hosts + "127.0.0.1 localhost\n").unwrap();
    let ports = format!("ports = [{}, {}]", stage.dovecot.imaps_port(), silent.port);
    let keeper = stage.keeper().connect("domains = ['*']").connect(&ports);
    let keeper = keeper.variable("LD_PRELOAD", "libnss_wrapper.so");
    // It has room for a hundred.
    let keeper = keeper.variable("NSS_WRAPPER_MAX_HOSTENTS", "1000");
    keeper.variable("NSS_WRAPPER_HOSTS", path.to_str().unwrap()).start()
}

/// All slow servers in one.
struct Silent {
    port: u16,
    _held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::new(Mutex::new(Vec::new()));
        let holds = Arc::clone(&held);
        spawn(move || {
            for stream in listener.incoming().flatten() {
                holds.lock().unwrap().push(stream);
            }
        });
        Self { port, _held: held }
    }
}
