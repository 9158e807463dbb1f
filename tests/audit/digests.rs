//! Events that name users by digests only: nobody reads an id there, and whoever knows one finds its events.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{create, manage, rename, validate};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::keyring::{
    fresh_key, keyring, line, put, reload, sealed_server_with, setting,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{assert_intact, settle, verify, wait_until};
use password_verify_tests::{ALL_KINDS, Answer, Cluster, GOOD, Site, WRONG, refused};
use postgres::Client;

const DIGEST: &str = "password_verify.audit_user_ids = digest";
const IDS: [&str; 4] =
    ["Klara.Known", "nobody@example.org", "hunter2 in the wrong field", "Lena.Later"];

fn site(key: &str) -> Site {
    Site::on(sealed_server_with(&line("k1", key), &[DIGEST, "log_min_messages = debug1"]))
}

/// All that the events and the open folds hold, as text.
fn trail(admin: &mut Client) -> String {
    text(
        admin,
        "SELECT string_agg(e::text, ' ') FROM (SELECT e::text FROM password_verify.event e UNION ALL SELECT f::text FROM password_verify.event_fold f) e",
    )
}

fn found(admin: &mut Client, user: &str) -> i64 {
    let sql =
        "SELECT COALESCE(sum(count), 0)::bigint FROM auth.pv_user_events($1::text, NULL, 1000)";
    admin.query_one(sql, &[&user]).unwrap().get(0)
}

#[test]
fn nobody_reads_an_id_and_whoever_knows_it_finds_it() {
    let site = site(&fresh_key());
    let (mut app, mut admin) = (site.login_with(&ALL_KINDS), site.admin());
    assert_eq!(create(&mut app, IDS[0], GOOD), Answer::yes());
    for id in &IDS[..3] {
        // More than once, so that some are in open folds, and often enough for an alert in the log.
        for _ in 0..15 {
            validate(&mut app, id, WRONG);
        }
    }
    assert_eq!(rename(&mut app, IDS[0], IDS[3]), Answer::yes());
    settle(&mut admin);
    let (trail, log) = (trail(&mut admin), site.cluster.log());
    for id in IDS {
        assert!(found(&mut admin, id) > 0, "{id}");
        assert!(!trail.contains(id) && !log.contains(id), "{id}");
    }
    assert!(log.contains(r#""alert":["#), "{log}");
    assert!(log.contains(r#""user_id":"digest:"#), "{log}");
    // Known and unknown ids look alike.
    let forms = "SELECT count(DISTINCT user_id) FILTER (WHERE user_id ~ '^digest:[0-9a-f]{32}$'), count(DISTINCT user_id) FROM auth.pv_events";
    let row = admin.query_one(forms, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (4, 4));
    assert_eq!(found(&mut admin, "somebody else"), 0);
    assert_intact(&mut admin);
}

#[test]
fn the_key_stays_when_the_keyring_is_rotated_and_the_setting_changes() {
    let (old, new) = (fresh_key(), fresh_key());
    let site = site(&old);
    let (mut app, mut admin) = (site.login_with(&ALL_KINDS), site.admin());
    assert_eq!(create(&mut app, IDS[0], GOOD), Answer::yes());
    settle(&mut admin);
    let before = text(&mut admin, "SELECT user_id FROM auth.pv_events WHERE action = 'create'");
    put(&site.cluster, &[line("k1", &old), line("k2", &new)].concat());
    reload(&site.cluster);
    wait_until("the new key is active", || {
        text(&mut admin, "SELECT key_id FROM auth.pv_keys WHERE active") == "k2"
    });
    admin.batch_execute("CALL auth.pv_rotate_keys()").unwrap();
    // Without the first key, too.
    site.cluster.down();
    put(&site.cluster, &line("k2", &new));
    site.cluster.up();
    let (mut app, mut admin) = (site.login_with(&ALL_KINDS), site.admin());
    assert_eq!(validate(&mut app, IDS[0], GOOD), Answer::yes());
    settle(&mut admin);
    let now = text(&mut admin, "SELECT user_id FROM auth.pv_events WHERE action = 'validate'");
    assert_eq!(now, before);
    // From now on as text: an auditor's question finds both, and a manager forgets both.
    site.cluster.configure(&["password_verify.audit_user_ids = text"]);
    reload(&site.cluster);
    wait_until("ids are text", || {
        validate(&mut app, IDS[0], GOOD);
        number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE user_id = 'Klara.Known'") > 0
    });
    assert!(found(&mut admin, IDS[0]) >= 3);
    assert!(manage(&mut app, "pv_forget_user", IDS[0]));
    wait_until("all is erased", || {
        create(&mut admin, "passer-by", "short");
        number(&mut admin, "SELECT count(*) FROM password_verify.forgetting") == 0
    });
    assert_eq!(found(&mut admin, IDS[0]), 0);
    // The chain of the first epochs needs its key.
    put(&site.cluster, &[line("k1", &old), line("k2", &new)].concat());
    reload(&site.cluster);
    wait_until("the key is back", || verify(&mut admin).intact);
    assert!(!trail(&mut admin).contains(&before));
    assert_intact(&mut admin);
}

#[test]
fn digests_need_a_keyring() {
    let site = Site::on(server(&[DIGEST]));
    let (mut app, mut admin) = (site.login_with(&ALL_KINDS), site.admin());
    for sql in [
        "SELECT auth.pv_validate_password('x'::text, 'long enough for that')",
        "SELECT auth.pv_create_password('x'::text, 'long enough for that')",
        "SELECT auth.pv_forget_user('x'::text)",
    ] {
        let (state, message, hint) = refused(app.query(sql, &[]));
        assert_eq!(state, "55000", "{sql}: {message}");
        assert!(
            message.contains("audit_user_ids") && hint.contains("keyring_file"),
            "{message} {hint}"
        );
    }
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM auth.pv_events WHERE user_id IS NOT NULL"),
        0
    );
}

/// A standby has no table to write to: its log has digests as well, with the same key.
#[test]
fn the_lines_of_a_standby_have_digests() {
    let key = fresh_key();
    let site = site(&key);
    let (mut app, mut admin) = (site.login_with(&ALL_KINDS), site.admin());
    assert_eq!(create(&mut app, IDS[0], GOOD), Answer::yes());
    settle(&mut admin);
    let digest = text(&mut admin, "SELECT user_id FROM auth.pv_events WHERE action = 'create'");
    let standby = Cluster::empty();
    let mut copy = standby.command("pg_basebackup");
    copy.arg("-D").arg(standby.data()).arg("-h").arg(site.cluster.folder());
    run(copy.args(["-R", "-c", "fast"]));
    let path = keyring(&standby, "keys", &line("k1", &key), 0o600);
    let settings = [&*setting(&path), DIGEST, "password_verify.standby_validation = on"];
    standby.configure(&[PRELOADED, &settings].concat());
    standby.up();
    let mut app = standby.connect(&site.app, &site.database);
    assert_eq!(validate(&mut app, IDS[0], GOOD), Answer::yes());
    assert_eq!(validate(&mut app, IDS[1], GOOD), Answer::wrong());
    let log = standby.log();
    assert!(log.contains(r#""ecs":"#) && log.contains(&digest), "{log}");
    assert!(IDS.iter().all(|id| !log.contains(id)), "{log}");
}
