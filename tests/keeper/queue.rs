//! The queue of jobs when secrets are stored anew under leases, and when others hold what is due.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{
    DESTINATION, KeptSite, VAULT, create_vault, finish, open, request, requests, secrets, store,
    store_in_vault, take, try_finish, try_request, try_take, unlock, work_once,
};
use password_verify_tests::{Answer, refused, sqlstate};
use postgres::Client;

/// Stores a secret for that host.
fn store_for(app: &mut Client, host: &str, secret: &str) {
    let to = DESTINATION.replace("Mail.example.org", host);
    let sql = "SELECT success FROM auth.pv_store_secret('42'::text, 'imap', $1, $2::text::jsonb)";
    assert!(app.query_one(sql, &[&secret, &to]).unwrap().get::<_, bool>(0));
}

/// A secret is stored anew under a lease, which ends with that outcome: is the request due again at once? The keeper was
/// told of one destination and gets no secret for another one, and says nothing about a secret that it has not tried.
fn is_due_again(outcome: &str, detail: &str) -> bool {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store_for(&mut app, "old.example", "the old one");
    let job = request(&mut app, "42", "imap");
    let taken = try_take(&mut keeper, "1 hour").unwrap().unwrap();
    assert!(taken.job == job && taken.destination.contains("old.example"), "{taken:?}");
    store_for(&mut app, "new.example", "the new one");
    assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
    let rotate = "SELECT auth.pv_store_rotated($1, 'made of the old one')";
    assert_eq!(sqlstate(keeper.query(rotate, &[&job])), "55000");
    finish(&mut keeper, job, outcome, detail);
    assert_eq!(secrets(&mut app, "42"), ["imap new"], "{outcome}");
    let Some(again) = try_take(&mut keeper, "1 hour").unwrap() else { return false };
    assert!(again.job == job && again.destination.contains("new.example"), "{again:?}");
    assert!(again.lease > taken.lease, "{again:?}");
    assert_eq!(open(&mut keeper, job), Ok("the new one".into()), "{outcome}");
    finish(&mut keeper, job, "done", "ok");
    assert_eq!(secrets(&mut app, "42"), ["imap verified"], "{outcome}");
    assert_eq!(requests(&mut app, "42"), [(job, "imap ended done ok".into(), 0)]);
    kept.assert_sound();
    true
}

#[test]
fn what_is_said_of_a_secret_is_not_said_of_the_one_that_has_replaced_it() {
    assert!(is_due_again("rejected", "credential_refused"));
    assert!(is_due_again("done", "ok"));
}

#[test]
fn a_secret_that_is_stored_anew_is_tried_at_once_whatever_became_of_the_old_one() {
    let outcomes = [("retry", "unavailable"), ("failed", "internal")];
    assert_eq!(outcomes.map(|(outcome, detail)| is_due_again(outcome, detail)), [true; 2]);
}

/// The same while the new secret is still being stored: it is busy, and then it is as above.
#[test]
fn a_secret_that_is_being_stored_anew_is_not_marked() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store_for(&mut app, "old.example", "the old one");
    let job = request(&mut app, "42", "imap");
    assert_eq!(take(&mut keeper), Some(job));
    app.batch_execute("BEGIN").unwrap();
    store_for(&mut app, "new.example", "the new one");
    let rejected = try_finish(&mut keeper, job, "rejected", "credential_refused");
    assert_eq!(sqlstate(rejected), "55P03");
    app.batch_execute("COMMIT").unwrap();
    finish(&mut keeper, job, "rejected", "credential_refused");
    assert_eq!(secrets(&mut app, "42"), ["imap new"]);
    assert_eq!(work_once(&mut keeper), (job, Ok("the new one".into())));
    kept.assert_sound();
}

/// A request was made for a secret in a vault, and its handle has opened that one only.
#[test]
fn a_secret_stored_anew_in_a_vault_needs_its_handle_again() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "imap", "the first");
    let handle = unlock(&mut app, "42");
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    store_in_vault(&mut app, "42", "imap", "the second");
    assert_eq!(take(&mut keeper), Some(job));
    assert_eq!(open(&mut keeper, job), Err("vault_locked".into()));
    let rotate = "SELECT auth.pv_store_rotated($1, 'made of the first')";
    let (state, message, _) = refused(keeper.query(rotate, &[&job]));
    assert_eq!((&*state, &*message), ("55000", "the secret is in a vault that is not unlocked"));
    finish(&mut keeper, job, "failed", "vault_locked");
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (job, Ok("the second".into())));
    // From the vault to outside, and back.
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    store(&mut app, "42", "imap", "in no vault");
    assert_eq!(work_once(&mut keeper), (job, Ok("in no vault".into())));
    let job = request(&mut app, "42", "imap");
    store_in_vault(&mut app, "42", "imap", "the third");
    assert_eq!(take(&mut keeper), Some(job));
    assert_eq!(open(&mut keeper, job), Err("vault_locked".into()));
    kept.assert_sound();
}

#[test]
fn users_whose_secrets_are_held_keep_nobody_from_theirs() {
    const USERS: usize = 40;
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let users: Vec<String> = (0..USERS).map(|i| format!("user{i}")).collect();
    for user in &users {
        store(&mut app, user, "imap", "x");
        request(&mut app, user, "imap");
    }
    store(&mut app, "another", "imap", "hers");
    let job = request(&mut app, "another", "imap");
    let mut idle = kept.depositor();
    idle.batch_execute("BEGIN").unwrap();
    users.iter().for_each(|user| store(&mut idle, user, "imap", "y"));
    assert_eq!(work_once(&mut keeper), (job, Ok("hers".into())));
    assert_eq!(take(&mut keeper), None, "all others are held");
    idle.batch_execute("COMMIT").unwrap();
    for _ in &users {
        assert_eq!(work_once(&mut keeper).1, Ok("y".into()));
    }
    assert_eq!(take(&mut keeper), None);
    kept.assert_sound();
}
