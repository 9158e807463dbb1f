//! `pv_doctor` on the keyring, the server, its worker and its connections.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE_FROM, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::doctor::{Mend, examine, examined, run, told};
use password_verify_tests::imports::{BCRYPT, SHA1};
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::keyring::{
    fresh_key, keyring, line, put, reload, sealed_server, sealed_server_with, sealed_site, setting,
};
use password_verify_tests::query::text;
use password_verify_tests::trail::{settle, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, Site};

fn restart(site: &Site) {
    site.cluster.down();
    site.cluster.up();
}

/// Lines that come later count.
fn restart_with(site: &Site, line: &str) {
    site.cluster.down();
    site.cluster.configure(&[line]);
    site.cluster.up();
}

#[test]
fn a_keyring_is_missed_and_its_file_is_looked_at() {
    let site = Site::on(server(&[]));
    let found = examine(&mut site.admin());
    assert!(found.len() == 1 && found[0].is_of("no keyring"), "{found:?}");
    let key = line("a", &fresh_key());
    let file = keyring(&site.cluster, "keys", &key, 0o600);
    // The extension as it is made when there is a keyring already.
    run(&site, "DROP EXTENSION password_verify");
    restart_with(&site, &setting(&file));
    run(&site, "CREATE EXTENSION password_verify SCHEMA auth");
    run(
        &site,
        &format!(
            "SELECT auth.pv_grant('{0}', 'verifier'), auth.pv_grant('{0}', 'enroller')",
            site.app
        ),
    );
    assert_eq!(examine(&mut site.admin()), []);
    told("no keyring", &found[0], "a server without", "a server with one", false);

    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let rule = "the keyring's file is not as it must be";
    let private = || mode(0o600);
    examined(
        &site,
        rule,
        ("a file that only its owner may read", || mode(0o400)),
        ("a file that its group may read", || mode(0o640)),
        &Mend::ByHand(&private),
    );
    let inside = site.cluster.data().join("keys");
    let back = || {
        fs::remove_file(&file).unwrap();
        put(&site.cluster, &key);
    };
    examined(
        &site,
        rule,
        ("a link to a file beside the data directory", || {
            fs::rename(&file, file.with_extension("real")).unwrap();
            symlink(file.with_extension("real"), &file).unwrap();
        }),
        ("a link to a file in the data directory", || {
            fs::copy(&file, &inside).unwrap();
            fs::set_permissions(&inside, fs::Permissions::from_mode(0o600)).unwrap();
            let owner = fs::metadata(site.cluster.data()).unwrap();
            let _ = chown(&inside, Some(owner.uid()), Some(owner.gid()));
            fs::remove_file(&file).unwrap();
            symlink(&inside, &file).unwrap();
        }),
        &Mend::ByHand(&back),
    );
}

#[test]
fn records_under_other_keys_are_counted() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    let enrolled = || {
        site.enroll("1", GOOD);
        site.enroll("2", GOOD);
    };
    let new_key = |keys: String| {
        put(&site.cluster, &keys);
        reload(&site.cluster);
    };
    examined(
        &site,
        "records under an old key",
        ("two users, and one key", enrolled),
        ("another key, and a reload", || new_key(format!("{a}{b}"))),
        &Mend::Remedy,
    );
    site.enroll("3", GOOD);
    settle(&mut site.admin());
    examined(
        &site,
        "records under a key that the keyring lacks",
        ("the first key, which nothing needs any more, is gone", || new_key(b.clone())),
        ("the second is gone, and a third is there", || {
            restart_keys(&site, &format!("{}{}", a, line("c", &fresh_key())));
        }),
        &Mend::ByHand(&|| restart_keys(&site, &format!("{a}{b}"))),
    );
}

fn restart_keys(site: &Site, keys: &str) {
    site.cluster.down();
    put(&site.cluster, keys);
    site.cluster.up();
}

#[test]
fn what_is_not_sealed_is_counted() {
    let cluster = Arc::new(Cluster::init());
    cluster.configure(&["shared_preload_libraries = 'password_verify'"]);
    cluster.up();
    let site = Site::on(Arc::clone(&cluster));
    site.enroll("1", GOOD);
    let file = keyring(&cluster, "keys", &line("a", &fresh_key()), 0o600);
    restart_with(&site, &setting(&file));
    restart_with(&site, "password_verify.accept_unsealed = until_rotated");
    assert_eq!(validate(&mut site.login(), "1", GOOD), Answer::yes());
    let found = examine(&mut site.admin());
    let [declared, unsealed] = &found[..] else { panic!("{found:?}") };
    assert!(unsealed.is_of("a move to a keyring has been declared"), "{found:?}");
    assert!(declared.is_of("records that are not sealed"), "{found:?}");
    run(&site, &declared.remedy);
    let found = examine(&mut site.admin());
    assert!(
        found.len() == 1 && found[0].is_of("a move to a keyring has been declared"),
        "{found:?}"
    );
    told(
        "records that are not sealed",
        declared,
        "a user from before the keyring",
        "the same user, after `pv_rotate_keys`",
        true,
    );
    told(
        "a move to a keyring has been declared",
        unsealed,
        "accept_unsealed = until_rotated",
        "a server without this setting",
        false,
    );
    restart_with(&site, "password_verify.accept_unsealed = on");
    let on = examine(&mut site.admin());
    assert!(on.len() == 1 && on[0].is_of("unsealed rows are accepted"), "{on:?}");
    told(
        "unsealed rows are accepted",
        &on[0],
        "accept_unsealed = on",
        "a server without this setting",
        false,
    );
    restart_with(&site, "password_verify.accept_unsealed = off");
    assert_eq!(examine(&mut site.admin()), []);
}

#[test]
fn records_of_other_costs_are_counted() {
    let site = sealed_site(&line("a", &fresh_key()));
    let mut manager = site.login_with(&["manager"]);
    let mut import = |user: &str, hash: &str| {
        let sql = "SELECT success FROM auth.pv_import_hash($1::text, $2)";
        assert!(manager.query_one(sql, &[&user, &hash]).unwrap().get::<_, bool>(0));
    };
    let logs_in = |user: &'static str| {
        move |site: &Site| assert_eq!(validate(&mut site.login(), user, GOOD), Answer::yes())
    };
    let (one, two, three) =
        (|| logs_in("1")(&site), || logs_in("2")(&site), || logs_in("3")(&site));
    let enrolled = ("a user with a password of ours", || site.enroll("3", GOOD));
    examined(
        &site,
        "imported hashes that do not look at the whole password",
        enrolled,
        ("an imported hash of bcrypt", || import("1", BCRYPT)),
        &Mend::ByHand(&one),
    );
    examined(
        &site,
        "imported hashes",
        ("its user has logged in", || ()),
        ("an imported hash of SHA-1, wrapped", || import("2", SHA1)),
        &Mend::ByHand(&two),
    );
    // All three are renewed.
    let all = || {
        one();
        two();
        three();
    };
    examined(
        &site,
        "records of another cost than new ones",
        ("more users", || site.enroll("4", GOOD)),
        ("a pass more for new hashes, and a new user", || {
            site.configure(&["argon2_iterations = 6"]);
            run(
                &site,
                &format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'password_verify' AND datname = '{}'",
                    site.database
                ),
            );
            site.enroll("5", GOOD);
        }),
        &Mend::ByHand(&|| {
            all();
            logs_in("4")(&site);
        }),
    );
}

#[test]
fn lines_of_pg_hba_conf_are_read() {
    let site = sealed_site(&line("a", &fresh_key()));
    let file = site.cluster.data().join("pg_hba.conf");
    let begins = fs::read_to_string(&file).unwrap();
    let with = |line: &str| {
        fs::write(&file, format!("{line}\n{begins}")).unwrap();
        reload(&site.cluster);
    };
    let (none, scram) = (|| with("# nothing"), || with("host all all 192.0.2.0/24 scram-sha-256"));
    examined(
        &site,
        "a connection over the network without TLS",
        ("`host all all 127.0.0.0/8 trust`, and `host other all 192.0.2.0/24 trust`", || {
            with(
                "host all all 127.0.0.0/8 trust\nhost other all 192.0.2.0/24 trust\nhost all all all reject",
            );
        }),
        ("`host all all 192.0.2.0/24 scram-sha-256`", scram),
        &Mend::ByHand(&none),
    );
    examined(
        &site,
        "a line of pg_hba.conf that does not count",
        ("# a comment", || with("# a comment")),
        ("a line with a method that does not exist", || with("local all all nothing")),
        &Mend::ByHand(&none),
    );
    // From here on a line without TLS is there.
    scram();
    for (rule, line) in [
        ("a connection over the network without a password", "host all all 192.0.2.0/24 trust"),
        (
            "a connection over the network without a password",
            "host all all 127.0.0.1 0.0.0.0 trust",
        ),
        ("a connection over the network without a password", "host replication all all trust"),
        ("a login's password crosses the network as it is", "host sameuser all ::/0 password"),
    ] {
        let quiet = ("`host all all 192.0.2.0/24 scram-sha-256`", || ());
        examined(&site, rule, quiet, (&format!("`{line}`"), || with(line)), &Mend::ByHand(&scram));
    }
}

#[test]
fn slots_and_memory_are_those_of_the_machine() {
    let site = Site::on(sealed_server_with(
        &line("a", &fresh_key()),
        &["password_verify.hash_memory_limit = 7MB", "password_verify.hash_slots = 1"],
    ));
    let again = || restart(&site);
    examined(
        &site,
        "more hash slots than processors",
        ("one slot", || ()),
        ("256 slots of 7 MB", || restart_with(&site, "password_verify.hash_slots = 256")),
        &Mend::RemedyThen(&again),
    );
    run(&site, "ALTER SYSTEM RESET password_verify.hash_slots");
    restart(&site);
    let before = examine(&mut site.admin()).len();
    assert_eq!(before, 1, "256 slots");
    site.cluster.down();
    site.cluster.configure(&["password_verify.hash_memory_limit = 1GB"]);
    site.cluster.up();
    let found = examine(&mut site.admin());
    let memory =
        found.iter().find(|finding| finding.is_of("more memory for hashes than there is")).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    run(&site, &memory.remedy);
    restart(&site);
    assert_eq!(examine(&mut site.admin()), []);
    told(
        "more memory for hashes than there is",
        memory,
        "256 slots of 1 GB",
        "256 slots of 7 MB",
        true,
    );
}

#[test]
fn hashes_in_small_pages_are_told() {
    let site = sealed_site(&line("a", &fresh_key()));
    let huge = || restart(&site);
    examined(
        &site,
        "hashes in small pages",
        ("a server that gets huge pages, before its first hash", || ()),
        ("a hash on a server whose processes get none", || {
            site.cluster.down();
            site.cluster.up_without_huge_pages();
            validate(&mut site.login(), "1", GOOD);
        }),
        &Mend::ByHand(&huge),
    );
}

#[test]
fn a_worker_that_does_not_come_or_stands_still_is_told() {
    let site = Site::on(sealed_server_with(
        &line("a", &fresh_key()),
        &["password_verify.audit_queue = 64"],
    ));
    site.configure(&["audit_durability = async"]);
    site.allow_failures();
    run(
        &site,
        &format!(
            "ALTER DATABASE {} SET password_verify.throttle_free_failures = 40",
            site.database
        ),
    );
    let mut app = site.login();
    let mut attempts = |count: u32| {
        for _ in 0..count {
            validate(&mut app, "1", "wrong");
        }
    };
    attempts(1);
    let stopped = stop_worker(&site);
    let mut stopped = Some(stopped);
    let before = examine(&mut site.admin());
    attempts(1);
    let wait = |rule: &str| {
        let mut found = Vec::new();
        wait_until(rule, || {
            found = examine(&mut site.admin());
            found.iter().any(|finding| finding.is_of(rule))
        });
        found.retain(|finding| !before.contains(finding));
        found
    };
    let late = wait("events wait to be written");
    assert_eq!(late.len(), 1, "{late:?}");
    attempts(13);
    let full = wait("the queue of events is filling");
    assert_eq!(full.len(), 2, "{full:?}");
    let queue =
        full.iter().find(|finding| finding.is_of("the queue of events is filling")).unwrap();
    drop(stopped.take());
    settle(&mut site.admin());
    assert_eq!(examine(&mut site.admin()), before);
    run(&site, &queue.remedy);
    told(
        "events wait to be written",
        &late[0],
        "a worker that stands still, and an event",
        "a worker that stands still, and nothing to write",
        false,
    );
    told(
        "the queue of events is filling",
        queue,
        "14 events that wait, where 16 have place",
        "1 event that waits",
        true,
    );

    // Without a place for any worker.
    let again = || restart_with(&site, "max_worker_processes = 20");
    examined(
        &site,
        "no worker comes",
        ("no worker, and nothing to do", || restart_with(&site, "max_worker_processes = 0")),
        ("no worker, and an attempt", || {
            assert_eq!(validate(&mut site.login(), "1", "wrong"), Answer::no("busy"));
        }),
        &Mend::ByHand(&again),
    );
}

#[test]
fn budgets_that_fill_are_told() {
    let settings =
        ["password_verify.throttle_entries = 1024", "password_verify.audit_queue = 8192"];
    let site = Site::on(sealed_server_with(&line("a", &fresh_key()), &settings));
    site.configure(&["audit_durability = async"]);
    let rule = "the budgets are filling";
    let found = || examine(&mut site.admin()).into_iter().find(|finding| finding.is_of(rule));
    let mut app = site.login();
    let mut attempts = |users: std::ops::Range<u32>| {
        for user in users {
            // Two budgets each.
            let from = format!("192.0.{}.{}", user / 250, user % 250);
            app.query(VALIDATE_FROM, &[&user.to_string(), &"wrong", &from]).unwrap();
        }
    };
    attempts(0..1);
    let stopped = stop_worker(&site);
    attempts(1..50);
    assert_eq!(found(), None);
    attempts(50..300);
    let full = found().unwrap();
    drop(stopped);
    settle(&mut site.admin());
    // What is written makes room.
    assert_eq!(found(), None);
    run(&site, &full.remedy);
    restart(&site);
    let size = "SELECT value::text FROM auth.pv_stats WHERE statistic = 'throttle_entries_size'";
    assert_eq!(text(&mut site.admin(), size), "2048");
    told(
        rule,
        &full,
        "a worker that stands still, and wrong passwords of 300 users from as many addresses, where 1,024 budgets have place",
        "of 50 users",
        true,
    );
}

#[test]
fn an_audit_is_to_be_verified_and_intact() {
    let site = Site::on(sealed_server(&line("a", &fresh_key())));
    site.enroll("1", GOOD);
    run(&site, "SELECT auth.pv_verify_events()");
    settle(&mut site.admin());
    let old =
        "UPDATE password_verify.event SET at = at - interval '31 days' WHERE action = 'verify'";
    examined(
        &site,
        "the audit was not verified for 30 days",
        ("29 days ago", || {
            run(&site, &old.replace("31", "29"));
            run(&site, "SELECT auth.pv_accept_restore('for a test')");
        }),
        ("31 days ago", || {
            run(&site, &old.replace("31", "2"));
            run(&site, "SELECT auth.pv_accept_restore('for a test')");
        }),
        &Mend::Remedy,
    );
    let accept = || run(&site, "SELECT auth.pv_accept_restore('for a test')");
    let found = |rule: &str, sql: &str, ask: &str| {
        let before = examine(&mut site.admin());
        run(&site, sql);
        run(&site, ask);
        let mut now = Vec::new();
        wait_until(rule, || {
            now = examine(&mut site.admin());
            now.len() > before.len()
        });
        assert!(now.len() == before.len() + 1, "{now:?}");
        let found = now.into_iter().find(|finding| finding.is_of(rule)).unwrap();
        run(&site, &found.remedy);
        assert_ne!(examine(&mut site.admin()), before, "what is wrong is not mended by asking");
        accept();
        wait_until(rule, || examine(&mut site.admin()) == before);
        found
    };
    // A verification before it was changed says nothing of it.
    accept();
    let newest = "UPDATE password_verify.event SET application_name = 'other' WHERE action = 'accept_restore'";
    let verify = "SELECT auth.pv_verify_events()";
    let audit = found("the audit is not as it was written", newest, verify);
    let table = found(
        "a table is not as it was written",
        "UPDATE password_verify.credential SET changed_at = changed_at + interval '1 day' WHERE user_id = '1'",
        "SELECT auth.pv_verify_credentials()",
    );
    told(
        "the audit is not as it was written",
        &audit,
        "a changed event, and `pv_verify_events()`",
        "an accepted one",
        false,
    );
    told(
        "a table is not as it was written",
        &table,
        "a changed record, and `pv_verify_credentials()`",
        "an accepted one",
        false,
    );
}
