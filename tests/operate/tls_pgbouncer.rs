//! What the server can assert where a pooler is in between: its own connection to the pooler, and nothing else.
#![allow(clippy::unwrap_used)]

use password_verify_tests::GOOD;
use password_verify_tests::network::{CLIENT, SERVER};
use password_verify_tests::pgbouncer::{PORT, PgBouncer, Tls};
use password_verify_tests::tls::{Said, Shop, has_state, printed, validating};
use rcgen::DnType;

const HBA: &[&str] = &["host all all 192.0.2.0/24 scram-sha-256"];

fn shop() -> Shop {
    let shop = Shop::new(HBA, &[], "UTF8");
    shop.site.enroll("42", GOOD);
    shop
}

fn by_pooler(shop: &Shop, host: &str, mode: &str) -> Said {
    let connection = format!("host={host} port={PORT} user=app sslmode={mode}");
    shop.psql_on(&shop.network.client, &connection, &[&validating("42", GOOD)])
}

#[test]
fn tls_on_either_side_of_a_pooler_elsewhere() {
    let shop = shop();
    let identity = shop.signed.server("pooler");
    for (to_clients, to_server) in [(false, false), (true, false), (false, true), (true, true)] {
        let tls = Tls { to_clients: to_clients.then_some(&identity), to_server, certificate: None };
        let server = format!("host={SERVER} port=5432");
        let _pooler = PgBouncer::start(&shop.network.client, &server, &["app"], &shop.signed, tls);
        let said = by_pooler(&shop, CLIENT, if to_clients { "require" } else { "disable" });
        // That the client has spoken in the clear, the server cannot know.
        if to_server {
            assert_eq!(said, Ok("t|".into()), "{to_clients}");
        } else {
            assert!(has_state(&said, "28000"), "{to_clients}: {said:?}");
        }
        // Only the pooler can see to that.
        let plain = by_pooler(&shop, CLIENT, "disable");
        assert_eq!(plain.is_err(), to_clients || !to_server, "{plain:?}");
        if to_clients {
            assert!(plain.unwrap_err().contains("SSL required"));
        }
    }
}

#[test]
fn a_pooler_on_the_servers_machine_makes_every_call_a_local_one() {
    let shop = shop();
    let socket = shop.site.cluster.folder().display().to_string();
    let none = Tls { to_clients: None, to_server: false, certificate: None };
    let pooler = PgBouncer::start(
        &shop.network.server,
        &format!("host={socket} port=5432"),
        &["app"],
        &shop.signed,
        none,
    );
    // In the clear through the network, and the server has no way to tell.
    assert_eq!(by_pooler(&shop, SERVER, "disable"), Ok("t|".into()));
    assert_eq!(shop.peers_of("42"), "- - local");
    drop(pooler);
    // So the pooler has to.
    let identity = shop.signed.server("pooler");
    let tls = Tls { to_clients: Some(&identity), ..none };
    let server = format!("host={socket} port=5432");
    let _pooler = PgBouncer::start(&shop.network.server, &server, &["app"], &shop.signed, tls);
    assert!(by_pooler(&shop, SERVER, "disable").unwrap_err().contains("SSL required"));
    assert_eq!(by_pooler(&shop, SERVER, "verify-full"), Ok("t|".into()));
}

#[test]
fn the_certificate_on_record_is_the_poolers() {
    let shop = shop();
    shop.site
        .admin()
        .batch_execute("ALTER ROLE app SET password_verify.require_client_certificate = on")
        .unwrap();
    let identity = shop.signed.server("pooler");
    let own = shop.signed.client("own", &[(DnType::CommonName, "pooler")], &[7]);
    let server = format!("host={SERVER} port=5432");
    let without = Tls { to_clients: Some(&identity), to_server: true, certificate: None };
    let start = |tls| PgBouncer::start(&shop.network.client, &server, &["app"], &shop.signed, tls);
    // The application's own would have to get through the pooler, and does not.
    let pooler = start(without);
    let app = shop.signed.client("app", &[(DnType::CommonName, "shop-web")], &[8]);
    let connection = format!("host={CLIENT} port={PORT} user=app {}", shop.with(&app));
    let said = shop.psql_on(&shop.network.client, &connection, &[&validating("42", GOOD)]);
    assert!(has_state(&said, "28000"), "{said:?}");
    drop(pooler);
    let _pooler = start(Tls { certificate: Some(&own), ..without });
    let said = shop.psql_on(&shop.network.client, &connection, &[&validating("42", GOOD)]);
    assert_eq!(said, Ok("t|".into()));
    let (subject, serial) = printed(&own);
    assert_eq!(shop.peers_of("42"), format!("- - local\n{subject} {serial} {CLIENT}"));
}
