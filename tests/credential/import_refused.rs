//! What `pv_import_hash` refuses, and the reason that it gives.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use password_verify_tests::calls::{create, validate};
use password_verify_tests::imports::{
    BCRYPT, IMPORT, SHA1, WITHOUT_PARAMETERS, import, shown, some_of_each_format, users,
};
use password_verify_tests::trail::{of_user, settle};
use password_verify_tests::{Answer, GOOD, OTHER, Site, refused, sqlstate};
use postgres::Client;

/// Nothing but their length tells what they are.
const UNMARKED: [&str; 3] = ["better-auth salt:key", "MySQL 4.1 *", "Oracle 11 S:"];

/// One that is not imported: why, on record, and nothing else has happened.
fn is_refused(site: &Site, manager: &mut Client, user: &str, hash: &str, reason: &str) {
    let mut admin = site.admin();
    let before = users(&mut admin);
    let what = &hash[..hash.len().min(100)];
    assert_eq!(import(manager, user, hash), Answer::no(reason), "{what}");
    assert_eq!(users(&mut admin), before, "{what}");
    // Where events are asynchronous, the answer comes first.
    settle(&mut admin);
    let events = of_user(&mut admin, user);
    assert_eq!(events.last(), Some(&format!("import {reason}")), "{what}");
}

#[test]
fn what_is_no_hash_is_unsupported() {
    let site = Site::new();
    let manager = &mut site.login_with(&["manager"]);
    for (i, hash) in [
        "",
        " ",
        "x",
        "plaintext",
        "{noop}secret",
        "$9$",
        "$argon2$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$2c$05$E2zMiFD6CER8OUVZQXoz4u0MeIu64zWQk328GIricLdhNUbz4Zt.u",
        " $2b$05$E2zMiFD6CER8OUVZQXoz4u0MeIu64zWQk328GIricLdhNUbz4Zt.u",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        // Our own form is nobody else's.
        "$legacy$AAAA$bcrypt$cost=4$c2FsdHNhbHRzYWx0c2FsdA",
        "$wrapped$argon2id$v=19$m=7168,t=5,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$ldap-sha1$$",
        "$sealed$v=1$a$AAAA$argon2id -$AAAA",
        "日本語",
        // Written well, but of an algorithm that is not known here: nothing is wrong with the text.
        "$pbkdf2$f=SHA3-256,w=600000,l=32$c2FsdA$MTIzNDU2Nzg5MDEyMzQ1NjEyMzQ1Njc4OTAxMjM0NTY",
        "{PBKDF2}$2$salt$1000$00112233445566778899aabbccddeeff00112233",
        r#"{"credentialData":"{\"algorithm\":\"scrypt\"}","secretData":"{\"value\":\"$x\",\"salt\":\"\"}"}"#,
        "{SCRAM-SHA-1}4096,c2FsdA==,a,b",
    ]
    .into_iter()
    .enumerate()
    {
        is_refused(&site, manager, &format!("user {i}"), hash, "unsupported_format");
    }
}

#[test]
fn what_is_a_hash_that_lacks_something_is_malformed() {
    let site = Site::new();
    site.configure(&["audit_durability = async"]);
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    let (mut taken, mut refused) = (0, BTreeMap::<String, usize>::new());
    for vector in some_of_each_format(1) {
        if WITHOUT_PARAMETERS.contains(&vector.format) {
            continue;
        }
        let (hash, length) = (vector.hash, vector.hash.len());
        for (i, end) in [length / 3, length / 2, length * 2 / 3, length - 1].into_iter().enumerate()
        {
            // 13 characters are the traditional crypt(3).
            if !hash.is_char_boundary(end) || end == 13 {
                continue;
            }
            let user = match vector.user {
                "" => format!("{} {i}", vector.format),
                user => user.to_owned(),
            };
            let before = users(&mut admin);
            let Answer(success, reason) = import(&mut manager, &user, &hash[..end]);
            if success {
                // Padding is lost, which says nothing; or the text alone decides how long an output is.
                let same = hash[end..].trim_end_matches('=').is_empty();
                assert!(same || vector.format.starts_with("Werkzeug"), "{}", &hash[..end]);
                let password = vector.password.as_deref().unwrap();
                assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", &hash[..end]);
                taken += 1;
            } else {
                assert_eq!(users(&mut admin), before);
                if UNMARKED.contains(&vector.format) {
                    assert_eq!(reason.as_deref(), Some("unsupported_format"), "{}", &hash[..end]);
                } else {
                    *refused.entry(reason.unwrap()).or_default() += 1;
                }
            }
        }
    }
    println!("{taken} taken, {refused:?}");
    // What has no telling beginning left is not known at all.
    assert!(refused.keys().all(|reason| reason == "malformed" || reason == "unsupported_format"));
    assert!(refused["malformed"] > 9 * (taken + refused["unsupported_format"]));
    for hash in
        [format!("{BCRYPT}."), format!("{BCRYPT} "), format!("{BCRYPT}\n"), format!("{SHA1} ")]
    {
        is_refused(&site, &mut manager, "longer", &hash, "malformed");
    }
}

#[test]
fn what_asks_for_too_much_is_over_the_limit() {
    let site = Site::new();
    let manager = &mut site.login_with(&["manager"]);
    let tag = "MTIzNDU2Nzg5MDEyMzQ1Ng";
    for (i, hash) in [
        BCRYPT.replace("$05$", "$31$"),
        BCRYPT.replace("$05$", "$17$"),
        format!("$scrypt$ln=31,r=8,p=1$c2FsdHNhbHQ${tag}"),
        // 2 GiB of memory in the other way to write it.
        format!("scrypt:2097152:8:1$salt${}", "00".repeat(64)),
        format!("$pbkdf2-sha256$i=2147483648,l=16$c2FsdHNhbHQ${tag}"),
        format!("pbkdf2_sha256$2147483648$salt${tag}AAAAAAAAAAAAAAAAAAAAA="),
        // More than password_verify.hash_memory_limit, whose default is 128 MB.
        format!("$argon2id$v=19$m=131073,t=1,p=1$c2FsdHNhbHQ${tag}"),
        format!("$argon2i$v=19$m=131073,t=1,p=1$c2FsdHNhbHQ${tag}"),
        format!("$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ${tag}"),
        format!("$6$rounds=999999999$salt${}", "/".repeat(86)),
        "x".repeat(4097),
        "$".repeat(100_000),
        format!("{BCRYPT}{}", ".".repeat(1_000_000)),
    ]
    .iter()
    .enumerate()
    {
        is_refused(&site, manager, &format!("user {i}"), hash, "over_limit");
    }
    // A record has 512 bytes, of which a wrapped one takes more for itself.
    let salted =
        |bytes: usize| format!("pbkdf2_sha256$1000${}${}=", "s".repeat(bytes), "A".repeat(43));
    is_refused(&site, manager, "salt", &salted(280), "over_limit");
    assert_eq!(import(manager, "salt", &salted(250)), Answer::yes());
    let within = format!("$argon2id$v=19$m=131072,t=1,p=1$c2FsdHNhbHQ${tag}");
    assert_eq!(import(manager, "within", &within), Answer::yes());
}

#[test]
fn who_has_a_password_keeps_it() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    site.enroll("42", OTHER);
    for hash in [BCRYPT, SHA1, "no hash at all", &"x".repeat(5000)] {
        is_refused(&site, &mut manager, "42", hash, "already_set");
    }
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::wrong());

    assert_eq!(import(&mut manager, "43", BCRYPT), Answer::yes());
    is_refused(&site, &mut manager, "43", SHA1, "already_set");
    assert_eq!(create(&mut app, "43", OTHER), Answer::no("already_set"));
    assert_eq!(shown(&mut site.admin(), "43"), "bcrypt -");
    // Within a statement and within a transaction, too; and in every spelling of an id.
    let twice =
        "SELECT success FROM (VALUES (1), (2)) AS n (i), auth.pv_import_hash(44 + 0 * i, $1)";
    let rows = manager.query(twice, &[&SHA1]).unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [true, false]);
    let mut transaction = manager.transaction().unwrap();
    let mut once = |id: &str| -> Option<String> {
        let sql = format!("SELECT reason FROM auth.pv_import_hash({id}, $1)");
        transaction.query_one(&sql, &[&BCRYPT]).unwrap().get(0)
    };
    assert_eq!(once("'00000000-0000-0000-0000-00000000000A'::text"), None);
    assert_eq!(
        once("'00000000-0000-0000-0000-00000000000a'::uuid").as_deref(),
        Some("already_set")
    );
    transaction.commit().unwrap();
    assert_eq!(validate(&mut app, "00000000-0000-0000-0000-00000000000a", GOOD), Answer::yes());
}

#[test]
fn arguments_that_are_missing_are_errors() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    for (arguments, state, says) in [
        ("42, NULL", "22004", "hash must not be null"),
        ("NULL::bigint, 'x'", "22004", "user id must not be null"),
        ("NULL::uuid, 'x'", "22004", "user id must not be null"),
        ("NULL::text, NULL", "22004", "user id must not be null"),
        ("''::text, 'x'", "22023", "user id must not be empty"),
        ("repeat('x', 256), 'x'", "22023", "user id is too long"),
    ] {
        let sql = format!("SELECT auth.pv_import_hash({arguments})");
        let (found, message, _) = refused(manager.query(&sql, &[]));
        assert_eq!((found.as_str(), message.as_str()), (state, says), "{arguments}");
    }
    let mut read_only = manager.build_transaction().read_only(true).start().unwrap();
    assert_eq!(sqlstate(read_only.query(IMPORT, &[&"42", &BCRYPT])), "25006");
    drop(read_only);
    let mut read_only = manager.build_transaction().read_only(true).start().unwrap();
    assert_eq!(sqlstate(read_only.query(IMPORT, &[&"42", &"x".repeat(5000)])), "25006");
    assert_eq!(users(&mut site.admin()), 0);
}

#[test]
fn only_a_manager_imports() {
    let site = Site::new();
    assert_eq!(sqlstate(site.login().query(IMPORT, &[&"42", &BCRYPT])), "42501");
    for kind in ["verifier", "enroller", "registrar", "auditor"] {
        let mut login = site.login_with(&[kind]);
        for id in ["42::bigint", "'42'::text", "'00000000-0000-0000-0000-000000000001'::uuid"] {
            let sql = format!("SELECT auth.pv_import_hash({id}, $1)");
            assert_eq!(sqlstate(login.query(&sql, &[&BCRYPT])), "42501", "{kind} {id}");
        }
    }
    assert_eq!(users(&mut site.admin()), 0);
    assert_eq!(import(&mut site.login_with(&["manager"]), "42", BCRYPT), Answer::yes());
}
