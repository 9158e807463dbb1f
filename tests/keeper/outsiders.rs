//! What trials with nothing but the two logins have found.
#![allow(clippy::unwrap_used)]

use password_verify_tests::Answer;
use password_verify_tests::crowd::at_once;
use password_verify_tests::keeper::{
    KeptSite, VAULT, change_vault, create_vault, request, request_many, store, store_in_vault,
    take, try_take, try_unlock, unlock, work_once,
};
use password_verify_tests::query::number;
use postgres::Client;

/// Of two calls the later one may have looked at the clock earlier: then the longest lease of the other one was longer than
/// any can be, and counted for none.
#[test]
fn the_longest_lease_is_a_lease_for_whoever_came_before_it() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    let mut asked = 0;
    for round in 0..4 {
        for user in 0..40 {
            let user = format!("{round}-{user}");
            asked += request_many(&mut app, &user, 1, 8).len();
        }
        let all = |_: usize, keeper: &mut Client| {
            while try_take(keeper, "1 hour").unwrap().is_some() {}
        };
        at_once(20, |_| kept.connector(), all);
    }
    let mut admin = kept.admin();
    let twice = "SELECT count(*) FROM (SELECT FROM password_verify.job WHERE state = 'leased'
                                        GROUP BY secret HAVING count(*) > 1) twice";
    assert_eq!(number(&mut admin, twice), 0);
    let leased = "SELECT count(*) FROM password_verify.job WHERE state = 'leased'";
    assert_eq!((number(&mut admin, leased), asked), (160, 4 * 40 * 8));
    kept.assert_sound();
}

/// However many due jobs come before it: here ten thousand, whose secrets a transaction of the application's holds.
#[test]
fn one_open_transaction_keeps_no_other_users_job() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for user in 0..52 {
        let user = format!("held{user}");
        assert_eq!(request_many(&mut app, &user, 1, 200).len(), 200);
    }
    store(&mut app, "another", "imap", "hers");
    let job = request(&mut app, "another", "imap");
    let mut holder = kept.depositor();
    let mut open = holder.transaction().unwrap();
    for user in 0..52 {
        store(&mut open, &format!("held{user}"), "secret 0", "y");
    }
    assert_eq!(work_once(&mut keeper), (job, Ok("hers".into())));
    assert_eq!(take(&mut keeper), None, "all others are held");
    open.rollback().unwrap();
    assert_ne!(take(&mut keeper), None);
    kept.assert_sound();
}

/// Guesses at a vault that is not there do not lock the one that is made later.
#[test]
fn a_new_vault_is_not_locked_by_guesses_at_none() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    for _ in 0..2 {
        let mut answers = Vec::new();
        for guess in 0..7 {
            let guess = format!("a guess that is wrong {guess}");
            answers.push(try_unlock(&mut app, "42", &guess, "1 hour").unwrap().unwrap_err());
        }
        assert_eq!(answers.last().unwrap(), "throttled");
        assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
        store_in_vault(&mut app, "42", "imap", "x");
        unlock(&mut app, "42");
        // And the same once more, for one that was deleted.
        app.execute("SELECT auth.pv_delete_vault('42'::text)", &[]).unwrap();
    }
}

/// Somebody who changes a vault password because it is known wants another one.
#[test]
fn a_vault_password_is_not_changed_to_itself() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    assert_eq!(change_vault(&mut app, "42", VAULT, VAULT), Answer::no("reused"));
    unlock(&mut app, "42");
}
