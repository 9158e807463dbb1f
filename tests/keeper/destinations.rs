//! Where a secret may be sent: what is a destination, and what is refused.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{DESTINATION, KeptSite, secrets};
use password_verify_tests::refused;
use postgres::Client;

/// A refusal that says nothing of what was passed: its SQLSTATE and message.
fn says(client: &mut Client, call: &str) -> (String, String) {
    let (state, message, hint) = refused(client.query(&format!("SELECT * FROM auth.{call}"), &[]));
    assert!(!message.contains("canary") && !hint.contains("canary"), "{message}: {hint}");
    (state, message)
}

/// The destination with one key replaced, or added, or removed.
fn with(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!(
            "('{DESTINATION}'::jsonb || jsonb_build_object('{key}', '{}'::jsonb))",
            value.replace('\'', "''")
        ),
        None => format!("('{DESTINATION}'::jsonb - '{key}')"),
    }
}

#[test]
fn a_destination_is_complete_and_has_nothing_else() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    let long = format!("\"{}.example\"", "a".repeat(64));
    let login = format!("\"{}\"", "a".repeat(321));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let wrong: [(&str, &[&str]); 9] = [
        ("protocol", &["\"pop3\"", "\"IMAPS\"", "\"\"", "993", "null", "[\"imaps\"]"]),
        (
            "host",
            &[
                "\"\"",
                "\"canary_1.example\"",
                "\"10.1.2.3\"",
                "\"::1\"",
                "\"[::1]\"",
                "\"a b\"",
                "\"mail.example.\"",
                "\"-a.example\"",
                "\"a..b\"",
                "\"m\u{e4}il.example\"",
                "\"a/b\"",
                "\"a:993\"",
                "\"u@a\"",
                "\"0x7f000001\"",
                "\"2130706433\"",
                "7",
                "null",
                "{}",
                &long,
            ],
        ),
        ("port", &["0", "65536", "-1", "993.5", "\"993\"", "null", "[993]", "1e30"]),
        ("login", &["\"\"", "\"a\\nb\"", "\"a\\u0001\"", "7", "null", &login]),
        (
            "mechanism",
            &[
                "\"plain\"",
                "\"CRAM-MD5\"",
                "\"BASIC\"",
                "\"BEARER\"",
                "null",
                "1",
                "\"OAUTHBEARER\"",
            ],
        ),
        ("token_endpoint", &["\"https://id.example/token\"", "null"]),
        ("scopes", &["[]", "[\"mail\"]", "null"]),
        (
            "ca",
            &[
                "\"\"",
                "\"canary\"",
                "null",
                "\"-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----\"",
            ],
        ),
        ("canary", &["1", "null"]),
    ];
    for (key, values) in wrong {
        for value in values {
            let (state, message) = says(
                &mut app,
                &format!("pv_store_secret('42'::text, 'imap', 'x', {})", with(key, Some(value))),
            );
            assert_eq!(state, "22023", "{key} {value}");
            assert!(message.starts_with("the destination is refused: "), "{message}");
        }
    }
    for key in ["protocol", "host", "port", "login", "mechanism"] {
        let (state, message) = says(
            &mut app,
            &format!("pv_store_secret('42'::text, 'imap', 'x', {})", with(key, None)),
        );
        assert_eq!((&*state, message.contains(key)), ("22023", true), "{message}");
    }
    for json in ["[]", "null", "1", "\"x\"", "{}", &deep] {
        assert_eq!(
            says(&mut app, &format!("pv_store_secret('42'::text, 'imap', 'x', '{json}')")).0,
            "22023"
        );
    }
    let padded =
        format!("'{DESTINATION}'::jsonb || jsonb_build_object('ca', repeat('canary', 10000))");
    assert_eq!(
        says(&mut app, &format!("pv_store_secret('42'::text, 'imap', 'x', {padded})")).0,
        "22023"
    );
    assert!(secrets(&mut app, "42").is_empty(), "nothing of it is kept");

    // All that OAuth needs, and bounds that are met exactly.
    let oauth = r#"{"protocol":"https","host":"API.example","port":65535,"login":"a","mechanism":"OAUTHBEARER","scopes":[],"token_endpoint":"https://id.example/t"}"#;
    let smallest = r#"{"protocol":"smtp","host":"a","port":1,"login":"b","mechanism":"LOGIN"}"#;
    // Of a key that is there twice, jsonb has the last.
    let twice =
        r#"{"port":0,"protocol":"imaps","host":"a","port":993,"login":"b","mechanism":"PLAIN"}"#;
    for (name, json) in [
        ("oauth", oauth),
        ("smallest", smallest),
        ("twice", twice),
        ("one", DESTINATION),
        ("same", DESTINATION),
    ] {
        let sql = "SELECT success FROM auth.pv_store_secret('42'::text, $1, 'x', $2::text::jsonb)";
        assert!(app.query_one(sql, &[&name, &json]).unwrap().get::<_, bool>(0), "{name}");
    }
    assert_eq!(secrets(&mut app, "42").len(), 5);
    let sql = "SELECT destination->>'host' || (destination->>'port') FROM auth.pv_secrets('42'::text) WHERE name = 'oauth'";
    assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, &str>(0), "api.example65535");
    kept.assert_sound();
}
