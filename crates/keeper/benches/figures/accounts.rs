//! Accounts a minute: mailboxes that are looked at again and again, in which there is nothing new, or one mail.

use std::time::Duration;

use password_verify_tests::mail::messages::of_size;

use crate::machine::{Meter, Used};
use crate::stage::{Stage, await_for, done, ended, names};
use crate::{say, verdict};

const ACCOUNTS: usize = 1000;
/// A minute, on two processors.
const TARGET: f64 = 500.0;

pub fn print() {
    let users = names("user", ACCOUNTS);
    let stage = Stage::new();
    stage.register(&users, "localhost", stage.dovecot.imaps_port());
    let keeper = stage.keeper().start();
    stage.await_all_over();
    say("the first round");
    let mut app = stage.kept.depositor();
    let verified = done(&keeper);
    stage.request(&mut app, &users, "every => '1 minute', until => now() + '1 hour'");
    await_for(|| done(&keeper) == verified + ACCOUNTS);
    println!("## Accounts\n");
    println!(
        "{ACCOUNTS} accounts of one server are looked at every minute, with the usual settings: a login with TLS, EXAMINE, and\n\
         what is new. All are due at once, and the time is until the last is done. Where many wait for one server, others are\n\
         told to come later, and come again after half a minute. The target is {TARGET} accounts a minute on two processors.\n"
    );
    println!(
        "| round | accounts a minute | target | told to come later | processor, ms an account: keeper | Dovecot | PostgreSQL |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let row = |what: &str, (took, used, later): (Duration, Used, usize)| {
        let rate = ACCOUNTS as f64 * 60.0 / took.as_secs_f64();
        let (verdict, each) = (verdict(rate >= TARGET), used.each(ACCOUNTS));
        println!("| {what} | {rate:.0} | {verdict} | {later} | {each} |");
    };
    let round = || {
        let (before, later) = (done(&keeper), ended(&keeper, "limited"));
        await_for(|| done(&keeper) > before);
        let meter = Meter::start(&keeper, &stage.dovecot, &stage.kept.site.cluster);
        await_for(|| done(&keeper) >= before + ACCOUNTS);
        let (took, used) = meter.stop();
        (took, used, ended(&keeper, "limited") - later)
    };
    say("a round with nothing new");
    row("nothing new", round());
    for user in &users {
        stage.deliver(user, &of_size("news", 3000));
    }
    say("a round with one new mail each");
    row("one new mail of 3 kB each", round());
    println!();
    drop(keeper);
    stage.kept.assert_sound();
}
