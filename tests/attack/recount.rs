//! Users whom the worker has counted wrong, or would have: what unknown ids cost goes by it.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{change, create, manage, rename, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::imports::{BCRYPT, import, users_of};
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::{Answer, GOOD, OTHER, Site};
use postgres::GenericClient;

/// More than three slices of a count.
const IMPORTED: i64 = 7000;

/// Users with an imported hash and with one of today's: as they are counted, and as they are.
fn counts(client: &mut impl GenericClient) -> [(i64, i64); 2] {
    ["bcrypt", "argon2id"].map(|scheme| {
        let sql = "SELECT count(*) FROM auth.pv_users WHERE algorithm = $1";
        let are: i64 = client.query_one(sql, &[&scheme]).unwrap().get(0);
        (users_of(client, scheme), are)
    })
}

fn are_right(client: &mut impl GenericClient) -> bool {
    counts(client).iter().all(|(counted, are)| counted == are)
}

fn import_many(client: &mut impl GenericClient, name: &str, count: i64) {
    let row = format!("PERFORM auth.pv_import_hash('{name}' || i, '{BCRYPT}')");
    client
        .batch_execute(&format!("DO $$ BEGIN FOR i IN 1..{count} LOOP {row}; END LOOP; END $$"))
        .unwrap();
}

/// `kill -9` before the worker has counted what was committed. Until it has counted all records anew, users go on
/// to come, to go, to change their password and their id.
#[test]
fn users_whom_a_crash_has_left_uncounted_are_counted_again() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    import_many(&mut admin, "imported", IMPORTED);
    site.enroll("today", GOOD);
    wait_until("all are counted", || are_right(&mut admin));
    drop(admin);
    let is_lost = (0..10).any(|attempt| {
        let (mut admin, mut manager) = (site.admin(), site.admin());
        let mut open = manager.transaction().unwrap();
        import_many(&mut open, &format!("lost{attempt} "), 40);
        // Moves are counted once a second: there is as much time from now on.
        let before = users_of(&mut admin, "bcrypt");
        assert_eq!(import(&mut admin, &format!("first{attempt}"), BCRYPT), Answer::yes());
        while users_of(&mut admin, "bcrypt") == before {
            thread::sleep(Duration::from_millis(1));
        }
        open.commit().unwrap();
        site.cluster.kill_postmaster();
        site.cluster.up();
        !are_right(&mut site.admin())
    });
    assert!(is_lost, "the worker was quicker ten times");
    println!("{:?}", counts(&mut site.admin()));

    let (mut admin, mut app) = (site.admin(), site.login());
    let mut manager = site.login_with(&["manager"]);
    let (began, mut i) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(5) || !are_right(&mut admin) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", counts(&mut admin));
        i += 1;
        let user = format!("user{i}");
        assert_eq!(create(&mut app, &user, GOOD), Answer::yes());
        assert_eq!(validate(&mut app, &format!("imported{i}"), GOOD), Answer::yes());
        assert!(rename(&mut manager, &user, &format!("{user} renamed")).0);
        assert!(
            rename(&mut manager, &format!("imported{}", 3000 + i), &format!("{user} imported")).0
        );
        assert_eq!(change(&mut app, &format!("{user} imported"), GOOD, OTHER), Answer::yes());
        assert!(manage(&mut manager, "pv_delete_user", &format!("imported{}", 2000 + i)));
        assert_eq!(import(&mut manager, &format!("more{i}"), BCRYPT), Answer::yes());
        // Now and then it is quiet for long enough to see whether all are counted.
        if i % 20 == 0 {
            thread::sleep(Duration::from_millis(1500));
        }
    }
    settle(&mut admin);
    println!("{i} of each: {:?}, {:?}", counts(&mut admin), began.elapsed());
    wait_until("every record is counted where it is", || are_right(&mut admin));
}

/// How the unknown ids are divided.
fn cells(client: &mut impl GenericClient) -> Vec<(String, String)> {
    let sql = "SELECT template, encode(cells, 'hex') FROM password_verify.cost_class ORDER BY key";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn a_user_who_is_alone_in_a_class_keeps_its_cover_under_another_id() {
    let site = Site::new();
    let (mut admin, mut manager) = (site.admin(), site.login_with(&["manager"]));
    site.enroll("today", GOOD);
    assert_eq!(import(&mut manager, "alone", BCRYPT), Answer::yes());
    wait_until("both are counted", || are_right(&mut admin) && users_of(&mut admin, "bcrypt") == 1);
    for i in 0..20 {
        site.enroll(&format!("today{i}"), GOOD);
    }
    wait_until("all are counted", || are_right(&mut admin));
    let before = cells(&mut admin);
    assert!(rename(&mut manager, "alone", "still alone").0);
    // What comes after it is counted.
    site.enroll("later", GOOD);
    wait_until("the next is counted", || users_of(&mut admin, "argon2id") == 22);
    assert_eq!(cells(&mut admin), before);
    assert_eq!(users_of(&mut admin, "bcrypt"), 1);
}
