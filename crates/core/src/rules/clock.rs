//! How far to trust a clock that an administrator, a mistake or an attacker can set.

use crate::rules::account::Timestamp;

/// The time from `now` until `at`, or 0 if that is more than `at_most`: then `at` was noted before
/// the clock was set back, and the wait is over.
pub const fn time_until(at: Timestamp, now: Timestamp, at_most: Timestamp) -> Timestamp {
    let left = at.saturating_sub(now);
    if left > at_most || left < 0 { 0 } else { left }
}

/// How many epoch openings [`is_plausible`] reads at most.
pub const OPENINGS: usize = 1000;

/// Whether the age of old events can be trusted. It cannot if the clock may just have been set
/// forward, by mistake or by an attacker who wants the audit pruned: if the gap between two epochs
/// was more than twice `epoch`, and the later one began less than `epoch` ago. While users log in,
/// no epoch is longer than `epoch`. A quiet period looks the same; old events then stay longer.
///
/// `openings` are the opening times of epochs, newest first; at most [`OPENINGS`] are read.
///
/// # Errors
/// The first error of `openings`.
pub fn is_plausible<E>(
    now: Timestamp,
    epoch: Timestamp,
    openings: impl Iterator<Item = Result<Timestamp, E>>,
) -> Result<bool, E> {
    let mut later = now;
    for opened in openings.take(OPENINGS) {
        let opened = opened?;
        if later.saturating_sub(opened) > epoch.saturating_mul(2) {
            return Ok(false);
        }
        if opened <= now.saturating_sub(epoch) {
            return Ok(true);
        }
        later = opened;
    }
    // The whole audit is younger than `epoch`, or there were too many epochs to tell.
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn nothing_rests_for_longer_than_it_should() {
        assert_eq!(time_until(15, 10, 5), 5);
        assert_eq!(time_until(10, 10, 5), 0);
        assert_eq!(time_until(9, 10, 5), 0);
        // The clock was set back after `at` was noted.
        assert_eq!(time_until(16, 10, 5), 0);
        assert_eq!(time_until(i64::MAX, i64::MIN, 5), 0);
        assert_eq!(time_until(i64::MIN, i64::MAX, 5), 0);
    }

    fn plausible(now: Timestamp, openings: &[Timestamp]) -> bool {
        let openings = openings.iter().map(|at| Ok::<_, Infallible>(*at));
        is_plausible(now, 10, openings).unwrap()
    }

    #[test]
    fn a_clock_that_went_on_is_believed() {
        assert!(plausible(100, &[95, 85, 74, 63]));
        assert!(plausible(100, &[99, 98, 97, 90, 80]));
        assert!(plausible(100, &[90, 80]));
    }

    #[test]
    fn a_clock_that_was_set_forward_is_not_believed_for_the_length_of_an_epoch() {
        // Seen now, in the epoch that is still open, and in one opened since, after more restarts.
        assert!(!plausible(1000, &[95, 85]));
        assert!(!plausible(1001, &[1000, 95, 85]));
        assert!(!plausible(1005, &[1004, 1003, 1000, 95, 85]));
        assert!(plausible(1011, &[1010, 1000, 95, 85]));
    }

    #[test]
    fn what_cannot_be_told_is_not_believed() {
        assert!(!plausible(100, &[]));
        assert!(!plausible(100, &[99, 98]));
        assert!(!plausible(100, &[99; OPENINGS + 1]));
        let broken = [Ok(99), Err("broken")];
        assert_eq!(is_plausible(100, 10, broken.into_iter()), Err("broken"));
    }

    #[test]
    fn an_epoch_of_the_future_is_not_believed() {
        assert!(!plausible(100, &[500, 95, 85]));
        assert!(plausible(111, &[101, 100, 500, 95]));
    }
}
