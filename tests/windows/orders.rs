//! The libraries may be listed in any order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use password_verify_tests::windows::core::ways_of;
use password_verify_tests::windows::hits::{find, lines};
use password_verify_tests::windows::limits::beyond;
use password_verify_tests::windows::room::{LIBRARIES, Plan, Room, has_pgaudit, preload};
use password_verify_tests::windows::run::go;

/// All orders of these.
fn orders(of: &[&'static str]) -> Vec<Vec<&'static str>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in of {
        let rest: Vec<&str> = of.iter().copied().filter(|it| it != first).collect();
        for mut order in orders(&rest) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

#[test]
fn no_order_shows_a_password() {
    let there: Vec<&str> =
        LIBRARIES.into_iter().filter(|it| has_pgaudit() || *it != "pgaudit").collect();
    let room = Room::new(&Plan::default());
    let mut canaries = Vec::new();
    let orders = orders(&there);
    for order in &orders {
        room.site.cluster.down();
        room.has_crashed();
        room.site.cluster.configure(&[&preload(order)]);
        room.site.cluster.up();
        canaries.extend(go(&room, &ways_of(&format!(" ({})", order.join(", ")))));
    }
    println!("{} orders, {} passwords", orders.len(), canaries.len());
    let beyond = beyond(&find(&room, &canaries));
    assert!(beyond.is_empty(), "{} hits:\n{}", beyond.len(), lines(&beyond));
}
