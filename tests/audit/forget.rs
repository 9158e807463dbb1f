//! Stories of users who are forgotten: before, during and after, with everything around them as it was.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use password_verify_core::trail::erasable::Named;
use password_verify_tests::calls::{create, manage, rename, set, validate};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::hold::Stopped;
use password_verify_tests::keyring::{fresh_key, line, sealed_server, sealed_server_with};
use password_verify_tests::kill::is_at_work;
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{
    assert_intact, of_user, settle, verify, wait_for, wait_until, worker,
};
use password_verify_tests::{ALL_KINDS, Answer, GOOD, Site, WRONG, sqlstate};
use postgres::{Client, GenericClient};

const ERASED: &str =
    "SELECT count(*) FROM password_verify.event WHERE octet_length(user_nonce) = 32";
const TOLD: &str = "SELECT COALESCE(sum((of->>'rows')::bigint), 0)::bigint
                      FROM password_verify.event, jsonb_array_elements(detail::jsonb->'erased') of
                     WHERE action = 'forget' AND outcome = 'recorded'";
const LEFT: &str = "SELECT count(*) FROM password_verify.forgetting";

fn forget(client: &mut Client, user: &str) -> bool {
    manage(client, "pv_forget_user", user)
}

/// Waits until the worker has nothing left to erase. Somebody has to come by: after a crash, no worker comes by itself.
fn await_forgotten(admin: &mut Client) {
    wait_until("all is erased", || {
        admin.query("SELECT auth.pv_has_password('passer-by'::text)", &[]).unwrap();
        create(admin, "passer-by", "short");
        number(admin, LEFT) == 0
    });
    settle(admin);
}

/// In which columns of our tables this text stands anywhere.
fn places(admin: &mut Client, text: &str) -> Vec<String> {
    let sql = "SELECT attrelid::regclass::text, quote_ident(attname) FROM pg_attribute
                WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'password_verify'::regnamespace AND relkind = 'r')
                  AND attnum > 0 AND NOT attisdropped";
    let mut found = Vec::new();
    for row in admin.query(sql, &[]).unwrap() {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let sql = format!("SELECT count(*) FROM {table} WHERE strpos({column}::text, $1) > 0");
        if admin.query_one(&sql, &[&text]).unwrap().get::<_, i64>(0) > 0 {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

fn with_all_kinds(site: &Site) -> Client {
    site.login_with(&ALL_KINDS)
}

/// With a keyring and without.
fn sites() -> [Site; 2] {
    [Site::on(server(&[])), Site::on(sealed_server(&line("k1", &fresh_key())))]
}

#[test]
fn whoever_is_forgotten_is_in_no_event_and_the_chain_holds() {
    for site in sites() {
        let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
        for user in ["Anne-née-Bloggs", "bystander"] {
            assert_eq!(create(&mut app, user, GOOD), Answer::yes());
            assert_eq!(validate(&mut app, user, WRONG), Answer::wrong());
            assert!(manage(&mut app, "pv_disable_user", user));
            assert!(manage(&mut app, "pv_enable_user", user));
            assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
        }
        // One name after the other, and the last attempts are still in an open fold.
        for (old, new) in [("Anne-née-Bloggs", "anne.smith"), ("anne.smith", "smith-77")] {
            assert_eq!(rename(&mut app, old, new), Answer::yes());
            for _ in 0..5 {
                assert_eq!(validate(&mut app, new, GOOD), Answer::yes());
            }
        }
        settle(&mut admin);
        let names = ["Anne-née-Bloggs", "anne.smith", "smith-77"];
        assert!(names.iter().all(|name| !places(&mut admin, name).is_empty()));
        let others = of_user(&mut admin, "bystander");
        let before = number(
            &mut admin,
            "SELECT sum(count)::bigint FROM auth.pv_events WHERE action <> 'epoch'",
        );

        assert!(forget(&mut app, "smith-77"));
        await_forgotten(&mut admin);
        for name in names {
            assert_eq!(places(&mut admin, name), [""; 0], "{name}");
        }
        assert_eq!(of_user(&mut admin, "bystander"), others);
        assert_eq!(validate(&mut app, "bystander", GOOD), Answer::yes());
        // Nothing but the names is gone.
        let after = "SELECT sum(count)::bigint FROM auth.pv_events WHERE action NOT IN ('epoch', 'forget')
                        AND user_id IS DISTINCT FROM 'passer-by' AND user_id IS DISTINCT FROM 'bystander'";
        let theirs = "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = 'bystander'";
        let end_of_forgetting = 1;
        assert!(
            number(&mut admin, after) + number(&mut admin, theirs) >= before + end_of_forgetting
        );
        assert_intact(&mut admin);
        assert!(number(&mut admin, ERASED) >= 12);
        assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));

        // Whoever tries the id now is on record again, and it can be forgotten again.
        assert_eq!(validate(&mut app, "smith-77", GOOD), Answer::wrong());
        settle(&mut admin);
        assert_eq!(of_user(&mut admin, "smith-77"), ["validate invalid_credentials"]);
        assert!(!forget(&mut app, "smith-77"), "there is no account any more");
        await_forgotten(&mut admin);
        assert_eq!(places(&mut admin, "smith-77"), [""; 0]);
        assert_intact(&mut admin);
        assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
    }
}

/// A password typed into the wrong field is nobody's id.
#[test]
fn an_id_that_was_nobodys_is_forgotten_as_well() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    for _ in 0..3 {
        assert_eq!(validate(&mut app, "hunter2 hunter2", GOOD), Answer::wrong());
    }
    settle(&mut admin);
    assert!(!places(&mut admin, "hunter2").is_empty());
    assert!(!forget(&mut app, "hunter2 hunter2"));
    await_forgotten(&mut admin);
    assert_eq!(places(&mut admin, "hunter2"), [""; 0]);
    let what = "SELECT detail FROM auth.pv_events WHERE action = 'forget' AND outcome = 'recorded'";
    let details: Vec<String> =
        admin.query(what, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(details.last().unwrap().ends_with("\"done\":true}"), "{details:?}");
    assert_intact(&mut admin);
}

#[test]
fn a_rollback_forgets_nobody() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "carol", GOOD), Answer::yes());
    let mut open = app.transaction().unwrap();
    open.query("SELECT auth.pv_forget_user('carol'::text)", &[]).unwrap();
    // Meanwhile nothing is erased either.
    create(&mut admin, "passer-by", "short");
    assert_eq!(number(&mut admin, ERASED), 0);
    open.rollback().unwrap();
    settle(&mut admin);
    assert_eq!((number(&mut admin, LEFT), number(&mut admin, ERASED)), (0, 0));
    assert_eq!(of_user(&mut admin, "carol"), ["create committed", "forget rolled_back"]);
    assert_eq!(validate(&mut app, "carol", GOOD), Answer::yes());
    assert_intact(&mut admin);
}

/// The name before is that of the one who had it then, and of nobody who took it later.
#[test]
fn a_former_name_is_forgotten_up_to_the_rename() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "dora", GOOD), Answer::yes());
    // A rename that is rolled back gives up nothing.
    assert_eq!(create(&mut app, "emil", GOOD), Answer::yes());
    let mut open = app.transaction().unwrap();
    assert_eq!(rename(&mut open, "emil", "emil-2"), Answer::yes());
    open.rollback().unwrap();
    assert_eq!(rename(&mut app, "dora", "dora-2"), Answer::yes());
    assert_eq!(create(&mut app, "dora", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "dora", GOOD), Answer::yes());
    assert!(forget(&mut app, "dora-2"));
    assert!(!forget(&mut app, "emil-2"));
    await_forgotten(&mut admin);
    assert_eq!(of_user(&mut admin, "dora"), ["create committed", "validate valid"]);
    assert_eq!(of_user(&mut admin, "emil"), ["create committed", "rename rolled_back"]);
    for gone in ["dora-2", "emil-2"] {
        assert_eq!(places(&mut admin, gone), [""; 0]);
    }
    assert_intact(&mut admin);
}

/// Rows of one user that fold into none, in one transaction.
fn busy(admin: &mut Client, user: &str, rows: usize) {
    assert_eq!(create(admin, user, GOOD), Answer::yes());
    let body = format!(
        "DO $$ BEGIN FOR i IN 1..{} LOOP PERFORM auth.pv_disable_user('{user}'::text), auth.pv_enable_user('{user}'::text); END LOOP; END $$",
        rows / 2
    );
    admin.batch_execute(&body).unwrap();
    settle(admin);
}

#[test]
fn wherever_it_is_killed_it_goes_on() {
    let site = Site::on(sealed_server(&line("k1", &fresh_key())));
    let mut in_the_middle = 0;
    for round in 0..20 {
        let mut admin = site.admin();
        let user = format!("victim-{round}");
        busy(&mut admin, &user, 10_000);
        let of_user =
            format!("SELECT count(*) FROM password_verify.event WHERE user_id = '{user}'");
        let all = number(&mut admin, &of_user);
        assert!(all >= 10_000);
        assert!(forget(&mut admin, &user));
        // Right after some slices: a rest between two looks would be too long.
        let some = 1 + round as i64 * 200;
        while number(&mut admin, &of_user) > all - some {}
        // Nobody kills faster than it works.
        let pid = wait_for("there is a worker", || worker(&mut admin));
        let _stopped = Stopped::new(pid);
        // It may hold anything: whoever comes now could wait for ever.
        let kill = || run(Command::new("kill").arg("-9").arg(pid.to_string()));
        if round % 2 == 0 {
            let postmaster = site.cluster.postmaster();
            thread::scope(|scope| {
                scope.spawn(|| site.cluster.kill_postmaster());
                wait_until("the postmaster is gone", || !is_at_work(postmaster));
                kill();
            });
            site.cluster.up();
        } else {
            kill();
            wait_until("the crash is noticed", || admin.query_one("SELECT 1", &[]).is_err());
            site.cluster.await_recovery();
        }
        let mut admin = site.admin();
        let left = number(&mut admin, &of_user);
        in_the_middle += usize::from(left > 0 && left < all);
        // Nobody has come yet: half of it is erased, and the chain holds.
        assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
        assert_intact(&mut admin);
        await_forgotten(&mut admin);
        assert_eq!(places(&mut admin, &user), [""; 0]);
        assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
        assert_intact(&mut admin);
    }
    println!("{in_the_middle} of 20 kills came in the middle");
    assert!(in_the_middle >= 15, "{in_the_middle}");
}

/// Others go on meanwhile: the worker's slices are short.
#[test]
fn logins_go_on_meanwhile() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    busy(&mut admin, "large", 20_000);
    assert_eq!(create(&mut app, "small", GOOD), Answer::yes());
    assert!(forget(&mut admin, "large"));
    let mut meanwhile = 0;
    while number(&mut admin, LEFT) > 0 {
        assert_eq!(validate(&mut app, "small", GOOD), Answer::yes());
        meanwhile += 1;
    }
    assert!(meanwhile > 1, "{meanwhile}");
    assert_eq!(places(&mut admin, "large"), [""; 0]);
    assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
    assert_intact(&mut admin);
}

/// Whoever writes the table has the nonce beside the id, and erases it as the worker does: then the numbers do not fit.
#[test]
fn nobody_else_erases_an_id_or_puts_one_back() {
    for site in sites() {
        let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
        for user in ["frida", "gustav"] {
            assert_eq!(create(&mut app, user, GOOD), Answer::yes());
            assert!(manage(&mut app, "pv_disable_user", user));
        }
        settle(&mut admin);
        let kept = rows_of(&mut admin, "frida");
        assert!(forget(&mut app, "frida"));
        await_forgotten(&mut admin);
        assert!(verify(&mut admin).intact);

        let mut open = admin.transaction().unwrap();
        let gustavs = rows_of(&mut open, "gustav").remove(0);
        erase(&mut open, "gustav", &gustavs);
        let found = verify(&mut open);
        assert_eq!((found.intact, found.at), (false, Some((gustavs.0, 0))), "{found:?}");
        // Also where somebody else's is put back, so that their number is right.
        put_back(&mut open, "frida", &kept[0]);
        let found = verify(&mut open);
        assert_eq!((found.intact, found.at), (false, Some((gustavs.0, 0))), "{found:?}");
        open.rollback().unwrap();

        let mut open = admin.transaction().unwrap();
        put_back(&mut open, "frida", &kept[0]);
        assert!(!verify(&mut open).intact);
        // Another id is none that the chain covers.
        put_back(&mut open, "freda", &kept[0]);
        assert_eq!(verify(&mut open).problem.as_deref(), Some("changed"));
        open.rollback().unwrap();

        for nonce in [
            "NULL",
            "'\\x00'",
            "decode(repeat('00', 16), 'hex')",
            "decode(repeat('00', 32), 'hex')",
        ] {
            let mut open = admin.transaction().unwrap();
            let sql = format!(
                "UPDATE password_verify.event SET user_nonce = {nonce} WHERE epoch = $1 AND seq = $2"
            );
            open.execute(&sql, &[&gustavs.0, &gustavs.1]).unwrap();
            let found = verify(&mut open);
            assert_eq!(found.at, Some((gustavs.0, gustavs.1)), "{nonce}: {found:?}");
            open.rollback().unwrap();
        }
        assert!(verify(&mut admin).intact);
    }
}

type Kept = (i64, i64, Vec<u8>);

fn rows_of(client: &mut impl GenericClient, user: &str) -> Vec<Kept> {
    let sql =
        "SELECT epoch, seq, user_nonce FROM password_verify.event WHERE user_id = $1 ORDER BY 1, 2";
    let rows = client.query(sql, &[&user]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn erase(client: &mut impl GenericClient, user: &str, (epoch, seq, nonce): &Kept) {
    let named = Named::from_bytes(Some(nonce)).unwrap().erased(Some(user)).unwrap();
    let sql = "UPDATE password_verify.event SET user_id = NULL, user_nonce = $3 WHERE epoch = $1 AND seq = $2";
    client.execute(sql, &[&epoch, &seq, &named.bytes().unwrap()]).unwrap();
}

fn put_back(client: &mut impl GenericClient, user: &str, (epoch, seq, nonce): &Kept) {
    let sql = "UPDATE password_verify.event SET user_id = $3, user_nonce = $4 WHERE epoch = $1 AND seq = $2";
    client.execute(sql, &[&epoch, &seq, &user, &nonce]).unwrap();
}

/// A request that is put back later erases nothing that came later.
#[test]
fn a_request_that_is_put_back_erases_nothing_new() {
    let site = Site::on(sealed_server(&line("k1", &fresh_key())));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "hilda", GOOD), Answer::yes());
    settle(&mut admin);
    // As the transaction that asks leaves it, and before the worker takes it away.
    admin.batch_execute("CREATE TABLE kept (LIKE password_verify.forgetting)").unwrap();
    let mut open = admin.transaction().unwrap();
    open.query("SELECT auth.pv_forget_user('hilda'::text)", &[]).unwrap();
    open.batch_execute("INSERT INTO kept SELECT * FROM password_verify.forgetting").unwrap();
    open.commit().unwrap();
    await_forgotten(&mut admin);
    assert_eq!(create(&mut app, "hilda", GOOD), Answer::yes());
    settle(&mut admin);
    admin.batch_execute("INSERT INTO password_verify.forgetting SELECT * FROM kept").unwrap();
    assert!(manage(&mut app, "pv_disable_user", "hilda"));
    await_forgotten(&mut admin);
    assert_eq!(of_user(&mut admin, "hilda"), ["create committed", "disable committed"]);
    // One that was made up is none, and the worker says so.
    admin
        .batch_execute("INSERT INTO password_verify.forgetting SELECT gen_random_uuid(), user_id, now(), xid, scope, mac FROM kept")
        .unwrap();
    assert!(manage(&mut app, "pv_enable_user", "hilda"));
    wait_until("the worker says so", || {
        create(&mut admin, "passer-by", "short");
        number(
            &mut admin,
            "SELECT count(*) FROM auth.pv_events WHERE action = 'tampered' AND detail LIKE '%forgetting%'",
        ) == 1
    });
    assert_eq!(of_user(&mut admin, "hilda").len(), 3);
    assert_intact(&mut admin);
}

#[test]
fn only_managers_forget() {
    let site = Site::on(server(&[]));
    let mut admin = site.admin();
    let kinds = ["verifier", "enroller", "registrar", "auditor"];
    for kind in kinds {
        let mut other = site.login_with(&[kind]);
        let answer = other.query("SELECT auth.pv_forget_user('ida'::text)", &[]);
        assert_eq!(sqlstate(answer), "42501", "{kind}");
    }
    assert_eq!(number(&mut admin, LEFT), 0);
    let mut manager = site.login_with(&["manager"]);
    for (sql, state) in [
        ("SELECT auth.pv_forget_user(NULL::text)", "22004"),
        ("SELECT auth.pv_forget_user(''::text)", "22023"),
        ("SELECT * FROM password_verify.forgetting", "42501"),
    ] {
        assert_eq!(sqlstate(manager.query(sql, &[])), state, "{sql}");
    }
    assert!(!manage(&mut manager, "pv_forget_user", "ida"));
}

/// Without the index nothing is found, and so nothing is said to be erased; with it, everything is.
#[test]
fn without_its_index_it_waits() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "jonas", GOOD), Answer::yes());
    settle(&mut admin);
    for other in [
        "SELECT",
        "CREATE INDEX event_user ON password_verify.event (user_id, at) WHERE user_id IS NOT NULL AND count > 1",
        "CREATE INDEX event_user ON password_verify.event (client_addr, at) WHERE user_id IS NOT NULL",
    ] {
        admin
            .batch_execute(&format!("DROP INDEX IF EXISTS password_verify.event_user; {other}"))
            .unwrap();
        forget(&mut app, "jonas");
        assert_eq!(validate(&mut app, "jonas", GOOD), Answer::wrong());
        assert!(number(&mut admin, LEFT) > 0, "{other}");
        assert_eq!(number(&mut admin, ERASED), 0, "{other}");
    }
    admin
        .batch_execute(
            "DROP INDEX password_verify.event_user;
             CREATE INDEX event_user ON password_verify.event (user_id, at) WHERE user_id IS NOT NULL",
        )
        .unwrap();
    forget(&mut app, "jonas");
    await_forgotten(&mut admin);
    assert_eq!(places(&mut admin, "jonas"), [""; 0]);
    assert_intact(&mut admin);
}

/// Names go from one to another: only the events of the one who is forgotten lose theirs.
#[test]
fn who_else_has_had_a_name_keeps_the_events() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    // Somebody who lives on under a name that she had before.
    assert_eq!(create(&mut app, "live", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "live", GOOD), Answer::yes());
    for (old, new) in [("live", "passing"), ("passing", "live")] {
        assert_eq!(rename(&mut app, old, new), Answer::yes());
    }
    // Somebody who has left a name, and another who has taken it and left it as well.
    for (first, second) in [("vera", "vera-2"), ("mona", "vera")] {
        assert_eq!(create(&mut app, first, GOOD), Answer::yes());
        assert_eq!(rename(&mut app, first, second), Answer::yes());
    }
    assert_eq!(rename(&mut app, "vera", "ramona"), Answer::yes());
    settle(&mut admin);
    let lives = of_user(&mut admin, "live");
    assert!(!forget(&mut app, "passing"), "there is nobody of that name");
    await_forgotten(&mut admin);
    assert_eq!(places(&mut admin, "passing"), [""; 0]);
    assert_eq!(of_user(&mut admin, "live"), lives);
    // Of the name that both had, only the later one's events.
    assert!(forget(&mut app, "ramona"));
    await_forgotten(&mut admin);
    assert_eq!(of_user(&mut admin, "vera"), ["create committed", "rename committed"]);
    assert_eq!(places(&mut admin, "mona"), [""; 0]);
    assert!(forget(&mut app, "vera-2"));
    await_forgotten(&mut admin);
    assert_eq!(places(&mut admin, "vera"), [""; 0]);
    // Of the one who was given it by an administrator nothing says when that began, but when the other had left.
    assert_eq!(create(&mut app, "walter", GOOD), Answer::yes());
    assert_eq!(rename(&mut app, "walter", "walter-2"), Answer::yes());
    assert_eq!(set(&mut app, "walter", GOOD), Answer::yes());
    assert_eq!(rename(&mut app, "walter", "wally"), Answer::yes());
    assert!(forget(&mut app, "wally"));
    await_forgotten(&mut admin);
    assert_eq!(of_user(&mut admin, "walter"), ["create committed", "rename committed"]);
    // Renamed and forgotten in one transaction, by way of several names.
    assert_eq!(create(&mut app, "one", GOOD), Answer::yes());
    let mut open = app.transaction().unwrap();
    for (old, new) in [("one", "two"), ("two", "one"), ("one", "three")] {
        assert_eq!(rename(&mut open, old, new), Answer::yes());
    }
    open.query("SELECT auth.pv_forget_user('three'::text)", &[]).unwrap();
    open.commit().unwrap();
    await_forgotten(&mut admin);
    let left = "SELECT count(*) FROM auth.pv_events WHERE user_id IN ('one', 'two', 'three')";
    assert_eq!(number(&mut admin, left), 0);
    assert_intact(&mut admin);
    assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
}

/// Nobody can choose an id that stands for another user.
#[test]
fn an_id_that_looks_like_a_digest_is_none() {
    let digests = ["password_verify.audit_user_ids = digest"];
    let site = Site::on(sealed_server_with(&line("k1", &fresh_key()), &digests));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "victim", GOOD), Answer::yes());
    settle(&mut admin);
    let digest = text(&mut admin, "SELECT user_id FROM auth.pv_events WHERE action = 'create'");
    let events = "SELECT count(*) FROM auth.pv_user_events($1::text)";
    let found =
        |admin: &mut Client, id: &str| -> i64 { admin.query_one(events, &[&id]).unwrap().get(0) };
    assert_eq!((found(&mut admin, "victim"), found(&mut admin, &digest)), (1, 0));
    assert_eq!(create(&mut app, &digest, GOOD), Answer::yes());
    assert!(forget(&mut app, &digest));
    await_forgotten(&mut admin);
    assert_eq!((found(&mut admin, "victim"), found(&mut admin, &digest)), (1, 0));
    assert_intact(&mut admin);
}

/// What was tried before the commit is about the user who is forgotten then; a sign-up that is open is somebody's.
#[test]
fn what_happens_at_the_same_time_belongs_to_one_or_the_other() {
    let site = Site::on(server(&[]));
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    assert_eq!(create(&mut app, "karl", GOOD), Answer::yes());
    let mut manager = with_all_kinds(&site);
    let mut open = manager.transaction().unwrap();
    open.query("SELECT auth.pv_forget_user('karl'::text)", &[]).unwrap();
    assert_eq!(validate(&mut app, "karl", WRONG), Answer::wrong());
    open.commit().unwrap();
    await_forgotten(&mut admin);
    assert_eq!(places(&mut admin, "karl"), [""; 0]);
    let mut open = app.transaction().unwrap();
    open.query("SELECT auth.pv_create_password('lars'::text, $1)", &[&GOOD]).unwrap();
    assert!(!forget(&mut manager, "lars"));
    wait_until("it is done", || {
        create(&mut admin, "passer-by", "short");
        number(&mut admin, LEFT) == 0
    });
    open.commit().unwrap();
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "lars"), ["create committed"]);
    assert_intact(&mut admin);
}

/// Whoever goes on trying an id keeps the worker from erasing neither that one nor others.
#[test]
fn a_flood_keeps_nothing_from_being_erased() {
    let site = Site::on(server(&[]));
    // Nobody waits for the worker, which always finds more to write.
    site.configure(&["audit_durability = async"]);
    let (mut app, mut admin) = (with_all_kinds(&site), site.admin());
    busy(&mut admin, "flooded", 2000);
    assert_eq!(create(&mut app, "other", GOOD), Answer::yes());
    settle(&mut admin);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut flood = site.login();
                let sql = "SELECT count(auth.pv_create_password('flooded'::text, 'short')) FROM generate_series(1, 500)";
                while !over.load(Ordering::Relaxed) {
                    flood.query(sql, &[]).unwrap();
                }
            });
        }
        let _end = AtEnd(&over);
        let counted = "SELECT COALESCE(sum(count), 0)::bigint FROM password_verify.event_fold";
        wait_until("all of them are at it", || number(&mut admin, counted) > 1000);
        assert!(forget(&mut app, "flooded"));
        assert!(forget(&mut app, "other"));
        wait_until("it does not wait for the flood to end", || number(&mut admin, LEFT) == 0);
    });
    settle(&mut admin);
    assert_eq!(places(&mut admin, "other"), [""; 0]);
    assert_intact(&mut admin);
    assert_eq!(number(&mut admin, ERASED), number(&mut admin, TOLD));
}
