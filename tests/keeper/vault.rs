//! Vaults: what is in one opens for whoever has unlocked it, and not for longer.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::manage;
use password_verify_tests::keeper::{
    KeptSite, VAULT, VAULT2, await_job, cancel, change_vault, create_vault, delete_vault, finish,
    forget, lock_vault, open, request, secrets, store, store_in_vault, take, try_open, try_request,
    try_store, try_unlock, unlock, work_once,
};
use password_verify_tests::kill::crash;
use password_verify_tests::query::number;
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, GOOD, refused, sqlstate};
use postgres::Client;

const SECRET: &str = "s3cret in a vault";

/// A user with a vault and a secret in it.
fn furnish(app: &mut Client, user: &str) {
    assert_eq!(create_vault(app, user, VAULT), Answer::yes());
    store_in_vault(app, user, "imap", SECRET);
}

#[test]
fn a_vault_opens_with_its_password_and_nothing_else() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", "short"), Answer::no("too_short"));
    assert_eq!(create_vault(&mut app, "42", &"long ".repeat(1000)), Answer::no("too_long"));
    furnish(&mut app, "42");
    assert_eq!(create_vault(&mut app, "42", VAULT2), Answer::no("already_set"));
    store(&mut app, "42", "smtp", "in no vault");
    assert_eq!(secrets(&mut app, "42"), ["imap vault new", "smtp new"]);
    assert_eq!(sqlstate(try_request(&mut app, "42", "imap", None)), "55000");
    let wrong = try_store(&mut app, "42", "third", "x", Some(VAULT2)).unwrap();
    assert_eq!(wrong, Answer::no("invalid_credentials"));
    assert_eq!(
        try_unlock(&mut app, "42", VAULT2, "1 minute").unwrap(),
        Err("invalid_credentials".into())
    );

    let handle = unlock(&mut app, "42");
    assert!(handle.starts_with("pvh_") && handle.len() == 47, "256 bits in base64");
    assert_ne!(unlock(&mut app, "42"), handle);
    for _ in 0..2 {
        let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
        assert_eq!(work_once(&mut keeper), (job, Ok(SECRET.into())));
    }
    let job = try_request(&mut app, "42", "smtp", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (job, Ok("in no vault".into())));

    // Another password: what is in the vault stays in it.
    assert_eq!(change_vault(&mut app, "42", VAULT2, VAULT), Answer::no("invalid_credentials"));
    assert_eq!(change_vault(&mut app, "42", VAULT, "short"), Answer::no("too_short"));
    assert_eq!(change_vault(&mut app, "42", VAULT, VAULT2), Answer::yes());
    assert_eq!(
        try_unlock(&mut app, "42", VAULT, "1 minute").unwrap(),
        Err("invalid_credentials".into())
    );
    let handle = try_unlock(&mut app, "42", VAULT2, "1 minute").unwrap().unwrap();
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (job, Ok(SECRET.into())));

    assert!(delete_vault(&mut app, "42"));
    assert!(!delete_vault(&mut app, "42"));
    assert_eq!(secrets(&mut app, "42"), ["smtp verified"]);
    let locks = "SELECT count(*) FROM password_verify.vault WHERE sealed <> ''";
    assert_eq!(number(&mut kept.admin(), locks), 0);
    assert_eq!(
        try_unlock(&mut app, "42", VAULT2, "1 minute").unwrap(),
        Err("invalid_credentials".into())
    );
    // A new one has nothing of it, and opens with its own password only.
    furnish(&mut app, "42");
    assert_eq!(sqlstate(try_request(&mut app, "42", "imap", Some(&handle))), "55000");
    kept.assert_sound();
}

#[test]
fn a_refresh_token_in_a_vault_is_replaced_by_a_job() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    furnish(&mut app, "42");
    let handle = unlock(&mut app, "42");
    let rotate = "SELECT auth.pv_store_rotated($1, $2)";
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(take(&mut keeper), Some(job));
    keeper.query(rotate, &[&job, &"rotated"]).unwrap();
    assert_eq!(open(&mut keeper, job), Ok("rotated".into()));
    assert!(lock_vault(&mut app, &handle));
    assert_eq!(sqlstate(keeper.query(rotate, &[&job, &"again"])), "55000");
    finish(&mut keeper, job, "done", "ok");
    let handle = unlock(&mut app, "42");
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    assert_eq!(work_once(&mut keeper), (job, Ok("rotated".into())));
    kept.assert_sound();
}

#[test]
fn handles_are_of_one_vault_and_end_one_by_one() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    furnish(&mut app, "a");
    furnish(&mut app, "b");
    let (of_a, also_a, of_b) =
        (unlock(&mut app, "a"), unlock(&mut app, "a"), unlock(&mut app, "b"));
    assert_eq!(sqlstate(try_request(&mut app, "a", "imap", Some(&of_b))), "55000");
    assert_eq!(sqlstate(try_request(&mut app, "b", "imap", Some(&of_a))), "55000");
    store_in_vault(&mut app, "a", "smtp", SECRET);
    let first = try_request(&mut app, "a", "imap", Some(&of_a)).unwrap();
    let second = try_request(&mut app, "a", "smtp", Some(&also_a)).unwrap();
    assert!(lock_vault(&mut app, &of_a));
    assert!(!lock_vault(&mut app, &of_a));
    assert_eq!(sqlstate(try_request(&mut app, "a", "imap", Some(&of_a))), "55000");
    assert_eq!([take(&mut keeper), take(&mut keeper)], [Some(first), Some(second)]);
    assert_eq!(open(&mut keeper, first), Err("vault_locked".into()), "its handle has ended");
    assert_eq!(open(&mut keeper, second), Ok(SECRET.into()));
    // Another database of the server knows nothing of it.
    let other = KeptSite::on(kept.site.cluster.clone(), &kept.keys);
    furnish(&mut other.depositor(), "b");
    assert!(!lock_vault(&mut other.depositor(), &of_b));
    assert_eq!(sqlstate(try_request(&mut other.depositor(), "b", "imap", Some(&of_b))), "55000");
    assert!(lock_vault(&mut app, &of_b));
    kept.assert_sound();
}

/// Whatever ends a handle ends what it has opened for jobs, too.
#[test]
fn a_handle_ends_with_whatever_ends_it() {
    type End = fn(&KeptSite, &str, &str);
    let ends: [(&str, End); 9] = [
        ("locked", |kept, _, handle| assert!(lock_vault(&mut kept.depositor(), handle))),
        ("its password is changed", |kept, user, _| {
            assert_eq!(change_vault(&mut kept.depositor(), user, VAULT, VAULT2), Answer::yes());
        }),
        ("its password is set again", |kept, user, _| {
            assert_eq!(change_vault(&mut kept.depositor(), user, VAULT, VAULT2), Answer::yes());
            assert_eq!(change_vault(&mut kept.depositor(), user, VAULT2, VAULT), Answer::yes());
        }),
        ("the user is disabled", |kept, user, _| {
            assert!(manage(&mut kept.admin(), "pv_disable_user", user));
        }),
        ("the user is disabled and enabled", |kept, user, _| {
            assert!(manage(&mut kept.admin(), "pv_disable_user", user));
            assert!(manage(&mut kept.admin(), "pv_enable_user", user));
        }),
        ("the vault is deleted", |kept, user, _| {
            assert!(delete_vault(&mut kept.depositor(), user));
        }),
        ("the secret is forgotten", |kept, user, _| {
            assert!(forget(&mut kept.depositor(), user, "imap"));
        }),
        ("the user is deleted", |kept, user, _| {
            assert!(manage(&mut kept.admin(), "pv_delete_user", user));
        }),
        ("crash", |kept, _, _| crash(&kept.site.cluster)),
    ];
    let kept = KeptSite::new();
    for (user, end) in ends {
        let mut app = kept.depositor();
        kept.site.enroll(user, GOOD);
        furnish(&mut app, user);
        let handle = unlock(&mut app, user);
        let job = try_request(&mut app, user, "imap", Some(&handle)).unwrap();
        assert_eq!(take(&mut kept.connector()), Some(job));
        assert_eq!(open(&mut kept.connector(), job), Ok(SECRET.into()), "{user}");
        end(&kept, user, &handle);
        let (mut app, mut keeper) = (kept.depositor(), kept.connector());
        let opened = open(&mut keeper, job).unwrap_err();
        assert!(
            ["vault_locked", "disabled", "not_leased", "no_secret"].contains(&&*opened),
            "{user}: {opened}"
        );
        let asked = try_request(&mut app, user, "imap", Some(&handle));
        assert!(["55000", "42704"].contains(&&*sqlstate(asked)), "{user}");
        if secrets(&mut app, user).is_empty() {
            continue;
        }
        // It does not come back, and nothing is lost.
        manage(&mut kept.admin(), "pv_enable_user", user);
        assert_eq!(sqlstate(try_request(&mut app, user, "imap", Some(&handle))), "55000", "{user}");
        finish(&mut keeper, job, "failed", "vault_locked");
        let handle = [VAULT, VAULT2]
            .iter()
            .find_map(|password| try_unlock(&mut app, user, password, "1 minute").unwrap().ok());
        let job = try_request(&mut app, user, "imap", handle.as_deref()).unwrap();
        assert_eq!(work_once(&mut keeper), (job, Ok(SECRET.into())), "{user}");
    }
    kept.assert_sound();
}

#[test]
fn a_handle_ends_with_its_time() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    furnish(&mut app, "42");
    let handle = try_unlock(&mut app, "42", VAULT, "5 seconds").unwrap().unwrap();
    let job = try_request(&mut app, "42", "imap", Some(&handle)).unwrap();
    wait_until("its time is over", || match try_request(&mut app, "42", "imap", Some(&handle)) {
        Ok(another) => !cancel(&mut app, another),
        Err(error) => error.code().unwrap().code() == "55000",
    });
    assert!(!lock_vault(&mut app, &handle));
    assert_eq!(await_job(&mut keeper), job);
    assert_eq!(open(&mut keeper, job), Err("vault_locked".into()));
}

#[test]
fn a_disabled_user_unlocks_nothing() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    kept.site.enroll("42", GOOD);
    furnish(&mut app, "42");
    store(&mut app, "42", "smtp", "x");
    let job = request(&mut app, "42", "smtp");
    assert!(manage(&mut kept.admin(), "pv_disable_user", "42"));
    assert_eq!(try_unlock(&mut app, "42", VAULT, "1 minute").unwrap(), Err("disabled".into()));
    assert_eq!(
        try_unlock(&mut app, "42", VAULT2, "1 minute").unwrap(),
        Err("invalid_credentials".into())
    );
    let mut keeper = kept.connector();
    let taken = take(&mut keeper);
    if let Some(taken) = taken {
        assert_eq!(open(&mut keeper, taken), Err("disabled".into()));
        finish(&mut keeper, taken, "failed", "internal");
    }
    assert!(manage(&mut kept.admin(), "pv_enable_user", "42"));
    if taken.is_none() {
        assert_eq!(work_once(&mut keeper), (job, Ok("x".into())));
    }
    assert!(try_unlock(&mut app, "42", VAULT, "1 minute").unwrap().is_ok());
    kept.assert_sound();
}

#[test]
fn one_login_does_not_take_all_places() {
    let kept = KeptSite::with(&["password_verify.vault_places = 40"]);
    let mut app = kept.depositor();
    let users: Vec<String> = (0..6).map(|i| format!("user{i}")).collect();
    users.iter().for_each(|user| furnish(&mut app, user));
    let mut handles = Vec::new();
    // Eight of one vault.
    for _ in 0..8 {
        handles.push(unlock(&mut app, &users[0]));
    }
    let (state, message, _) = refused(try_unlock(&mut app, &users[0], VAULT, "1 minute"));
    assert_eq!((&*state, &*message), ("53400", "no place for another unlocked vault"));
    // Half of all, jobs among them.
    for user in &users[1..] {
        (0..2).for_each(|_| handles.push(unlock(&mut app, user)));
    }
    let jobs = [&handles[8], &handles[9]]
        .map(|handle| try_request(&mut app, &users[1], "imap", Some(handle)).unwrap());
    assert_eq!(sqlstate(try_unlock(&mut app, &users[1], VAULT, "1 minute")), "53400");
    assert_eq!(sqlstate(try_request(&mut app, &users[1], "imap", Some(&handles[8]))), "53400");
    // Somebody else still has the other half.
    let mut other = kept.site.login_with(&["depositor"]);
    for _ in 0..6 {
        for user in &users[2..5] {
            unlock(&mut other, user);
        }
    }
    unlock(&mut other, &users[5]);
    unlock(&mut other, &users[5]);
    assert_eq!(sqlstate(try_unlock(&mut other, &users[5], VAULT, "1 minute")), "53400");
    // What is locked is free, and what was unlocked is not affected.
    assert!(lock_vault(&mut app, &handles[0]));
    unlock(&mut app, &users[1]);
    assert_eq!(sqlstate(try_unlock(&mut app, &users[1], VAULT, "1 minute")), "53400");
    assert_eq!(work_once(&mut kept.connector()), (jobs[0], Ok(SECRET.into())));
    // A place where nothing can be unlocked.
    let none = KeptSite::with(&["password_verify.vault_places = 0"]);
    furnish(&mut none.depositor(), "42");
    assert_eq!(sqlstate(try_unlock(&mut none.depositor(), "42", VAULT, "1 minute")), "53400");
}

/// A place is taken for as long as it is of use: not for a request that does not exist.
#[test]
fn what_is_over_gives_its_place_back() {
    let kept = KeptSite::with(&["password_verify.vault_places = 12"]);
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    furnish(&mut app, "42");
    let handle = unlock(&mut app, "42");
    for _ in 0..20 {
        app.batch_execute("BEGIN").unwrap();
        try_request(&mut app, "42", "imap", Some(&handle))
            .expect("requests that are rolled back take no place");
        app.batch_execute("ROLLBACK").unwrap();
    }
    for _ in 0..20 {
        let job = try_request(&mut app, "42", "imap", Some(&handle))
            .expect("jobs that are over take no place");
        assert_eq!(work_once(&mut keeper), (job, Ok(SECRET.into())));
    }
    assert!(try_open(&mut keeper, 1).is_ok());
}
