//! Hash slots: so many hashes at once, and first come, first served.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, change, create, set, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::crowd::at_once;
use password_verify_tests::hold::{Held, Shared, Stopped, await_idle, pid, signal, slots};
use password_verify_tests::trail::{counts, of_user, settle, stat, wait_until};
use password_verify_tests::{Answer, GOOD, OTHER, Site, refused, sqlstate};
use postgres::{Client, Error};

static ONE_SLOT: Shared =
    Shared::with(&["password_verify.hash_slots = 1", "password_verify.queue_length = 8"]);

static TWO_SLOTS: Shared = Shared::with(&[
    "password_verify.hash_slots = 2",
    "password_verify.audit_queue = 8192",
    "max_connections = 520",
]);

/// Longer than any test waits: what is answered well before was not answered for being late.
const LATE: &str = "queue_timeout = '60s'";
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
fn sixty_clients_share_two_slots() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    site.configure(&[LATE]);
    for i in 0..60 {
        if i % 4 != 1 {
            site.enroll(&i.to_string(), GOOD);
        }
    }
    let answers = at_once(
        60,
        |i| if i % 4 == 2 { site.admin() } else { site.login() },
        |i, client| {
            let user = i.to_string();
            match i % 4 {
                0 => validate(client, &user, GOOD),
                1 => create(client, &user, OTHER),
                2 => set(client, &user, OTHER),
                _ => change(client, &user, GOOD, OTHER),
            }
        },
    );
    assert_eq!(answers, vec![Answer::yes(); 60]);
    let mut admin = site.admin();
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(stat(&mut admin, "hash_slots_used_at_most"), 2);
    // Attempts that were admitted: logins, and old passwords of changes.
    let waits = "SELECT sum(value)::bigint FROM auth.pv_stats WHERE statistic LIKE 'slot_time_%'";
    assert_eq!(admin.query_one(waits, &[]).unwrap().get::<_, i64>(0), 30);
    let mut app = site.login();
    for i in 0..60 {
        let password = if i % 4 == 0 { GOOD } else { OTHER };
        assert_eq!(validate(&mut app, &i.to_string(), password), Answer::yes(), "{i}");
    }
}

#[test]
fn first_come_first_served() {
    let turn = ONE_SLOT.turn();
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
    let turn = ONE_SLOT.turn();
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
    let turn = ONE_SLOT.turn();
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
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    let users = enroll_crowd(site, 2);
    let mut admin = site.admin();
    let long =
        "SET password_verify.argon2_memory = '64MB'; SET password_verify.argon2_iterations = 20";
    admin.batch_execute(long).unwrap();
    assert_eq!(set(&mut admin, &users[1], GOOD), Answer::yes());
    thread::scope(|scope| {
        let held = Held::slot(site);
        let mut impatient = site.admin();
        impatient.batch_execute("SET password_verify.queue_timeout = '5s'").unwrap();
        let change =
            queue_up(scope, &mut admin, impatient, |client| change(client, &users[0], GOOD, OTHER));
        let other = queue_up(scope, &mut admin, site.login(), |app| validate(app, &users[1], GOOD));
        held.release();
        // The change waits again, behind the other, whose hash now does not end.
        let sql = "SELECT wait_event IS NULL FROM pg_stat_activity WHERE pid = $1";
        wait_until("the other has its turn", || {
            admin.query_one(sql, &[&other.pid]).unwrap().get(0)
        });
        let stopped = Stopped::new(other.pid);
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
    let turn = ONE_SLOT.turn();
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
                app.batch_execute("SET statement_timeout = '3s'").unwrap();
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
    let turn = ONE_SLOT.turn();
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

#[test]
fn a_record_that_asks_for_too_much_memory_is_its_own_users_trouble() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.allow_failures();
    for user in ["dear", "cheap", "other"] {
        site.enroll(user, GOOD);
    }
    let (mut admin, mut app) = (site.admin(), site.login());
    let sql =
        "UPDATE password_verify.credential SET verifier = replace(verifier, 'm=7168', 'm=131073')
                WHERE user_id = 'dear' RETURNING blind_index::text";
    let number: String = admin.query_one(sql, &[]).unwrap().get(0);
    let change = format!("SELECT * FROM auth.pv_change_password($1::text, $2, '{OTHER}')");
    for sql in [VALIDATE, &change] {
        for password in [GOOD, "guess"] {
            let (state, message, hint) = refused(app.query(sql, &[&"dear", &password]));
            assert_eq!(state, "54000");
            assert_eq!(message, "a credential record asks for more memory than one hash may take");
            assert!(hint.contains("password_verify.hash_memory_limit"), "{hint}");
        }
    }
    assert!(site.cluster.log().contains(&format!("one hash may take: {number}")));
    for user in ["cheap", "other"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    for user in ["cheap", "other"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(set(&mut admin, "dear", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "dear", OTHER), Answer::yes());
}

#[test]
fn settings_above_the_limit_are_refused_everywhere() {
    let turn = ONE_SLOT.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    admin.batch_execute("SET password_verify.argon2_memory = '131073kB'").unwrap();
    for call in [
        "pv_validate_password('42', $1)",
        "pv_validate_password('nobody', $1)",
        "pv_create_password('43', $1)",
        "pv_set_password('42', $1)",
        &format!("pv_change_password('42', $1, '{OTHER}')"),
    ] {
        let result = admin.query(&format!("SELECT auth.{call}"), &[&GOOD]);
        let (state, message, hint) = refused(result);
        assert_eq!(state, "55000", "{call}");
        let expected = "password_verify.argon2_memory is above password_verify.hash_memory_limit";
        assert_eq!(message, expected, "{call}");
        assert!(hint.contains("hash_memory_limit, which takes a restart"), "{hint}");
        assert_eq!(slots(&mut admin), (0, 0), "{call}");
    }
    admin.batch_execute("SET password_verify.argon2_memory = '131072kB'").unwrap();
    assert_eq!(set(&mut admin, "42", OTHER), Answer::yes());
    assert_eq!(validate(&mut site.login(), "42", OTHER), Answer::yes());
}

#[test]
fn five_hundred_clients_at_once_are_answered_valid_or_busy() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    site.allow_failures();
    for i in 0..20 {
        site.enroll(&i.to_string(), GOOD);
    }
    let answers =
        at_once(500, |_| site.login(), |i, client| validate(client, &(i % 20).to_string(), GOOD));
    let (yes, busy) = (Answer::yes(), Answer::no("busy"));
    assert!(answers.iter().all(|answer| *answer == yes || *answer == busy), "{answers:?}");
    let valid = answers.iter().filter(|answer| **answer == yes).count();
    println!("{valid} of 500 valid");
    assert!(valid > 0);
    let mut admin = site.admin();
    assert_eq!(slots(&mut admin), (0, 0));
    assert!(stat(&mut admin, "hash_slots_used_at_most") <= 2);
    assert_eq!(validate(&mut site.login(), "7", GOOD), Answer::yes());
}
