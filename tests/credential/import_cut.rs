//! Systems that did not look at all of a password, or took several for one: who logs in with another of them is
//! right, as there, and turns nobody away for it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use password_verify_tests::calls::{change, validate};
use password_verify_tests::imports::{OURS, becomes, import, shown, stored, vectors};
use password_verify_tests::{Answer, GOOD, OTHER, Site};

/// What is kept for as long as the password stays, in `pv_users`.
fn kept(scheme: &str) -> String {
    format!("argon2id+{scheme} m=7168,t=5,p=1")
}

/// perl -e 'print crypt("hunter22", "ab")'
const DES: &str = "abbhF9SDEuJoY";
/// perl -e 'print crypt("caf\xc3\xa9!", "_J9..aBcD")', which is "café!".
const XDES: &str = "_J9..aBcD2YWe.anUSZ2";
/// 72 bytes: all that bcrypt sees of a password.
const SEEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
/// python3 -c "import crypt; print(crypt.crypt('…72 bytes…', '$2b$04$E2zMiFD6CER8OUVZQXoz4u'))"
const BCRYPT: &str = "$2b$04$E2zMiFD6CER8OUVZQXoz4uTCuMMKGLS3Fgl79OLLNgZkwfRIHhxZO";
/// perl -e 'print crypt("p\xc3\xa4ssword", q($2x$04$E2zMiFD6CER8OUVZQXoz4u))': "pässword", whose "p" is not seen.
const BCRYPT_2X: &str = "$2x$04$E2zMiFD6CER8OUVZQXoz4u62IvYzHcF9036oPEWQbC1CVJH8jAU/S";
/// "correct horse battery staple": PHP with WordPress 6.8 (crates/legacy/tests/vectors.txt).
const WORDPRESS: &str = "$wp$2y$04$eGvnJFTwx/eApT7IcV9fhu85omXCmlJd6qirrnWvdxli/e78/Kjxu";
/// "IX", set as U+2168: PostgreSQL 15.
const SCRAM: &str = "SCRAM-SHA-256$4096:oXglycAOZ7zo/Kub577fCA==$Dhvd+xUujhE0AE+EmYpkDUJAeyCN28NSZV5M+kyAun0=:OZZlTKrnxauFn34g44hGnymp8MdKJ+VrRJT8EOzCQ4o=";

/// Whichever of the `right` ones is typed first, all of them stay right, and nothing else becomes it. The record
/// is made anew once, not at each login.
fn all_stay_right(hash: &str, right: &[&str], wrong: &[&str], scheme: &str) {
    let site = Site::new();
    site.allow_failures();
    let (mut manager, mut app, mut admin) =
        (site.login_with(&["manager"]), site.login(), site.admin());
    for (i, first) in right.iter().enumerate() {
        let user = format!("user {i}");
        assert_eq!(import(&mut manager, &user, hash), Answer::yes());
        assert_eq!(validate(&mut app, &user, first), Answer::yes(), "as in the source system");
        becomes(&mut admin, &user, &kept(scheme));
        let record = stored(&mut admin, &user);
        for other in right {
            assert_eq!(validate(&mut app, &user, other), Answer::yes(), "{first}, then {other}");
        }
        for other in wrong {
            let no = Answer::no("invalid_credentials");
            assert_eq!(validate(&mut app, &user, other), no, "{first}, then {other}");
        }
        assert_eq!(stored(&mut admin, &user), record, "{first}");

        // Stronger settings: made anew, and still right for everybody.
        site.configure(&["argon2_memory = '8MB'"]);
        let mut stronger = site.login();
        assert_eq!(validate(&mut stronger, &user, first), Answer::yes(), "{first}");
        becomes(&mut admin, &user, &kept(scheme).replace("m=7168", "m=8192"));
        for other in right {
            assert_eq!(validate(&mut stronger, &user, other), Answer::yes(), "{first}, {other}");
        }
        site.configure(&["argon2_memory = '7MB'"]);

        // Until the next change.
        assert_eq!(change(&mut site.login(), &user, right[right.len() - 1], OTHER), Answer::yes());
        assert_eq!(shown(&mut admin, &user), OURS);
        assert_eq!(validate(&mut app, &user, OTHER), Answer::yes());
        let no = Answer::no("invalid_credentials");
        assert_eq!(validate(&mut app, &user, &format!("{OTHER}x")), no, "all of it counts now");
    }
}

#[test]
fn typing_more_than_des_looks_at_does_not_turn_the_owner_away() {
    let right = ["hunter22xyz", "hunter22"];
    all_stay_right(DES, &right, &["hunter2", "hunter23"], "des-crypt");
}

#[test]
fn typing_more_than_bcrypt_looks_at_does_not_turn_the_owner_away() {
    let (one, other) = (format!("{SEEN} and a tail"), format!("{SEEN} and no tail"));
    all_stay_right(BCRYPT, &[&one, SEEN, &other], &[&SEEN[..71]], "bcrypt");
}

#[test]
fn bytes_of_which_seven_bits_count_do_not_turn_the_owner_away() {
    // Without its eighth bits, the UTF-8 of "é" is "C)".
    all_stay_right(XDES, &["cafC)!", "café!"], &["cafe!", "CafC)!"], "xdes-crypt");
}

#[test]
fn characters_that_a_bug_of_bcrypt_hid_do_not_turn_the_owner_away() {
    all_stay_right(BCRYPT_2X, &["pässword"], &["password", "pässworde"], "bcrypt-2x");
}

#[test]
fn a_space_at_the_end_does_not_turn_a_user_of_wordpress_away() {
    let spaced = format!(" {GOOD} ");
    let wrong = ["correct horse battery staples", "correct  horse battery staple"];
    all_stay_right(WORDPRESS, &[&spaced, GOOD], &wrong, "trimmed");
}

#[test]
fn another_way_to_type_a_character_does_not_turn_a_user_of_postgresql_away() {
    all_stay_right(SCRAM, &["\u{2168}", "IX", "I\u{ad}X"], &["ix", "I X"], "saslprep");
}

#[test]
fn a_password_that_bcrypt_saw_all_of_becomes_a_record_of_our_own() {
    // perl -e 'print crypt("hunter22", q($2x$04$E2zMiFD6CER8OUVZQXoz4u))', and the same for $2b$.
    let hashes = [
        "$2x$04$E2zMiFD6CER8OUVZQXoz4u3GXwrYBAo11LGJblgxkouiPS/KBjb1m",
        "$2b$04$E2zMiFD6CER8OUVZQXoz4u3GXwrYBAo11LGJblgxkouiPS/KBjb1m",
    ];
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    for hash in hashes {
        assert_eq!(import(&mut manager, hash, hash), Answer::yes());
        assert_eq!(validate(&mut app, hash, "hunter22"), Answer::yes());
        becomes(&mut site.admin(), hash, OURS);
        assert_eq!(validate(&mut app, hash, "hunter22"), Answer::yes());
    }
}

#[test]
fn what_is_hashed_before_bcrypt_is_never_cut() {
    let site = Site::new();
    let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
    let mut formats = BTreeSet::new();
    for (i, vector) in vectors().iter().enumerate() {
        let hashed_first =
            vector.format.contains("sha256") || vector.format.starts_with("WordPress");
        let Some(password) = vector.password.as_ref().filter(|password| password.len() > 72) else {
            continue;
        };
        if !vector.format.contains("bcrypt") && !vector.format.starts_with("WordPress") {
            continue;
        }
        let user = i.to_string();
        assert_eq!(import(&mut manager, &user, vector.hash), Answer::yes());
        let Some(seen) = password.get(..72) else { continue };
        if hashed_first {
            assert_eq!(validate(&mut app, &user, seen), Answer::wrong(), "{}", vector.hash);
            assert_eq!(
                validate(&mut app, &user, &format!("{seen}x")),
                Answer::wrong(),
                "{}",
                vector.hash
            );
            assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", vector.hash);
            assert_eq!(validate(&mut app, &user, seen), Answer::wrong(), "{}", vector.hash);
            formats.insert(vector.format);
        } else {
            assert_eq!(validate(&mut app, &user, seen), Answer::yes(), "{}", vector.hash);
            let scheme = if vector.format.contains("$2x$") { "bcrypt-2x" } else { "bcrypt" };
            let cut = OURS.replace("argon2id", &format!("argon2id+{scheme}"));
            becomes(&mut site.admin(), &user, &cut);
            assert_eq!(validate(&mut app, &user, password), Answer::yes(), "{}", vector.hash);
        }
    }
    assert_eq!(formats.len(), 4, "{formats:?}");
}

#[test]
fn a_password_that_was_hashed_decomposed_opens_as_it_was_and_then_in_every_form() {
    let (decomposed, composed) = ("e\u{301}te\u{301} a\u{300} la plage", "été à la plage");
    assert_ne!(decomposed, composed);
    // python3 -c "import crypt; print(crypt.crypt('…decomposed…', '$2b$04$E2zMiFD6CER8OUVZQXoz4u'))",
    // and base64 of sha256.
    for hash in [
        "$2b$04$E2zMiFD6CER8OUVZQXoz4uL1P6UnK/80mDLpoNU7dCgu1xrgXvTlG",
        "{SHA256}mBQ3h7nLWXPYdIo8m20cR0Xse7/qoOrzIgOdKDvPTa4=",
    ] {
        let site = Site::new();
        let (mut manager, mut app) = (site.login_with(&["manager"]), site.login());
        assert_eq!(import(&mut manager, "42", hash), Answer::yes());
        assert_eq!(
            validate(&mut app, "42", composed),
            Answer::wrong(),
            "the source system knows it not"
        );
        assert_eq!(validate(&mut app, "42", decomposed), Answer::yes());
        becomes(&mut site.admin(), "42", OURS);
        assert_eq!(validate(&mut app, "42", composed), Answer::yes());
        assert_eq!(validate(&mut app, "42", decomposed), Answer::yes());
        // The same with a change: it is the same password in either form.
        assert_eq!(import(&mut manager, "43", hash), Answer::yes());
        site.configure(&["min_strength = 0", "min_length = 8"]);
        let mut app = site.login();
        assert_eq!(change(&mut app, "43", decomposed, composed), Answer::no("reused"));
        assert_eq!(change(&mut app, "43", composed, OTHER), Answer::wrong());
        assert_eq!(change(&mut app, "43", decomposed, OTHER), Answer::yes());
        becomes(&mut site.admin(), "43", OURS);
    }
}
