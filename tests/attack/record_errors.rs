//! Errors that come from a record: an answer about its user, charged like one, and for strangers too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE, issue, reset, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::throttle::FOUR_HASHES;
use password_verify_tests::trail::{counts, of_user, settle};
use password_verify_tests::{Answer, GOOD, OTHER, Site, attack, refused, sqlstate};

#[test]
fn a_lowered_memory_limit_does_not_tell_who_exists() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    // Half of the users have records that will be too large.
    for i in 0..60 {
        site.configure(&[if i % 2 == 0 {
            "argon2_memory = '16MB'"
        } else {
            "argon2_memory = '7MB'"
        }]);
        site.enroll(&format!("known {i}"), GOOD);
    }
    cluster.configure(&["password_verify.hash_memory_limit = '8MB'"]);
    cluster.down();
    cluster.up();
    let mut app = site.login();
    let mut errors = |kind: &str| {
        let too_large = |i: &i32| match app.query_one(VALIDATE, &[&format!("{kind} {i}"), &OTHER]) {
            Ok(row) => {
                assert_eq!(row.get::<_, Option<&str>>(1), Some("invalid_credentials"));
                false
            }
            Err(error) => {
                let told = refused::<()>(Err(error));
                assert_eq!(told.0, "54000");
                assert_eq!(
                    told.1,
                    "a credential record asks for more memory than one hash may take"
                );
                true
            }
        };
        (0..60).filter(too_large).count()
    };
    let (known, unknown) = (errors("known"), errors("unknown"));
    assert_eq!(known, 30);
    // Each of them with a chance of a half, most likely: ten or fewer of 60 once in ten million times.
    attack("ids told to be somebody's by 54000", 60, if unknown > 10 { 0 } else { known });
    assert!(unknown < 60, "{unknown}");
}

#[test]
fn an_error_that_comes_from_a_record_is_charged_and_on_record() {
    let site = Site::new();
    let mut admin = site.admin();
    for (user, broken, state) in [
        ("corrupt", "verifier = '$argon2id$'", "XX001"),
        ("too much work", "verifier = replace(verifier, 't=5', 't=21')", "54000"),
        ("too much memory", "verifier = replace(verifier, 'm=7168', 'm=131073')", "54000"),
    ] {
        site.enroll(user, GOOD);
        let sql = format!("UPDATE password_verify.credential SET {broken} WHERE user_id = $1");
        admin.execute(&sql, &[&user]).unwrap();
        let mut app = site.login();
        for i in 0..5 {
            assert_eq!(sqlstate(app.query(VALIDATE, &[&user, &GOOD])), state, "{user} {i}");
        }
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("throttled"), "{user}");
        settle(&mut admin);
        let events = of_user(&mut admin, user);
        assert_eq!(events[0], "create committed");
        assert!(events.contains(&"validate abandoned".to_owned()), "{events:?}");
        let told: i64 = admin
            .query_one(
                "SELECT sum(count)::bigint FROM auth.pv_events WHERE user_id = $1 AND outcome = 'abandoned'",
                &[&user],
            )
            .unwrap()
            .get(0);
        assert_eq!(told, 5, "{user}");
    }
}

#[test]
fn a_token_that_ends_in_an_error_of_the_record_is_charged() {
    let site = Site::new();
    site.configure(&FOUR_HASHES);
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    let token = issue(&mut site.login_with(&["registrar"]), "42");
    admin.execute("DELETE FROM password_verify.account WHERE user_id = '42'", &[]).unwrap();
    let mut app = site.login();
    for i in 0..4 {
        let told = app.query("SELECT auth.pv_reset_password($1, $2)", &[&token, &OTHER]);
        assert_eq!(sqlstate(told), "XX001", "{i}");
    }
    assert_eq!(reset(&mut app, &token, OTHER), Answer::no("throttled"));
    settle(&mut admin);
    assert_eq!(counts(&mut admin)["prove abandoned"], 4);
}

#[test]
fn the_number_of_a_record_is_for_the_log_not_for_the_caller() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let sql = "UPDATE password_verify.credential SET verifier = 'x' WHERE user_id = '42' RETURNING blind_index::text";
    let number: String = site.admin().query_one(sql, &[]).unwrap().get(0);
    let (mut app, heard) = site.cluster.listen(&site.app, &site.database);
    app.batch_execute("SET client_min_messages = debug5").unwrap();
    for sql in [
        "SELECT auth.pv_validate_password('42'::text, $1)",
        "SELECT auth.pv_change_password('42'::text, $1, 'velvet anvil under monsoon')",
    ] {
        let error = app.query(sql, &[&GOOD]).unwrap_err();
        assert!(!format!("{error:?}").contains(&number), "{error:?}");
    }
    app.batch_execute("SELECT 1").unwrap();
    assert!(!heard.lock().unwrap().join("\n").contains(&number));
    assert!(site.cluster.log().contains(&format!("a credential record is corrupt: {number}")));
}
