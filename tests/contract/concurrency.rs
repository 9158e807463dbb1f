//! Several sessions at once: no wait without an end, no old password after a change has committed.
#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{SET, ask, change, create, manage, set, validate};
use password_verify_tests::stall::Clock;
use password_verify_tests::trail::SOON;
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::IsolationLevel;

#[test]
fn an_old_snapshot_does_not_keep_an_old_password() {
    for isolation in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let site = Site::new();
        site.enroll("42", GOOD);
        let mut app = site.login();
        let mut old = app.build_transaction().isolation_level(isolation).start().unwrap();
        let sql = "SELECT valid FROM auth.pv_validate_password('42', $1)";
        assert!(old.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
        assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::yes());
        assert!(!old.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0), "{isolation:?}");
        assert!(old.query_one(sql, &[&OTHER]).unwrap().get::<_, bool>(0), "{isolation:?}");
    }
}

#[test]
fn an_uncommitted_change_is_nobody_elses() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut app = site.login();
    let mut pending = app.transaction().unwrap();
    let sql = "SELECT success FROM auth.pv_change_password('42', $1, $2)";
    assert!(pending.query_one(sql, &[&GOOD, &OTHER]).unwrap().get::<_, bool>(0));
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut site.login(), "42", OTHER), Answer::no("invalid_credentials"));
    pending.commit().unwrap();
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn creating_what_somebody_is_creating_is_busy() {
    let site = Site::new();
    site.enroll("first", GOOD);
    let (mut a, mut b) = (site.login(), site.login());
    let sql = "SELECT success FROM auth.pv_create_password('42', $1)";
    for commit in [false, true] {
        let mut open = a.transaction().unwrap();
        assert!(open.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
        let start = Instant::now();
        assert_eq!(create(&mut b, "42", OTHER), Answer::no("busy"));
        assert!(start.elapsed() >= Duration::from_secs(1), "it waits a little");
        assert!(start.elapsed() < SOON);
        assert_eq!(create(&mut b, if commit { "43" } else { "44" }, GOOD), Answer::yes(), "others");
        if commit {
            open.commit().unwrap();
        } else {
            open.rollback().unwrap();
            let mut retry = a.transaction().unwrap();
            assert!(retry.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
            retry.rollback().unwrap();
        }
    }
    assert_eq!(create(&mut b, "42", OTHER), Answer::no("already_set"));
}

#[test]
fn the_very_first_sign_up_keeps_nobody_waiting() {
    // The first row also puts the key of the blind index in use.
    let site = Site::new();
    let mut a = site.login();
    let mut open = a.transaction().unwrap();
    let sql = "SELECT success FROM auth.pv_create_password('42', $1)";
    assert!(open.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
    let mut b = site.login();
    assert_eq!(create(&mut b, "43", GOOD), Answer::yes());
    open.commit().unwrap();
    for user in ["42", "43"] {
        assert_eq!(validate(&mut b, user, GOOD), Answer::yes());
    }
}

#[test]
fn a_create_that_waits_gets_what_the_other_leaves() {
    let site = Site::new();
    let mut a = site.login();
    let sql = "SELECT success FROM auth.pv_create_password($1::text, $2)";
    // A wait ends after a second, also where the machine stood still in it: then once more.
    let user = (0..5).map(|i| i.to_string()).find(|user| {
        let mut open = a.transaction().unwrap();
        assert!(open.query_one(sql, &[user, &GOOD]).unwrap().get::<_, bool>(0));
        let clock = Clock::start();
        let answer = thread::scope(|scope| {
            let waiting = scope.spawn(|| create(&mut site.login(), user, OTHER));
            thread::sleep(Duration::from_millis(300));
            open.rollback().unwrap();
            waiting.join().unwrap()
        });
        let unlucky =
            answer == Answer::no("busy") && clock.stood_still() > Duration::from_millis(300);
        assert!(answer == Answer::yes() || unlucky, "{answer:?}");
        !unlucky
    });
    assert_eq!(validate(&mut a, &user.unwrap(), OTHER), Answer::yes());
}

#[test]
fn of_twenty_sign_ups_one_wins() {
    let site = Site::new();
    let barrier = Barrier::new(20);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|i| {
                let (site, barrier) = (&site, &barrier);
                scope.spawn(move || {
                    let mut app = site.login();
                    barrier.wait();
                    create(&mut app, "42", &format!("{GOOD} {i:03}"))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| **answer == Answer::yes()).count(), 1);
    assert!(answers.iter().all(|answer| answer.0
        || *answer == Answer::no("already_set")
        || *answer == Answer::no("busy")));
    let sql = "SELECT count(*) FROM auth.pv_users";
    assert_eq!(site.admin().query_one(sql, &[]).unwrap().get::<_, i64>(0), 1);
}

#[test]
fn a_row_that_somebody_holds_is_busy_for_every_writer() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let all = ["verifier", "registrar", "manager"];
    let (mut a, mut b) = (site.login_with(&all), site.login_with(&all));
    let mut open = a.transaction().unwrap();
    open.query("SELECT auth.pv_set_password('42', $1)", &[&OTHER]).unwrap();
    let start = Instant::now();
    assert_eq!(set(&mut b, "42", GOOD), Answer::no("busy"));
    assert_eq!(change(&mut b, "42", GOOD, OTHER), Answer::no("busy"));
    assert_eq!(sqlstate(b.query("SELECT auth.pv_delete_user('42')", &[])), "55P03");
    assert!(start.elapsed() < SOON);
    // Reading waits for nobody, and neither does what managers say of the account.
    assert_eq!(validate(&mut b, "42", GOOD), Answer::yes());
    for function in ["pv_require_change", "pv_disable_user", "pv_enable_user"] {
        assert!(manage(&mut b, function, "42"), "{function}");
    }
    assert_eq!(validate(&mut b, "42", GOOD), Answer::no("change_required"));
    open.rollback().unwrap();
    assert_eq!(change(&mut b, "42", GOOD, OTHER), Answer::yes());
}

#[test]
fn two_sessions_that_want_each_others_rows_do_not_hang() {
    let site = Site::new();
    let mut registrar = site.login_with(&["registrar"]);
    for user in ["x", "y"] {
        set(&mut registrar, user, GOOD);
    }
    let start = Instant::now();
    thread::scope(|scope| {
        for (mine, yours) in [("x", "y"), ("y", "x")] {
            let mut session = site.login_with(&["registrar"]);
            scope.spawn(move || {
                let mut transaction = session.transaction().unwrap();
                transaction.query(SET, &[&mine, &OTHER]).unwrap();
                thread::sleep(Duration::from_millis(300));
                let row = transaction.query_one(SET, &[&yours, &OTHER]).unwrap();
                let _: Option<&str> = row.get(1);
                transaction.commit().unwrap();
            });
        }
    });
    assert!(start.elapsed() < SOON);
}

#[test]
fn waiting_can_be_cancelled() {
    let site = Site::new();
    let (mut a, mut b) = (site.login(), site.login());
    let mut open = a.transaction().unwrap();
    open.query("SELECT auth.pv_create_password('42', $1)", &[&GOOD]).unwrap();
    b.batch_execute("SET statement_timeout = '300 ms'").unwrap();
    let sql = "SELECT auth.pv_create_password('42', $1)";
    assert_eq!(sqlstate(b.query(sql, &[&GOOD])), "57014");
    open.commit().unwrap();
    b.batch_execute("RESET statement_timeout").unwrap();
    assert_eq!(create(&mut b, "42", GOOD), Answer::no("already_set"));
}

#[test]
fn of_many_changes_each_starts_from_the_password_that_is_right() {
    let site = Site::new();
    site.allow_failures();
    site.enroll("42", GOOD);
    let barrier = Barrier::new(8);
    let done: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let (site, barrier) = (&site, &barrier);
                scope.spawn(move || {
                    let mut app = site.login();
                    barrier.wait();
                    change(&mut app, "42", GOOD, &format!("{OTHER} {i:03}"))
                })
            })
            .collect();
        threads.into_iter().map(|t| usize::from(t.join().unwrap().0)).sum()
    });
    assert_eq!(done, 1, "after the first change the old password is wrong for everybody else");
    let mut app = site.login();
    let right = (0..8).filter(|i| validate(&mut app, "42", &format!("{OTHER} {i:03}")).0).count();
    assert_eq!(right, 1);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn nobody_is_told_nothing_to_do_while_it_is_being_undone() {
    // The account is disabled; somebody is enabling it, and somebody else disables it at that moment.
    let site = Site::new();
    site.enroll("42", GOOD);
    let (mut a, mut b) = (site.login_with(&["manager"]), site.login_with(&["manager"]));
    assert!(manage(&mut a, "pv_disable_user", "42"));
    let mut open = a.transaction().unwrap();
    let row = open.query_one("SELECT auth.pv_enable_user('42')", &[]).unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(sqlstate(b.query("SELECT auth.pv_disable_user('42')", &[])), "55P03");
    open.commit().unwrap();
    assert!(manage(&mut b, "pv_disable_user", "42"));
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::no("disabled"));
}

#[test]
fn crowding_one_id_leaves_no_warning() {
    let site = Site::new();
    let mut unexpected = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let site = &site;
                scope.spawn(move || {
                    let (mut session, heard) = site.cluster.listen("postgres", &site.database);
                    for j in 0..40 {
                        if (i + j) % 2 == 0 {
                            create(&mut session, "42", GOOD);
                        } else {
                            let result = session.query("SELECT auth.pv_delete_user('42')", &[]);
                            assert!(result.is_ok() || sqlstate(result) == "55P03");
                        }
                    }
                    let heard = heard.lock().unwrap();
                    heard.clone()
                })
            })
            .collect();
        for thread in threads {
            unexpected.extend(thread.join().unwrap());
        }
    });
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(!site.cluster.log().contains("don't own a lock"));
}

#[test]
fn serializable_sign_ups_of_different_users_do_not_collide() {
    let site = Site::new();
    site.enroll("first", GOOD);
    let (mut a, mut b) = (site.login(), site.login());
    let start = |client| -> postgres::Transaction<'_> {
        let client: &mut postgres::Client = client;
        client.build_transaction().isolation_level(IsolationLevel::Serializable).start().unwrap()
    };
    let (mut one, mut two) = (start(&mut a), start(&mut b));
    let sql = "SELECT success FROM auth.pv_create_password($1::text, $2)";
    assert!(one.query_one(sql, &[&"42", &GOOD]).unwrap().get::<_, bool>(0));
    assert!(two.query_one(sql, &[&"43", &GOOD]).unwrap().get::<_, bool>(0));
    one.commit().unwrap();
    two.commit().unwrap();
}

#[test]
fn a_login_that_renews_the_record_does_not_fail_a_change() {
    let site = Site::new();
    let mut admin = site.admin();
    let slow = format!(
        "ALTER ROLE {} SET password_verify.argon2_memory = '24MB'; ALTER ROLE {} SET password_verify.argon2_iterations = 10",
        site.app, site.app
    );
    for round in 0..6 {
        let user = format!("user{round}");
        admin.batch_execute(&format!("ALTER ROLE {} RESET ALL", site.app)).unwrap();
        site.enroll(&user, GOOD);
        admin.batch_execute(&slow).unwrap();
        thread::scope(|scope| {
            let login = scope.spawn(|| validate(&mut site.login(), &user, GOOD));
            thread::sleep(Duration::from_millis(25 * (round + 1)));
            assert_eq!(change(&mut site.login(), &user, GOOD, OTHER), Answer::yes(), "{round}");
            login.join().unwrap();
        });
        assert_eq!(validate(&mut site.login(), &user, OTHER), Answer::yes());
    }
}

#[test]
fn a_superusers_row_lock_is_busy_not_a_hang() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    let mut open = admin.transaction().unwrap();
    open.query("SELECT * FROM password_verify.credential WHERE user_id = '42' FOR UPDATE", &[])
        .unwrap();
    let start = Instant::now();
    assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::no("busy"));
    assert!(start.elapsed() < SOON);
    open.rollback().unwrap();
}

#[test]
fn a_deleted_user_is_gone_for_an_old_snapshot_too() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut app = site.login();
    let isolation = IsolationLevel::RepeatableRead;
    let mut old = app.build_transaction().isolation_level(isolation).start().unwrap();
    old.query("SELECT 1", &[]).unwrap();
    assert!(manage(&mut site.login_with(&["manager"]), "pv_delete_user", "42"));
    let sql = "SELECT valid FROM auth.pv_validate_password('42', $1)";
    assert!(!old.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
}

#[test]
fn savepoints_take_back_what_was_done_in_them() {
    let site = Site::new();
    let mut app = site.login();
    let mut outer = app.transaction().unwrap();
    let sql = "SELECT success, reason FROM auth.pv_create_password('42', $1)";
    let mut inner = outer.transaction().unwrap();
    assert!(inner.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
    inner.rollback().unwrap();
    assert!(outer.query_one(sql, &[&OTHER]).unwrap().get::<_, bool>(0));
    outer.commit().unwrap();
    let sql = "SELECT * FROM auth.pv_validate_password('42', $1)";
    assert_eq!(ask(&mut app, sql, &[&OTHER]).unwrap(), Answer::yes());
}
