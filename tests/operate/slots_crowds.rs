//! Crowds at the hash slots: every client is answered.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{change, create, set, validate};
use password_verify_tests::crowd::at_once;
use password_verify_tests::hold::{LATE, Shared, slots, slots_asked_for};
use password_verify_tests::trail::stat;
use password_verify_tests::{Answer, GOOD, OTHER};

static TWO_SLOTS: Shared = Shared::with(&[
    "password_verify.hash_slots = 2",
    "password_verify.audit_queue = 8192",
    "max_connections = 520",
]);

#[test]
fn sixty_clients_share_two_slots() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    site.configure(&[LATE]);
    for i in 0..60 {
        if i % 4 != 1 {
            site.enroll(&i.to_string(), GOOD);
        }
    }
    let answers = at_once(
        60,
        |i| if i % 4 == 2 { site.admin() } else { site.login() },
        |i, client| {
            let user = i.to_string();
            match i % 4 {
                0 => validate(client, &user, GOOD),
                1 => create(client, &user, OTHER),
                2 => set(client, &user, OTHER),
                _ => change(client, &user, GOOD, OTHER),
            }
        },
    );
    assert_eq!(answers, vec![Answer::yes(); 60]);
    let mut admin = site.admin();
    assert_eq!(slots(&mut admin), (0, 0));
    assert_eq!(stat(&mut admin, "hash_slots_used_at_most"), 2);
    // Attempts that were admitted: logins, and old passwords of changes.
    assert_eq!(slots_asked_for(&mut admin), 30);
    let mut app = site.login();
    for i in 0..60 {
        let password = if i % 4 == 0 { GOOD } else { OTHER };
        assert_eq!(validate(&mut app, &i.to_string(), password), Answer::yes(), "{i}");
    }
}

#[test]
fn five_hundred_clients_at_once_are_answered_valid_or_busy() {
    let turn = TWO_SLOTS.turn();
    let site = &turn.site;
    site.allow_failures();
    for i in 0..20 {
        site.enroll(&i.to_string(), GOOD);
    }
    let answers =
        at_once(500, |_| site.login(), |i, client| validate(client, &(i % 20).to_string(), GOOD));
    let (yes, busy) = (Answer::yes(), Answer::no("busy"));
    assert!(answers.iter().all(|answer| *answer == yes || *answer == busy), "{answers:?}");
    let valid = answers.iter().filter(|answer| **answer == yes).count();
    println!("{valid} of 500 valid");
    assert!(valid > 0);
    let mut admin = site.admin();
    assert_eq!(slots(&mut admin), (0, 0));
    assert!(stat(&mut admin, "hash_slots_used_at_most") <= 2);
    assert_eq!(validate(&mut site.login(), "7", GOOD), Answer::yes());
}
