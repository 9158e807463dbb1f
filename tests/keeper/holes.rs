//! What a review of the keeper has found, and what it was mended to.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{manage, validate};
use password_verify_tests::keeper::{
    KeptSite, VAULT, cancel, create_vault, finish, lock_vault, open, request, store,
    store_in_vault, take, try_request, try_unlock, unlock, work_once,
};
use password_verify_tests::query::number;
use password_verify_tests::trail::{settle, stat, wait_until};
use password_verify_tests::whole::{keep, put_back};
use password_verify_tests::{Answer, GOOD, sqlstate};
use postgres::Client;

/// A user with a vault and a secret in it.
fn furnish(app: &mut Client, user: &str) {
    assert_eq!(create_vault(app, user, VAULT), Answer::yes());
    store_in_vault(app, user, "imap", "x");
}

/// A budget for each number that somebody may think of would fill the table, and the memory for it.
#[test]
fn openings_with_invented_numbers_leave_no_budgets() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    let budgets = "SELECT count(*) FROM password_verify.throttle WHERE kind >= 0";
    let invented = "SELECT count(*) FILTER (WHERE reason = 'not_leased')
                      FROM generate_series(1, $1) n, auth.pv_open_secret(n * 9223372036854775)";
    assert_eq!(keeper.query_one(invented, &[&1000]).unwrap().get::<_, i64>(0), 1000);
    settle(&mut admin);
    assert_eq!(number(&mut admin, budgets), 0);
    // Of a job that there is, which is not leased; and then of leases that it has not.
    store(&mut app, "42", "imap", "x");
    let job = request(&mut app, "42", "imap");
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    assert_eq!(take(&mut keeper), Some(job));
    let leases = "SELECT count(*) FILTER (WHERE reason = 'not_leased')
                    FROM generate_series(2, 101) n, auth.pv_open_secret($1, n)";
    assert_eq!(keeper.query_one(leases, &[&job]).unwrap().get::<_, i64>(0), 100);
    settle(&mut admin);
    assert_eq!(number(&mut admin, budgets), 0);
    let count = "SELECT sum(count)::bigint FROM auth.pv_events WHERE action = 'open_secret'";
    assert_eq!(number(&mut admin, count), 1101, "all of them are on record");
    // A lease that there is has a budget, which is charged.
    for opened in [Ok(()), Ok(()), Ok(()), Err("throttled".to_owned())] {
        assert_eq!(open(&mut keeper, job).map(drop), opened);
    }
    settle(&mut admin);
    assert_eq!(number(&mut admin, budgets), 1);
    kept.assert_sound();
}

/// Disabling locks what is open of a vault without reading the row: nobody keeps a user enabled by damaging it.
#[test]
fn a_damaged_vault_does_not_keep_a_user_from_being_disabled() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    let damages = [
        "UPDATE password_verify.vault SET mac = ''",
        "UPDATE password_verify.vault SET sealed = 'not what it was'",
        "UPDATE password_verify.vault SET user_id = 'somebody else'",
        "UPDATE password_verify.vault SET secrets = 7, jobs = -1",
        "DELETE FROM password_verify.vault",
    ];
    for (i, damage) in damages.iter().enumerate() {
        let user = format!("user{i}");
        kept.site.enroll(&user, GOOD);
        furnish(&mut app, &user);
        let handle = unlock(&mut app, &user);
        let job = try_request(&mut app, &user, "imap", Some(&handle)).unwrap();
        assert_eq!(take(&mut keeper), Some(job));
        assert_eq!(open(&mut keeper, job), Ok("x".into()), "before: {damage}");
        settle(&mut admin);
        keep(&mut admin, "vault");
        admin.batch_execute(damage).unwrap();
        assert!(manage(&mut admin, "pv_disable_user", &user), "{damage}");
        assert_eq!(validate(&mut kept.site.login(), &user, GOOD), Answer::no("disabled"));
        put_back(&mut admin, "vault", "true");
        assert_eq!(open(&mut keeper, job).map_err(drop), Err(()), "{damage}");
        // It was locked when the user was disabled, and is not open again afterwards.
        assert!(manage(&mut admin, "pv_enable_user", &user));
        assert_eq!(open(&mut keeper, job), Err("vault_locked".into()), "{damage}");
        assert!(!lock_vault(&mut app, &handle), "{damage}");
        finish(&mut keeper, job, "failed", "vault_locked");
        kept.assert_sound();
    }
}

/// One handle opens one request after the other, as many as there are.
#[test]
fn a_request_that_is_cancelled_gives_its_place_back() {
    let kept = KeptSite::new();
    let (mut app, mut admin) = (kept.depositor(), kept.admin());
    furnish(&mut app, "42");
    let handle = unlock(&mut app, "42");
    for round in 0..200 {
        let job = try_request(&mut app, "42", "imap", Some(&handle));
        assert!(cancel(&mut app, job.unwrap_or_else(|why| panic!("round {round}: {why}"))));
    }
    assert_eq!(stat(&mut admin, "vault_places_used"), 1, "that of the handle");
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut kept.connector()), (job, Ok("x".into())));
    assert_eq!(stat(&mut admin, "vault_places_used"), 1);
    kept.assert_sound();
}

/// What is rolled back leaves no requests, so that no limit of those counts.
#[test]
fn requests_that_are_rolled_back_take_no_places_from_others() {
    let kept = KeptSite::new();
    let (mut app, mut admin) = (kept.depositor(), kept.admin());
    for user in ["greedy", "modest"] {
        furnish(&mut app, user);
    }
    let handle = unlock(&mut app, "greedy");
    let many = format!(
        "DO $$ BEGIN
           FOR i IN 1..3000 LOOP
             BEGIN
               PERFORM auth.pv_request('greedy'::text, 'imap', '{{}}', NULL, NULL, '{handle}');
               RAISE EXCEPTION 'taken back';
             EXCEPTION WHEN raise_exception OR configuration_limit_exceeded THEN NULL; END;
           END LOOP;
         END $$"
    );
    app.batch_execute(&many).unwrap();
    let all = format!(
        "DO $$ BEGIN
           FOR i IN 1..100 LOOP
             PERFORM auth.pv_request('greedy'::text, 'imap', '{{}}', NULL, NULL, '{handle}');
           END LOOP;
           RAISE EXCEPTION 'taken back';
         END $$"
    );
    let state = sqlstate(app.batch_execute(&all));
    assert!(["P0001", "53400"].contains(&&*state), "{state}");
    assert!(stat(&mut admin, "vault_places_used") <= 128, "those of one vault");
    // A login role gets half of all places: the same one still serves another user.
    let of_modest = try_unlock(&mut app, "modest", VAULT, "1 hour").unwrap().unwrap();
    for _ in 0..50 {
        let job = try_request(&mut app, "modest", "imap", Some(&of_modest)).unwrap();
        assert_eq!(work_once(&mut kept.connector()), (job, Ok("x".into())));
    }
    // And the one whose they were has them back with another handle.
    assert!(lock_vault(&mut app, &handle));
    assert_eq!(stat(&mut admin, "vault_places_used"), 1, "that of the other one's handle");
    let handle = unlock(&mut app, "greedy");
    let job = try_request(&mut app, "greedy", "imap", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut kept.connector()), (job, Ok("x".into())));
    kept.assert_sound();
}

/// Whoever is a member of two roles has what both of them have.
#[test]
fn no_third_role_becomes_both_by_a_grant() {
    let kept = KeptSite::shared();
    let mut admin = kept.admin();
    let grant = |admin: &mut Client, role: &str, kind: &str| {
        sqlstate(admin.execute("SELECT auth.pv_grant($1::text::regrole, $2)", &[&role, &kind]))
    };
    // Another test on the same server would have the same roles.
    for (kind, other) in [("depositor", "connector"), ("connector", "depositor")] {
        let name = |what: &str| format!("{what}_of_{kind}");
        let (one, group, third, fourth) =
            (name("one"), name("group"), name("third"), name("fourth"));
        admin
            .batch_execute(&format!(
                "CREATE ROLE {one}; CREATE ROLE {group}; CREATE ROLE {third} NOINHERIT; CREATE ROLE {fourth} LOGIN;
                 GRANT {one} TO {third}; GRANT {third}, {group} TO {fourth}"
            ))
            .unwrap();
        assert_eq!(grant(&mut admin, &one, kind), "no error");
        // `fourth` is a member of `third`, and so of both.
        assert_eq!(grant(&mut admin, &group, other), "22023", "{group}");
        let of_group = "SELECT count(*) FROM auth.pv_grants WHERE role = $1::text::regrole";
        assert_eq!(admin.query_one(of_group, &[&group]).unwrap().get::<_, i64>(0), 0);
        admin.batch_execute(&format!("REVOKE {third} FROM {fourth}")).unwrap();
        assert_eq!(grant(&mut admin, &group, other), "no error", "nobody is in both any more");
        // A role that is made a member of both afterwards is seen by the next grant.
        admin.batch_execute(&format!("GRANT {one} TO {fourth}")).unwrap();
        assert_eq!(grant(&mut admin, &group, other), "22023");
        admin.batch_execute(&format!("ALTER ROLE {fourth} SUPERUSER")).unwrap();
        assert_eq!(grant(&mut admin, &group, other), "no error", "superusers are in all roles");
    }
}

/// Only what was opened counts.
#[test]
fn secrets_of_disabled_users_are_not_counted_as_opened() {
    let kept = KeptSite::new();
    kept.site.configure(&["secrets_opened_expected = 3"]);
    let (mut app, mut keeper, mut admin) = (kept.depositor(), kept.connector(), kept.admin());
    let mut open_one = |user: &str| {
        store(&mut app, user, "imap", "x");
        let job = request(&mut app, user, "imap");
        assert_eq!(take(&mut keeper), Some(job));
        let opened = open(&mut keeper, job);
        finish(&mut keeper, job, "failed", "internal");
        opened
    };
    for user in ["off", "off too"] {
        kept.site.enroll(user, GOOD);
        assert!(manage(&mut kept.admin(), "pv_disable_user", user));
    }
    for (user, opened) in [
        ("one", Ok("x".to_owned())),
        ("off", Err("disabled".into())),
        ("two", Ok("x".into())),
        ("off too", Err("disabled".into())),
        ("three", Ok("x".into())),
        ("two", Ok("x".into())),
    ] {
        assert_eq!(open_one(user), opened, "{user}");
    }
    let alerts = "SELECT count(*) FROM auth.pv_events WHERE action = 'open_secret' AND alert <> 0";
    let told = || kept.site.cluster.log().matches(r#""alert":["many_opened"]"#).count();
    settle(&mut admin);
    assert_eq!((number(&mut admin, alerts), told()), (0, 0));
    assert_eq!(open_one("four"), Ok("x".into()));
    settle(&mut admin);
    let whose = "SELECT count(*) FROM auth.pv_events WHERE alert <> 0 AND user_id = 'four'";
    assert_eq!((number(&mut admin, alerts), number(&mut admin, whose)), (1, 1));
    wait_until("it is in the log", || told() == 1);
    for user in ["five", "six", "off"] {
        let _ = open_one(user);
    }
    settle(&mut admin);
    assert_eq!((number(&mut admin, alerts), told()), (1, 1), "once");
    kept.assert_sound();
}
