//! When a job is due. All times and lengths of time are in microseconds.
//!
//! The codes of jobs and secrets are here too.

pub use crate::keeper::codes::{DETAILS, JobState, Outcome, SecretState, detail};
use crate::rules::account::Timestamp;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// The shortest time from one round to the next: 1 minute.
pub const MIN_EVERY: i64 = MINUTE;
/// The longest time from one round to the next: 31 days.
pub const MAX_EVERY: i64 = 31 * DAY;
/// How far ahead the end of a repeated request may be: 400 days.
pub const MAX_SPAN: i64 = 400 * DAY;
/// The shortest lease of a job: 1 second.
pub const MIN_LEASE: i64 = SECOND;
/// The longest lease of a job: 1 hour.
pub const MAX_LEASE: i64 = 60 * MINUTE;

/// How long a job waits after its first attempt: 30 seconds.
const FIRST_WAIT: i64 = 30 * SECOND;
/// The longest that a job waits between attempts: 1 hour.
const MAX_WAIT: i64 = 60 * MINUTE;

/// How a request repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// From one round to the next: [`MIN_EVERY`] to [`MAX_EVERY`].
    pub every: i64,
    /// The last time at which a round may be due.
    pub until: Timestamp,
}

/// Why a request cannot repeat like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotASchedule {
    /// It repeats and has no end.
    NoEnd,
    /// It has an end and does not repeat.
    EndAlone,
    /// The time between rounds is outside [`MIN_EVERY`] to [`MAX_EVERY`].
    Every,
    /// The end is not in the future, or further ahead than [`MAX_SPAN`].
    Until,
}

impl NotASchedule {
    /// A fixed text for a message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoEnd => "a request that repeats needs an end",
            Self::EndAlone => "a request that does not repeat has no end",
            Self::Every => "a request repeats every minute at most and every 31 days at least",
            Self::Until => "the end is not in the future, or more than 400 days ahead",
        }
    }
}

/// Decides whether a request may repeat: `None` if it does not ask for that.
///
/// # Errors
/// [`NotASchedule`], the first that applies.
pub fn repeat(
    every: Option<i64>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Repeat>, NotASchedule> {
    let (every, until) = match (every, until) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(NotASchedule::NoEnd),
        (None, Some(_)) => return Err(NotASchedule::EndAlone),
        (Some(every), Some(until)) => (every, until),
    };
    if !(MIN_EVERY..=MAX_EVERY).contains(&every) {
        Err(NotASchedule::Every)
    } else if until <= now || until > now.saturating_add(MAX_SPAN) {
        Err(NotASchedule::Until)
    } else {
        Ok(Some(Repeat { every, until }))
    }
}

/// When the round after the one that was due at `due` is due: a whole number of rounds after it, so
/// that times do not drift, and after `now`, so that missed rounds are left out. `None` without
/// another round.
pub fn next(due: Timestamp, now: Timestamp, repeat: Option<Repeat>) -> Option<Timestamp> {
    let Repeat { every, until } = repeat?;
    // A damaged row must not make a job that is always due. In 128 bits nothing overflows.
    let (every, due, now) = (i128::from(every.max(MIN_EVERY)), i128::from(due), i128::from(now));
    let rounds = ((now - due).div_euclid(every) + 1).max(1);
    Timestamp::try_from(due + rounds * every).ok().filter(|next| *next <= until)
}

/// When to try again after `attempts` attempts, the one that has just failed among them: 30 seconds
/// after the first, doubled with each further one, at most 1 hour; and up to a quarter less, so that those
/// who have failed together do not come again together.
pub fn retry_at(now: Timestamp, attempts: u32) -> Timestamp {
    // After 2^7 times 30 seconds it is more than an hour already.
    let wait = (FIRST_WAIT << attempts.saturating_sub(1).min(7)).min(MAX_WAIT);
    // No two of them have the same microsecond: the fractional part of its product with the golden ratio, in 1024ths.
    let less = now.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    now.saturating_add(wait - wait / 4 / 1024 * less.cast_signed())
}

/// After so many rounds in a row that were to be tried again, a round has failed.
pub const MAX_ATTEMPTS: u32 = 20;

/// What becomes of a job after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same round is tried again at that time.
    Retry(Timestamp),
    /// The next round is due at that time.
    Due(Timestamp),
    /// It waits for another secret.
    Block,
    /// It is over.
    End,
}

/// What becomes of a job whose round was due at `due`, after `attempts` attempts that were to be tried again.
pub fn after(
    outcome: Outcome,
    due: Timestamp,
    attempts: u32,
    repeat: Option<Repeat>,
    now: Timestamp,
) -> Next {
    match outcome {
        Outcome::Rejected => Next::Block,
        Outcome::Retry if attempts < MAX_ATTEMPTS => Next::Retry(retry_at(now, attempts + 1)),
        Outcome::Done | Outcome::Failed | Outcome::Retry => {
            next(due, now, repeat).map_or(Next::End, Next::Due)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = 1_000 * DAY;

    #[test]
    fn a_repeated_request_has_an_end_within_bounds() {
        let asked = |every, until| repeat(every, until, NOW);
        assert_eq!(asked(None, None), Ok(None));
        assert_eq!(asked(Some(DAY), None), Err(NotASchedule::NoEnd));
        assert_eq!(asked(None, Some(NOW + DAY)), Err(NotASchedule::EndAlone));
        for (every, until, right) in [
            (MIN_EVERY, NOW + 1, Ok(())),
            (MAX_EVERY, NOW + MAX_SPAN, Ok(())),
            (MIN_EVERY - 1, NOW + 1, Err(NotASchedule::Every)),
            (MAX_EVERY + 1, NOW + 1, Err(NotASchedule::Every)),
            (i64::MIN, NOW, Err(NotASchedule::Every)),
            (DAY, NOW, Err(NotASchedule::Until)),
            (DAY, NOW + MAX_SPAN + 1, Err(NotASchedule::Until)),
            (DAY, i64::MAX, Err(NotASchedule::Until)),
            (DAY, i64::MIN, Err(NotASchedule::Until)),
        ] {
            let right = right.map(|()| Some(Repeat { every, until }));
            assert_eq!(asked(Some(every), Some(until)), right);
        }
        assert!(repeat(Some(DAY), Some(i64::MAX), i64::MAX - 1).is_ok());
    }

    #[test]
    fn rounds_do_not_drift_and_missed_ones_are_left_out() {
        let at = |now| next(100, 100 + now, Some(Repeat { every: DAY, until: 100 + 3 * DAY }));
        assert_eq!(at(-5 * DAY), Some(100 + DAY), "a clock that was set back");
        assert_eq!(at(0), Some(100 + DAY));
        assert_eq!(at(DAY - 1), Some(100 + DAY));
        assert_eq!(at(DAY), Some(100 + 2 * DAY));
        assert_eq!(at(3 * DAY - 1), Some(100 + 3 * DAY), "due at the end itself");
        assert_eq!(at(3 * DAY), None);
        assert_eq!(next(100, 100, None), None);
    }

    #[test]
    fn a_wait_doubles_up_to_an_hour() {
        let longest = |attempts| {
            let waits = (0..10_000).map(|it| retry_at(NOW + it, attempts) - NOW - it);
            let (least, most) = (waits.clone().min().unwrap_or(0), waits.max().unwrap_or(0));
            // All of the last quarter is used, and nothing else.
            assert_eq!(least * 100 / most, 75, "{attempts}: {least} to {most}");
            most / SECOND
        };
        let waits = [0, 1, 2, 3, 7, 8, 9, u32::MAX].map(longest);
        assert_eq!(waits, [30, 30, 60, 120, 1920, 3600, 3600, 3600]);
        assert_eq!(retry_at(i64::MAX, 1), i64::MAX);
    }

    #[test]
    fn those_who_fail_together_do_not_come_again_together() {
        let mut times: Vec<_> = (0..64).map(|it| retry_at(NOW + 10 * it, 1)).collect();
        times.sort_unstable();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max().is_some_and(|gap| gap < SECOND), "{times:?}");
    }

    #[test]
    fn nothing_overflows() {
        let always = |every| Some(Repeat { every, until: i64::MAX });
        assert_eq!(next(i64::MAX, i64::MIN, always(DAY)), None);
        assert_eq!(next(i64::MIN, i64::MAX, always(DAY)), None);
        for every in [i64::MIN, -1, 0, 1, MIN_EVERY] {
            assert_eq!(next(0, 0, always(every)), Some(MIN_EVERY), "never without a pause");
        }
    }

    proptest! {
        #[test]
        fn the_next_round_is_the_first_after_now(
            due in -MAX_SPAN..MAX_SPAN,
            now in -MAX_SPAN..MAX_SPAN,
            every in MIN_EVERY..=MAX_EVERY,
            until in -MAX_SPAN..2 * MAX_SPAN,
        ) {
            if let Some(next) = next(due, now, Some(Repeat { every, until })) {
                let passed = next - due;
                prop_assert!(next <= until && next > now && passed > 0 && passed % every == 0);
                prop_assert!(passed == every || next - every <= now, "the first one");
            } else {
                prop_assert!(due.max(now) + every > until, "there was room for a round");
            }
        }

        #[test]
        fn no_times_are_a_panic(due: i64, now: i64, every: i64, until: i64, attempts: u32) {
            let _ = repeat(Some(every), Some(until), now);
            let next = next(due, now, Some(Repeat { every, until }));
            prop_assert!(next.is_none_or(|next| next > now && next > due && next <= until));
            prop_assert!(retry_at(now, attempts) >= now);
        }
    }

    #[test]
    fn what_becomes_of_a_job() {
        let repeat = Some(Repeat { every: MINUTE, until: 10 * MINUTE });
        assert_eq!(after(Outcome::Done, 0, 3, None, 5), Next::End);
        assert_eq!(after(Outcome::Failed, 0, 0, repeat, 5), Next::Due(MINUTE));
        assert_eq!(after(Outcome::Rejected, 0, 0, repeat, 5), Next::Block);
        assert_eq!(after(Outcome::Retry, 0, 0, None, 5), Next::Retry(retry_at(5, 1)));
        assert_eq!(after(Outcome::Retry, 0, 19, None, 5), Next::Retry(retry_at(5, 20)));
        assert_eq!(after(Outcome::Retry, 0, 20, None, 5), Next::End);
        assert_eq!(after(Outcome::Retry, 0, 20, repeat, 5), Next::Due(MINUTE));
    }
}
