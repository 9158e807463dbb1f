//! What is kept, where it does not leak to, and what happens when it is broken.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{VALIDATE, change, create, validate};
use password_verify_tests::query::number;
use password_verify_tests::work::Session;
use password_verify_tests::{Answer, GOOD, OTHER, Site, refused, sqlstate};

#[test]
fn nothing_in_statistics_or_toast_tables() {
    let site = Site::new();
    for i in 0..30 {
        site.enroll(&format!("{i}-{}", "é".repeat(120)), GOOD);
    }
    let mut admin = site.admin();
    admin.batch_execute("VACUUM ANALYZE password_verify.credential").unwrap();
    admin.batch_execute("ANALYZE password_verify.blind_index_key").unwrap();
    let ours = "IN (SELECT oid FROM pg_class WHERE relnamespace = 'password_verify'::regnamespace)";
    assert_eq!(
        number(&mut admin, &format!("SELECT count(*) FROM pg_statistic WHERE starelid {ours}")),
        0
    );
    assert_eq!(
        number(&mut admin, &format!("SELECT count(*) FROM pg_statistic_ext WHERE stxrelid {ours}")),
        0
    );
    let toast = "SELECT COALESCE(sum(pg_relation_size(reltoastrelid)), 0)::bigint FROM pg_class
                  WHERE relnamespace = 'password_verify'::regnamespace AND reltoastrelid <> 0";
    assert_eq!(number(&mut admin, toast), 0);
    let compressed = "SELECT count(*) FROM password_verify.credential WHERE pg_column_compression(verifier) IS NOT NULL";
    assert_eq!(number(&mut admin, compressed), 0);
    let largest = "SELECT max(pg_column_size(c.*))::bigint FROM password_verify.credential c";
    assert!(number(&mut admin, largest) < 1000);
}

#[test]
fn every_table_is_made_alike() {
    let site = Site::new();
    let mut admin = site.admin();
    let tables = "SELECT count(*) FROM pg_class
                   WHERE relnamespace = 'password_verify'::regnamespace AND relkind = 'r'";
    let all = number(&mut admin, tables);
    assert_eq!(all, 14);
    for what in [
        // Published with its updates.
        "relreplident = 'd' AND EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)",
        "relrowsecurity",
        // Nobody waits for VACUUM while it gives the end of the file back.
        "'vacuum_truncate=off' = ANY (reloptions)",
        // A dump carries it.
        "EXISTS (SELECT FROM pg_extension WHERE pg_class.oid = ANY (extconfig))",
        "NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
                        AND COALESCE(attstattarget, -1) <> 0)",
    ] {
        assert_eq!(number(&mut admin, &format!("{tables} AND {what}")), all, "{what}");
    }
}

#[test]
fn a_password_is_nowhere_in_the_data_directory() {
    let site = Site::new();
    // Whatever the server is set to: the log and other libraries' files lie there, too.
    site.configure(&["redact = on"]);
    let canary = "canary 5f1e velvet anvil monsoon";
    site.enroll("42", canary);
    let mut app = site.login();
    assert_eq!(validate(&mut app, "42", canary), Answer::yes());
    assert_eq!(change(&mut app, "42", canary, &format!("{canary} two")), Answer::yes());
    site.admin().batch_execute("CHECKPOINT").unwrap();
    let mut grep = std::process::Command::new("grep");
    let found = grep.args(["-rlF", "canary 5f1e"]).arg(site.cluster.folder()).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    // The search works: ids are found.
    let mut grep = std::process::Command::new("grep");
    let found = grep.args(["-rlF", "argon2id$v=19"]).arg(site.cluster.data()).output().unwrap();
    assert_ne!(String::from_utf8(found.stdout).unwrap(), "");
}

#[test]
fn salts_differ_and_records_are_argon2id() {
    let site = Site::new();
    for i in 0..10 {
        site.enroll(&i.to_string(), GOOD);
    }
    let mut admin = site.admin();
    let sql = "SELECT count(DISTINCT split_part(verifier, '$', 5)) FROM password_verify.credential
                WHERE verifier ~ '^\\$argon2id\\$v=19\\$m=7168,t=5,p=1\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}$'";
    assert_eq!(number(&mut admin, sql), 10);
}

#[test]
fn a_corrupt_record_is_an_error_never_a_wrong_password() {
    let site = Site::new();
    site.allow_failures();
    for user in ["broken", "fine"] {
        site.enroll(user, GOOD);
    }
    let (mut app, mut admin) = (site.login(), site.admin());
    let sql = "SELECT verifier, blind_index::text FROM password_verify.credential WHERE user_id = 'broken'";
    let row = admin.query_one(sql, &[]).unwrap();
    let (good, id): (String, String) = (row.get(0), row.get(1));
    let broken = [
        String::new(),
        good[..good.len() - 1].to_owned() + "!",
        good[..good.len() - 30].to_owned(),
        good[..20].to_owned(),
        good.replace("argon2id", "argon2i"),
        good.replace("v=19", "v=16"),
        good.replace("m=7168", "m=07168"),
        good.replace("t=5", "t=0"),
        "x".repeat(500),
        "plaintext?".into(),
        "$argon2id$".into(),
        "ÿþ".into(),
    ];
    for verifier in broken {
        let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = 'broken'";
        admin.execute(sql, &[&verifier]).unwrap();
        for password in [GOOD, "guess"] {
            let (state, message, hint) = refused(app.query(VALIDATE, &[&"broken", &password]));
            assert_eq!(state, "XX001", "{verifier}");
            assert_eq!(message, "a credential record is corrupt");
            assert!(hint.contains("blind_index"), "{hint}");
        }
        let sql = "SELECT * FROM auth.pv_change_password('broken', $1, $2)";
        assert_ne!(sqlstate(app.query(sql, &[&GOOD, &OTHER])), "no error");
        // Nobody else notices: neither another user nor strangers, some of whom are neighbours.
        assert_eq!(validate(&mut app, "fine", GOOD), Answer::yes());
        for i in 0..8 {
            let stranger = format!("stranger{i}");
            assert_eq!(validate(&mut app, &stranger, "x"), Answer::no("invalid_credentials"));
        }
        // A view over it does not fail either.
        assert_eq!(number(&mut admin, "SELECT count(*) FROM auth.pv_users"), 2);
    }
    assert!(site.cluster.log().contains(&format!("a credential record is corrupt: {id}")));
    // The way out that the hint names.
    admin.query("SELECT auth.pv_set_password('broken', $1)", &[&OTHER]).unwrap();
    assert_eq!(validate(&mut app, "broken", OTHER), Answer::yes());
}

#[test]
fn parameters_above_the_ceilings_are_refused_not_computed() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let (mut admin, mut app) = (site.admin(), Session::of(site.login()));
    let (answer, one_hash) = app.work(|client| validate(client, "42", GOOD));
    assert_eq!(answer, Answer::yes());
    let mut refusals = Vec::new();
    for parameters in [
        "m=4194304,t=3,p=4",
        "m=1048577,t=1,p=1",
        "m=7168,t=21,p=1",
        "m=7168,t=5,p=17",
        "m=4294967295,t=4294967295,p=1",
    ] {
        let sql = "UPDATE password_verify.credential SET verifier = regexp_replace(verifier, 'm=[^$]*', $1) WHERE user_id = '42'";
        admin.execute(sql, &[&parameters]).unwrap();
        let (refusal, work) = app.work(|client| client.query(VALIDATE, &[&"42", &GOOD]));
        let (state, message, _) = refused(refusal);
        assert_eq!(state, "54000", "{parameters}");
        assert!(message.contains("asks for more work than is allowed"), "{message}");
        refusals.push(work);
        assert_eq!(validate(&mut app.client, "stranger", "x"), Answer::no("invalid_credentials"));
    }
    // The smallest of them would be more than four hashes of this size.
    assert!(*refusals.iter().max().unwrap() < one_hash * 4, "{refusals:?} {one_hash:?}");
}

#[test]
fn a_record_moved_to_another_users_place_opens_nothing() {
    // Somebody who can write the table gives the victim's place to their own record.
    let site = Site::new();
    site.enroll("victim", GOOD);
    site.enroll("mallory", OTHER);
    site.admin()
        .batch_execute(
            "WITH gone AS (DELETE FROM password_verify.credential WHERE user_id = 'victim' RETURNING blind_index)
             SELECT set_config('test.place', (SELECT blind_index::text FROM gone), false);
             UPDATE password_verify.credential SET blind_index = current_setting('test.place')::uuid
              WHERE user_id = 'mallory'",
        )
        .unwrap();
    let mut app = site.login();
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"victim", &OTHER])), "XX001");
    assert_eq!(validate(&mut app, "mallory", OTHER), Answer::no("invalid_credentials"));
    let create = "SELECT auth.pv_create_password('victim', $1)";
    assert_eq!(sqlstate(app.query(create, &[&GOOD])), "XX001");
    let set = "SELECT auth.pv_set_password('victim', $1)";
    assert_eq!(sqlstate(site.admin().query(set, &[&GOOD])), "XX001");
}

#[test]
fn an_emptied_table_answers_no() {
    let site = Site::new();
    site.enroll("42", GOOD);
    site.admin().batch_execute("TRUNCATE password_verify.credential").unwrap();
    let mut app = site.login();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
}

#[test]
fn a_missing_key_is_an_error() {
    let site = Site::new();
    site.enroll("42", GOOD);
    site.admin().batch_execute("DELETE FROM password_verify.blind_index_key").unwrap();
    let mut app = site.login();
    let (state, _, hint) = refused(app.query(VALIDATE, &[&"42", &GOOD]));
    assert_eq!(state, "55000");
    assert!(!hint.is_empty());
    assert_eq!(sqlstate(app.query("SELECT auth.pv_create_password('43', $1)", &[&GOOD])), "55000");
}

#[test]
fn two_keys_in_use_are_an_error() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let sql = "INSERT INTO password_verify.blind_index_key VALUES (decode(repeat('00', 32), 'hex'), true)";
    site.admin().batch_execute(sql).unwrap();
    let (state, message, _) = refused(site.login().query(VALIDATE, &[&"42", &GOOD]));
    assert_eq!(state, "55000");
    assert!(message.contains("more than one key"), "{message}");
}
