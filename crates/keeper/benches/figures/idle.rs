//! What the keeper does when there is nothing to do, and how soon it begins when there is.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::pv_keeper::PvKeeper;

use crate::stage::{Stage, names};
use crate::{say, verdict};

const ACCOUNTS: usize = 20;
const WATCHED: Duration = Duration::from_secs(60);
const WAKES: usize = 100;
/// The longest pause in which nobody wakes it is 5 s, and half of that on the way to the average.
const TARGET: f64 = 1000.0;
/// Statements a second, and of a processor.
const QUIET: (f64, f64) = (1.0, 0.01);

pub fn print() {
    let stage = Stage::new();
    let users = names("user", ACCOUNTS);
    stage.register(&users, "localhost", stage.dovecot.imaps_port());
    let log_all = format!("ALTER ROLE {} SET log_statement = 'all'", stage.kept.connector);
    stage.kept.admin().batch_execute(&log_all).unwrap();
    let keeper = stage.keeper().start();
    stage.await_all_over();
    sleep(Duration::from_secs(2));
    say("nothing to do");
    let before = (statements(&stage), processor(&keeper));
    sleep(WATCHED);
    let seconds = WATCHED.as_secs_f64();
    let asked = (statements(&stage) - before.0) as f64 / seconds;
    let used = (processor(&keeper) - before.1) / seconds;
    println!("## Idle\n");
    println!("| with nothing to do | | target | |");
    println!("| --- | --- | --- | --- |");
    println!("| statements a second | {asked:.2} | {} | {} |", QUIET.0, verdict(asked <= QUIET.0));
    let (share, most) = (used * 100.0, QUIET.1 * 100.0);
    println!("| of one processor | {share:.3} % | {most} % | {} |", verdict(used <= QUIET.1));
    println!("| memory, MB | {:.1} | | |", keeper.memory().0 as f64 * 1024.0 / 1e6);
    say("it is woken");
    let mut app = stage.kept.depositor();
    let ask = "SELECT auth.pv_request($1::text, 'inbox', '{\"imap\": \"verify\"}')";
    let mut waits: Vec<f64> = Vec::new();
    for user in users.iter().cycle().take(WAKES) {
        let logins = stage.dovecot.log().matches("Login: ").count();
        let begun = Instant::now();
        app.query_one(ask, &[user]).unwrap();
        while stage.dovecot.log().matches("Login: ").count() == logins {
            sleep(Duration::from_micros(500));
        }
        waits.push(begun.elapsed().as_secs_f64() * 1000.0);
        // Until it is idle again, and not always for as long.
        stage.await_all_over();
        sleep(Duration::from_millis(50 + waits.len() as u64 % 7 * 20));
    }
    waits.sort_by(f64::total_cmp);
    let (median, most) = (waits[WAKES / 2], waits[WAKES - 1]);
    println!();
    println!(
        "From a call of `pv_request` to the login that it causes: {median:.0} ms in the median of {WAKES} calls, {most:.0} ms at most.\n\
         The target is {TARGET:.0} ms at most: {}.\n",
        verdict(most <= TARGET)
    );
}

/// What the connector has asked of PostgreSQL so far.
fn statements(stage: &Stage) -> usize {
    let log = stage.kept.site.cluster.log();
    log.lines()
        .filter(|line| line.contains("LOG:  execute ") || line.contains("LOG:  statement: "))
        .count()
}

/// In seconds, of all its threads, as the scheduler counts.
fn processor(keeper: &PvKeeper) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", keeper.pid())).unwrap().flatten();
    let of = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().map_or(0.0, |it| it.parse::<f64>().unwrap())
    };
    tasks.map(|task| of(task.path())).sum::<f64>() / 1e9
}
