//! The work of the policy itself is bounded for every input.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_core::rules::policy::{Password, Rules, Submitted};
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

fn time(text: &str) -> Duration {
    let rules = Rules { min_length: 8, min_strength: 4 };
    let user = UserId::from_text("alice").unwrap();
    let once = || {
        let password = Password::normalize(Submitted::Text(Secret::new(text.into())));
        let start = Instant::now();
        let _ = rules.accept(password.ok().unwrap(), &user, |_| false);
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn hostile_input_is_not_estimated_for_longer_than_its_beginning() {
    // Characters that look like letters make zxcvbn try combinations: 2.5 s for a hundred of them.
    let hostile = "|%!0@9{<798819[0%6{47(%<%$r3+!|<1(5%5%<5t|++54!2ch$$<!%{!0<o(17$75738@zn[[7b6!+";
    let (whole, beginning) = (time(hostile), time(&hostile[..32]));
    assert!(whole < beginning * 3, "{whole:?} {beginning:?}");
    assert!(time(&hostile.repeat(50)) < beginning * 3);
}
