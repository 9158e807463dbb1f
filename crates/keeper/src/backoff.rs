//! Longer and longer waits, and not the same for everybody who has begun to wait at the same moment.

use std::time::Duration;

use rand::RngExt;

/// How long to wait next.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// Between half and the whole of a time that doubles.
    pub fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.most);
        now.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It went well.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut wait = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for whole in [1, 2, 4, 5, 5] {
            let next = wait.next();
            let whole = Duration::from_secs(whole);
            assert!(whole / 2 <= next && next <= whole, "{next:?} of {whole:?}");
        }
        wait.reset();
        assert!(wait.next() <= Duration::from_secs(1));
    }
}
