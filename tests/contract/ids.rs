//! Ids of users, as number, UUID and text.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{ask, create, validate};
use password_verify_tests::{ALL_BUT_AUDITOR, Answer, GOOD, Site};
use postgres::Client;
use uuid::Uuid;

#[test]
fn an_id_is_one_user_whatever_its_type() {
    let site = Site::new();
    let app = &mut site.login();
    let sql = "SELECT * FROM auth.pv_create_password($1::bigint, $2)";
    assert_eq!(ask(app, sql, &[&42i64, &GOOD]).unwrap(), Answer::yes());
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
    assert_eq!(validate(app, "042", GOOD), Answer::no("invalid_credentials"));
    // An untyped literal resolves to text.
    let literal = format!("SELECT * FROM auth.pv_validate_password('42', '{GOOD}')");
    assert_eq!(ask(app, &literal, &[]).unwrap(), Answer::yes());
    // An integer finds the bigint.
    let sql = "SELECT * FROM auth.pv_validate_password($1::int, $2)";
    assert_eq!(ask(app, sql, &[&42i32, &GOOD]).unwrap(), Answer::yes());

    let id = Uuid::from_u128(0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11);
    let sql = "SELECT * FROM auth.pv_create_password($1::uuid, $2)";
    assert_eq!(ask(app, sql, &[&id, &GOOD]).unwrap(), Answer::yes());
    for spelling in [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
    ] {
        assert_eq!(validate(app, spelling, GOOD), Answer::yes(), "{spelling}");
        assert_eq!(create(app, spelling, GOOD), Answer::no("already_set"), "{spelling}");
    }
}

#[test]
fn every_function_exists_for_every_type_of_id() {
    let site = Site::new();
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    let id = Uuid::from_u128(7);
    for (cast, user) in [
        ("bigint", &7i64 as &(dyn postgres::types::ToSql + Sync)),
        ("uuid", &id),
        ("text", &"seven"),
    ] {
        let yes = |client: &mut Client, call: &str| {
            let sql = format!("SELECT ({}).*", call.replace("$1", &format!("$1::{cast}")));
            let row = client.query_one(&sql, &[user]).unwrap();
            assert!(row.get::<_, bool>(0), "{sql}");
        };
        yes(all, &format!("auth.pv_create_password($1, '{GOOD}')"));
        yes(all, &format!("auth.pv_validate_password($1, '{GOOD}', '10.0.0.1')"));
        yes(all, &format!("auth.pv_check_password($1, '{GOOD}')"));
        yes(all, &format!("auth.pv_set_password($1, '{GOOD}', true, 'infinity')"));
        for function in ["pv_has_password", "pv_disable_user", "pv_enable_user", "pv_delete_user"] {
            let sql = format!("SELECT auth.{function}($1::{cast})");
            assert!(all.query_one(&sql, &[user]).unwrap().get::<_, bool>(0), "{sql}");
        }
    }
}
