//! Tampering while the server is down: nothing is in memory when it starts, and a worker comes anew.

use std::collections::{BTreeMap, BTreeSet};

use postgres::Client;

use super::base::{Base, COSTLY, EXHAUSTED, USERS};
use super::probe::{self, Answers, CHANGE, LOGIN, RESET};
use super::{CREDENTIALS, Case, EVENTS, MISMATCH, Seen, TAMPERED};
use crate::query::text;
use crate::throttle::BUSY;
use crate::trail::wait_until;
use crate::{Cluster, GOOD, WRONG};

/// What a start has come to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub answers: Answers,
    /// Rows that came into the trail, without their times and numbers, and how many of each.
    pub trail: BTreeMap<String, i64>,
    /// Tables that `pv_verify_credentials` or the check after the start names.
    pub named: BTreeSet<String>,
    /// Tables that events tell of.
    pub told: BTreeSet<String>,
    /// `pv_verify_events` is not content; the new epoch says that something was not as it had been left.
    pub broken: bool,
    pub mismatch: bool,
}

/// Does these in a copy before anybody calls anything, and then asks: also what becomes of folded events, if `folds`.
/// What is known of a case without asking is returned beside it.
pub fn run(base: &Base, cases: &[&Case], folds: bool) -> (Outcome, Vec<Option<Seen>>) {
    let cluster = base.copy();
    let mut admin = cluster.admin(&base.database);
    admin.batch_execute("CREATE SCHEMA kept").unwrap();
    let begun = cases.iter().map(|case| tamper(&mut admin, case)).collect();
    let outcome = observe(base, &cluster, &mut admin, folds);
    (outcome, begun)
}

/// What is known without asking; `None` if something was done.
fn tamper(admin: &mut Client, case: &Case) -> Option<Seen> {
    let table = case.table;
    admin
        .batch_execute(&format!("CREATE TABLE kept.{table} AS TABLE password_verify.{table}"))
        .unwrap();
    if let Err(error) = admin.batch_execute(&case.sql) {
        let state = error.code().map_or("none", |code| code.code()).to_owned();
        return Some(Seen { impossible: Some(state), ..Seen::default() });
    }
    let differs = probe::differs(admin, table, "kept");
    (!differs).then(|| Seen { nothing: true, ..Seen::default() })
}

fn observe(base: &Base, cluster: &Cluster, admin: &mut Client, folds: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let newest = "SELECT COALESCE(max(epoch), 0) FROM password_verify.event";
    let newest: i64 = admin.query_one(newest, &[]).unwrap().get(0);
    let now = text(admin, "SELECT clock_timestamp()::text");
    // What was tampered with may have any number.
    let new = format!("(epoch > {newest} OR at > '{now}')");
    admin.batch_execute("SET password_verify.queue_timeout = '1s'").unwrap();
    let login: [(&str, &[&str]); 1] = [(LOGIN, &["bystander", GOOD])];
    // A worker that cannot begin tries again each second.
    let mut served = (0..TRIES).any(|_| probe::ask(admin, &login) == "yes");
    let mut seen = Seen::default();
    probe::verdicts(admin, &mut seen);
    served = served || probe::ask(admin, &login) == "yes";
    if !served {
        outcome.answers.insert("bystander logs in".into(), BUSY.into());
    }
    outcome.broken = seen.noticed.contains(EVENTS);
    for text in &seen.refused {
        let (what, answer) = text.split_once(": ").unwrap();
        outcome.answers.insert(what.into(), answer.into());
    }
    if served {
        if folds {
            let folded = "SELECT count(*) FROM password_verify.event_fold WHERE user_id = 'canary'";
            wait_until("folded events are written", || {
                admin.query_one(folded, &[]).unwrap().get::<_, i64>(0) == 0
            });
        }
        trail(admin, &new, &mut outcome);
        answers(base, cluster, &mut outcome.answers);
        // Its event comes after what there is to tell.
        probe::ask(admin, &login);
    }
    notices(cluster, admin, &new, &mut outcome);
    assert_eq!(
        seen.noticed.contains(CREDENTIALS),
        !outcome.named.is_empty(),
        "{:?}",
        outcome.named
    );
    outcome
}

/// How often a login is tried that is answered `busy`, before the verdicts, which wait for the worker too.
const TRIES: usize = 2;

/// What the worker has written by itself.
fn trail(admin: &mut Client, new: &str, outcome: &mut Outcome) {
    let sql = format!("SELECT concat_ws(' ', action, outcome, user_id, client_addr, login_role, certificate_subject, certificate_serial, application_name, xid IS NULL, alert,
                                CASE action WHEN 'epoch' THEN detail::json->>'why' ELSE detail END) || ' ' || count, count(*)
                 FROM password_verify.event WHERE {new} AND user_id IS DISTINCT FROM 'bystander' GROUP BY 1");
    for row in admin.query(&sql, &[]).unwrap() {
        outcome.trail.insert(row.get::<_, Option<String>>(0).unwrap_or_default(), row.get(1));
    }
}

/// What the trail and the log tell.
fn notices(cluster: &Cluster, admin: &mut Client, new: &str, outcome: &mut Outcome) {
    let sql = format!("SELECT action, CASE action WHEN 'epoch' THEN detail::json->>'why' ELSE detail::json->>'table' END
                 FROM password_verify.event WHERE {new} AND action IN ('tampered', 'epoch') AND alert = 32");
    let alerts = admin.query(&sql, &[]).unwrap();
    for row in &alerts {
        match (row.get::<_, &str>(0), row.get::<_, String>(1)) {
            ("epoch", why) => outcome.mismatch |= why == MISMATCH,
            (_, table) => drop(outcome.told.insert(table)),
        }
    }
    wait_until("the log has an alert for each", || {
        cluster.log().matches(r#""alert":["tampered"],"#).count() == alerts.len()
    });
    let log = cluster.log();
    for line in log.lines() {
        let about = line.split_once("password_verify: table ");
        let table = about.and_then(|(_, rest)| rest.split_once(" is not as it was written"));
        outcome.named.extend(table.map(|(table, _)| table.to_owned()));
    }
}

/// Everybody logs in, and whoever has used something up tries again.
fn answers(base: &Base, cluster: &Cluster, answers: &mut Answers) {
    let mut app = cluster.connect(&base.app, &base.database);
    let mut note = |client: &mut Client, what: &str, sql: &str, args: &[&str]| {
        let calls: [(&str, &[&str]); 1] = [(sql, args)];
        answers.insert(what.to_owned(), probe::ask(client, &calls));
    };
    let from = "SELECT COALESCE(reason, 'yes') FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
    let costly: Vec<&str> = COSTLY.iter().map(|(user, _)| *user).collect();
    for user in USERS.iter().chain(&costly).chain(&["cleared", "uncleared", "nobody"]) {
        note(&mut app, &format!("{user} logs in"), LOGIN, &[user, GOOD]);
    }
    for user in ["made and recorded late", "made and never committed"] {
        note(&mut app, &format!("{user} logs in"), LOGIN, &[user, GOOD]);
    }
    note(&mut app, "known logs in from home", from, &["known", GOOD, "10.1.2.3"]);
    note(&mut app, "waiting is wrong", LOGIN, &["waiting", WRONG]);
    note(&mut app, "plain logs in from there", from, &["plain", GOOD, EXHAUSTED]);
    note(
        &mut app,
        "compared takes a former password",
        CHANGE,
        &["compared", GOOD, "seven dry umbrellas hum"],
    );
    note(&mut app, "token resets", RESET, &[&base.token, "seven dry umbrellas hum"]);
    note(&mut app, "revoked resets", RESET, &[&base.revoked, "seven dry umbrellas hum"]);
    let mut exhausted = cluster.connect(&base.exhausted, &base.database);
    note(&mut exhausted, "plain logs in by another login", LOGIN, &["plain", GOOD]);
}

/// The table that something of a start is about, if others than that of the case were tampered with as well.
fn is_about(table: &str, what: &str) -> bool {
    let is_answer = what.contains(" logs in") || what.contains(": ");
    let is_end = what.starts_with("end ");
    match table {
        "event_fold" => !is_answer && !is_end,
        "open_change" => is_end || what.contains("cleared logs in"),
        "cost_class" => false,
        // Whether folded events are written by then is a matter of time.
        _ => is_answer || is_end,
    }
}

/// What came of one case, by what came of all that were tried together.
pub fn seen(case: &Case, before: &Outcome, now: &Outcome) -> Seen {
    let mut seen = Seen::default();
    probe::compare(&before.answers, &now.answers, &mut seen);
    for (row, count) in &now.trail {
        let is_notice = row.starts_with("tampered ") || row.starts_with("epoch ");
        if !is_notice && before.trail.get(row).is_none_or(|was| was < count) {
            seen.planted.push(row.clone());
        }
    }
    for (row, count) in &before.trail {
        if now.trail.get(row).is_none_or(|is| is < count) && !row.starts_with("epoch ") {
            seen.lacking.push(row.clone());
        }
    }
    let about = |text: &String| is_about(case.table, text);
    seen.refused.retain(about);
    seen.otherwise.retain(about);
    seen.lacking.retain(about);
    seen.planted.retain(about);
    // The share of a change that is not ended is missing in the sum of credentials.
    let is_it = |table: &String| match case.table {
        "open_change" => table == "open_change" || table == "credential",
        "anchor" | "event" => true,
        other => table == other,
    };
    for (notice, is) in [
        (CREDENTIALS, now.named.iter().any(is_it)),
        (TAMPERED, now.told.iter().any(is_it)),
        (EVENTS, now.broken),
        (MISMATCH, now.mismatch),
    ] {
        if is {
            seen.noticed.insert(notice);
        }
    }
    seen
}
