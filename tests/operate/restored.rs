//! A restore on purpose, a move to a keyring, and a key that is lost: what has to work, and what it says.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE, change, create, set, validate};
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::keyring::{
    fresh_key, keyring, line, put, restart, sealed_server, sealed_site, setting,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::roles::globals;
use password_verify_tests::rotation::ROTATE;
use password_verify_tests::trail::{assert_intact, epochs, of_user, settle, verify, wait_until};
use password_verify_tests::whole::{assert_whole, await_tampered, problem};
use password_verify_tests::{
    ALL_KINDS, Answer, Cluster, GOOD, OTHER, Site, WRONG, refused, sqlstate,
};

const ACCEPT: &str = "SELECT auth.pv_accept_restore($1)";

#[test]
fn only_a_superuser_accepts_a_restore_and_it_is_on_record() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.enroll("42", GOOD);
    let mut mighty = site.login_with(&ALL_KINDS);
    assert_eq!(sqlstate(mighty.query(ACCEPT, &[&"mine"])), "42501");
    // Not by a grant of EXECUTE either.
    let role = text(&mut mighty, "SELECT current_user::text");
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("GRANT EXECUTE ON FUNCTION auth.pv_accept_restore(text) TO {role}"))
        .unwrap();
    let (state, message, _) = refused(mighty.query(ACCEPT, &[&"mine"]));
    assert_eq!(
        (state.as_str(), message.as_str()),
        ("42501", "only a superuser can accept a restore")
    );
    for reason in ["", &"x".repeat(256)] {
        assert_eq!(sqlstate(admin.query(ACCEPT, &[&reason])), "22023", "{reason}");
    }
    assert_eq!(sqlstate(admin.query(ACCEPT, &[&None::<&str>])), "22004");
    assert_eq!(epochs(&mut admin), ["start"]);

    // On record whatever becomes of the transaction.
    admin
        .batch_execute("BEGIN; SELECT auth.pv_accept_restore('the disk failed'); ROLLBACK")
        .unwrap();
    assert_eq!(epochs(&mut admin), ["start", "accepted"]);
    let sql =
        "SELECT detail || ' ' || acting_role FROM auth.pv_events WHERE action = 'accept_restore'";
    assert!(text(&mut admin, sql).contains("the disk failed"));
    assert_intact(&mut admin);
    assert_whole(&mut admin);
    // Without a keyring there is nothing to accept.
    let plain = Site::new();
    assert_eq!(sqlstate(plain.admin().query(ACCEPT, &[&"none"])), "55000");
    assert_eq!(sqlstate(plain.admin().query("SELECT auth.pv_verify_credentials()", &[])), "55000");
}

/// Everything put back to a consistent older state, as a restore of a base backup does it: only a head that was
/// kept elsewhere shows it.
#[test]
fn what_is_put_back_as_a_whole_only_a_kept_head_shows() {
    let keys = line("a", &fresh_key());
    let site = sealed_site(&keys);
    site.enroll("42", GOOD);
    settle(&mut site.admin());
    site.cluster.down();
    let older = Cluster::copy_of(&site.cluster);
    keyring(&older, "keys", &keys, 0o600);
    older.configure(&[PRELOADED, &[&setting(&older.folder().join("keys"))]].concat());
    site.cluster.up();
    assert_eq!(change(&mut site.login(), "42", GOOD, OTHER), Answer::yes());
    settle(&mut site.admin());
    let kept = verify(&mut site.admin()).head.unwrap();
    site.cluster.down();

    older.up();
    let mut app = older.connect(&site.app, &site.database);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    let mut admin = older.admin(&site.database);
    assert_intact(&mut admin);
    assert_whole(&mut admin);
    let sql = "SELECT intact FROM auth.pv_verify_events($1, $2, $3)";
    let intact = |admin: &mut postgres::Client| {
        admin.query_one(sql, &[&kept.0, &kept.1, &kept.2]).unwrap().get::<_, bool>(0)
    };
    assert!(!intact(&mut admin));
    // On purpose: an epoch says so, and names what it follows.
    admin.query(ACCEPT, &[&"restored the backup of Sunday"]).unwrap();
    assert_eq!(epochs(&mut admin).last().unwrap(), "accepted");
    assert_intact(&mut admin);
    assert!(!intact(&mut admin), "it is still not what was kept");
    let now = verify(&mut admin).head.unwrap();
    assert_eq!(create(&mut app, "43", GOOD), Answer::yes());
    assert!(admin.query_one(sql, &[&now.0, &now.1, &now.2]).unwrap().get::<_, bool>(0));
}

#[test]
fn a_dump_with_open_changes_is_restored_whole() {
    let keys = line("a", &fresh_key());
    let site = sealed_site(&keys);
    (0..5).for_each(|i| site.enroll(&format!("user{i}"), GOOD));
    let mut open: Vec<_> = (0..3).map(|_| site.login()).collect();
    for (i, session) in open.iter_mut().enumerate() {
        session.batch_execute("BEGIN").unwrap();
        assert_eq!(create(session, &format!("open{i}"), GOOD), Answer::yes());
        assert_eq!(change(session, &format!("user{i}"), GOOD, OTHER), Answer::yes());
    }
    let mut admin = site.admin();
    wait_until("all are on record", || {
        number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'") == 6
    });
    assert_whole(&mut admin);
    // One is committed in the dump, and its end not on record; two are not.
    let worker = password_verify_tests::trail::worker(&mut admin).unwrap();
    run(std::process::Command::new("kill").args(["-STOP", &worker.to_string()]));
    open[0].batch_execute("COMMIT").unwrap();
    let file = site.cluster.folder().join("dump");
    let mut pg_dump = site.cluster.command("pg_dump");
    run(pg_dump.args(["-Fc", "-f"]).arg(&file).arg(&site.database));
    run(std::process::Command::new("kill").args(["-CONT", &worker.to_string()]));
    settle_without(&mut admin, 4);
    assert_whole(&mut admin);

    let elsewhere = sealed_server(&keys);
    elsewhere.admin("postgres").batch_execute(&globals(&site.cluster)).unwrap();
    elsewhere
        .admin("postgres")
        .batch_execute("CREATE DATABASE restored TEMPLATE template0")
        .unwrap();
    run(elsewhere.command("pg_restore").args(["-d", "restored"]).arg(&file));
    let mut app = elsewhere.connect(&site.app, "restored");
    let mut restored = elsewhere.admin("restored");
    assert_eq!(validate(&mut app, "open0", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "open1", GOOD), Answer::wrong());
    assert_eq!(validate(&mut app, "user1", GOOD), Answer::yes());
    settle(&mut restored);
    assert_eq!(of_user(&mut restored, "open0"), ["create unknown", "validate valid"]);
    assert_intact(&mut restored);
    assert_whole(&mut restored);
    // And what is changed there, too.
    assert_eq!(change(&mut app, "user2", GOOD, OTHER), Answer::yes());
    settle(&mut restored);
    assert_whole(&mut restored);
    restored
        .batch_execute("DELETE FROM password_verify.credential WHERE user_id = 'user4'")
        .unwrap();
    assert_eq!(problem(&mut restored).unwrap().0, "credential");
    // In a database with another keyring nothing of it counts.
    let stranger = sealed_server(&line("b", &fresh_key()));
    stranger.admin("postgres").batch_execute(&globals(&site.cluster)).unwrap();
    stranger
        .admin("postgres")
        .batch_execute("CREATE DATABASE restored TEMPLATE template0")
        .unwrap();
    run(stranger.command("pg_restore").args(["-d", "restored"]).arg(&file));
    let mut app = stranger.connect(&site.app, "restored");
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"user1", &GOOD])), "55000");
}

/// Waits until so many changes are left without an end.
fn settle_without(admin: &mut postgres::Client, open: i64) {
    wait_until("the others have ended", || {
        number(admin, "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'") == open
    });
}

#[test]
fn a_move_to_a_keyring_is_declared_and_ends() {
    let site = Site::on(Arc::new(Cluster::start(PRELOADED)));
    (0..3).for_each(|i| site.enroll(&format!("user{i}"), GOOD));
    let record = "SELECT verifier FROM password_verify.credential WHERE user_id = 'user0'";
    let planted = text(&mut site.admin(), record);
    let key = line("a", &fresh_key());
    put(&site.cluster, &key);
    site.cluster.configure(&[
        &setting(&site.cluster.folder().join("keys")),
        "password_verify.accept_unsealed = 'until_rotated'",
    ]);
    restart(&site.cluster, &key);
    assert_eq!(validate(&mut site.login(), "user1", GOOD), Answer::yes());
    let mut admin = site.admin();
    // On record, with an alert.
    assert_eq!(epochs(&mut admin), ["start", "unsealed"]);
    assert!(site.cluster.log().contains(r#""alert":["unsealed"]"#));
    // Signed or not: a seal alone does not keep the move from its end.
    assert_eq!(set(&mut admin, "user2", GOOD), Answer::yes());
    for table in ["credential", "account"] {
        let unsigned =
            format!("UPDATE password_verify.{table} SET mac = '' WHERE user_id = 'user2'");
        admin.batch_execute(&unsigned).unwrap();
    }
    admin.batch_execute(ROTATE).unwrap();
    let mac = "SELECT count(*) FROM password_verify.credential c JOIN password_verify.account a USING (user_id)
                WHERE c.user_id = 'user2' AND c.mac <> '' AND a.mac <> ''";
    assert_eq!(number(&mut admin, mac), 1);
    // The row was tampered with, as its sum says for as long as nobody has taken note of it.
    admin.batch_execute("SELECT auth.pv_accept_restore('user2 was tampered with')").unwrap();
    admin.batch_execute(ROTATE).unwrap();
    assert_whole(&mut admin);
    // It is over: what comes without a key now is refused, as long as the setting may say the same.
    let plant = format!(
        "UPDATE password_verify.credential SET verifier = '{planted}', mac = '' WHERE user_id = 'user1'"
    );
    admin.batch_execute(&plant).unwrap();
    assert_eq!(sqlstate(site.login().query(VALIDATE, &[&"user1", &GOOD])), "XX001");
    drop(admin);
    restart(&site.cluster, &key);
    assert_eq!(sqlstate(site.login().query(VALIDATE, &[&"user1", &GOOD])), "XX001");
    assert!(site.cluster.log().contains("is sealed: if that is so of all databases, remove"));
    assert_eq!(set(&mut site.admin(), "user1", GOOD), Answer::yes());

    // Somebody who has everything forgotten that says so: the sealed records that are left do not fit.
    restart(&site.cluster, &key);
    let mut admin = site.admin();
    admin
        .batch_execute("DELETE FROM password_verify.anchor; DELETE FROM password_verify.event; DELETE FROM password_verify.event_fold")
        .unwrap();
    admin.batch_execute(&plant).unwrap();
    validate(&mut site.login(), "user0", GOOD);
    await_tampered(&site, "credential");
    assert_eq!(problem(&mut admin).unwrap().0, "credential");
}

/// Whoever replaces everything by what a server without a keyring makes needs the setting, and is on record.
#[test]
fn a_move_to_a_keyring_cannot_be_declared_in_sql_and_is_on_record() {
    let site = sealed_site(&line("a", &fresh_key()));
    let mut admin = site.admin();
    for setting in
        ["accept_unsealed = 'on'", "keyring_file = '/tmp/mine'", "keyring_command = 'cat mine'"]
    {
        let sql = format!("ALTER SYSTEM SET password_verify.{setting}");
        assert_eq!(sqlstate(admin.batch_execute(&sql)), "55P02", "{setting}");
    }
    // In the file all the same.
    site.enroll("42", GOOD);
    site.cluster.configure(&["password_verify.accept_unsealed = 'until_rotated'"]);
    site.cluster.down();
    site.cluster.up();
    let plain = Site::new();
    plain.enroll("42", OTHER);
    settle(&mut plain.admin());
    let mut admin = site.admin();
    for table in [
        "anchor",
        "event_fold",
        "event",
        "open_change",
        "throttle",
        "cost_class",
        "account",
        "credential",
        "secret",
        "job",
        "result",
        "vault",
        "blind_index_key",
    ] {
        admin.batch_execute(&format!("DELETE FROM password_verify.{table}")).unwrap();
        let sql = format!("COPY password_verify.{table} TO STDOUT");
        let output =
            run(plain.cluster.command("psql").args(["-X", "-d", &plain.database, "-c", &sql]));
        let mut writer =
            admin.copy_in(&format!("COPY password_verify.{table} FROM STDIN")).unwrap();
        std::io::Write::write_all(&mut writer, &output.stdout).unwrap();
        writer.finish().unwrap();
    }
    assert_eq!(validate(&mut site.login(), "42", OTHER), Answer::yes());
    assert_eq!(epochs(&mut admin), ["start", "unsealed"]);
    let alert = format!(r#""alert":["unsealed"],"database":"{}""#, site.database);
    assert!(site.cluster.log().contains(&alert));
}

#[test]
fn for_ever_open_says_so_at_each_start() {
    let key = line("a", &fresh_key());
    let site = password_verify_tests::keyring::open_site(&key);
    site.enroll("42", GOOD);
    assert!(site.cluster.log().contains("WARNING:  password_verify.accept_unsealed is on"));
    let said = site.cluster.log().matches("accept_unsealed is on").count();
    restart(&site.cluster, &key);
    assert_eq!(site.cluster.log().matches("accept_unsealed is on").count(), said + 1);
}

#[test]
fn without_its_key_nothing_counts_and_with_it_everything_does() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    site.enroll("42", GOOD);
    site.allow_failures();
    assert_eq!(validate(&mut site.login(), "42", WRONG), Answer::wrong());
    settle(&mut site.admin());
    restart(&site.cluster, &b);
    let (state, message, _) = refused(site.login().query(VALIDATE, &[&"42", &GOOD]));
    assert_eq!(state, "55000");
    assert!(message.contains("has no key a"), "{message}");
    assert!(problem(&mut site.admin()).is_some());
    // What was there is there. That there was a start without the key stays on record.
    restart(&site.cluster, &format!("{b}{a}"));
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert!(problem(&mut site.admin()).is_some() && !verify(&mut site.admin()).intact);
    site.admin().batch_execute("SELECT auth.pv_accept_restore('the key was missing')").unwrap();
    assert_whole(&mut site.admin());
    assert_intact(&mut site.admin());
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
}
