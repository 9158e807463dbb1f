//! What the time of an unknown id tells, over the life of an installation: no more than that of a known one.
#![allow(clippy::unwrap_used)]

use std::thread;

use password_verify_tests::calls::{ask, change, create, manage, set, validate};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::imports::{BCRYPT, await_counted, import, users_of};
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::work::Session;
use password_verify_tests::{Answer, GOOD, OTHER, Site, WRONG, sqlstate};
use postgres::{Client, GenericClient};

/// `GOOD` at next to no cost: python3 -c "import hashlib; print(hashlib.scrypt(b'correct horse battery staple',
/// salt=b'sixteenbytesalt!', n=64, r=8, p=1, dklen=32))"
const QUICK: &str =
    "$scrypt$ln=6,r=8,p=1$c2l4dGVlbmJ5dGVzYWx0IQ$4lujuI2mpBX/bfVAdPK+V+P3UlxSk/ji2SPeje7aqGg";

/// The least work of so many attempts.
fn work(session: &mut Session, user: &str, calls: usize) -> f64 {
    let no = Answer::no("invalid_credentials");
    let guess = |client: &mut Client| assert_eq!(validate(client, user, WRONG), no, "{user}");
    session.least(calls, guess).as_secs_f64()
}

/// Does it look like a record of today? Nobody is halfway between the classes on a scale of ratios. Work that has
/// been disturbed is more, never less: what looks like today's is looked at up to twice again.
fn modern(sessions: &mut [Session], ids: &[String], halfway: f64) -> Vec<bool> {
    let part = ids.len().div_ceil(sessions.len());
    let look = |session: &mut Session, ids: &[String]| -> Vec<bool> {
        ids.iter().map(|id| (0..3).all(|_| work(session, id, 1) > halfway)).collect()
    };
    // At the same time: what a session works does not count what the others do.
    thread::scope(|scope| {
        let parts: Vec<_> = sessions
            .iter_mut()
            .zip(ids.chunks(part))
            .map(|(session, ids)| scope.spawn(move || look(session, ids)))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

fn flips(before: &[bool], after: &[bool]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// 100 users of another system; 300 sign-ups; then half of the former log in for the first time. Known and
/// unknown ids that have changed their time: none by growth, half of those that can by migration.
#[test]
fn growth_and_migration_tell_unknown_ids_from_known_ones_no_more() {
    let site = Site::new();
    site.allow_failures();
    let mut apps: Vec<Session> = (0..4).map(|_| Session::of(site.login())).collect();
    let (mut admin, mut manager) = (site.admin(), site.login_with(&["manager"]));
    let imported: Vec<String> = (0..100).map(|i| format!("imported{i}")).collect();
    for user in &imported {
        assert_eq!(import(&mut manager, user, QUICK), Answer::yes());
    }
    assert_eq!(create(&mut apps[0].client, "today", GOOD), Answer::yes());
    // Not before: what an import takes from unknown ids shows while it is being counted.
    await_counted(&mut admin);
    let (old, new) = (work(&mut apps[0], "imported99", 5), work(&mut apps[0], "today", 5));
    assert!(new > old * 3.0, "two kinds of users: {old} {new}");
    let halfway = (old * new).sqrt();
    let known = imported[..60].to_vec();
    let strangers: Vec<String> = (0..200).map(|i| format!("stranger{i}")).collect();

    let known_at_first = modern(&mut apps, &known, halfway);
    let at_first = modern(&mut apps, &strangers, halfway);
    let like_imported = at_first.iter().filter(|modern| !**modern).count();
    assert!(known_at_first.iter().all(|modern| !modern));
    // Half of them: 5 deviations of 7, so a false alarm in two million runs.
    assert!((65..=135).contains(&like_imported), "{like_imported} of 200 strangers");

    thread::scope(|scope| {
        for (part, app) in apps.iter_mut().enumerate() {
            scope.spawn(move || {
                for i in 0..75 {
                    let user = format!("new{part} {i}");
                    assert_eq!(create(&mut app.client, &user, GOOD), Answer::yes());
                }
            });
        }
    });
    await_counted(&mut admin);
    let known_grown = modern(&mut apps, &known, halfway);
    let grown = modern(&mut apps, &strangers, halfway);
    println!(
        "{} known, {} unknown by growth",
        flips(&known_at_first, &known_grown),
        flips(&at_first, &grown)
    );
    assert_eq!(flips(&known_at_first, &known_grown), 0);
    assert_eq!(flips(&at_first, &grown), 0);

    for user in imported.iter().step_by(2) {
        assert_eq!(validate(&mut apps[0].client, user, GOOD), Answer::yes());
        // One after the other: there are few places for renewals.
        let sql = "SELECT algorithm = 'argon2id' FROM auth.pv_users WHERE user_id = $1";
        wait_until("made anew", || admin.query_one(sql, &[user]).unwrap().get(0));
    }
    wait_until("moves are counted", || users_of(&mut admin, "scrypt") == 50);
    let known_moved = flips(&known_grown, &modern(&mut apps, &known, halfway));
    let moved = modern(&mut apps, &strangers, halfway);
    let strangers_moved = flips(&grown, &moved);
    println!(
        "{known_moved} of 60 known, {strangers_moved} of {like_imported} unknown by migration"
    );
    assert_eq!(known_moved, 30);
    // Half of them, and each on its own: five deviations, which is another one in two million.
    let (mean, off) = (like_imported as f64 / 2.0, 2.5 * (like_imported as f64).sqrt());
    assert!((strangers_moved as f64 - mean).abs() <= off, "{strangers_moved}, {mean} ± {off}");
    // And none the other way.
    assert!(grown.iter().zip(&moved).all(|(before, after)| *after || !before));
}

/// What these tests stand on: a session that has worked was never seen to have done nothing.
#[test]
fn no_work_goes_unseen() {
    let site = Site::new();
    let mut session = Session::of(site.admin());
    let sql = "DO $$ BEGIN FOR i IN 1..100 LOOP PERFORM i; END LOOP; END $$";
    let mut works: Vec<_> =
        (0..2000).map(|_| session.work(|client| client.batch_execute(sql).unwrap()).1).collect();
    works.sort();
    let (least, median) = (works[0], works[works.len() / 2]);
    assert!(least > median / 10, "{least:?} of {median:?}");
}

/// How the unknown ids are divided: for each class its template, and how many cells it has.
fn classes(client: &mut impl GenericClient) -> Vec<(String, i64, String)> {
    let sql =
        "SELECT template, users, encode(cells, 'hex') FROM password_verify.cost_class ORDER BY key";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn what_is_rolled_back_changes_nobodys_time() {
    let site = Site::new();
    let (mut app, mut manager) = (site.login(), site.login_with(&["manager"]));
    let mut admin = site.admin();
    site.enroll("today", GOOD);
    for user in ["mallory", "alice", "bob"] {
        assert_eq!(import(&mut manager, user, BCRYPT), Answer::yes());
    }
    wait_until("all are counted", || users_of(&mut admin, "bcrypt") == 3);
    let before = classes(&mut admin);
    let sql = "SELECT success FROM auth.pv_change_password($1::text, $2, $3)";
    for _ in 0..5 {
        let mut open = app.transaction().unwrap();
        assert!(open.query_one(sql, &[&"mallory", &GOOD, &OTHER]).unwrap().get::<_, bool>(0));
        open.rollback().unwrap();
        let mut open = app.transaction().unwrap();
        let mut savepoint = open.savepoint("inside").unwrap();
        assert!(savepoint.query_one(sql, &[&"mallory", &GOOD, &OTHER]).unwrap().get::<_, bool>(0));
        savepoint.rollback().unwrap();
        open.commit().unwrap();
    }
    // What comes after it is counted.
    site.enroll("later", GOOD);
    wait_until("the next is counted", || users_of(&mut admin, "argon2id") == 2);
    let cells = |classes: Vec<(String, i64, String)>| -> Vec<(String, String)> {
        classes.into_iter().map(|(template, _, cells)| (template, cells)).collect()
    };
    assert_eq!(users_of(&mut admin, "bcrypt"), 3);
    assert_eq!(cells(before), cells(classes(&mut admin)));
}

/// Records of that algorithm.
fn counted(client: &mut impl GenericClient, algorithm: &str) -> i64 {
    let sql = "SELECT count(*) FROM auth.pv_users WHERE algorithm = $1";
    client.query_one(sql, &[&algorithm]).unwrap().get(0)
}

#[test]
fn every_record_is_counted_where_it_is() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager", "registrar", "verifier"]);
    let mut admin = site.admin();
    for i in 0..6 {
        site.enroll(&format!("today{i}"), GOOD);
        assert_eq!(import(&mut manager, &format!("bcrypt{i}"), BCRYPT), Answer::yes());
    }
    assert_eq!(set(&mut manager, "bcrypt0", OTHER), Answer::yes());
    assert_eq!(change(&mut manager, "today0", GOOD, OTHER), Answer::yes());
    assert!(manage(&mut manager, "pv_delete_user", "today1"));
    assert!(manage(&mut manager, "pv_delete_user", "bcrypt1"));
    assert!(manage(&mut manager, "pv_disable_user", "bcrypt2"));
    assert_eq!(validate(&mut manager, "bcrypt3", GOOD), Answer::yes());
    // A sign-up that vanishes, one in a savepoint that stays, and the usual loop of an import.
    let mut app = site.login();
    app.batch_execute(
        "BEGIN; SELECT auth.pv_create_password('gone', 'correct horse battery staple'); ROLLBACK;
         BEGIN; SAVEPOINT a; SELECT auth.pv_create_password('stays', 'correct horse battery staple');
         SAVEPOINT b; SELECT auth.pv_create_password('gone', 'correct horse battery staple');
         ROLLBACK TO b; RELEASE a; COMMIT",
    )
    .unwrap();
    let row = format!("PERFORM auth.pv_import_hash('loop' || i, '{BCRYPT}')");
    admin
        .batch_execute(&format!(
            "DO $$ BEGIN FOR i IN 1..300 LOOP
                 BEGIN {row}; IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
                 EXCEPTION WHEN division_by_zero THEN NULL; END;
             END LOOP; END $$"
        ))
        .unwrap();
    wait_until("every record is counted", || {
        let all: i64 = admin.query_one("SELECT count(*) FROM auth.pv_users", &[]).unwrap().get(0);
        let bcrypt = users_of(&mut admin, "bcrypt");
        all == 211
            && counted(&mut admin, "bcrypt") == 203
            && bcrypt == 203
            && users_of(&mut admin, "argon2id") == 8
    });
    // All unknown ids have a class, and each one: today's has half of them.
    let sql = "SELECT bit_count(cells) FROM password_verify.cost_class";
    let rows = admin.query(sql, &[]).unwrap();
    let cells: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(cells.iter().sum::<i64>(), 1024);
    assert!(cells.iter().all(|cells| (384..=640).contains(cells)), "{cells:?}");
}

#[test]
fn a_restored_database_keeps_the_times_of_unknown_ids() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    site.enroll("today", GOOD);
    for i in 0..20 {
        assert_eq!(import(&mut manager, &format!("imported{i}"), BCRYPT), Answer::yes());
    }
    let mut admin = site.admin();
    wait_until("all are counted", || users_of(&mut admin, "bcrypt") == 20);
    let file = site.cluster.folder().join("decoys.dump");
    let mut pg_dump = site.cluster.command("pg_dump");
    run(pg_dump.args(["-Fc", "-U", "postgres", "-f"]).arg(&file).arg(&site.database));
    let restored = format!("{}_restored", site.database);
    site.cluster
        .admin("postgres")
        .batch_execute(&format!("CREATE DATABASE {restored} TEMPLATE template0"))
        .unwrap();
    run(site.cluster.command("pg_restore").args(["-d", &restored]).arg(&file));
    assert_eq!(classes(&mut site.cluster.admin(&restored)), classes(&mut admin));
}

#[test]
fn a_lowered_memory_limit_fails_for_unknown_ids_too() {
    let site = Site::on(server(&[]));
    site.allow_failures();
    let mut manager = site.login_with(&["manager"]);
    // python3 -c "import argon2; print(argon2.low_level.hash_secret(b'x', b'somesaltsomesalt', 1, 32768, 1, 32, argon2.Type.ID))"
    let hash = "$argon2id$v=19$m=32768,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$eOKSL4f/6ERLnEfxmyv/KsSzgf7pSmW8WSM4DjHlZdk";
    for i in 0..20 {
        assert_eq!(import(&mut manager, &format!("imported{i}"), hash), Answer::yes());
    }
    site.enroll("today", GOOD);
    await_counted(&mut site.admin());
    drop(manager);
    site.cluster.down();
    site.cluster.configure(&[PRELOADED[0], "password_verify.hash_memory_limit = '16MB'"]);
    site.cluster.up();
    let mut app = site.login();
    let sql = "SELECT * FROM auth.pv_validate_password($1::text, 'guess')";
    assert_eq!(sqlstate(app.query_one(sql, &[&"imported7"])), "54000");
    let mut fails = || -> Vec<bool> {
        let ids = (0..40).map(|i| format!("stranger{i}"));
        ids.map(|id| match app.query_one(sql, &[&id]) {
            Ok(row) => row.get(0),
            Err(error) => error.code().unwrap().code() == "54000",
        })
        .collect()
    };
    let seen = fails();
    let failed = seen.iter().filter(|failed| **failed).count();
    // Half of them: neither is rarer than that once in ten million.
    assert!((4..=36).contains(&failed), "{failed} of 40 failed");
    // Versions of its rows that nobody may remove do not change anybody's class.
    let mut old = site.admin();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    let mut admin = site.admin();
    for _ in 0..200 {
        admin.batch_execute("UPDATE password_verify.cost_class SET users = users").unwrap();
    }
    assert_eq!(fails(), seen);
    drop(old);
    assert_eq!(fails(), seen);
}

#[test]
fn without_classes_unknown_ids_look_like_today() {
    let site = Site::new();
    site.enroll("today", GOOD);
    settle(&mut site.admin());
    let mut app = site.login();
    site.admin()
        .batch_execute("UPDATE password_verify.cost_class SET template = 'broken'")
        .unwrap();
    assert_eq!(validate(&mut app, "stranger", GOOD), Answer::no("invalid_credentials"));
    site.admin().batch_execute("DELETE FROM password_verify.cost_class").unwrap();
    assert_eq!(validate(&mut app, "today", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "stranger", GOOD), Answer::no("invalid_credentials"));
    let sql = "SELECT * FROM auth.pv_create_password('other', $1)";
    assert_eq!(ask(&mut app, sql, &[&GOOD]).unwrap(), Answer::yes());
    // That one, or both if all records were counted meanwhile.
    wait_until("the next is counted", || users_of(&mut site.admin(), "argon2id") > 0);
}
