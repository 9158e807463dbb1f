//! Sealed records that somebody who can write the table has moved or altered.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{VALIDATE, change, create, manage, set, validate};
use password_verify_tests::imports::stored;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::text;
use password_verify_tests::{Answer, GOOD, OTHER, refused, sqlstate};

#[test]
fn a_record_that_was_moved_or_altered_opens_nothing() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.allow_failures();
    let (mut app, mut admin) = (site.login(), site.admin());
    for (user, password) in [("victim", GOOD), ("mallory", OTHER), ("bystander", GOOD)] {
        site.enroll(user, password);
    }
    let older = stored(&mut admin, "victim");
    assert_eq!(change(&mut app, "victim", GOOD, OTHER), Answer::yes());
    assert_eq!(change(&mut app, "victim", OTHER, GOOD), Answer::yes());
    admin.batch_execute("CREATE TABLE kept AS SELECT * FROM password_verify.credential").unwrap();
    let back = "UPDATE password_verify.credential c SET (verifier, must_change, expires_at, created_at, changed_at)
                = (SELECT verifier, must_change, expires_at, created_at, changed_at FROM kept k WHERE k.blind_index = c.blind_index)";
    admin
        .batch_execute("CREATE TABLE kept_account AS SELECT * FROM password_verify.account")
        .unwrap();
    let back_too = "DELETE FROM password_verify.account;
                    INSERT INTO password_verify.account SELECT * FROM kept_account";
    let place: String = text(
        &mut admin,
        "SELECT blind_index::text FROM password_verify.credential WHERE user_id = 'victim'",
    );
    let anothers =
        "verifier = (SELECT verifier FROM password_verify.credential WHERE user_id = 'mallory')";
    let moved_with_state = "(verifier, must_change, expires_at, created_at, changed_at) =
        (SELECT verifier, must_change, expires_at, created_at, changed_at FROM password_verify.credential WHERE user_id = 'mallory')";
    let replayed = format!("verifier = '{older}'");
    let changes = [
        anothers,
        moved_with_state,
        &replayed,
        "must_change = true",
        "expires_at = now() + interval '1 day'",
        "expires_at = '2000-01-01'",
        "created_at = created_at - interval '1 us'",
        "changed_at = changed_at + interval '1 us'",
        "verifier = verifier || 'A'",
        "verifier = left(verifier, -1)",
        "verifier = ''",
        "verifier = '$sealed$v=1$'",
        "verifier = replace(verifier, 'm=7168', 'm=9216')",
        "verifier = replace(verifier, '$sealed$v=1$', '$sealed$v=2$')",
    ];
    for change in changes {
        let sql =
            format!("UPDATE password_verify.credential SET {change} WHERE user_id = 'victim'");
        assert_eq!(admin.execute(&sql, &[]).unwrap(), 1);
        for password in [GOOD, OTHER] {
            let (state, message, hint) = refused(app.query(VALIDATE, &[&"victim", &password]));
            assert_eq!(state, "XX001", "{change}");
            let which = if change.starts_with("created_at") || change == moved_with_state {
                "an account"
            } else {
                "a credential"
            };
            assert_eq!(message, format!("{which} record is corrupt"), "{change}");
            let told = format!("{which} record is corrupt: {place}");
            assert!(site.cluster.log().contains(&told), "{change}");
            assert!(hint.contains("blind_index"), "{hint}");
        }
        let sql = "SELECT auth.pv_change_password('victim', $1, $2)";
        assert_eq!(sqlstate(app.query(sql, &[&GOOD, &OTHER])), "XX001", "{change}");
        for function in ["pv_enable_user", "pv_disable_user", "pv_require_change"] {
            // (They are about the account, which is kept apart: the password opens nothing all the same.)
            let sql = format!("SELECT auth.{function}('victim'::text)");
            let state = sqlstate(admin.query_one(&sql, &[]));
            assert!(["XX001", "no error"].contains(&state.as_str()), "{change}: {state}");
            assert_eq!(sqlstate(app.query(VALIDATE, &[&"victim", &GOOD])), "XX001", "{change}");
        }
        admin.execute(back, &[]).unwrap();
        admin.query("SELECT auth.pv_unlock_user('victim'::text)", &[]).unwrap();
        admin.batch_execute(back_too).unwrap();
    }
    // Nobody else notices, and there are two ways out.
    admin
        .execute(
            &format!("UPDATE password_verify.credential SET {anothers} WHERE user_id = 'victim'"),
            &[],
        )
        .unwrap();
    assert_eq!(validate(&mut app, "bystander", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "mallory", OTHER), Answer::yes());
    for i in 0..6 {
        let stranger = format!("stranger{i}");
        assert_eq!(validate(&mut app, &stranger, GOOD), Answer::no("invalid_credentials"));
    }
    assert_eq!(set(&mut admin, "victim", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    admin
        .batch_execute(
            "UPDATE password_verify.credential SET must_change = true WHERE user_id = 'victim'",
        )
        .unwrap();
    assert!(manage(&mut admin, "pv_delete_user", "victim"));
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(create(&mut app, "victim", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
}

#[test]
fn no_character_of_a_record_can_be_another_one() {
    let site = sealed_site(&line("key", &fresh_key()));
    site.enroll("42", GOOD);
    let (mut app, mut admin) = (site.login(), site.admin());
    let good = stored(&mut admin, "42");
    let update = admin
        .prepare("UPDATE password_verify.credential SET verifier = $1 WHERE user_id = '42'")
        .unwrap();
    let ask = app.prepare(VALIDATE).unwrap();
    let end = good.len() - 1;
    let at_the_end =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/', '=']).map(|to| (end, to));
    let mut tried = 0;
    for (at, to) in (0..end).flat_map(|at| [(at, 'b'), (at, '$')]).chain(at_the_end) {
        let mut changed = good.clone();
        changed.replace_range(at..=at, to.encode_utf8(&mut [0; 4]));
        if changed == good {
            continue;
        }
        admin.execute(&update, &[&changed]).unwrap();
        for password in [GOOD, OTHER] {
            let state = sqlstate(app.query(&ask, &[&"42", &password]));
            assert_eq!(state, "XX001", "character {at} as {to}");
            tried += 1;
        }
        admin.query("SELECT auth.pv_unlock_user('42'::text)", &[]).unwrap();
    }
    assert!(tried > 1000, "{tried}");
    admin.execute(&update, &[&good]).unwrap();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
}
