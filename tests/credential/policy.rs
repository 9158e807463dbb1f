//! What may become a password: what looking at one costs, and which are too common.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, change, check, create, set, validate};
use password_verify_tests::work::shortest;
use password_verify_tests::{Answer, GOOD, OTHER, Site};

/// Full of symbols that may stand for letters, each of several, and of words.
const CRAFTED: [&str; 5] = [
    "/(%${&19+83!50@6[#27<4|6!@{!|063",
    "4@8({[<3691!|70$5+%2passwordlove",
    "44@@88(({{[[<<336699!!||7700$$55",
    "love?{|an4[$?(74&((<ass(8123love",
    "57{86{the<5199111</164%password$",
];

#[test]
fn a_crafted_password_keeps_no_processor_busy_for_longer_than_a_login() {
    let site = Site::new();
    site.allow_failures();
    let app = &mut site.login();
    check(app, "4711", "the dictionaries are made the first time");
    // With the cheapest hash that is allowed.
    let login = shortest(7, || drop(validate(app, "4711", "wrong")));
    for text in CRAFTED {
        let looking = shortest(7, || drop(check(app, "4711", text)));
        assert!(looking < login * 2, "{text}: {looking:?}, a login {login:?}");
    }
}

#[test]
fn the_commonest_passwords_are_refused_without_any_configuration() {
    let site = Site::new();
    let (mut app, mut registrar) = (site.login(), site.login_with(&["registrar"]));
    let listed = Answer::no("blocklisted");
    for text in [
        "password password",
        "passwort passwort",
        "Pass-Word_password",
        "пароль пароль пароль",
        "qwerty_QWERTY_qwerty",
        "P@ssw0rd.P@ssw0rd",
        "drowssap drowssap",
        "password2024password2024",
        "administrator2024",
        "contraseña contraseña",
        "mot de passe mot de passe",
        "senha-senha-senha",
        "密码密码密码密码密码密码密码密码",
        "パスワード パスワード パスワード",
        "비밀번호 비밀번호 비밀번호 비밀번호",
        "كلمة المرور كلمة المرور",
    ] {
        assert_eq!(check(&mut app, "4711", text), listed, "{text}");
        assert_eq!(create(&mut app, "42", text), listed, "{text}");
        assert_eq!(set(&mut registrar, "42", text), listed, "{text}");
    }
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "42", GOOD, "password password"), listed);
}

#[test]
fn what_goes_on_the_same_way_is_too_weak() {
    let site = Site::new();
    let app = &mut site.login();
    for text in ["!_!_!_!_!_!_!_!_!", "xkv xkv xkv xkv xkv", "c d e f g h i j k l m n o"] {
        assert_eq!(check(app, "4711", text), Answer::no("too_weak"), "{text}");
    }
    let sql = "SELECT * FROM auth.pv_check_password('xkq', 'Xkq xkq xkq xkq xkq')";
    assert_eq!(ask(app, sql, &[]).unwrap(), Answer::no("contains_user_id"));
}

#[test]
fn several_words_are_a_password_common_as_each_may_be() {
    let site = Site::new();
    let app = &mut site.login();
    for text in [
        GOOD,
        OTHER,
        "dragon football sunshine",
        "Passwort für den Drachen",
        "пароль дракона зелёный",
    ] {
        assert_eq!(check(app, "4711", text), Answer::yes(), "{text}");
    }
}
