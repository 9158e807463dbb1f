//! Secrets cross the network encrypted or not at all, by a real network between two machines.
#![allow(clippy::unwrap_used)]

use password_verify_tests::network::{CLIENT, SERVER, SERVER6};
use password_verify_tests::query::number;
use password_verify_tests::tls::{Said, Shop, has_state, validating};
use password_verify_tests::{GOOD, WRONG};

/// With a password from the client's machine, with TLS or without; on the server's own, everybody is who they say.
const HBA: &[&str] = &[
    "host all all samehost trust",
    "host all all 127.0.0.0/8 trust",
    "host all all ::1/128 trust",
    "host all all 192.0.2.0/24 scram-sha-256",
    "host all all 2001:db8::/64 scram-sha-256",
];

fn shop() -> Shop {
    let shop = Shop::new(HBA, &[], "UTF8");
    shop.site.enroll("42", GOOD);
    shop
}

fn yes() -> Said {
    Ok("t|".into())
}

#[test]
fn without_tls_the_network_carries_statements_but_no_secret() {
    let shop = shop();
    // One wrong password would make the account wait.
    shop.site.configure(&["throttle_free_failures = 1"]);
    let plain = "user=app sslmode=disable";
    assert_eq!(
        shop.psql(plain, &["SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]),
        Ok("f".into())
    );
    let before = number(&mut shop.site.admin(), "SELECT count(*) FROM auth.pv_events");
    for password in [GOOD, WRONG, GOOD, WRONG] {
        let said = shop.psql(plain, &[&validating("42", password)]);
        assert!(has_state(&said, "28000"), "{said:?}");
        let error = said.unwrap_err();
        let message = "secrets cannot cross a network connection that is not encrypted";
        assert!(error.contains(message), "{error}");
        let hint = error.lines().find(|line| line.starts_with("HINT:")).unwrap();
        for what in ["sslmode=verify-full", "hostssl", "GSS", "password_verify.require_tls"] {
            assert!(hint.contains(what), "{hint}");
        }
        assert!(!error.contains(password), "{error}");
    }
    // Nothing was charged, and nothing recorded.
    let events = number(&mut shop.site.admin(), "SELECT count(*) FROM auth.pv_events");
    assert_eq!(events, before);
    let tls = "user=app sslmode=verify-full";
    assert_eq!(shop.psql(tls, &[&validating("42", GOOD)]), yes());
    assert_eq!(shop.peers_of("42"), format!("- - {CLIENT}\n- - local"));
    // The same error for everybody, whether there is such a user or not.
    let nobody = shop.psql(plain, &[&validating("nobody", GOOD)]);
    assert!(has_state(&nobody, "28000"), "{nobody:?}");
}

#[test]
fn tls_is_enough_and_the_channel_can_be_bound() {
    let shop = shop();
    for connection in [
        "user=app sslmode=require channel_binding=disable",
        "user=app sslmode=verify-ca",
        "user=app sslmode=verify-full channel_binding=require",
    ] {
        assert_eq!(shop.psql(connection, &[&validating("42", GOOD)]), yes(), "{connection}");
        assert_eq!(
            shop.psql(connection, &[&validating("42", WRONG)]),
            Ok("f|invalid_credentials".into())
        );
    }
    // By another address the certificate is somebody else's, and libpq goes no further.
    let other = format!("host={SERVER6} user=app");
    let on = |mode: &str| {
        let connection = format!("{other} sslmode={mode}");
        shop.psql_on(&shop.network.client, &connection, &[&validating("42", GOOD)])
    };
    assert!(on("verify-full").unwrap_err().contains("does not match host name"));
    assert_eq!(on("verify-ca"), yes());
    assert!(has_state(&on("disable"), "28000"));
    // Nor does it bind a channel that is not there.
    let said = shop.psql("user=app sslmode=disable channel_binding=require", &["SELECT 1"]);
    assert!(said.unwrap_err().contains("channel binding"), "libpq refuses");
}

#[test]
fn sockets_and_loopback_are_local_and_the_servers_own_address_is_not() {
    let shop = shop();
    let here = |host: &str, mode: &str| {
        let connection = format!("host={host} user=app sslmode={mode}");
        shop.psql_on(&shop.network.server, &connection, &[&validating("42", GOOD)])
    };
    let socket = shop.site.cluster.folder().display().to_string();
    for host in ["127.0.0.1", "127.9.9.9", "::1", &socket] {
        assert_eq!(here(host, "disable"), yes(), "{host}");
    }
    // It never leaves the machine, but nothing tells it from one that does.
    for host in [SERVER, SERVER6] {
        assert!(has_state(&here(host, "disable"), "28000"), "{host}");
        assert_eq!(here(host, "require"), yes(), "{host}");
    }
}

#[test]
fn only_a_superuser_can_do_without() {
    let shop = shop();
    let plain = "user=app sslmode=disable";
    let off = "SET password_verify.require_tls = off";
    let said = shop.psql(plain, &[off, &validating("42", GOOD)]);
    assert!(has_state(&said, "42501"), "{said:?}");
    let said =
        shop.psql(&format!("{plain} options='-c password_verify.require_tls=off'"), &["SELECT 1"]);
    assert!(said.unwrap_err().contains("permission denied to set parameter"));
    let said = shop.psql(plain, &["ALTER ROLE app SET password_verify.require_tls = off"]);
    assert!(has_state(&said, "42501"), "{said:?}");
    shop.site
        .admin()
        .batch_execute("ALTER ROLE app SET password_verify.require_tls = off")
        .unwrap();
    assert_eq!(shop.psql(plain, &[&validating("42", GOOD)]), yes());
    // That was for one role.
    shop.role("other");
    let said = shop.psql("user=other sslmode=disable", &[&validating("42", GOOD)]);
    assert!(has_state(&said, "28000"), "{said:?}");
}
