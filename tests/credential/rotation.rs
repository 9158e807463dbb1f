//! Rotation: every record comes under the newest key, whatever comes in between, and nobody notices.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{change, create, set, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::hold::pid;
use password_verify_tests::keyring::{
    fresh_key, key_of, line, open_site, put, restart, sealed_site, setting,
};
use password_verify_tests::kill::crash_by;
use password_verify_tests::query::text;
use password_verify_tests::rotation::{PHC, ROTATE, activate, fill, keys, left};
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, sqlstate};
use postgres::Client;

/// Everything of all records but the seal.
fn contents(client: &mut Client) -> String {
    let sql = "SELECT count(*) || ' ' || md5(string_agg(concat_ws(',', blind_index, user_id, must_change, expires_at, disabled_at,
                      change_required_at, tokens_revoked_at, created_at, changed_at), ';' ORDER BY blind_index))
                 FROM password_verify.credential JOIN password_verify.account USING (blind_index, user_id, created_at)";
    text(client, sql)
}

#[test]
fn records_from_before_the_keyring_are_sealed_and_sealed_again() {
    let cluster = Cluster::start(PRELOADED);
    let site = Site::on(Arc::new(cluster));
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    let service = ["manager", "auditor"];
    let logs_in = |users: &[&str]| {
        let mut app = site.login();
        for user in users {
            assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
        }
    };
    assert_eq!(keys(&mut site.login_with(&service)), "none active 3");
    assert_eq!(left(&mut site.admin()), 0);
    site.admin().batch_execute(ROTATE).unwrap();

    // A keyring comes later: what is there still works, what is new is sealed.
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    put(&site.cluster, &a);
    site.cluster.configure(&[&setting(&site.cluster.folder().join("keys"))]);
    restart(&site.cluster, &a);
    // Not before it is said that there was none.
    assert_eq!(validate(&mut site.login(), "u1", GOOD), Answer::no("busy"));
    assert!(site.cluster.log().contains("were not sealed, and there is a keyring"));
    site.cluster.configure(&["password_verify.accept_unsealed = 'until_rotated'"]);
    restart(&site.cluster, &a);
    site.enroll("u4", GOOD);
    logs_in(&["u1", "u2", "u4"]);
    assert_eq!(change(&mut site.login(), "u3", GOOD, OTHER), Answer::yes());
    assert_eq!(change(&mut site.login(), "u3", OTHER, GOOD), Answer::yes());
    let mut admin = site.admin();
    // Of u3 the account is still what it was, which its owner does not write.
    assert_eq!(keys(&mut admin), "none 3, a active 2");
    assert_eq!((key_of(&mut admin, "u1"), key_of(&mut admin, "u3")), (None, Some("a".into())));
    assert_eq!(left(&mut admin), 3);
    let before = contents(&mut admin);

    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    let notices = || std::mem::take(&mut *heard.lock().unwrap());
    manager.batch_execute(ROTATE).unwrap();
    let said = notices();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("NOTICE") && said[0].contains("\"3 records sealed, 0 left, "),
        "{said:?}"
    );
    assert!(said[0].contains(" a second\""), "{said:?}");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("a active 4".into(), 0));
    logs_in(&["u1", "u2", "u3", "u4"]);

    // Another key.
    activate(&site, &format!("{a}{b}"), "b");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("a 4, b active 0".into(), 4));
    logs_in(&["u1", "u4"]);
    manager.batch_execute("CALL auth.pv_rotate_keys(batch_size => 1)").unwrap();
    let said = notices();
    assert!(said.last().unwrap().contains("\"4 records sealed, 0 left, "), "{said:?}");
    assert_eq!((keys(&mut admin), left(&mut admin)), ("b active 4".into(), 0));
    let shown = "SELECT string_agg(DISTINCT key_id || ' ' || algorithm || ' ' || parameters, ', ') FROM auth.pv_users";
    assert_eq!(text(&mut admin, shown), "b argon2id m=7168,t=5,p=1");
    assert_eq!(contents(&mut admin), before, "nothing but the seal is new");
    // Nothing to do.
    manager.batch_execute(ROTATE).unwrap();
    assert!(notices()[0].contains("\"0 records sealed, 0 left, "));
    // The old key can go.
    restart(&site.cluster, &b);
    logs_in(&["u1", "u2", "u3", "u4"]);
}

#[test]
fn records_that_cannot_be_opened_are_left_and_counted() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "moved"] {
        site.enroll(user, GOOD);
    }
    let sql = "UPDATE password_verify.credential SET verifier = (SELECT verifier FROM password_verify.credential WHERE user_id = 'u1')
                WHERE user_id = 'moved'";
    site.admin().batch_execute(sql).unwrap();
    activate(&site, &format!("{a}{b}"), "b");
    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    manager.batch_execute(ROTATE).unwrap();
    let said = heard.lock().unwrap().join("\n");
    assert!(said.contains("\"2 records sealed, 1 left, ") && said.contains("WARNING"), "{said}");
    assert!(said.contains("1 records could not be opened") && said.contains("pv_keys"), "{said}");
    assert_eq!(left(&mut manager), 1);
    assert_eq!(keys(&mut manager), "a 1, b active 2");
    // It is not made good by being sealed again.
    let sql = "SELECT auth.pv_validate_password('moved', $1)";
    assert_eq!(sqlstate(site.login().query(sql, &[&GOOD])), "XX001");

    // Without the old key nothing of it is lost, or sealed with nothing.
    restart(&site.cluster, &a);
    assert_eq!(
        sqlstate(site.login().query("SELECT auth.pv_validate_password('u1', $1)", &[&GOOD])),
        "55000"
    );
    site.admin().batch_execute(ROTATE).unwrap();
    assert_eq!(keys(&mut site.admin()), "a active 1, b 2");
    site.cluster.configure(&["password_verify.keyring_file = ''"]);
    restart(&site.cluster, "");
    let mut admin = site.admin();
    assert_eq!((left(&mut admin), keys(&mut admin)), (3, "none active 0, a 1, b 2".into()));
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!((left(&mut admin), keys(&mut admin)), (3, "none active 0, a 1, b 2".into()));
}

#[test]
fn an_interrupted_rotation_goes_on_where_it_was() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = open_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    let records = 30_000;
    fill(&site, PHC, records);
    activate(&site, &format!("{a}{b}"), "b");
    let before = contents(&mut site.admin());
    let mut last = left(&mut site.admin());
    assert_eq!(last, i64::from(records) + 3);
    for how in ["pg_cancel_backend", "pg_terminate_backend", "kill -9"] {
        let (mut doomed, mut admin) = (site.admin(), site.admin());
        let pid = pid(&mut doomed);
        let working =
            thread::spawn(move || sqlstate(doomed.batch_execute("CALL auth.pv_rotate_keys(2)")));
        wait_until("it has begun", || left(&mut admin) < last - 100);
        if how == "kill -9" {
            crash_by(&site.cluster, pid);
        } else {
            admin.execute(&format!("SELECT {how}($1)"), &[&pid]).unwrap();
        }
        let state = working.join().unwrap();
        assert!(state != "no error", "{how}: it was done before");
        if how == "pg_cancel_backend" {
            assert_eq!(state, "57014");
        }
        let mut admin = site.admin();
        let now = left(&mut admin);
        assert!(0 < now && now < last, "{how}: {now} of {last}");
        assert_eq!(contents(&mut admin), before, "{how}");
        assert_eq!(validate(&mut site.login(), "u1", GOOD), Answer::yes(), "{how}");
        last = now;
    }
    let mut admin = site.admin();
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!((left(&mut admin), contents(&mut admin)), (0, before));
    restart(&site.cluster, &b);
    let mut app = site.login();
    for user in ["u1", "u2", "u3"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
    // What the records hold is what they held: sealed once more, all of them opened.
    activate(&site, &format!("{b}{a}"), "a");
    let (mut admin, heard) = site.cluster.listen("postgres", &site.database);
    admin.batch_execute(ROTATE).unwrap();
    assert_eq!(left(&mut admin), 0);
    assert!(!heard.lock().unwrap().join("").contains("WARNING"));
}

#[test]
fn a_record_that_somebody_holds_is_left_for_the_next_call() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3"] {
        site.enroll(user, GOOD);
    }
    activate(&site, &format!("{a}{b}"), "b");
    let mut holder = site.admin();
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM password_verify.credential WHERE user_id = 'u2' FOR UPDATE", &[])
        .unwrap();
    let (mut manager, heard) = site.cluster.listen("postgres", &site.database);
    manager.batch_execute(ROTATE).unwrap();
    let said = std::mem::take(&mut *heard.lock().unwrap()).join("\n");
    assert!(
        said.contains("WARNING") && said.contains("1 records were held by other transactions"),
        "{said}"
    );
    assert!(said.contains("Call pv_rotate_keys again"), "{said}");
    assert_eq!(keys(&mut manager), "a 1, b active 2");
    assert_eq!(validate(&mut site.login(), "u2", GOOD), Answer::yes());
    held.rollback().unwrap();
    manager.batch_execute(ROTATE).unwrap();
    let said = heard.lock().unwrap().join("\n");
    assert!(said.contains("\"1 records sealed, 0 left, ") && !said.contains("WARNING"), "{said}");

    // Held only for a while: one call is enough.
    activate(&site, &format!("{b}{a}"), "a");
    let mut held = holder.transaction().unwrap();
    held.execute("SELECT FROM password_verify.credential WHERE user_id = 'u2' FOR UPDATE", &[])
        .unwrap();
    thread::scope(|scope| {
        let working = scope.spawn(|| site.admin().batch_execute(ROTATE).unwrap());
        wait_until("the others are done", || left(&mut manager) == 1);
        held.rollback().unwrap();
        working.join().unwrap();
    });
    assert_eq!(left(&mut manager), 0);
}

/// One client until `stop`: logs in, changes and sets passwords of users of its own. How long each login
/// took.
fn client(site: &Site, name: usize, service: &mut Client, stop: &AtomicBool) -> Vec<Duration> {
    let mut app = site.login();
    let user = format!("client {name}");
    let mut times = Vec::new();
    assert_eq!(create(&mut app, &user, GOOD), Answer::yes());
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        assert_eq!(validate(&mut app, &user, GOOD), Answer::yes(), "{user}");
        times.push(start.elapsed());
        assert_eq!(change(&mut app, &user, GOOD, OTHER), Answer::yes(), "{user}");
        assert_eq!(validate(&mut app, &user, OTHER), Answer::yes(), "{user}");
        assert_eq!(set(service, &user, GOOD), Answer::yes(), "{user}");
    }
    times
}

#[test]
fn nobody_notices_a_rotation() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = open_site(&a);
    // With PV_RECORDS=1000000 it is a measurement.
    let records = std::env::var("PV_RECORDS").map_or(100_000, |records| records.parse().unwrap());
    fill(&site, PHC, records);
    let mut manager = site.login_with(&["manager"]);
    let services: Vec<_> = (0..6).map(|_| site.login_with(&["registrar"])).collect();
    let stop = &AtomicBool::new(false);
    let (took, mut times) = thread::scope(|scope| {
        let site = &site;
        let working = |(name, mut service): (usize, Client)| {
            scope.spawn(move || client(site, name, &mut service, stop))
        };
        let clients: Vec<_> = services.into_iter().enumerate().map(working).collect();
        // Whatever becomes of it, the clients end.
        let rotating = scope.spawn(|| {
            let mut timed = || {
                let start = Instant::now();
                manager.batch_execute(ROTATE).map(|()| start.elapsed())
            };
            let first = timed();
            activate(site, &format!("{a}{b}"), "b");
            [first, timed()]
        });
        let took = rotating.join();
        stop.store(true, Ordering::Relaxed);
        let times: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (took.unwrap().map(Result::unwrap), times)
    });
    let mut admin = site.admin();
    assert_eq!(left(&mut admin), 0);
    assert_eq!(keys(&mut admin), format!("b active {}", records + 6));
    times.sort();
    for (what, took) in ["unsealed to a", "a to b"].into_iter().zip(took) {
        let a_second = f64::from(records) / took.as_secs_f64();
        println!("rotation: {what}: {records} records in {took:?}, {a_second:.0} a second");
    }
    println!("rotation: {} logins meanwhile, p99 {:?}", times.len(), times[times.len() * 99 / 100]);
    restart(&site.cluster, &b);
    let mut app = site.login();
    for name in 0..6 {
        assert_eq!(validate(&mut app, &format!("client {name}"), GOOD), Answer::yes());
    }
}
