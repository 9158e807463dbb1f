//! Databases in other encodings than UTF-8: NFC acts on characters, not on bytes.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, create, manage, validate};
use password_verify_tests::{Answer, Cluster, GOOD, Site, refused, sqlstate};

#[test]
fn latin1() {
    let site = Site::with(Cluster::shared(), "ENCODING 'LATIN1' LOCALE 'C'");
    let mut app = site.login();
    assert_eq!(create(&mut app, "zoë", "Amélie flies at midnight"), Answer::yes());
    assert_eq!(validate(&mut app, "zoë", "Amélie flies at midnight"), Answer::yes());
    assert_eq!(
        validate(&mut app, "zoë", "Amelie flies at midnight"),
        Answer::no("invalid_credentials")
    );
    assert_eq!(
        validate(&mut app, "zoe", "Amélie flies at midnight"),
        Answer::no("invalid_credentials")
    );
    let mut admin = site.admin();
    let row = admin.query_one("SELECT user_id FROM auth.pv_users", &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "zoë");
    // The same bytes from a client that speaks LATIN1.
    app.batch_execute("SET client_encoding = 'LATIN1'").unwrap();
    let sql = "SELECT * FROM auth.pv_validate_password(convert_from('\\x7a6feb', 'LATIN1'),
                                                       convert_from('\\x416de96c696520666c696573206174206d69646e69676874', 'LATIN1'))";
    assert_eq!(ask(&mut app, sql, &[]).unwrap(), Answer::yes());
    // Lengths are of UTF-8: 128 letters of two bytes are too long an id, in 128 bytes of LATIN1.
    app.batch_execute("SET client_encoding = 'UTF8'").unwrap();
    let sql = "SELECT * FROM auth.pv_validate_password($1::text, 'x')";
    assert_eq!(sqlstate(app.query(sql, &[&"é".repeat(128)])), "22023");
    assert_eq!(
        create(&mut app, &"é".repeat(127), GOOD),
        Answer::yes(),
        "the longest id of two-byte letters"
    );
    assert!(manage(&mut admin, "pv_delete_user", &"é".repeat(127)));
    let long = format!("{GOOD} {}", "é".repeat(2033));
    assert_eq!(create(&mut app, "long", &long), Answer::yes());
    assert_eq!(create(&mut app, "longer", &format!("{long}éé")), Answer::no("too_long"));
}

#[test]
fn what_the_database_cannot_say_is_postgresqls_own_error() {
    // It is raised before our function is called, and names the character, not the password.
    let site = Site::with(Cluster::shared(), "ENCODING 'LATIN1' LOCALE 'C'");
    let sql = "SELECT * FROM auth.pv_validate_password('42', $1)";
    let error = site.login().query(sql, &[&"canary € canary"]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "22P05");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_byte_that_stands_for_nothing_is_our_error_and_is_not_quoted() {
    // 0x81 is valid in a WIN1252 database and no character of Unicode.
    let site = Site::with(Cluster::shared(), "ENCODING 'WIN1252' LOCALE 'C'");
    let mut app = site.login();
    for sql in [
        "SELECT auth.pv_check_password('a'::text, convert_from('\\x81', 'WIN1252') || ' canary')",
        "SELECT auth.pv_validate_password(convert_from('\\x81', 'WIN1252') || ' canary', 'x')",
    ] {
        let (state, message, _) = refused(app.query(sql, &[]));
        assert_eq!(state, "22021", "{sql}");
        assert_eq!(message, "argument is not valid text in the encoding of the database");
    }
}

#[test]
fn eastern_encodings() {
    for (encoding, user, password) in [
        ("EUC_JP", "花子", "桜の花が夜風に散る静かな庭の記憶"),
        ("EUC_KR", "영희", "바다 건너 오는 느린 편지와 등대지기"),
        ("KOI8R", "Аня", "тихий омут и рыжая лисица"),
        ("WIN1252", "zoë", "€uro Amélie flies at midnight"),
    ] {
        let options = format!("ENCODING '{encoding}' LOCALE 'C'");
        let site = Site::with(Cluster::shared(), &options);
        let mut app = site.login();
        assert_eq!(create(&mut app, user, password), Answer::yes(), "{encoding}");
        assert_eq!(validate(&mut app, user, password), Answer::yes(), "{encoding}");
        let wrong = &password[..password.len() - password.chars().next_back().unwrap().len_utf8()];
        assert_eq!(
            validate(&mut app, user, wrong),
            Answer::no("invalid_credentials"),
            "{encoding}"
        );
    }
}
