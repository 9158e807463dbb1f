//! Accounts in an incident: what a manager does takes effect at once, whatever the application holds.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{manage, set, validate};
use password_verify_tests::imports::{BCRYPT, becomes, import, shown};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::stall::Clock;
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::IsolationLevel;

const WEAK: &str = "argon2id m=7168,t=5,p=1";
const STRONG: &str = "argon2id m=7168,t=6,p=1";

/// Users whose records are weaker than what the settings want by now.
fn due_for_renewal(site: &Site, users: &[&str]) {
    users.iter().for_each(|user| site.enroll(user, GOOD));
    site.configure(&["argon2_iterations = 6"]);
}

fn validate_in(open: &mut impl postgres::GenericClient, user: &str, password: &str) -> bool {
    let sql = "SELECT valid FROM auth.pv_validate_password($1::text, $2)";
    open.query_one(sql, &[&user, &password]).unwrap().get(0)
}

/// A login is nothing that an account could be held with.
fn a_login_holds_nothing(site: &Site) {
    let users = ["set", "disabled", "changed"];
    due_for_renewal(site, &users);
    let mut admin = site.admin();
    let (mut app, mut service) = (site.login(), site.login_with(&["registrar", "manager"]));
    let mut open = app.transaction().unwrap();
    users.iter().for_each(|user| assert!(validate_in(&mut open, user, GOOD)));
    users.iter().for_each(|user| becomes(&mut admin, user, STRONG));
    let start = Instant::now();
    assert_eq!(set(&mut service, "set", OTHER), Answer::yes());
    assert!(manage(&mut service, "pv_disable_user", "disabled"));
    let change = "SELECT success FROM auth.pv_change_password('changed', $1, $2)";
    assert!(site.login().query_one(change, &[&GOOD, &OTHER]).unwrap().get::<_, bool>(0));
    println!("three changes in {:?}", start.elapsed());
    let mut elsewhere = site.login();
    let answers = users.map(|user| validate(&mut elsewhere, user, GOOD));
    let wrong = Answer::no("invalid_credentials");
    assert_eq!(answers, [wrong.clone(), Answer::no("disabled"), wrong]);
    // The transaction that is open sees it too.
    assert!(!validate_in(&mut open, "set", GOOD) && validate_in(&mut open, "set", OTHER));
    open.commit().unwrap();
    assert_eq!(validate(&mut elsewhere, "set", OTHER), Answer::yes());
}

#[test]
fn an_open_login_that_renews_its_record_holds_up_nobody() {
    a_login_holds_nothing(&Site::new());
}

#[test]
fn an_open_login_that_renews_a_sealed_record_holds_up_nobody() {
    a_login_holds_nothing(&sealed_site(&line("a", &fresh_key())));
}

#[test]
fn a_record_is_renewed_by_a_login_in_any_transaction() {
    let site = Site::new();
    let isolations = [
        IsolationLevel::ReadCommitted,
        IsolationLevel::RepeatableRead,
        IsolationLevel::Serializable,
    ];
    let users = ["read committed", "repeatable read", "serializable"];
    due_for_renewal(&site, &users);
    due_for_renewal(&site, &["rolled back"]);
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("ALTER ROLE {} SET default_transaction_read_only = on", site.app))
        .unwrap();
    let mut app = site.login();
    for (user, isolation) in users.into_iter().zip(isolations) {
        let mut open = app.build_transaction().isolation_level(isolation).start().unwrap();
        assert!(validate_in(&mut open, user, GOOD));
        becomes(&mut admin, user, STRONG);
        assert!(validate_in(&mut open, user, GOOD), "{user}");
        open.commit().unwrap();
    }
    // A login is a fact, whatever becomes of the application's transaction.
    let mut undone = app.transaction().unwrap();
    let mut savepoint = undone.savepoint("s").unwrap();
    assert!(validate_in(&mut savepoint, "rolled back", GOOD));
    savepoint.rollback().unwrap();
    undone.rollback().unwrap();
    becomes(&mut admin, "rolled back", STRONG);
}

#[test]
fn a_password_that_was_set_meanwhile_is_not_undone_by_a_renewal() {
    let site = Site::new();
    due_for_renewal(&site, &["42"]);
    let mut admin = site.admin();
    // The worker is held at the table, not at the row: what waits for it is a renewal of a former password.
    let mut held = admin.transaction().unwrap();
    held.batch_execute("SELECT FROM password_verify.credential WHERE user_id = '42' FOR UPDATE")
        .unwrap();
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    held.rollback().unwrap();
    for round in 0..10 {
        let (old, new) = if round % 2 == 0 { (GOOD, OTHER) } else { (OTHER, GOOD) };
        let weaker = format!("argon2_iterations = {}", 6 + round);
        site.configure(&[&weaker]);
        let (mut app, mut service) = (site.login(), site.login_with(&["registrar"]));
        thread::scope(|scope| {
            scope.spawn(|| validate(&mut app, "42", old));
            thread::sleep(Duration::from_millis(7 * round));
            assert_eq!(set(&mut service, "42", new), Answer::yes(), "{round}");
        });
        let mut app = site.login();
        assert_eq!(validate(&mut app, "42", new), Answer::yes(), "{round}");
        assert_eq!(validate(&mut app, "42", old), Answer::no("invalid_credentials"), "{round}");
    }
}

#[test]
fn more_logins_at_once_than_there_are_places_for_renewals_all_succeed() {
    const USERS: usize = 48;
    let site = Site::new();
    let (mut manager, mut admin) = (site.login_with(&["manager"]), site.admin());
    let users: Vec<String> = (0..USERS).map(|i| format!("user {i}")).collect();
    users.iter().for_each(|user| assert_eq!(import(&mut manager, user, BCRYPT), Answer::yes()));
    // Nothing is written while somebody has locked the table, and nobody waits for that.
    let mut locked = site.admin();
    let mut locked = locked.transaction().unwrap();
    locked.batch_execute("LOCK TABLE password_verify.credential IN SHARE MODE").unwrap();
    let mut app = site.login();
    for user in &users {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
        assert_eq!(shown(&mut admin, user), "bcrypt -");
    }
    locked.rollback().unwrap();
    for user in &users {
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
        becomes(&mut admin, user, WEAK);
    }
}

/// Everything that an application can do in a transaction that it then leaves open.
fn hold(open: &mut impl postgres::GenericClient, site: &Site, how: &str, user: &str) {
    let yes = |open: &mut dyn FnMut() -> bool| assert!(open(), "{how}");
    let mut change = |from: &str, to: &str| {
        let sql = "SELECT success FROM auth.pv_change_password($1::text, $2, $3)";
        open.query_one(sql, &[&user, &from, &to]).unwrap().get::<_, bool>(0)
    };
    match how {
        "changed" => yes(&mut || change(GOOD, OTHER)),
        "changed twice" => {
            yes(&mut || change(GOOD, OTHER));
            yes(&mut || change(OTHER, "a heron in the millrace"));
        }
        "logged in" => yes(&mut || validate_in(open, user, GOOD)),
        "created another" => {
            let sql = "SELECT success FROM auth.pv_create_password($1 || ' other', $2)";
            yes(&mut || open.query_one(sql, &[&user, &GOOD]).unwrap().get::<_, bool>(0));
        }
        "reset" => {
            let issue = "SELECT auth.pv_issue_reset_token($1::text)";
            let token: String = site.admin().query_one(issue, &[&user]).unwrap().get(0);
            let sql = "SELECT success FROM auth.pv_reset_password($1, $2)";
            yes(&mut || open.query_one(sql, &[&token, &OTHER]).unwrap().get::<_, bool>(0));
        }
        _ => unreachable!("{how}"),
    }
}

const HOLDS: [&str; 5] = ["changed", "changed twice", "logged in", "created another", "reset"];

/// How long a manager waits: less than the second for which a write would.
fn at_once(what: &str, call: impl FnOnce()) {
    let clock = Clock::start();
    call();
    let time = clock.time();
    assert!(time < Duration::from_millis(700), "{what}: {time:?}");
}

fn nothing_stands_in_a_managers_way(site: &Site) {
    let isolations = [IsolationLevel::ReadCommitted, IsolationLevel::Serializable];
    let (mut app, mut manager, mut elsewhere) =
        (site.login(), site.login_with(&["manager"]), site.login());
    for (i, how) in HOLDS.into_iter().enumerate() {
        let user = how;
        site.enroll(user, GOOD);
        let isolation = isolations[i % 2];
        let mut open = app.build_transaction().isolation_level(isolation).start().unwrap();
        let mut savepoint = open.savepoint("s").unwrap();
        hold(&mut savepoint, site, how, user);
        savepoint.commit().unwrap();

        at_once(how, || assert!(manage(&mut manager, "pv_disable_user", user), "{how}"));
        assert_eq!(validate(&mut elsewhere, user, GOOD), Answer::no("disabled"), "{how}");
        let mine = if how == "changed twice" { "a heron in the millrace" } else { OTHER };
        let mine = if ["logged in", "created another"].contains(&how) { GOOD } else { mine };
        assert!(!validate_in(&mut open, user, mine), "{how}: the transaction itself, too");
        at_once(how, || assert!(manage(&mut manager, "pv_enable_user", user), "{how}"));
        assert_eq!(validate(&mut elsewhere, user, GOOD), Answer::yes(), "{how}");
        at_once(how, || assert!(manage(&mut manager, "pv_require_change", user), "{how}"));
        assert_eq!(validate(&mut elsewhere, user, GOOD), Answer::no("change_required"), "{how}");
        at_once(how, || assert!(manage(&mut manager, "pv_disable_user", user), "{how}"));
        open.commit().unwrap();
        // What was changed before the manager spoke is no answer to it.
        assert_eq!(validate(&mut elsewhere, user, mine), Answer::no("disabled"), "{how}");
        assert!(manage(&mut manager, "pv_enable_user", user));
        assert_eq!(validate(&mut elsewhere, user, mine), Answer::no("change_required"), "{how}");
    }
}

#[test]
fn whatever_an_open_transaction_holds_a_manager_disables_at_once() {
    nothing_stands_in_a_managers_way(&Site::new());
}

#[test]
fn whatever_an_open_transaction_holds_a_manager_disables_a_sealed_account_at_once() {
    nothing_stands_in_a_managers_way(&sealed_site(&line("a", &fresh_key())));
}

#[test]
fn a_change_that_is_open_does_not_meet_what_is_required_again() {
    let site = Site::new();
    let (mut app, mut manager) = (site.login(), site.login_with(&["manager"]));
    let mut elsewhere = site.login();
    site.enroll("42", GOOD);
    assert!(manage(&mut manager, "pv_require_change", "42"));
    let mut open = app.transaction().unwrap();
    let change_it = "SELECT success FROM auth.pv_change_password('42', $1, $2)";
    assert!(open.query_one(change_it, &[&GOOD, &OTHER]).unwrap().get::<_, bool>(0));
    assert!(manage(&mut manager, "pv_require_change", "42"));
    open.commit().unwrap();
    assert_eq!(validate(&mut elsewhere, "42", OTHER), Answer::no("change_required"));
    assert!(!manage(&mut manager, "pv_require_change", "42"), "nothing to do");
}

#[test]
fn what_a_manager_has_not_committed_is_not_in_force() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let kinds = ["manager", "verifier"];
    let (mut manager, mut second) = (site.login_with(&kinds), site.login_with(&kinds));
    let mut app = site.login();
    let mut open = manager.transaction().unwrap();
    let disable = "SELECT auth.pv_disable_user('42'::text)";
    assert!(open.query_one(disable, &[]).unwrap().get::<_, bool>(0));
    assert!(!validate_in(&mut open.savepoint("s").unwrap(), "42", GOOD));
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    // The owner's change is nobody's matter but hers; a second manager hears that there is a first.
    let change = "SELECT success FROM auth.pv_change_password('42', $1, $2)";
    at_once("a change", || {
        assert!(app.query_one(change, &[&GOOD, &OTHER]).unwrap().get::<_, bool>(0))
    });
    assert_eq!(sqlstate(second.query_one("SELECT auth.pv_enable_user('42'::text)", &[])), "55P03");
    open.commit().unwrap();
    assert_eq!(validate(&mut app, "42", OTHER), Answer::no("disabled"));
}

#[test]
fn an_account_whose_state_was_altered_is_an_error_and_never_enabled() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.allow_failures();
    let (mut app, mut admin) = (site.login(), site.admin());
    for user in ["victim", "mallory"] {
        site.enroll(user, GOOD);
    }
    assert!(manage(&mut admin, "pv_disable_user", "victim"));
    admin.batch_execute("CREATE TABLE kept AS SELECT * FROM password_verify.account").unwrap();
    let sql = "SELECT * FROM auth.pv_validate_password('victim', $1)";
    for forged in [
        "UPDATE password_verify.account SET disabled_at = NULL WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET disabled_at = disabled_at + interval '1 us' WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET change_required_at = now() WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET tokens_revoked_at = now() WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET created_at = now() WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET seal = 'x' WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET seal = left(seal, -1) WHERE user_id = 'victim'",
        "UPDATE password_verify.account SET user_id = 'mallory' WHERE user_id = 'victim'",
        "UPDATE password_verify.account v SET (disabled_at, seal) = (m.disabled_at, m.seal)
           FROM password_verify.account m WHERE m.user_id = 'mallory' AND v.user_id = 'victim'",
        "UPDATE password_verify.account v SET (disabled_at, created_at, seal) = (m.disabled_at, m.created_at, m.seal)
           FROM password_verify.account m WHERE m.user_id = 'mallory' AND v.user_id = 'victim'",
        "DELETE FROM password_verify.account WHERE user_id = 'victim'",
        "TRUNCATE password_verify.account",
    ] {
        admin.batch_execute(forged).unwrap();
        assert_eq!(sqlstate(app.query(sql, &[&GOOD])), "XX001", "{forged}");
        let change = "SELECT auth.pv_change_password('victim', $1, $2)";
        assert_eq!(sqlstate(app.query(change, &[&GOOD, &OTHER])), "XX001", "{forged}");
        let stranger = validate(&mut app, "stranger", GOOD);
        assert_eq!(stranger, Answer::no("invalid_credentials"), "{forged}");
        admin
            .batch_execute(
                "DELETE FROM password_verify.account;
                 INSERT INTO password_verify.account SELECT * FROM kept",
            )
            .unwrap();
        assert_eq!(validate(&mut app, "victim", GOOD), Answer::no("disabled"));
    }
    // A manager can say anew what it is. What was said before is lost, and so the password has to change.
    admin.batch_execute("DELETE FROM password_verify.account WHERE user_id = 'victim'").unwrap();
    assert!(manage(&mut admin, "pv_enable_user", "victim"));
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::no("change_required"));
    assert_eq!(set(&mut admin, "victim", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "victim", OTHER), Answer::yes());
}

#[test]
fn whoever_is_deleted_and_made_again_starts_fresh() {
    let site = Site::new();
    let (mut app, mut admin) = (site.login(), site.admin());
    site.enroll("42", GOOD);
    assert!(manage(&mut admin, "pv_disable_user", "42"));
    assert!(manage(&mut admin, "pv_require_change", "42"));
    assert!(manage(&mut admin, "pv_delete_user", "42"));
    site.enroll("42", GOOD);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    let rows = "SELECT (SELECT count(*) FROM password_verify.account) = (SELECT count(*) FROM password_verify.credential)";
    assert!(admin.query_one(rows, &[]).unwrap().get::<_, bool>(0));
    // Again and again, while somebody asks.
    let mut asking = site.login();
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            for _ in 0..60 {
                let answer = validate(&mut asking, "42", GOOD);
                assert!(
                    [Answer::yes(), Answer::no("invalid_credentials"), Answer::no("throttled")]
                        .contains(&answer),
                    "{answer:?}"
                );
            }
        });
        while !asked.is_finished() {
            assert!(manage(&mut admin, "pv_delete_user", "42"));
            site.enroll("42", GOOD);
        }
        asked.join().unwrap();
    });
}
