//! Accounts in an incident: what a manager does takes effect at once, whatever the application holds.

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::imports::{BCRYPT, becomes, import, shown};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::site::{manage, set, validate};
use password_verify_tests::{Answer, GOOD, OTHER, Site};
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
