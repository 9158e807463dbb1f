//! Hash slots: so many hashes at once, and first come, first served.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, change, create, set, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::hold::{
    Held, LATE, SHORT_QUEUE, Stopped, await_idle, pid, signal, slots,
};
use password_verify_tests::trail::{counts, of_user, settle, wait_until};
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::{Client, Error};

const WELL_BEFORE: Duration = Duration::from_secs(20);

/// A session that waits for a slot.
struct Waiting<'scope, T> {
    pid: i32,
    thread: ScopedJoinHandle<'scope, T>,
}

/// A session that does this, which makes it wait behind all who wait for a slot already.
fn queue_up<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    admin: &mut Client,
    mut client: Client,
    act: impl FnOnce(&mut Client) -> T + Send + 'scope,
) -> Waiting<'scope, T> {
    let (pid, (_, before)) = (pid(&mut client), slots(admin));
    let thread = scope.spawn(move || act(&mut client));
    wait_until("it waits", || slots(admin).1 == before + 1);
    Waiting { pid, thread }
}

/// Users with hashes that take long enough to tell who came first.
fn enroll_crowd(site: &Site, count: usize) -> Vec<String> {
    site.configure(&["argon2_memory = '32MB'", "argon2_iterations = 6", LATE]);
    let users: Vec<String> = (0..count).map(|i| format!("user{i}")).collect();
    users.iter().for_each(|user| site.enroll(user, GOOD));
    users
}

/// Whose right password was hashed, in that order.
fn served(site: &Site) -> Vec<String> {
    let mut admin = site.admin();
    settle(&mut admin);
    let sql = "SELECT user_id FROM auth.pv_events
                WHERE action = 'validate' AND outcome = 'valid' ORDER BY at";
    admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn first_come_first_served() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    let users = enroll_crowd(site, 8);
    let mut admin = site.admin();
    thread::scope(|scope| {
        let held = Held::slot(site);
        let queue: Vec<_> = users
            .iter()
            .map(|user| {
                queue_up(scope, &mut admin, site.login(), move |app| validate(app, user, GOOD))
            })
            .collect();
        assert_eq!(slots(&mut admin), (1, 8));
        held.release();
        for waiting in queue {
            assert_eq!(waiting.thread.join().unwrap(), Answer::yes());
        }
    });
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(served(site), users);
}

#[test]
fn when_the_queue_is_full_the_answer_is_busy_at_once_and_costs_nothing() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    site.configure(&[LATE]);
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login());
    thread::scope(|scope| {
        let held = Held::slot(site);
        let queue: Vec<_> = (0..8)
            .map(|i| {
                queue_up(scope, &mut admin, site.login(), move |app| {
                    validate(app, &format!("nobody{i}"), GOOD)
                })
            })
            .collect();
        let start = Instant::now();
        for i in 0..12 {
            let password = if i % 2 == 0 { GOOD } else { "guess" };
            assert_eq!(validate(&mut app, "42", password), Answer::no("busy"));
        }
        assert_eq!(create(&mut app, "43", GOOD), Answer::no("busy"));
        assert_eq!(set(&mut admin, "42", OTHER), Answer::no("busy"));
        assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::no("busy"));
        assert!(start.elapsed() < WELL_BEFORE);
        assert_eq!(slots(&mut admin), (1, 8));
        held.release();
        for waiting in queue {
            assert_eq!(waiting.thread.join().unwrap(), Answer::no("invalid_credentials"));
        }
    });
    // All five failures that are free are still there.
    (0..4).for_each(|_| {
        assert_eq!(validate(&mut app, "42", "guess"), Answer::no("invalid_credentials"));
    });
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    settle(&mut admin);
    let counts = counts(&mut admin);
    for (event, count) in [("validate", 12), ("create", 1), ("set", 1), ("prove", 1)] {
        assert_eq!(counts.get(&format!("{event} busy")), Some(&count), "{event}");
    }
}

#[test]
fn without_a_queue_whoever_comes_second_is_busy() {
    let site =
        Site::on(server(&["password_verify.hash_slots = 1", "password_verify.queue_length = 0"]));
    site.enroll("42", GOOD);
    let held = Held::slot(&site);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::no("busy"));
    held.release();
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
}

#[test]
fn who_has_waited_for_queue_timeout_gets_busy_and_changes_nothing() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    site.configure(&["queue_timeout = '300ms'"]);
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), site.login());
    type Call = fn(&mut Client) -> Answer;
    let calls: [(&str, Call); 5] = [
        ("validate", |client| validate(client, "42", GOOD)),
        ("validate a stranger", |client| validate(client, "nobody", GOOD)),
        ("create", |client| create(client, "43", GOOD)),
        ("set", |client| set(client, "42", OTHER)),
        ("change", |client| change(client, "42", GOOD, OTHER)),
    ];
    let held = Held::slot(site);
    for (call, ask) in calls {
        let start = Instant::now();
        let client = if call == "set" { &mut admin } else { &mut app };
        assert_eq!(ask(client), Answer::no("busy"), "{call}");
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(300) && waited < WELL_BEFORE, "{call} {waited:?}");
        assert_eq!(slots(&mut admin), (1, 0));
    }
    held.release();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "43", GOOD), Answer::no("invalid_credentials"));
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "nobody"), ["validate busy"]);
    assert_eq!(
        of_user(&mut admin, "42"),
        ["create committed", "validate busy", "set busy", "prove busy", "validate valid"]
    );
    assert_eq!(of_user(&mut admin, "43"), ["create busy", "validate invalid_credentials"]);
}

/// A change hashes twice, and somebody else may come in between.
#[test]
fn a_change_may_be_busy_after_the_old_password_was_right() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    let users = enroll_crowd(site, 2);
    let mut admin = site.admin();
    thread::scope(|scope| {
        let held = Held::slot(site);
        let mut impatient = site.admin();
        impatient.batch_execute("SET password_verify.queue_timeout = '5s'").unwrap();
        let change =
            queue_up(scope, &mut admin, impatient, |client| change(client, &users[0], GOOD, OTHER));
        let other = queue_up(scope, &mut admin, site.login(), |app| validate(app, &users[1], GOOD));
        let sql = "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $1";
        wait_until("it sleeps", || {
            admin.query_one(sql, &[&other.pid]).unwrap().get::<_, Option<bool>>(0) == Some(true)
        });
        // The change waits again, behind the other, which is handed the slot and does not go on.
        let stopped = Stopped::new(other.pid);
        assert_eq!(sqlstate(held.cut_off(site, "pg_cancel_backend")), "57014");
        assert_eq!(change.thread.join().unwrap(), Answer::no("busy"));
        drop(stopped);
        assert_eq!(other.thread.join().unwrap(), Answer::yes());
    });
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, &users[0])[1..], ["prove valid", "change busy"]);
    assert_eq!(validate(&mut site.login(), &users[0], GOOD), Answer::yes());
}

/// The first of a queue, the last, and some in between.
#[test]
fn who_leaves_the_queue_does_not_disturb_the_others() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    let users = enroll_crowd(site, 8);
    let mut admin = site.admin();
    let stay = [1, 2, 4, 6];
    thread::scope(|scope| {
        let held = Held::slot(site);
        let mut queue: Vec<Option<Waiting<Result<Answer, Error>>>> = Vec::new();
        for (i, user) in users.iter().enumerate() {
            let mut app = site.login();
            if i == 5 {
                // Not before all have come.
                app.batch_execute("SET statement_timeout = '10s'").unwrap();
            }
            queue.push(Some(queue_up(scope, &mut admin, app, move |app| {
                ask(app, VALIDATE, &[user, &GOOD])
            })));
        }
        let mut left = 8;
        for (i, function) in [
            (0, Some("pg_cancel_backend")),
            (3, Some("pg_terminate_backend")),
            (7, Some("pg_cancel_backend")),
            (5, None),
        ] {
            let waiting = queue[i].take().unwrap();
            if let Some(function) = function {
                signal(site, function, waiting.pid);
            }
            let ended = sqlstate(waiting.thread.join().unwrap());
            if function == Some("pg_terminate_backend") {
                // The client may see the end of the connection before it has read why.
                assert_ne!(ended, "no error");
            } else {
                assert_eq!(ended, "57014", "{i}");
            }
            left -= 1;
            wait_until("it has left", || slots(&mut admin).1 <= left);
        }
        assert_eq!(slots(&mut admin), (1, 4));
        held.release();
        for waiting in queue.into_iter().flatten() {
            assert_eq!(waiting.thread.join().unwrap().unwrap(), Answer::yes());
        }
    });
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(served(site), stay.map(|i| users[i].clone()));
    assert_eq!(of_user(&mut admin, &users[0])[1..], ["validate abandoned"]);
    // The places of those who have left are there for others.
    for user in &users {
        assert_eq!(validate(&mut site.login(), user, GOOD), Answer::yes());
    }
}

#[test]
fn whoever_waits_for_a_table_holds_no_slot() {
    let turn = SHORT_QUEUE.turn();
    let locked = &turn.site;
    let free = Site::on(Arc::clone(&locked.cluster));
    for site in [locked, &free] {
        site.configure(&[LATE]);
        site.enroll("42", GOOD);
    }
    for table in ["credential", "blind_index_key"] {
        waiting_for(table, locked, &free);
    }
}

fn waiting_for(table: &str, locked: &Site, free: &Site) {
    let (mut admin, mut other) = (free.admin(), free.login());
    let mut watcher = free.admin();
    let mut lock_waits = |count: i64| {
        // Not in PostgreSQL's queue for the lock, and not for a slot.
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE usename = $1 AND state = 'active' AND wait_event_type = 'Extension'";
        wait_until("they wait for the table", || {
            let waiting: i64 = watcher.query_one(sql, &[&locked.app]).unwrap().get(0);
            waiting == count && slots(&mut watcher) == (0, 0)
        });
    };
    thread::scope(|scope| {
        // Here, so that its lock goes away should anything fail.
        let mut superuser = locked.admin();
        // They come to the table with a slot in their hands: it was free when they were admitted.
        let held = Held::slot(free);
        let queue: Vec<_> = [GOOD, "guess", GOOD]
            .into_iter()
            .map(|password| {
                queue_up(scope, &mut admin, locked.login(), move |app| {
                    ask(app, VALIDATE, &[&"42", &password])
                })
            })
            .collect();
        let lock = format!("BEGIN; LOCK TABLE password_verify.{table} IN ACCESS EXCLUSIVE MODE");
        superuser.batch_execute(&lock).unwrap();
        held.release();
        lock_waits(3);
        // And one who finds it locked.
        let mut late = locked.login();
        let late_pid = pid(&mut late);
        let late = scope.spawn(move || ask(&mut late, VALIDATE, &[&"42", &GOOD]));
        lock_waits(4);
        assert_eq!(slots(&mut admin), (0, 0), "{table}");
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(validate(&mut other, "42", GOOD), Answer::yes(), "{table}");
        }
        assert!(start.elapsed() < WELL_BEFORE, "{table}");
        let [right, wrong, cancelled] = queue.try_into().ok().unwrap();
        for (pid, thread) in [(cancelled.pid, cancelled.thread), (late_pid, late)] {
            signal(locked, "pg_cancel_backend", pid);
            assert_eq!(sqlstate(thread.join().unwrap()), "57014", "{table}");
        }
        assert_eq!(slots(&mut admin), (0, 0), "{table}");
        superuser.batch_execute("COMMIT").unwrap();
        assert_eq!(right.thread.join().unwrap().unwrap(), Answer::yes(), "{table}");
        let wrong = wrong.thread.join().unwrap().unwrap();
        assert_eq!(wrong, Answer::no("invalid_credentials"), "{table}");
    });
    await_idle(&mut admin);
    assert_eq!(validate(&mut locked.login(), "42", GOOD), Answer::yes(), "{table}");
}
