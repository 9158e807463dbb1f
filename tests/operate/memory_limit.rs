//! Records and settings that ask for more memory than one hash may take.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{VALIDATE, set, validate};
use password_verify_tests::hold::{SHORT_QUEUE, slots};
use password_verify_tests::{Answer, GOOD, OTHER, refused};

#[test]
fn a_record_that_asks_for_too_much_memory_is_its_own_users_trouble() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    site.allow_failures();
    for user in ["dear", "cheap", "other"] {
        site.enroll(user, GOOD);
    }
    let (mut admin, mut app) = (site.admin(), site.login());
    let sql =
        "UPDATE password_verify.credential SET verifier = replace(verifier, 'm=7168', 'm=131073')
                WHERE user_id = 'dear' RETURNING blind_index::text";
    let number: String = admin.query_one(sql, &[]).unwrap().get(0);
    let change = format!("SELECT * FROM auth.pv_change_password($1::text, $2, '{OTHER}')");
    for sql in [VALIDATE, &change] {
        for password in [GOOD, "guess"] {
            let (state, message, hint) = refused(app.query(sql, &[&"dear", &password]));
            assert_eq!(state, "54000");
            assert_eq!(message, "a credential record asks for more memory than one hash may take");
            assert!(hint.contains("password_verify.hash_memory_limit"), "{hint}");
        }
    }
    assert!(site.cluster.log().contains(&format!("one hash may take: {number}")));
    for user in ["cheap", "other"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    for user in ["cheap", "other"] {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(set(&mut admin, "dear", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "dear", OTHER), Answer::yes());
}

#[test]
fn settings_above_the_limit_are_refused_everywhere() {
    let turn = SHORT_QUEUE.turn();
    let site = &turn.site;
    site.enroll("42", GOOD);
    let mut admin = site.admin();
    admin.batch_execute("SET password_verify.argon2_memory = '131073kB'").unwrap();
    for call in [
        "pv_validate_password('42', $1)",
        "pv_validate_password('nobody', $1)",
        "pv_create_password('43', $1)",
        "pv_set_password('42', $1)",
        &format!("pv_change_password('42', $1, '{OTHER}')"),
    ] {
        let result = admin.query(&format!("SELECT auth.{call}"), &[&GOOD]);
        let (state, message, hint) = refused(result);
        assert_eq!(state, "55000", "{call}");
        let expected = "password_verify.argon2_memory is above password_verify.hash_memory_limit";
        assert_eq!(message, expected, "{call}");
        assert!(hint.contains("hash_memory_limit, which takes a restart"), "{hint}");
        assert_eq!(slots(&mut admin), (0, 0), "{call}");
    }
    admin.batch_execute("SET password_verify.argon2_memory = '131072kB'").unwrap();
    assert_eq!(set(&mut admin, "42", OTHER), Answer::yes());
    assert_eq!(validate(&mut site.login(), "42", OTHER), Answer::yes());
}
