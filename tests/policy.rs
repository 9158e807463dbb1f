//! What may become a password: what looking at one costs, and which are too common.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_tests::site::{ask, validate};
use password_verify_tests::{Answer, Site};
use postgres::Client;

const CHECK: &str = "SELECT * FROM auth.pv_check_password($1::text, $2)";

/// Full of symbols that may stand for letters, each of several, and of words.
const CRAFTED: [&str; 5] = [
    "/(%${&19+83!50@6[#27<4|6!@{!|063",
    "4@8({[<3691!|70$5+%2passwordlove",
    "44@@88(({{[[<<336699!!||7700$$55",
    "love?{|an4[$?(74&((<ass(8123love",
    "57{86{the<5199111</164%password$",
];

/// The shortest time of some rounds.
fn shortest(mut work: impl FnMut()) -> Duration {
    let times = (0..7).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap()
}

fn check(client: &mut Client, password: &str) -> Answer {
    ask(client, CHECK, &[&"4711", &password]).unwrap()
}

#[test]
fn a_crafted_password_keeps_no_processor_busy_for_longer_than_a_login() {
    let site = Site::new();
    site.allow_failures();
    let app = &mut site.login();
    check(app, "the dictionaries are made the first time");
    // With the cheapest hash that is allowed.
    let login = shortest(|| drop(validate(app, "4711", "wrong")));
    for text in CRAFTED {
        let looking = shortest(|| drop(check(app, text)));
        assert!(looking < login * 2, "{text}: {looking:?}, a login {login:?}");
    }
}
