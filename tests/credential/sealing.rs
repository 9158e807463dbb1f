//! Records that are sealed with a key outside the database: what still works, what a thief gets, and what
//! becomes of a server without the key.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use password_verify_core::kept::keyring::Keyring;
use password_verify_core::kept::seal::{Binding, Owner, Sealed};
use password_verify_core::rules::account::{Terms, Timestamp};
use password_verify_tests::calls::{
    VALIDATE, VALIDATE_FROM, change, create, manage, set, validate,
};
use password_verify_tests::cluster::run;
use password_verify_tests::keyring::{
    fresh_key, key_of, line, put, reload, restart, sealed_site, setting,
};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::wait_until;
use password_verify_tests::{ALL_KINDS, Answer, GOOD, OTHER, refused, sqlstate};
use postgres::Client;

/// What is sealed in a user's record: an Argon2id PHC string.
fn opened(client: &mut Client, user: &str, keys: &str) -> String {
    let micros = |column| {
        format!("(extract(epoch FROM {column}) * 1000000)::bigint - 946684800000000 AS {column}")
    };
    let sql = format!(
        "SELECT verifier, must_change, {}, {}, {} FROM password_verify.credential WHERE user_id = $1",
        micros("expires_at"),
        micros("created_at"),
        micros("changed_at")
    );
    let row = client.query_one(&sql, &[&user]).unwrap();
    let time = |column: &str| row.get::<_, Option<Timestamp>>(column);
    let terms = Terms { expires_at: time("expires_at"), must_change: row.get("must_change") };
    let (created_at, changed_at) = (time("created_at").unwrap(), time("changed_at").unwrap());
    let binding = Binding::verifier(Owner { user_id: user, created_at, changed_at }, terms);
    let keyring = Keyring::parse(keys).unwrap();
    let sealed = Sealed::parse(row.get(0)).unwrap();
    let Ok(secret) = sealed.open(&binding, Some(&keyring)) else {
        unreachable!("the record of {user} does not open")
    };
    secret.expose().to_owned()
}

#[test]
fn everything_works_and_every_record_is_sealed() {
    let key = line("a", &fresh_key());
    let site = sealed_site(&key);
    site.allow_failures();
    let (mut app, mut admin) = (site.login(), site.admin());
    let mut service = site.login_with(&ALL_KINDS);
    let mut all_are_sealed = |records: i64, iterations: u32| {
        let sql = "SELECT count(*) FROM password_verify.credential WHERE user_id <> '' AND
             verifier ~ '^\\$sealed\\$v=1\\$a\\$[0-9a-f]{16}\\$argon2id m=7168,t=[56],p=1\\$[A-Za-z0-9+/]+$'";
        assert_eq!(number(&mut admin, sql), records);
        let all = "SELECT count(*) FROM password_verify.credential WHERE user_id <> ''";
        assert_eq!(number(&mut admin, all), records);
        let shown =
            "SELECT DISTINCT key_id || ' ' || algorithm || ' ' || parameters FROM auth.pv_users
                      WHERE user_id = '42'";
        assert_eq!(text(&mut admin, shown), format!("a argon2id m=7168,t={iterations},p=1"));
    };
    let wrong = Answer::no("invalid_credentials");

    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(create(&mut app, "42", OTHER), Answer::no("already_set"));
    all_are_sealed(1, 5);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "42", OTHER), wrong);
    assert_eq!(validate(&mut app, "43", GOOD), wrong);
    assert_eq!(change(&mut app, "42", OTHER, GOOD), wrong);
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    all_are_sealed(1, 5);
    assert_eq!(validate(&mut app, "42", GOOD), wrong);
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());

    assert_eq!(set(&mut service, "42", GOOD), Answer::yes());
    assert_eq!(set(&mut service, "zoë", GOOD), Answer::yes());
    all_are_sealed(2, 5);
    assert!(manage(&mut service, "pv_disable_user", "42"));
    assert!(!manage(&mut service, "pv_disable_user", "42"));
    all_are_sealed(2, 5);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("disabled"));
    assert!(manage(&mut service, "pv_enable_user", "42"));
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert!(manage(&mut service, "pv_require_change", "42"));
    all_are_sealed(2, 5);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("change_required"));
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());

    let sql = "SELECT auth.pv_set_password('42', $1, expires_at => now() + $2::text::interval)";
    service.execute(sql, &[&GOOD, &"1 hour"]).unwrap();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    service.execute(sql, &[&GOOD, &"-1 hour"]).unwrap();
    all_are_sealed(2, 5);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("expired"));
    assert_eq!(set(&mut service, "42", GOOD), Answer::yes());

    // A weaker record than today's settings is renewed, and nothing else of it changes.
    let times = "SELECT (created_at, changed_at)::text FROM auth.pv_users WHERE user_id = '42'";
    let before = text(&mut service, times);
    site.configure(&["argon2_iterations = 6"]);
    let mut app = site.login();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    wait_until("the record is renewed", || {
        text(&mut service, "SELECT parameters FROM auth.pv_users WHERE user_id = '42'")
            .contains("t=6")
    });
    all_are_sealed(2, 6);
    assert_eq!(text(&mut service, times), before);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());

    assert!(manage(&mut service, "pv_delete_user", "zoë"));
    assert!(!manage(&mut service, "pv_has_password", "zoë"));
    assert_eq!(validate(&mut app, "zoë", GOOD), wrong);
    all_are_sealed(1, 6);
    let kept = opened(&mut site.admin(), "42", &key);
    assert!(kept.starts_with("$argon2id$v=19$m=7168,t=6,p=1$"), "{kept}");
}

/// Which files have one of these byte strings in them. (A line feed would end what grep looks at.)
fn files_with(folder: &Path, needles: &[Vec<u8>]) -> String {
    let escaped = needles.iter().map(|needle| {
        let longest = needle.split(|byte| *byte == b'\n').max_by_key(|part| part.len()).unwrap();
        assert!(longest.len() >= 8, "too short to be looked for");
        longest.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>()
    });
    let pattern = escaped.collect::<Vec<_>>().join("|");
    let mut grep = Command::new("grep");
    let found = grep.env("LC_ALL", "C").args(["-rlaP", &pattern]).arg(folder).output().unwrap();
    assert!(found.stderr.is_empty(), "{}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8(found.stdout).unwrap()
}

/// Salt and tag as they are, in base64 and in hexadecimal.
fn spellings(phc: &str) -> Vec<Vec<u8>> {
    let parts = phc.rsplit('$').take(2);
    parts
        .flat_map(|base64| {
            let padded = format!("{base64}{}", "=".repeat((4 - base64.len() % 4) % 4));
            let mut decode = Command::new("sh");
            let script = format!("printf {padded} | base64 -d");
            let raw = run(decode.args(["-c", &script])).stdout;
            let hex = raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            [raw, base64.into(), hex.into()]
        })
        .collect()
}

#[test]
fn a_dump_and_a_base_backup_hold_neither_salt_nor_tag() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    let (mut app, mut admin) = (site.login(), site.admin());
    // All that a record goes through.
    let mut known = Vec::new();
    let mut note = |admin: &mut Client| known.push(opened(admin, "42", &format!("{a}{b}")));
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    note(&mut admin);
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    note(&mut admin);
    site.configure(&["argon2_iterations = 6"]);
    let (mut app, mut admin) = (site.login(), site.admin());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
    note(&mut admin);
    assert!(manage(&mut admin, "pv_require_change", "42"));
    assert_eq!(set(&mut admin, "42", GOOD), Answer::yes());
    note(&mut admin);
    put(&site.cluster, &format!("{a}{b}"));
    reload(&site.cluster);
    wait_until("the new key is there", || number(&mut admin, "SELECT auth.pv_rotation_left()") > 0);
    admin.batch_execute("CALL auth.pv_rotate_keys()").unwrap();
    admin.batch_execute("CHECKPOINT").unwrap();
    assert_eq!(key_of(&mut admin, "42").unwrap(), "b");
    assert_eq!(opened(&mut admin, "42", &b), known[3], "another seal of the same secret");
    let mut needles: Vec<_> = known.iter().flat_map(|phc| spellings(phc)).collect();
    assert_eq!(needles.len(), 4 * 2 * 3);
    // Nor any other verifier. A class of cost has a template, with zeros, A in base64, for its salt.
    let base64 = ('B'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']);
    for (first, passes) in base64.flat_map(|first| [(first, 5), (first, 6)]) {
        needles.push(format!("argon2id$v=19$m=7168,t={passes},p=1${first}").into_bytes());
    }

    let taken = site.cluster.folder().join("taken");
    fs::create_dir(&taken).unwrap();
    for (name, format) in [("plain", "-Fp"), ("custom", "-Fc")] {
        let mut pg_dump = site.cluster.command("pg_dump");
        let dump = run(pg_dump.args([format, "-Z0", &site.database])).stdout;
        fs::write(taken.join(name), dump).unwrap();
    }
    let mut backup = site.cluster.command("pg_basebackup");
    let copy = site.cluster.folder().join("copy");
    run(backup.args(["-c", "fast", "-X", "stream", "-D"]).arg(&copy));
    site.cluster.down();
    for (what, folder) in
        [("dump", &taken), ("base backup", &copy), ("stopped server", &site.cluster.data())]
    {
        assert_eq!(files_with(folder, &needles), "", "{what}");
        // What is there is found: the sealed record.
        assert_ne!(files_with(folder, &[b"$sealed$v=1$b$".to_vec()]), "", "{what}");
    }
    // And each of the needles would be.
    for needle in &needles {
        fs::write(taken.join("control"), [b"\0before", needle.as_slice(), b"after\0"].concat())
            .unwrap();
        assert_ne!(files_with(&taken, std::slice::from_ref(needle)), "", "{needle:?}");
    }
}

#[test]
fn without_the_key_every_login_says_which_and_nobody_is_charged() {
    let (a, b) = (line("a", &fresh_key()), line("b", &fresh_key()));
    let site = sealed_site(&a);
    for user in ["u1", "u2", "u3", "u4"] {
        site.enroll(user, GOOD);
    }
    // Strangers meet the record before their place. The first one of all, nobody's, is not sealed: here
    // the next is right after it.
    site.admin()
        .batch_execute(
            "INSERT INTO password_verify.credential (blind_index, user_id, verifier, must_change, expires_at, created_at, changed_at, mac)
             SELECT '00000000-0000-0000-0000-000000000001', 'first', verifier, must_change, expires_at, created_at, changed_at, mac
               FROM password_verify.credential WHERE user_id = 'u1';
             INSERT INTO password_verify.account
             SELECT '00000000-0000-0000-0000-000000000001', 'first', NULL, NULL, NULL, created_at, seal, mac
               FROM password_verify.account WHERE user_id = 'u1'",
        )
        .unwrap();
    let missing = "the keyring of password_verify has no key a";
    let other = "key a in the keyring of password_verify is not the one that was used";
    let without = |what: &str, message: &str| {
        let (mut app, mut admin) = (site.login(), site.admin());
        let charged = "SELECT sum(count)::bigint FROM password_verify.throttle";
        let before = number(&mut admin, charged);
        let is_refused = |result: Result<Vec<postgres::Row>, postgres::Error>| {
            let (state, said, hint) = refused(result);
            assert_eq!((state.as_str(), said.as_str()), ("55000", message), "{what}");
            assert!(hint.contains("password_verify.keyring_file"), "{what}: {hint}");
        };
        // More often than an account or a client address may be wrong.
        for i in 0..60 {
            let user = ["u1", "u2", "stranger"][i % 3];
            is_refused(app.query(VALIDATE_FROM, &[&user, &[GOOD, OTHER][i / 3 % 2], &"192.0.2.1"]));
        }
        let sql = "SELECT auth.pv_change_password($1::text, $2, $3)";
        is_refused(app.query(sql, &[&"u1", &GOOD, &OTHER]));
        is_refused(app.query(sql, &[&"stranger", &GOOD, &OTHER]));
        for function in ["pv_disable_user", "pv_require_change"] {
            is_refused(admin.query(&format!("SELECT auth.{function}('u1'::text)"), &[]));
        }
        assert_eq!(number(&mut admin, charged), before, "{what}");
        // What does not need the key goes on.
        assert!(manage(&mut admin, "pv_has_password", "u1"));
        assert_eq!(create(&mut app, "u1", OTHER), Answer::no("already_set"));
        is_refused(admin.query("SELECT auth.pv_enable_user('u1'::text)", &[]));
        assert_eq!(key_of(&mut admin, "u1").unwrap(), "a");
        let unknown =
            "SELECT sum(records)::bigint FROM auth.pv_keys WHERE key_id = 'a' AND NOT active";
        assert!(number(&mut admin, unknown) >= 4);
        (app, admin)
    };

    restart(&site.cluster, &b);
    let (mut app, mut admin) = without("another key", missing);
    // Two ways on: a new password, under the key that there is, and none.
    assert_eq!(set(&mut admin, "u3", OTHER), Answer::yes());
    assert_eq!(key_of(&mut admin, "u3").unwrap(), "b");
    assert_eq!(validate(&mut app, "u3", OTHER), Answer::yes());
    assert_eq!(create(&mut app, "u5", GOOD), Answer::yes());
    assert!(manage(&mut admin, "pv_delete_user", "u4"));
    assert_eq!(create(&mut app, "u4", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "u4", OTHER), Answer::yes());
    // The key comes back: nobody has to wait for anything, and this session need not end.
    put(&site.cluster, &format!("{a}{b}"));
    for (user, password) in [("u1", GOOD), ("u2", GOOD), ("u3", OTHER), ("u4", OTHER), ("u5", GOOD)]
    {
        let row = app.query_one(VALIDATE_FROM, &[&user, &password, &"192.0.2.1"]).unwrap();
        assert_eq!(row.get::<_, Option<&str>>(1), None, "{user}");
    }
    assert_eq!(validate(&mut app, "stranger", GOOD), Answer::no("invalid_credentials"));
    restart(&site.cluster, &a);
    for user in ["u3", "u4", "u5"] {
        assert_eq!(set(&mut site.admin(), user, GOOD), Answer::yes());
    }

    // Another key of that name.
    restart(&site.cluster, &line("a", &fresh_key()));
    let (mut app, mut admin) = without("a key of that name", other);
    assert_eq!(set(&mut admin, "u3", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "u3", OTHER), Answer::yes());
    put(&site.cluster, &a);
    assert_eq!(validate(&mut app, "u1", GOOD), Answer::yes());
    assert_eq!(set(&mut admin, "u3", GOOD), Answer::yes());

    // No keyring at all.
    site.cluster.configure(&["password_verify.keyring_file = ''"]);
    restart(&site.cluster, &a);
    let (mut app, mut admin) = without("no keyring", missing);
    assert_eq!(set(&mut admin, "u3", OTHER), Answer::yes());
    assert_eq!(key_of(&mut admin, "u3"), None);
    assert_eq!(validate(&mut app, "u3", OTHER), Answer::yes());
    assert!(manage(&mut admin, "pv_delete_user", "u4"));
    site.cluster.configure(&[&setting(&site.cluster.folder().join("keys"))]);
    restart(&site.cluster, &a);
    let mut app = site.login();
    for user in ["u1", "u2", "u5"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "{user}");
    }
    // What was written without a key does not count, whoever wrote it.
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"u3", &OTHER])), "XX001");
    assert!(manage(&mut site.admin(), "pv_enable_user", "u3"));
    assert_eq!(set(&mut site.admin(), "u3", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "u3", OTHER), Answer::yes());
}
