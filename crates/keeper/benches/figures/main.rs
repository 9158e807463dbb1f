//! What the keeper's program costs and how fast it is: PostgreSQL, Dovecot and the keeper on this machine, all of them
//! real. Prints the body of `docs/keeper-program-figures.md`; `make keeper-program-figures` writes the whole.
//!
//! `PARTS=slow,idle` measures those alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod idle;
mod machine;
mod memory;
mod messages;
mod slow;
mod stage;

/// A part: its name, and what prints it.
type Part = (&'static str, fn());

const PARTS: [Part; 6] = [
    ("messages", messages::print),
    ("accounts", accounts::print),
    ("memory", memory::print_many),
    ("large", memory::print_large),
    ("slow", slow::print),
    ("idle", idle::print),
];

fn main() {
    let wanted = std::env::var("PARTS").unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.split(',').any(|it| it == name);
    for (name, print) in PARTS.into_iter().filter(|(name, _)| is_wanted(name)) {
        say(&format!("measuring: {name}"));
        print();
    }
}

/// For whoever waits.
fn say(what: &str) {
    eprintln!("== {what}");
}

/// "met", or that it is not.
fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
