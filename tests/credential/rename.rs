//! Users whose id changes, and reset tokens that have to die.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{
    ask, change, create, issue, manage, rename, reset, set, validate,
};
use password_verify_tests::imports::import;
use password_verify_tests::keyring::{fresh_key, key_of, line, sealed_site};
use password_verify_tests::stall::Clock;
use password_verify_tests::trail::{assert_intact, of_user, settle, stat};
use password_verify_tests::{Answer, GOOD, OTHER, Site, sqlstate};
use postgres::{Client, IsolationLevel};

const THIRD: &str = "a heron in the millrace";

/// What `pv_users` says of a user, without the id.
fn state(client: &mut Client, user: &str) -> Option<String> {
    let sql = "SELECT concat_ws(' ', algorithm, parameters, must_change, expires_at, disabled_at, created_at, changed_at)
                 FROM auth.pv_users WHERE user_id = $1";
    client.query_opt(sql, &[&user]).unwrap().map(|row| row.get(0))
}

fn keeps_everything(site: &Site) {
    let (mut app, mut admin) = (site.login(), site.admin());
    site.configure(&["history = 3"]);
    let mut choosy = site.login();
    for user in ["old", "disabled", "must change"] {
        site.enroll(user, GOOD);
    }
    assert_eq!(change(&mut choosy, "old", GOOD, OTHER), Answer::yes());
    assert!(manage(&mut admin, "pv_disable_user", "disabled"));
    assert!(manage(&mut admin, "pv_require_change", "must change"));
    for user in ["old", "disabled", "must change"] {
        let new = format!("{user} renamed");
        let before = state(&mut admin, user);
        assert_eq!(rename(&mut admin, user, &new), Answer::yes());
        assert_eq!((state(&mut admin, &new), state(&mut admin, user)), (before, None));
        assert!(!manage(&mut admin, "pv_has_password", user));
    }
    assert_eq!(validate(&mut app, "old renamed", OTHER), Answer::yes());
    for user in ["old", "disabled", "must change"] {
        assert_eq!(validate(&mut app, user, OTHER), Answer::wrong(), "{user}");
    }
    assert_eq!(validate(&mut app, "disabled renamed", GOOD), Answer::no("disabled"));
    assert_eq!(validate(&mut app, "must change renamed", GOOD), Answer::no("change_required"));
    assert_eq!(change(&mut choosy, "old renamed", OTHER, GOOD), Answer::no("reused"));
    assert_eq!(change(&mut choosy, "old renamed", OTHER, THIRD), Answer::yes());
    // The old id is anybody's.
    assert_eq!(create(&mut app, "old", THIRD), Answer::yes());
    assert_eq!(rename(&mut admin, "old", "old renamed"), Answer::no("already_set"));
    assert_eq!(validate(&mut app, "old", THIRD), Answer::yes());
    settle(&mut admin);
    assert!(of_user(&mut admin, "disabled").contains(&"rename committed".into()));
    let renamed = of_user(&mut admin, "disabled renamed");
    assert_eq!(renamed, ["renamed committed", "validate disabled"]);
    let sql = "SELECT count(DISTINCT xid) = 1 AND count(*) = 2 FROM auth.pv_events
                WHERE action IN ('rename', 'renamed') AND user_id LIKE 'disabled%'";
    assert!(admin.query_one(sql, &[]).unwrap().get::<_, bool>(0));
    assert_intact(&mut admin);
}

#[test]
fn a_user_who_is_renamed_keeps_password_history_and_state() {
    keeps_everything(&Site::new());
}

#[test]
fn a_user_with_a_sealed_record_who_is_renamed_keeps_it_sealed() {
    let site = sealed_site(&line("a", &fresh_key()));
    keeps_everything(&site);
    let mut admin = site.admin();
    assert_eq!(key_of(&mut admin, "disabled renamed").as_deref(), Some("a"));
    let sealed =
        "SELECT bool_and(starts_with(verifier, '$sealed$') AND starts_with(seal, '$sealed$'))
                    FROM password_verify.credential JOIN password_verify.account USING (blind_index)
                   WHERE credential.user_id <> ''";
    assert!(admin.query_one(sealed, &[]).unwrap().get::<_, bool>(0));
}

#[test]
fn ids_of_every_type_can_be_renamed() {
    let site = Site::new();
    let (mut app, mut admin) = (site.login(), site.admin());
    site.enroll("1", GOOD);
    let sql = "SELECT * FROM auth.pv_rename_user(1::bigint, 2::bigint)";
    assert_eq!(ask(&mut admin, sql, &[]).unwrap(), Answer::yes());
    assert_eq!(validate(&mut app, "2", GOOD), Answer::yes());
    let uuids = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"];
    site.enroll(uuids[0], GOOD);
    let sql =
        format!("SELECT * FROM auth.pv_rename_user('{}'::uuid, '{}'::uuid)", uuids[0], uuids[1]);
    assert_eq!(ask(&mut admin, &sql, &[]).unwrap(), Answer::yes());
    assert_eq!(validate(&mut app, uuids[1], GOOD), Answer::yes());
    for (old, new) in [("NULL", "'x'"), ("'x'", "NULL")] {
        let sql = format!("SELECT auth.pv_rename_user({old}::text, {new}::text)");
        assert_eq!(sqlstate(admin.query(&sql, &[])), "22004");
    }
    assert_eq!(sqlstate(admin.query("SELECT auth.pv_rename_user('2', '')", &[])), "22023");
    let mut service = site.login_with(&["registrar", "verifier", "enroller"]);
    assert_eq!(
        sqlstate(service.query("SELECT auth.pv_rename_user('2'::text, '3'::text)", &[])),
        "42501"
    );
}

#[test]
fn what_cannot_be_renamed_says_why() {
    let site = Site::new();
    let mut admin = site.admin();
    site.enroll("a", GOOD);
    site.enroll("b", OTHER);
    assert_eq!(rename(&mut admin, "nobody", "c"), Answer::no("no_password"));
    assert_eq!(rename(&mut admin, "nobody", "b"), Answer::no("no_password"));
    assert_eq!(rename(&mut admin, "a", "b"), Answer::no("already_set"));
    assert_eq!(rename(&mut admin, "a", "a"), Answer::no("already_set"));
    settle(&mut admin);
    assert_eq!(of_user(&mut admin, "nobody"), ["rename no_password", "rename no_password"]);
    assert_eq!(of_user(&mut admin, "c"), [""; 0]);
    let mut app = site.login();
    assert_eq!(validate(&mut app, "a", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "b", OTHER), Answer::yes());
}

#[test]
fn a_hash_with_the_old_name_in_it_still_opens() {
    let site = Site::new();
    let (mut app, mut admin) = (site.login(), site.admin());
    // SELECT 'md5' || md5('correct horse battery staple' || 'old')
    let hash: String =
        admin.query_one("SELECT 'md5' || md5($1 || 'old')", &[&GOOD]).unwrap().get(0);
    assert_eq!(import(&mut admin, "old", &hash), Answer::yes());
    assert_eq!(rename(&mut admin, "old", "new"), Answer::yes());
    assert_eq!(rename(&mut admin, "new", "newer"), Answer::yes());
    assert_eq!(validate(&mut app, "newer", OTHER), Answer::wrong());
    assert_eq!(validate(&mut app, "newer", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "newer", GOOD), Answer::yes());
}

#[test]
fn a_rename_is_worth_what_its_transaction_comes_to() {
    let site = Site::new();
    let (mut app, mut manager, mut admin) =
        (site.login(), site.login_with(&["manager"]), site.admin());
    site.enroll("old", GOOD);
    for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::Serializable] {
        let mut open = manager.build_transaction().isolation_level(isolation).start().unwrap();
        let mut savepoint = open.savepoint("s").unwrap();
        assert_eq!(rename(&mut savepoint, "old", "undone"), Answer::yes());
        savepoint.rollback().unwrap();
        assert_eq!(rename(&mut open, "old", "new"), Answer::yes());
        assert_eq!(rename(&mut open, "new", "newer"), Answer::yes());
        assert_eq!(rename(&mut open, "newer", "old"), Answer::yes());
        assert_eq!(rename(&mut open, "old", "new"), Answer::yes());
        assert_eq!(validate(&mut app, "old", GOOD), Answer::yes());
        assert_eq!(validate(&mut app, "new", GOOD), Answer::wrong());
        // Meanwhile neither id is to be had, and nobody waits for longer than a second for that.
        let start = Instant::now();
        let create = "SELECT success, reason FROM auth.pv_create_password($1::text, $2)";
        assert_eq!(ask(&mut app, create, &[&"new", &OTHER]).unwrap(), Answer::no("busy"));
        assert_eq!(rename(&mut admin, "old", "third"), Answer::no("busy"));
        assert!(start.elapsed() < Duration::from_secs(10));
        open.rollback().unwrap();
        assert_eq!(validate(&mut app, "old", GOOD), Answer::yes());
        assert_eq!(validate(&mut app, "new", GOOD), Answer::wrong());
    }
    let rows = "SELECT (SELECT count(*) FROM password_verify.account), (SELECT count(*) FROM password_verify.credential)";
    let row = admin.query_one(rows, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
}

#[test]
fn renames_that_cross_end() {
    let site = Site::new();
    for user in ["a", "b", "c"] {
        site.enroll(user, GOOD);
    }
    let start = Instant::now();
    thread::scope(|scope| {
        for circle in [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]] {
            let mut manager = site.login_with(&["manager"]);
            scope.spawn(move || {
                for i in 0..30 {
                    let free = format!("free {}", circle[i % 3]);
                    let mut open = manager.transaction().unwrap();
                    for (old, new) in [
                        (circle[i % 3], free.as_str()),
                        (&free, circle[(i + 1) % 3]),
                        (&free, circle[i % 3]),
                    ] {
                        let Answer(_, reason) = rename(&mut open, old, new);
                        let known = [None, Some("already_set"), Some("no_password"), Some("busy")];
                        assert!(known.contains(&reason.as_deref()), "{reason:?}");
                    }
                    if i % 4 == 0 { open.rollback().unwrap() } else { open.commit().unwrap() }
                }
            });
        }
    });
    println!("90 rounds in {:?}", start.elapsed());
    // Nobody was lost and nobody was doubled.
    let mut admin = site.admin();
    let rows = "SELECT count(*) FROM auth.pv_users";
    assert_eq!(admin.query_one(rows, &[]).unwrap().get::<_, i64>(0), 3);
    let whole = "SELECT count(*) FROM password_verify.credential c JOIN password_verify.account a USING (blind_index, user_id, created_at) WHERE user_id <> ''";
    assert_eq!(admin.query_one(whole, &[]).unwrap().get::<_, i64>(0), 3);
}

#[test]
fn renaming_forgets_no_guess_whatever_becomes_of_it() {
    let site = Site::new();
    let (mut app, mut manager) = (site.login(), site.login_with(&["manager"]));
    for user in ["old", "third"] {
        site.enroll(user, GOOD);
    }
    for _ in 0..5 {
        assert_eq!(validate(&mut app, "old", "guess"), Answer::wrong());
    }
    assert_eq!(validate(&mut app, "old", GOOD), Answer::no("throttled"));
    let mut open = manager.transaction().unwrap();
    assert_eq!(rename(&mut open, "old", "undone"), Answer::yes());
    open.rollback().unwrap();
    assert_eq!(validate(&mut app, "undone", GOOD), Answer::no("throttled"));
    assert_eq!(validate(&mut app, "old", GOOD), Answer::no("throttled"));
    assert_eq!(rename(&mut manager, "old", "new"), Answer::yes());
    assert_eq!(validate(&mut app, "new", GOOD), Answer::no("throttled"));
    // Who has less against them than was charged to the new id before, gets nothing back for it.
    for _ in 0..5 {
        validate(&mut app, "free", "guess");
    }
    assert_eq!(rename(&mut manager, "third", "free"), Answer::yes());
    assert_eq!(validate(&mut app, "free", GOOD), Answer::no("throttled"));
    // It is in the table, too: a crash forgets nothing.
    let mut admin = site.admin();
    settle(&mut admin);
    let kept = "SELECT count(*) FROM password_verify.throttle WHERE kind = 0 AND count >= 5";
    assert_eq!(admin.query_one(kept, &[]).unwrap().get::<_, i64>(0), 4);
    assert!(manage(&mut manager, "pv_unlock_user", "new"));
    assert_eq!(validate(&mut app, "new", GOOD), Answer::yes());
    assert_eq!(stat(&mut admin, "rename_pending"), 3);
}

////////////////////////////////////////////////////////////////////////////////
// Reset tokens
////////////////////////////////////////////////////////////////////////////////

#[test]
fn a_reset_token_dies_when_it_is_revoked_or_its_user_renamed() {
    let site = Site::new();
    let (mut app, mut registrar) = (site.login(), site.login_with(&["registrar", "manager"]));
    site.enroll("42", GOOD);
    assert!(!manage(&mut registrar, "pv_revoke_reset_tokens", "42"));
    assert!(!manage(&mut registrar, "pv_revoke_reset_tokens", "nobody"));
    let token = issue(&mut registrar, "42");
    assert!(manage(&mut registrar, "pv_revoke_reset_tokens", "42"));
    assert!(!manage(&mut registrar, "pv_revoke_reset_tokens", "42"), "there is none any more");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::no("invalid_token"));
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes(), "and nothing else has happened");
    let token = issue(&mut registrar, "42");
    assert_eq!(rename(&mut registrar, "42", "43"), Answer::yes());
    assert_eq!(reset(&mut app, &token, OTHER), Answer::no("invalid_token"));
    let token = issue(&mut registrar, "43");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    let mut admin = site.admin();
    settle(&mut admin);
    let events = of_user(&mut admin, "42");
    assert_eq!(events.iter().filter(|event| *event == "revoke_tokens committed").count(), 3);
    assert_eq!(of_user(&mut admin, "nobody"), [""; 0]);
}

#[test]
fn whatever_an_open_transaction_holds_a_token_dies_at_once() {
    let site = Site::new();
    let (mut app, mut registrar, mut issuer) =
        (site.login(), site.login_with(&["registrar"]), site.login_with(&["registrar"]));
    site.enroll("42", GOOD);
    let token = issue(&mut registrar, "42");
    let mut elsewhere = site.login();
    let mut open = app.transaction().unwrap();
    let change = "SELECT success FROM auth.pv_change_password('42', $1, $2)";
    assert!(open.query_one(change, &[&GOOD, &OTHER]).unwrap().get::<_, bool>(0));
    let clock = Clock::start();
    assert!(manage(&mut registrar, "pv_revoke_reset_tokens", "42"));
    let time = clock.time();
    assert!(time < Duration::from_millis(700), "{time:?}");
    assert_eq!(reset(&mut elsewhere, &token, THIRD), Answer::no("invalid_token"));
    open.rollback().unwrap();
    assert_eq!(reset(&mut elsewhere, &token, THIRD), Answer::no("invalid_token"));
    // One that was issued before, and committed after.
    let mut open = issuer.transaction().unwrap();
    let token = issue(&mut open, "42");
    assert!(!manage(&mut registrar, "pv_revoke_reset_tokens", "42"), "there is none to be seen");
    open.commit().unwrap();
    assert_eq!(reset(&mut elsewhere, &token, THIRD), Answer::no("invalid_token"));
    assert_eq!(set(&mut registrar, "42", THIRD), Answer::yes());
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut elsewhere, &token, GOOD), Answer::yes());
}
