//! Imported users are accounts like all others.
#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::thread;

use password_verify_tests::calls::{change, manage, set, validate};
use password_verify_tests::imports::{BCRYPT, OURS, SHA1, becomes, import, shown};
use password_verify_tests::{Answer, GOOD, OTHER, Site};
use postgres::Client;

#[test]
fn imported_users_are_throttled_like_all_others() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        for _ in 0..5 {
            assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        }
        for password in [GOOD, OTHER] {
            assert_eq!(validate(&mut app, user, password), Answer::no("throttled"));
            assert_eq!(
                change(&mut app, user, password, "a heron in the millrace"),
                Answer::no("throttled")
            );
        }
        assert!(shown(&mut site.admin(), user) != OURS);
        assert!(manage(&mut manager, "pv_unlock_user", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
}

#[test]
fn imported_users_are_disabled_expired_and_made_to_change_like_all_others() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        let label = shown(&mut admin, user);
        assert!(manage(&mut manager, "pv_disable_user", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("disabled"));
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::no("disabled"));
        assert!(manage(&mut manager, "pv_enable_user", user));

        let expire = |admin: &mut Client, at: &str| {
            let sql = format!(
                "UPDATE password_verify.credential SET expires_at = {at} WHERE user_id = $1"
            );
            admin.execute(&sql, &[&user]).unwrap();
        };
        expire(&mut admin, "now() - interval '1 second'");
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("expired"));
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::no("expired"));
        expire(&mut admin, "NULL");

        assert!(manage(&mut manager, "pv_require_change", user));
        assert_eq!(validate(&mut app, user, GOOD), Answer::no("change_required"));
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong());
        assert_eq!(shown(&mut admin, user), label, "no login, no new record");
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());
    }
}

#[test]
fn imported_passwords_are_changed_and_replaced() {
    let site = Site::new();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    let mut registrar = site.login_with(&["registrar"]);
    for (user, hash) in [("slow", BCRYPT), ("fast", SHA1)] {
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert!(manage(&mut registrar, "pv_has_password", user));
        assert_eq!(change(&mut app, user, OTHER, "a heron in the millrace"), Answer::wrong());
        assert_eq!(change(&mut app, user, GOOD, GOOD), Answer::no("reused"));
        assert_eq!(change(&mut app, user, GOOD, "short"), Answer::no("too_short"));
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());

        let user = &format!("{user} reset");
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(set(&mut registrar, user, OTHER), Answer::yes());
        becomes(&mut admin, user, OURS);
        assert_eq!(validate(&mut app, user, OTHER), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::wrong());
        assert_eq!(import(&mut manager, user, hash), Answer::no("already_set"));

        // Whoever is deleted can be imported again.
        assert!(manage(&mut manager, "pv_delete_user", user));
        assert_eq!(import(&mut manager, user, hash), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
    }
}

#[test]
fn first_logins_at_the_same_moment_all_succeed() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    let mut sessions: Vec<Client> = (0..8).map(|_| site.login()).collect();
    for (round, hash) in [BCRYPT, SHA1, BCRYPT, SHA1].into_iter().enumerate() {
        let user = format!("user {round}");
        assert_eq!(import(&mut manager, &user, hash), Answer::yes());
        let barrier = Barrier::new(sessions.len());
        thread::scope(|scope| {
            for app in &mut sessions {
                scope.spawn(|| {
                    barrier.wait();
                    assert_eq!(validate(app, &user, GOOD), Answer::yes());
                    assert_eq!(validate(app, &user, GOOD), Answer::yes());
                });
            }
        });
        becomes(&mut site.admin(), &user, OURS);
        assert_eq!(validate(&mut sessions[0], &user, OTHER), Answer::wrong());
    }
}
