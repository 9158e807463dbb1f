//! What can be believed of a clock that somebody may set.

use crate::rules::account::Timestamp;

/// The time from now until `at`, which is not more than `at_most` away: what is further off was noted before
/// the clock was set back, and is over.
pub const fn time_until(at: Timestamp, now: Timestamp, at_most: Timestamp) -> Timestamp {
    let left = at.saturating_sub(now);
    if left > at_most || left < 0 { 0 } else { left }
}

/// Openings of epochs that are looked at.
pub const OPENINGS: usize = 1000;

/// Can the age of what is old by the clock be believed? Not yet where the clock may just have been set
/// forward, by mistake or by an attacker who wants to be rid of the audit: where the time between two epochs,
/// none of which is longer than `epoch` while somebody logs in, was more than twice as long, and the later of
/// them began less than `epoch` ago. A silence looks the same, and then what is old stays a little longer.
///
/// `openings`: when epochs were opened, newest first. Reads those of the last `epoch`, at most [`OPENINGS`].
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
    // The whole audit is younger than that, or too much has happened to tell.
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
        // The clock was set back after it was noted.
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
        // By now; in the epoch that has not ended; and in one that was opened since, also after more restarts.
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
