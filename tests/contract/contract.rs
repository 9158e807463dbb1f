//! What every function answers, for every reason it can give.
//!
//! | function | yes | no |
//! | --- | --- | --- |
//! | pv_create_password | first password | already_set, too_short, too_long, too_weak, contains_user_id |
//! | pv_validate_password | right | invalid_credentials (wrong, unknown, too long), disabled, expired, change_required |
//! | pv_change_password | right old one | invalid_credentials, disabled, expired, reused, the policy's reasons |
//! | pv_set_password | always | the policy's reasons |
//! | pv_check_password | acceptable | the policy's reasons |
//!
//! `busy` is in concurrency.rs.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, change, create, manage, set, validate};
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::Client;

#[test]
fn sign_up_log_in_change() {
    let site = Site::new();
    let app = &mut site.login();
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(create(app, "42", GOOD), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
    assert_eq!(validate(app, "42", OTHER), Answer::no("invalid_credentials"));
    assert_eq!(validate(app, "43", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(change(app, "42", OTHER, GOOD), Answer::no("invalid_credentials"));
    assert_eq!(change(app, "43", GOOD, OTHER), Answer::no("invalid_credentials"));
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(validate(app, "42", OTHER), Answer::yes());
}

#[test]
fn create_sets_a_first_password_only() {
    let site = Site::new();
    let app = &mut site.login();
    assert_eq!(create(app, "42", GOOD), Answer::yes());
    assert_eq!(create(app, "42", OTHER), Answer::no("already_set"));
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
}

#[test]
fn users_do_not_touch_each_other() {
    let site = Site::new();
    let app = &mut site.login();
    for i in 0..40 {
        assert_eq!(create(app, &i.to_string(), &format!("{GOOD} {i}")), Answer::yes());
    }
    for i in 0..40 {
        let (user, password) = (i.to_string(), format!("{GOOD} {i}"));
        assert_eq!(validate(app, &user, &password), Answer::yes());
        assert_eq!(
            validate(app, &(i + 1).to_string(), &password),
            Answer::no("invalid_credentials")
        );
    }
}

fn reasons_of_the_policy(client: &mut Client, ask: impl Fn(&mut Client, &str, &str) -> Answer) {
    let no = Answer::no;
    assert_eq!(ask(client, "42", "fourteen chars"), no("too_short"));
    assert_eq!(ask(client, "42", ""), no("too_short"));
    assert_eq!(ask(client, "42", &"x".repeat(4097)), no("too_long"));
    assert_eq!(ask(client, "42", &"x".repeat(100_000)), no("too_long"));
    assert_eq!(ask(client, "42", "vzvzvzvzvzvzvzvz"), no("too_weak"));
    assert_eq!(ask(client, "alice", "a monsoon of ALICE anvils"), no("contains_user_id"));
}

#[test]
fn the_policy_says_why_at_create() {
    let site = Site::new();
    reasons_of_the_policy(&mut site.login(), create);
}

#[test]
fn the_policy_says_why_at_check() {
    let site = Site::new();
    let app = &mut site.login();
    let check = |client: &mut Client, user: &str, password: &str| {
        let sql = "SELECT * FROM auth.pv_check_password($1::text, $2)";
        ask(client, sql, &[&user, &password]).unwrap()
    };
    reasons_of_the_policy(app, check);
    assert_eq!(check(app, "42", GOOD), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"), "nothing was set");
}

#[test]
fn the_policy_says_why_at_set() {
    let site = Site::new();
    reasons_of_the_policy(&mut site.login_with(&["registrar"]), set);
}

#[test]
fn the_policy_says_why_at_change_and_keeps_the_old_password() {
    let site = Site::new();
    let app = &mut site.login();
    for user in ["42", "alice"] {
        site.enroll(user, GOOD);
    }
    reasons_of_the_policy(app, |client, user, new| change(client, user, GOOD, new));
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
}

#[test]
fn the_longest_password_works() {
    let site = Site::new();
    let app = &mut site.login();
    let long = format!("{GOOD} {}", "é".repeat((4096 - GOOD.len() - 1) / 2));
    assert!((4095..=4096).contains(&long.len()));
    assert_eq!(create(app, "42", &long), Answer::yes());
    assert_eq!(validate(app, "42", &long), Answer::yes());
    assert_eq!(validate(app, "42", &long[..long.len() - 2]), Answer::no("invalid_credentials"));
    assert_eq!(validate(app, "42", &"x".repeat(4097)), Answer::no("invalid_credentials"));
    assert_eq!(change(app, "42", &"x".repeat(4097), GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn set_replaces_and_creates() {
    let site = Site::new();
    let (app, registrar) = (&mut site.login(), &mut site.login_with(&["registrar"]));
    assert_eq!(set(registrar, "42", GOOD), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
    assert_eq!(set(registrar, "42", OTHER), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(validate(app, "42", OTHER), Answer::yes());
}

#[test]
fn an_issued_password_must_be_changed() {
    let site = Site::new();
    let (app, registrar) = (&mut site.login(), &mut site.login_with(&["registrar"]));
    let sql = "SELECT * FROM auth.pv_set_password('42', $1, must_change => true)";
    assert_eq!(ask(registrar, sql, &[&GOOD]).unwrap(), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::no("change_required"));
    assert_eq!(validate(app, "42", OTHER), Answer::no("invalid_credentials"), "not to strangers");
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(app, "42", OTHER), Answer::yes());
}

#[test]
fn an_issued_password_expires() {
    let site = Site::new();
    let (app, registrar) = (&mut site.login(), &mut site.login_with(&["registrar"]));
    let sql = "SELECT * FROM auth.pv_set_password('42', $1, false, now() + $2::text::interval)";
    assert_eq!(ask(registrar, sql, &[&GOOD, &"1 hour"]).unwrap(), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
    assert_eq!(ask(registrar, sql, &[&GOOD, &"-1 second"]).unwrap(), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::no("expired"));
    assert_eq!(validate(app, "42", OTHER), Answer::no("invalid_credentials"), "not to strangers");
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::no("expired"));
    // A change ends the expiry; an infinite one never comes.
    assert_eq!(ask(registrar, sql, &[&GOOD, &"1 hour"]).unwrap(), Answer::yes());
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::yes());
    let left: i64 = site
        .admin()
        .query_one("SELECT count(*) FROM auth.pv_users WHERE expires_at IS NOT NULL", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    let forever = "SELECT * FROM auth.pv_set_password('42', $1, false, 'infinity')";
    assert_eq!(ask(registrar, forever, &[&GOOD]).unwrap(), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
}

#[test]
fn an_expiry_is_measured_by_the_clock_not_by_an_old_transaction() {
    let site = Site::new();
    let (app, registrar) = (&mut site.login(), &mut site.login_with(&["registrar"]));
    let mut old = app.transaction().unwrap();
    old.query("SELECT 1", &[]).unwrap();
    let soon = "SELECT * FROM auth.pv_set_password('42', $1, false, now() + interval '300 ms')";
    assert_eq!(ask(registrar, soon, &[&GOOD]).unwrap(), Answer::yes());
    old.query("SELECT pg_sleep(0.5)", &[]).unwrap();
    let row = old.query_one("SELECT * FROM auth.pv_validate_password('42', $1)", &[&GOOD]).unwrap();
    assert_eq!(row.get::<_, Option<&str>>(1), Some("expired"));
}

#[test]
fn a_change_is_to_another_password() {
    let site = Site::new();
    let (app, manager) = (&mut site.login(), &mut site.login_with(&["manager"]));
    site.enroll("42", "Amélie flies at midnight");
    assert!(manage(manager, "pv_require_change", "42"));
    for same in ["Amélie flies at midnight", "Ame\u{301}lie flies at midnight"] {
        assert_eq!(change(app, "42", "Amélie flies at midnight", same), Answer::no("reused"));
    }
    // Only to somebody who knows it.
    assert_eq!(change(app, "42", GOOD, GOOD), Answer::no("invalid_credentials"));
    assert_eq!(validate(app, "42", "Amélie flies at midnight"), Answer::no("change_required"));
    assert_eq!(change(app, "42", "Amélie flies at midnight", GOOD), Answer::yes());
}

#[test]
fn disabled_and_enabled() {
    let site = Site::new();
    let (app, manager) = (&mut site.login(), &mut site.login_with(&["manager"]));
    site.enroll("42", GOOD);
    assert!(manage(manager, "pv_disable_user", "42"));
    assert!(!manage(manager, "pv_disable_user", "42"), "nothing to do");
    assert_eq!(validate(app, "42", GOOD), Answer::no("disabled"));
    assert_eq!(validate(app, "42", OTHER), Answer::no("invalid_credentials"), "not to strangers");
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::no("disabled"));
    let registrar = &mut site.login_with(&["registrar"]);
    assert_eq!(set(registrar, "42", OTHER), Answer::yes());
    assert_eq!(validate(app, "42", OTHER), Answer::no("disabled"), "a reset does not enable");
    assert!(manage(manager, "pv_enable_user", "42"));
    assert!(!manage(manager, "pv_enable_user", "42"), "nothing to do");
    assert_eq!(validate(app, "42", OTHER), Answer::yes());
}

#[test]
fn require_change() {
    let site = Site::new();
    let (app, manager) = (&mut site.login(), &mut site.login_with(&["manager"]));
    site.enroll("42", GOOD);
    assert!(manage(manager, "pv_require_change", "42"));
    assert!(!manage(manager, "pv_require_change", "42"), "nothing to do");
    assert_eq!(validate(app, "42", GOOD), Answer::no("change_required"));
    assert_eq!(change(app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(app, "42", OTHER), Answer::yes());
}

#[test]
fn delete() {
    let site = Site::new();
    let (app, manager) = (&mut site.login(), &mut site.login_with(&["manager", "registrar"]));
    site.enroll("42", GOOD);
    assert!(manage(manager, "pv_has_password", "42"));
    assert!(manage(manager, "pv_delete_user", "42"));
    assert!(!manage(manager, "pv_delete_user", "42"), "nothing to do");
    assert!(!manage(manager, "pv_has_password", "42"));
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(create(app, "42", OTHER), Answer::yes(), "the id is free again");
}

#[test]
fn nothing_to_do_for_unknown_users() {
    let site = Site::new();
    let manager = &mut site.login_with(&["manager", "registrar"]);
    for function in [
        "pv_disable_user",
        "pv_enable_user",
        "pv_require_change",
        "pv_delete_user",
        "pv_has_password",
    ] {
        assert!(!manage(manager, function, "nobody"), "{function}");
    }
}

#[test]
fn spellings_of_one_password_are_one_password() {
    let site = Site::new();
    let app = &mut site.login();
    assert_eq!(create(app, "42", "Ame\u{301}lie flies at midnight"), Answer::yes());
    assert_eq!(validate(app, "42", "Amélie flies at midnight"), Answer::yes());
    assert_eq!(validate(app, "42", "Amelie flies at midnight"), Answer::no("invalid_credentials"));
}

#[test]
fn a_sign_up_and_its_password_vanish_together() {
    let site = Site::new();
    let app = &mut site.login();
    let mut sign_up = app.transaction().unwrap();
    let row =
        sign_up.query_one("SELECT * FROM auth.pv_create_password('42', $1)", &[&GOOD]).unwrap();
    assert!(row.get::<_, bool>(0));
    let row =
        sign_up.query_one("SELECT * FROM auth.pv_validate_password('42', $1)", &[&GOOD]).unwrap();
    assert!(row.get::<_, bool>(0), "the transaction sees its own work");
    sign_up.rollback().unwrap();
    assert_eq!(validate(app, "42", GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn one_statement_sees_what_it_did_before() {
    let site = Site::new();
    let all = &mut site.login_with(&["verifier", "enroller", "manager"]);
    let row = all
        .query_one(
            "SELECT auth.pv_create_password('42', $1)::text, auth.pv_validate_password('42', $1)::text,
                    auth.pv_create_password('42', $2)::text, auth.pv_require_change('42'),
                    auth.pv_change_password('42', $1, $2)::text, auth.pv_validate_password('42', $2)::text,
                    auth.pv_delete_user('42'), auth.pv_create_password('42', $1)::text",
            &[&GOOD, &OTHER],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "(t,)");
    assert_eq!(row.get::<_, &str>(1), "(t,,)");
    assert_eq!(row.get::<_, &str>(2), "(f,already_set)");
    assert!(row.get::<_, bool>(3));
    assert_eq!(row.get::<_, &str>(4), "(t,,)");
    assert_eq!(row.get::<_, &str>(5), "(t,,)");
    assert!(row.get::<_, bool>(6));
    assert_eq!(row.get::<_, &str>(7), "(t,)");
}

#[test]
fn retry_after_is_null_where_nothing_is_throttled() {
    let site = Site::new();
    let row = site
        .login()
        .query_one("SELECT retry_after IS NULL FROM auth.pv_validate_password('42', 'x')", &[])
        .unwrap();
    assert!(row.get::<_, bool>(0));
}

#[test]
fn bulk_sign_up_in_one_transaction() {
    // More users than there is room for locks of one transaction: none may be kept per user.
    let site = Site::new();
    let mut admin = site.admin();
    let one = |client: &mut Client, sql: &str| client.query_one(sql, &[]).unwrap().get::<_, i64>(0);
    let mut bulk = admin.transaction().unwrap();
    let sql = "SELECT count(*) FILTER (WHERE success) FROM generate_series(1::bigint, 1000) AS id,
               LATERAL auth.pv_create_password(id, 'velvet anvil under monsoon')";
    assert_eq!(bulk.query_one(sql, &[]).unwrap().get::<_, i64>(0), 1000);
    let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()";
    assert!(bulk.query_one(locks, &[]).unwrap().get::<_, i64>(0) < 20);
    bulk.commit().unwrap();
    assert_eq!(one(&mut admin, "SELECT count(*) FROM auth.pv_users"), 1000);
}

#[test]
fn pv_users_shows_state_and_never_a_hash() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let mut auditor = site.login_with(&["auditor"]);
    let row = auditor.query_one("SELECT u::text FROM auth.pv_users u", &[]).unwrap();
    let text: &str = row.get(0);
    assert!(text.starts_with("(42,argon2id,\"m=7168,t=5,p=1\",,f,,,"), "{text}");
    assert!(!text.contains('$'), "{text}");
    let sql = "SELECT verifier FROM password_verify.credential";
    assert_eq!(sqlstate(auditor.query(sql, &[])), "42501");
}
