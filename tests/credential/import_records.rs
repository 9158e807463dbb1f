//! Imported records that are not as they should be: an error, or no.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE, manage, set, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::imports::{
    BCRYPT, SHA1, SLOW_BCRYPT, Vector, import, stored, users, vectors,
};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate};
use postgres::Client;

#[test]
fn a_record_that_takes_more_memory_than_allowed_is_its_own_users_trouble() {
    let cluster = Cluster::init();
    cluster.configure(PRELOADED);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    site.allow_failures();
    let mut manager = site.login_with(&["manager"]);
    let tag = "MTIzNDU2Nzg5MDEyMzQ1NjEyMzQ1Njc4OTAxMjM0NTY";
    let large = [
        ("native", format!("$argon2id$v=19$m=20480,t=1,p=1$c2FsdHNhbHRzYWx0${tag}")),
        ("argon2i", format!("$argon2i$v=19$m=20480,t=1,p=1$c2FsdHNhbHRzYWx0${tag}")),
        ("scrypt", format!("$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0${tag}")),
    ];
    for (user, hash) in &large {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(validate(&mut site.login(), user, GOOD), Answer::wrong());
    }
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
    }
    drop(manager);
    site.cluster.down();
    site.cluster.configure(&["password_verify.hash_memory_limit = 8192"]);
    site.cluster.up();
    let (mut app, mut manager) = (site.login(), site.login_with(&["manager"]));
    for (user, hash) in &large {
        let (state, message, hint) = refused(app.query(VALIDATE, &[user, &GOOD]));
        assert_eq!(state, "54000", "{user}");
        assert!(message.contains("asks for more memory than one hash may take"), "{message}");
        assert!(hint.contains("password_verify.hash_memory_limit"), "{hint}");
        assert_eq!(import(&mut manager, &format!("{user} too"), hash), Answer::no("over_limit"));
    }
    for user in ["slow", "fast"] {
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    // What those cannot get, some strangers cannot get either.
    for i in 0..40 {
        match app.query_one(VALIDATE, &[&format!("stranger {i}"), &GOOD]) {
            Ok(row) => assert_eq!(row.get::<_, Option<&str>>(1), Some("invalid_credentials")),
            Err(error) => assert_eq!(error.code().unwrap().code(), "54000"),
        }
    }
    // Raised again, it is as before; and a reset is a way out in any case.
    assert_eq!(set(&mut site.admin(), "native", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "native", OTHER), Answer::yes());
}

/// Every character of a record as kept, changed in three ways: answers are an error of their own, or no.
fn no_change_of_a_character_opens(user: &str, hash: &str) {
    let site = Site::new();
    site.allow_failures();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    assert_eq!(import(&mut manager, user, hash), Answer::yes());
    let good = stored(&mut admin, user);
    let put = |admin: &mut Client, text: &str| {
        let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = $2";
        assert_eq!(admin.execute(sql, &[&text, &user]).unwrap(), 1);
    };
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for at in 0..good.len() {
        let letter = good.as_bytes()[at];
        let similar = match letter {
            b'0'..=b'9' => (letter - b'0' + 1) % 10 + b'0',
            // The last bit of what a character of base64 stands for.
            b'A'..=b'Z' | b'a'..=b'z' => ((letter - b'A') ^ 1).min(b'z' - b'A') + b'A',
            _ => b'A',
        };
        for other in [similar, b'$', b'\x7f'] {
            let mut changed = good.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            if changed == good {
                continue;
            }
            put(&mut admin, &changed);
            let outcome = match app.query_one(VALIDATE, &[&user, &GOOD]) {
                Ok(row) => {
                    assert!(!row.get::<_, bool>(0), "{changed} opens");
                    row.get::<_, String>(1)
                }
                Err(error) => error.code().unwrap().code().to_owned(),
            };
            *outcomes.entry(outcome).or_default() += 1;
            let _ = manage(&mut manager, "pv_unlock_user", user);
        }
    }
    println!("{user}: {outcomes:?} of {good}");
    let known = ["XX001", "54000", "invalid_credentials"];
    assert!(outcomes.keys().all(|outcome| known.contains(&outcome.as_str())), "{outcomes:?}");
    assert!(outcomes["XX001"] > good.len());
    put(&mut admin, &good);
    assert_eq!(validate(&mut app, user, GOOD), Answer::yes(), "and the server is as it was");
    let log = site.cluster.log();
    assert!(!log.contains("panicked") && !log.contains("terminated by signal"), "{log}");
}

#[test]
fn no_changed_character_of_a_record_of_bcrypt_opens() {
    no_change_of_a_character_opens("slow", BCRYPT);
}

#[test]
fn no_changed_character_of_a_wrapped_record_opens() {
    no_change_of_a_character_opens("fast", SHA1);
}

#[test]
fn no_changed_character_of_other_records_opens() {
    let mut seen = BTreeSet::new();
    let vectors = vectors();
    let of = |vector: &&Vector| {
        vector.password.as_deref() == Some(GOOD)
            && vector.user.is_empty()
            && ["scrypt $scrypt$", "yescrypt $y$", "Argon2 $argon2i$, version 19"]
                .contains(&vector.format)
    };
    for vector in vectors.iter().filter(of) {
        if seen.insert(vector.format) {
            no_change_of_a_character_opens(vector.format, vector.hash);
        }
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn records_made_of_parts_of_others_are_errors() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    assert_eq!(import(&mut manager, "slow", BCRYPT), Answer::yes());
    assert_eq!(import(&mut manager, "fast", SHA1), Answer::yes());
    assert_eq!(import(&mut manager, "slower", SLOW_BCRYPT), Answer::yes());
    let (slow, fast) = (stored(&mut admin, "slow"), stored(&mut admin, "fast"));
    let ours = fast["$wrapped".len()..].split_inclusive('$').take(6).collect::<String>();
    for text in [
        // Taken for our own the output of a fast hash would be a password.
        ours.trim_end_matches('$').to_owned(),
        slow.replace("$legacy$", "$wrapped$"),
        fast.replace("$wrapped$", "$legacy$"),
        format!("$wrapped{fast}"),
        format!("$legacy{slow}"),
        fast.replace("ldap-sha1", "ldap-sha2"),
        format!("{fast}$"),
        format!("{slow}$"),
        slow.replace("$bcrypt$", "$BCRYPT$"),
        slow.replace("cost=5", "cost=05"),
        slow.replace("cost=5", "cost=3"),
        slow[..slow.len() / 2].to_owned(),
        "$legacy$$bcrypt$".to_owned(),
        "$legacy$".to_owned(),
        "$wrapped$".to_owned(),
        "$wrapped$$$$$$".to_owned(),
        "$legacy".repeat(100),
    ] {
        let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = 'slow'";
        admin.execute(sql, &[&text]).unwrap();
        let answer = app.query_one(VALIDATE, &[&"slow", &GOOD]);
        let outcome = match answer {
            Ok(row) => (row.get::<_, bool>(0), row.get::<_, Option<String>>(1).unwrap_or_default()),
            Err(error) => (false, error.code().unwrap().code().to_owned()),
        };
        let expected = if text.starts_with("$argon2id") { "invalid_credentials" } else { "XX001" };
        assert_eq!(outcome, (false, expected.to_owned()), "{text}");
        manage(&mut manager, "pv_unlock_user", "slow");
        // A neighbour that is broken is nobody else's trouble, and a view shows it as it can.
        assert_eq!(validate(&mut app, "stranger", GOOD), Answer::wrong());
        manage(&mut manager, "pv_unlock_user", "stranger");
        assert_eq!(users(&mut admin), 3);
    }
    let sql = "UPDATE password_verify.credential SET verifier = $1 WHERE user_id = 'slow'";
    admin.execute(sql, &[&slow.replace("cost=5", "cost=17")]).unwrap();
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"slow", &GOOD])), "54000");
    // A record of another user's opens to the other's password, without a keyring: no more, no less.
    let slower = stored(&mut admin, "slower");
    admin.execute(sql, &[&slower]).unwrap();
    assert_eq!(validate(&mut app, "slow", GOOD), Answer::yes());
}
