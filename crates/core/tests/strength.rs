//! Examining a new password takes less work than the cheapest hash, for every input.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_argon2::Path;
use password_verify_core::kept::verifier::Verifier;
use password_verify_core::kept::workspace::Workspace;
use password_verify_core::rules::cost::Cost;
use password_verify_core::rules::policy::{Password, Rules, Submitted};
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

/// The slowest texts that hill climbing found: for plain zxcvbn, which took longer than ten hashes
/// for the first two, and for the pieces that it gets here.
const WORST: [&str; 9] = [
    "/(%${&19+83!50@6[#27<4|6!@{!|063",
    "4@8({[<3691!|70$5+%2passwordlove",
    "44@@88(({{[[<<336699!!||7700$$55",
    "o$tsaas59597a1n7o6cnweaq34r@4a@n",
    "asse7hpm69ns45sand[1h3@lg6$smesq",
    "ma7q612{4{4sd1991me|1991ee|d3wea",
    "t9ja2pass7{bfo1991oasa2p+<4sasc[",
    "@pas(loanat3{3ir|1[3{35s3caa123a",
    "th8saeswbsannsxiszeejeisheann@xa",
];

const WORDS: [&str; 16] = [
    "password", "love", "1991", "123", "the", "as", "ass", "asses", "sea", "an", "ann", "e", "s",
    "11", "qwe", "tease",
];
const SYMBOLS: &[u8] = b"48@({[<3691!|70$5+%2/&#?";

/// Hostile passwords: a fixed sequence of words mixed with characters that may stand for letters.
fn hostile(n: usize) -> impl Iterator<Item = String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % limit as u64) as usize
    };
    (0..n).map(move |n| {
        let mut text = String::new();
        while text.len() < 32 {
            match below(4) {
                0 => text.push_str(WORDS[below(WORDS.len())]),
                1 if n % 2 == 0 && !text.is_empty() => text = text.repeat(2),
                _ => text.push(char::from(SYMBOLS[below(SYMBOLS.len())])),
            }
        }
        text
    })
}

/// The shortest time of several rounds, because other load can only make them longer.
fn shortest(rounds: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..rounds).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    times.min().unwrap()
}

fn look(text: &str) {
    let rules = Rules { min_length: 8, min_strength: 4 };
    let password = Password::normalize(Submitted::Text(Secret::new(text.into()))).ok().unwrap();
    let _ = rules.accept(password, &UserId::from_bigint(42), |_| false).is_ok();
}

#[test]
fn a_crafted_password_takes_less_work_than_the_cheapest_hash() {
    let cost = Cost::new(7 * 1024, 5, 1).ok().unwrap();
    let hash = shortest(10, || {
        let mut workspace = Workspace::new(cost, Path::best()).ok().unwrap();
        Verifier::measure(cost, [1; 16], &mut workspace).ok().unwrap();
    });
    look("its dictionaries are made the first time");
    let mut slowest = (Duration::ZERO, String::new());
    for text in WORST.map(str::to_owned).into_iter().chain(hostile(2000)) {
        let mut took = shortest(1, || look(&text));
        if took > slowest.0 {
            took = took.min(shortest(5, || look(&text)));
        }
        slowest = slowest.max((took, text));
    }
    let (took, text) = slowest;
    println!("{text}: {:.2} hashes", took.as_secs_f64() / hash.as_secs_f64());
    assert!(took < hash, "{text}: {took:?}, a hash {hash:?}");
}
