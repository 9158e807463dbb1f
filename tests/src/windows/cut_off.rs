//! Statements that wait, and those that somebody or something puts an end to: what others see of them then.

use super::stage::Stage;
use super::way::{Way, fails, says, way};
use super::wire::{Batch, Value};
use crate::trail::wait_until;

/// Each waits for a lock that the first session has: after our function was called, and before.
const AFTER: &str =
    "SELECT auth.pv_check_password('42'::text, '@'), pg_advisory_xact_lock(4711), '@'";
const BEFORE: &str =
    "SELECT pg_advisory_xact_lock(4711), auth.pv_check_password('42'::text, '@'), '@'";
const BOUND: &str =
    "SELECT auth.pv_check_password('42'::text, $1), pg_advisory_xact_lock(4711), '@'";
const IN_DO: &str = "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); PERFORM pg_advisory_xact_lock(4711); END $do$";
const IN_EXECUTE: &str = "DO $do$ BEGIN EXECUTE format('SELECT auth.pv_check_password(%L::text, %L), pg_advisory_xact_lock(4711)', '42', '@'); END $do$";
const LISTED: &str = "SELECT pg_advisory_xact_lock(4711), public.listed_plpgsql('42', '@')";
const UNLISTED: &str = "SELECT pg_advisory_xact_lock(4711), public.unlisted_plpgsql('42', '@')";
const IN_ANALYSIS: &str = "SELECT auth.pv_check_password('42'::text, '@') FROM public.answers";

const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(4711)";
const LOCK_TABLE: &str = "BEGIN; LOCK TABLE public.answers";

/// A session that has a lock, and another one, of this login, that waits for it.
fn wait_for(stage: &mut Stage<'_>, user: &str, lock: &str, before: &str, sql: &str) -> usize {
    stage.ok(lock);
    let waiting = stage.open(user);
    if !before.is_empty() {
        let reply = stage.at(waiting).simple(before);
        stage.expect("00000", &reply, before);
    }
    let sql = stage.fill(sql);
    let mut batch = Batch::default();
    if sql.contains("$1") {
        let secret = stage.secret();
        batch = batch.parse("s", &sql).bind("", "s", &[Value::Text(&secret)]);
        batch = batch.execute("", 0).sync();
    } else {
        batch = batch.query(&sql);
    }
    stage.at(waiting).send(&batch);
    stage.await_waiting(waiting);
    waiting
}

fn wait(stage: &mut Stage<'_>, sql: &str) -> usize {
    let lock = if sql == IN_ANALYSIS { LOCK_TABLE } else { LOCK };
    wait_for(stage, &stage.room.caller, lock, "", sql)
}

/// It waits, and goes on.
fn waits(name: &str, sql: &'static str) -> Way {
    way(name, move |stage| {
        let waiting = wait(stage, sql);
        stage.ok("COMMIT");
        let reply = stage.at(waiting).answer();
        stage.expect("00000", &reply, sql);
    })
}

/// Somebody ends it while it waits.
fn signalled(name: &str, function: &'static str, state: &'static str, sql: &'static str) -> Way {
    way(name, move |stage| {
        let waiting = wait(stage, sql);
        let (call, pid) = (format!("SELECT {function}($1)"), stage.at(waiting).pid);
        let sent: bool = stage.room.admin(|admin| admin.query_one(&call, &[&pid]).unwrap().get(0));
        assert!(sent);
        let reply = stage.at(waiting).answer();
        stage.expect(state, &reply, sql);
    })
}

/// Its process is killed while it waits.
fn crashes(name: &str, sql: &'static str) -> Way {
    way(name, move |stage| {
        let waiting = wait(stage, sql);
        stage.crash(waiting);
    })
}

/// Each of two sessions waits for what the other one has.
fn deadlock(stage: &mut Stage<'_>, bound: bool) {
    let sessions = [1, 2].map(|lock| {
        let session = stage.open(&stage.room.caller);
        let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({lock})");
        let reply = stage.at(session).simple(&sql);
        stage.expect("00000", &reply, &sql);
        session
    });
    for (session, lock) in sessions.into_iter().zip([2, 1]) {
        let what = if bound { "$1" } else { "'@'" };
        let sql = format!(
            "SELECT auth.pv_check_password('42'::text, {what}), pg_advisory_xact_lock({lock}), '@'"
        );
        let (sql, secret) = (stage.fill(&sql), stage.secret());
        let batch = Batch::default();
        let batch = if bound {
            let batch = batch.parse("", &sql).bind("", "", &[Value::Text(&secret)]);
            batch.execute("", 0).sync()
        } else {
            batch.query(&sql)
        };
        stage.at(session).send(&batch);
        if lock == 2 {
            stage.await_waiting(session);
        }
    }
    let mut states = sessions.map(|session| stage.at(session).answer().state().to_owned());
    states.sort_unstable();
    assert_eq!(states, ["00000", "40P01"]);
}

/// Those after which the server is the same one.
pub fn ways() -> Vec<Way> {
    vec![
        waits("waits after the call", AFTER),
        waits("waits before the call", BEFORE),
        waits("bound, waits", BOUND),
        waits("waits in DO", IN_DO),
        waits("waits in DO, EXECUTE format()", IN_EXECUTE),
        waits("waits before a wrapper", LISTED),
        waits("waits before a wrapper that is not listed", UNLISTED),
        waits("waits while it is analysed", IN_ANALYSIS),
        way("waits while it is analysed, not logged", |stage| {
            let waiting = wait_for(stage, &stage.room.quiet, LOCK_TABLE, "", IN_ANALYSIS);
            stage.ok("COMMIT");
            let reply = stage.at(waiting).answer();
            stage.expect("00000", &reply, IN_ANALYSIS);
        }),
        signalled("cancelled", "pg_cancel_backend", "57014", AFTER),
        signalled("cancelled before the call", "pg_cancel_backend", "57014", BEFORE),
        signalled("bound, cancelled", "pg_cancel_backend", "57014", BOUND),
        signalled("cancelled in DO, EXECUTE format()", "pg_cancel_backend", "57014", IN_EXECUTE),
        signalled("cancelled before a wrapper", "pg_cancel_backend", "57014", LISTED),
        signalled("cancelled while it is analysed", "pg_cancel_backend", "57014", IN_ANALYSIS),
        signalled("terminated", "pg_terminate_backend", "57P01", AFTER),
        signalled("bound, terminated", "pg_terminate_backend", "57P01", BOUND),
        fails(
            "timeout",
            "57014",
            "SET statement_timeout = '2s'; SELECT auth.pv_check_password('42'::text, '@'), pg_sleep(600), '@'",
        ),
        way("bound, timeout", |stage| {
            stage.ok("SET statement_timeout = '2s'");
            let sql =
                stage.fill("SELECT auth.pv_check_password('42'::text, $1), pg_sleep(600), '@'");
            let secrets = [stage.secret()];
            stage.bound("57014", &sql, &secrets);
        }),
        way("timeout of a lock", |stage| {
            let waiting =
                wait_for(stage, &stage.room.caller, LOCK, "SET lock_timeout = '1s'", AFTER);
            let reply = stage.at(waiting).answer();
            stage.expect("55P03", &reply, AFTER);
        }),
        way("idle in a transaction, timeout", |stage| {
            let sql = stage.fill("BEGIN; SELECT auth.pv_check_password('42'::text, '@')");
            stage.ok(&sql);
            stage.ok("SET idle_in_transaction_session_timeout = '50ms'");
            let reply = stage.session().answer();
            stage.expect("25P03", &reply, "idle");
        }),
        way("deadlock", |stage| deadlock(stage, false)),
        way("bound, deadlock", |stage| deadlock(stage, true)),
        way("the client goes while it waits", |stage| {
            let waiting = wait(stage, AFTER);
            stage.at(waiting).hang_up();
            stage.ok("COMMIT");
            let pid = stage.at(waiting).pid;
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
            wait_until("it has gone", || {
                stage.room.admin(|it| it.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0)) == 0
            });
        }),
    ]
}

/// Those that take the server with them.
pub fn crashes_of_it() -> Vec<Way> {
    vec![
        crashes("crash", AFTER),
        crashes("crash before the call", BEFORE),
        crashes("bound, crash", BOUND),
        crashes("crash in DO, EXECUTE format()", IN_EXECUTE),
        crashes("crash in a wrapper", LISTED),
        way("crash when idle", |stage| {
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@')");
            stage.ok(&sql);
            stage.crash(0);
        }),
        way("crash after a syntax error", |stage| {
            let sql = stage.fill("SELECT * FROM auth.pv_validate_password('42'::text, '@') no no");
            stage.simple("42601", &sql);
            stage.crash(0);
        }),
        // What was in pg_stat_statements before is lost: this one is in its file.
        says(
            "DO after a crash",
            "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, '@'); END $do$",
        ),
    ]
}
