//! Where the keys come from: a file that can be read again, or a command.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use password_verify_tests::calls::{VALIDATE, create, set, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::keyring::{
    active_key, fresh_key, key_of, keyring, line, put, reload, restart, sealed_site,
};
use password_verify_tests::kill::crash;
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate};
use postgres::Client;

const NOT_USED: &str = "password_verify.keyring_file is not used as it is now";

/// These users log in, in a session that there was before and in a new one.
fn all_log_in(site: &Site, session: &mut Client, users: &[&str]) {
    for user in users {
        assert_eq!(validate(session, user, GOOD), Answer::yes(), "{user}");
        assert_eq!(validate(&mut site.login(), user, GOOD), Answer::yes(), "{user}");
    }
}

////////////////////////////////////////////////////////////////////////////////
// A file, and pg_ctl reload
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_reload_brings_a_new_key_to_every_session() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    site.enroll("old", GOOD);
    let (mut app, mut idle, mut admin) = (site.login(), site.login(), site.admin());
    assert_eq!(validate(&mut app, "old", GOOD), Answer::yes());
    put(&site.cluster, &format!("{a}{b}"));
    // Nobody has said so yet.
    assert_eq!(create(&mut app, "too soon", GOOD), Answer::yes());
    assert_eq!(key_of(&mut admin, "too soon").unwrap(), "a");
    reload(&site.cluster);
    wait_until("the new key is active", || active_key(&mut admin).as_deref() == Some("b"));
    // From then on it is so for everybody.
    assert_eq!(create(&mut app, "known", GOOD), Answer::yes());
    assert_eq!(create(&mut idle, "idle", GOOD), Answer::yes());
    site.enroll("fresh", GOOD);
    for user in ["known", "idle", "fresh"] {
        assert_eq!(key_of(&mut admin, user).unwrap(), "b", "{user}");
    }
    assert_eq!(key_of(&mut admin, "old").unwrap(), "a", "logging in seals nothing again");
    all_log_in(&site, &mut app, &["old", "too soon", "known", "idle", "fresh"]);

    // A crash makes shared memory anew, and with it the count of reloads.
    crash(&site.cluster);
    let (mut app, mut admin) = (site.login(), site.admin());
    assert_eq!(active_key(&mut admin).unwrap(), "b");
    all_log_in(&site, &mut app, &["old", "known", "fresh"]);
    assert_eq!(set(&mut admin, "old", GOOD), Answer::yes());
    assert_eq!(key_of(&mut admin, "old").unwrap(), "b");
    // And another reload after it is noticed too.
    let c = line("c", &fresh_key());
    put(&site.cluster, &format!("{a}{b}{c}"));
    reload(&site.cluster);
    wait_until("the newest key is active", || active_key(&mut admin).as_deref() == Some("c"));
    site.enroll("newest", GOOD);
    assert_eq!(key_of(&mut admin, "newest").unwrap(), "c");
    all_log_in(&site, &mut app, &["old", "too soon", "known", "newest"]);
    assert!(!site.cluster.log().contains(NOT_USED));
}

#[test]
fn a_reload_of_an_idle_server_is_noticed_and_keeps_no_database_waiting() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    let mut admin = site.admin();
    // Nobody has written anything: no worker has a database.
    put(&site.cluster, &format!("{a}{b}"));
    reload(&site.cluster);
    wait_until("the new key is active", || active_key(&mut admin).as_deref() == Some("b"));
    // Whichever worker comes first, it has heard of reloads meanwhile.
    let databases: Vec<_> = (0..6).map(|_| Site::on(Arc::clone(&site.cluster))).collect();
    for site in &databases {
        reload(&site.cluster);
        site.enroll("42", GOOD);
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    }
}

#[test]
fn a_session_that_meets_a_newer_key_reads_the_file() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&format!("{a}{b}"));
    site.enroll("before", GOOD);
    restart(&site.cluster, &a);
    let (mut first, mut second) = (site.login(), site.login());
    site.enroll("older", GOOD);
    assert_eq!(key_of(&mut site.admin(), "older").unwrap(), "a");
    let (state, message, _) = refused(first.query(VALIDATE, &[&"before", &GOOD]));
    assert_eq!((state.as_str(), message.ends_with("no key b")), ("55000", true), "{message}");
    // Without a reload: one session meets the record, reads the file and seals with the newer key; another
    // one, that knows of nothing, meets what the first has sealed.
    put(&site.cluster, &format!("{a}{b}"));
    assert_eq!(validate(&mut first, "before", GOOD), Answer::yes());
    assert_eq!(create(&mut first, "after", GOOD), Answer::yes());
    assert_eq!(key_of(&mut site.admin(), "after").unwrap(), "b");
    assert_eq!(validate(&mut second, "after", GOOD), Answer::yes());
    all_log_in(&site, &mut second, &["older", "before", "after"]);
}

#[test]
fn a_reload_of_what_is_no_keyring_is_said_once_and_changes_nothing() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    site.enroll("42", GOOD);
    let (mut app, mut admin) = (site.login(), site.admin());
    let complaints = |log: &str| log.lines().filter(|line| line.contains(NOT_USED)).count();
    let secret = &b[2..30];
    for (what, text, mode, why) in [
        ("torn", &b[..30], 0o600, "line 1: a key is 32 bytes in base64"),
        ("readable", &format!("{a}{b}"), 0o604, "the file must be private"),
        ("empty", "", 0o600, "there are no keys"),
    ] {
        let before = site.cluster.log().len();
        keyring(&site.cluster, "keys", text, mode);
        reload(&site.cluster);
        let log = || site.cluster.log()[before..].to_owned();
        wait_until("somebody complains", || complaints(&log()) > 0);
        // Used to the full by then, in sessions old and new.
        all_log_in(&site, &mut app, &["42"]);
        assert_eq!(set(&mut admin, "42", GOOD), Answer::yes());
        assert_eq!(set(&mut site.admin(), "42", GOOD), Answer::yes());
        assert_eq!(key_of(&mut admin, "42").unwrap(), "a");
        // Every worker has looked by then.
        thread::sleep(Duration::from_millis(1500));
        let log = log();
        assert_eq!(complaints(&log), 1, "{what}: {log}");
        assert!(log.contains("WARNING") && log.contains(why), "{what}: {log}");
        assert!(!log.contains(secret), "{what}: {log}");
    }
    fs::remove_file(site.cluster.folder().join("keys")).unwrap();
    reload(&site.cluster);
    wait_until("it is missed", || site.cluster.log().contains("No such file"));
    all_log_in(&site, &mut app, &["42"]);
    put(&site.cluster, &format!("{a}{b}"));
    reload(&site.cluster);
    wait_until("the new key is active", || active_key(&mut admin).as_deref() == Some("b"));
    all_log_in(&site, &mut app, &["42"]);
}

////////////////////////////////////////////////////////////////////////////////
// A command that prints the keys
////////////////////////////////////////////////////////////////////////////////

#[test]
fn the_keyring_command_runs_once_as_the_servers_user() {
    let cluster = Cluster::init();
    let keys = format!("{}{}", line("a", &fresh_key()), line("b", &fresh_key()));
    let file = keyring(&cluster, "printed", &keys, 0o600);
    let ran = cluster.folder().join("ran");
    let command =
        format!("id -u >> {}; echo to the log >&2; cat {}", ran.display(), file.display());
    cluster.configure(PRELOADED);
    cluster.configure(&[&format!("password_verify.keyring_command = '{command}'")]);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    assert_eq!(key_of(&mut admin, "42").unwrap(), "b");
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    // The application cannot read it.
    for setting in ["keyring_command", "keyring_file"] {
        let sql = format!("SHOW password_verify.{setting}");
        assert_eq!(sqlstate(site.login().query(&sql, &[])), "42501");
    }
    // Neither a reload nor a crash runs it again, and after both the keys are there.
    reload(&site.cluster);
    crash(&site.cluster);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert_eq!(set(&mut site.admin(), "42", OTHER), Answer::yes());
    assert_eq!(key_of(&mut site.admin(), "42").unwrap(), "b");
    let uid = fs::metadata(site.cluster.data()).unwrap().uid();
    assert_eq!(fs::read_to_string(ran).unwrap(), format!("{uid}\n"));
    let log = site.cluster.log();
    assert!(log.lines().any(|line| line == "to the log"), "{log}");
    assert!(keys.lines().all(|line| !log.contains(&line[2..])));
}

#[test]
fn a_keyring_command_that_prints_no_keyring_keeps_the_server_from_starting() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    let key = fresh_key();
    let good = keyring(&cluster, "good", &line("a", &key), 0o600).display().to_string();
    let conf = cluster.data().join("postgresql.conf");
    let original = fs::read_to_string(&conf).unwrap();
    let half = &key[..20];
    let cases = [
        ("false".into(), "keyring_command: the command failed: exit status: 1"),
        (format!("cat {good}; exit 3"), "keyring_command: the command failed: exit status: 3"),
        (format!("cat {good}; kill -9 $$"), "keyring_command: the command failed: signal: 9"),
        (format!("cat {good}.missing"), "keyring_command: the command failed: exit status: 1"),
        ("true".into(), "keyring_command: there are no keys"),
        (format!("echo {key}"), "keyring_command: line 1: not of the form id:base64"),
        (format!("echo a:{half}"), "keyring_command: line 1: a key is 32 bytes in base64"),
        (format!("cat {good} {good}"), "keyring_command: line 2: the id is there already"),
        ("printf \"\\\\377\"".into(), "keyring_command: not a text"),
        (
            format!("cat {good}''\npassword_verify.keyring_file = ''{good}").replace("''", "'"),
            "keyring_file: keyring_command is set as well",
        ),
    ];
    for (command, why) in cases {
        let line = format!("\npassword_verify.keyring_command = '{command}'\n");
        fs::write(&conf, format!("{original}{line}")).unwrap();
        let (started, log) = cluster.try_up();
        assert!(!started, "{command}");
        assert!(log.contains(&format!("FATAL:  password_verify.{why}")), "{command}: {log}");
        assert!(!log.contains(half), "{command}: {log}");
    }
    fs::write(&conf, original).unwrap();
    cluster.up();
}

////////////////////////////////////////////////////////////////////////////////
// A file that is none
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_keyring_that_is_not_private_or_not_one_keeps_the_server_from_starting() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    let (a, b) = (fresh_key(), fresh_key());
    let good = format!("a:{a}\nb:{b}\n");
    let conf = cluster.data().join("postgresql.conf");
    let original = fs::read_to_string(&conf).unwrap();
    let starts = |value: &str| -> (bool, String) {
        fs::write(&conf, format!("{original}\npassword_verify.keyring_file = '{value}'\n"))
            .unwrap();
        let (started, log) = cluster.try_up();
        if started {
            cluster.down();
        }
        (started, log)
    };
    let file =
        |name: &str, text: &str, mode| keyring(&cluster, name, text, mode).display().to_string();
    let unpadded = a.trim_end_matches('=');
    let cases = [
        ("readable by the group", file("group", &good, 0o640), "private"),
        ("readable by all", file("all", &good, 0o604), "private"),
        ("writable by the group", file("writable", &good, 0o620), "private"),
        ("in the data directory", file("data/keys", &good, 0o600), "outside the data directory"),
        ("missing", cluster.folder().join("missing").display().to_string(), "No such file"),
        ("relative", "../group".into(), "absolute"),
        ("a folder", cluster.folder().display().to_string(), "private"),
        (
            "no colon",
            file("no colon", &format!("a:{a}\n{b}\n"), 0o600),
            "line 2: not of the form id:base64",
        ),
        ("short", file("short", &format!("a:{}\n", &a[..40]), 0o600), "line 1: a key is 32 bytes"),
        (
            "unpadded",
            file("unpadded", &format!("# x\na:{unpadded}\n"), 0o600),
            "line 2: a key is 32 bytes",
        ),
        ("bad id", file("bad id", &format!("a b:{a}\n"), 0o600), "line 1: an id"),
        (
            "repeated",
            file("repeated", &format!("a:{a}\nb:{b}\na:{b}\n"), 0o600),
            "line 3: the id is there already",
        ),
        ("empty", file("empty", "# no key yet\n", 0o600), "no keys"),
        ("not text", file("not text", "", 0o600), "not a text"),
    ];
    fs::write(cluster.folder().join("not text"), [b'a', b':', 0xff, 0xfe]).unwrap();
    symlink(cluster.data().join("keys"), cluster.folder().join("link")).unwrap();
    let link = cluster.folder().join("link").display().to_string();
    for (what, path, why) in cases.into_iter().chain([(
        "a link into the data directory",
        link,
        "outside the data directory",
    )]) {
        let (started, log) = starts(&path);
        assert!(!started, "{what}");
        assert!(
            log.contains("FATAL")
                && log.contains("password_verify.keyring_file")
                && log.contains(why),
            "{what}: {log}"
        );
        for key in [&a, &b] {
            assert!(!log.contains(&key[..40]), "{what}: {log}");
        }
    }
    assert!(starts(&file("good", &good, 0o600)).0);
    assert!(starts(&file("read only", &good, 0o400)).0);
    assert!(starts("").0);
    // As for an SSL key: root's, and readable by the server's group.
    let owned = file("root", &good, 0o640);
    if chown(&owned, Some(0), None).is_ok() {
        assert!(starts(&owned).0);
        chown(&owned, Some(12345), None).unwrap();
        let (started, log) = starts(&owned);
        assert!(!started && log.contains("password_verify.keyring_file"), "{log}");
    }
}
