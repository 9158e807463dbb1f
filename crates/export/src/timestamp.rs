//! Timestamps as `pg_dump` writes them: DateStyle ISO, in the time zone of its session.

use password_verify_core::rules::account::Timestamp;

/// Days from 1970-01-01, the Unix epoch, to 2000-01-01, PostgreSQL's.
const EPOCH_DAYS: i64 = 10_957;
const DAY_SECONDS: i64 = 86_400;
const MICROS: i64 = 1_000_000;

/// Microseconds since 2000-01-01 00:00:00 UTC; `None` for text that PostgreSQL does not write.
pub fn parse(text: &str) -> Option<Timestamp> {
    match text {
        "infinity" => return Some(Timestamp::MAX),
        "-infinity" => return Some(Timestamp::MIN),
        _ => {}
    }
    let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, rest) = text.split_once(' ')?;
    let (clock, offset) = rest.split_at(rest.find(['+', '-'])?);
    let days = parse_date(date, bc)? - EPOCH_DAYS;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let seconds = days * DAY_SECONDS + parse_clock(clock, 23, 3)? - parse_offset(offset)?;
    seconds.checked_mul(MICROS)?.checked_add(parse_fraction(fraction)?)
}

/// Writes RFC 3339 in UTC; `None` outside its years 1 to 9999.
pub fn rfc3339(at: Timestamp) -> Option<String> {
    let (seconds, micros) = (at.div_euclid(MICROS), at.rem_euclid(MICROS));
    let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let (year, month, day) = civil(days + EPOCH_DAYS);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (1..=9999).contains(&year).then(|| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    })
}

/// Days since 1970-01-01 of `2026-01-02`. There is no year 0: 1 BC is followed by year 1.
fn parse_date(date: &str, bc: bool) -> Option<i64> {
    let mut parts = date.split('-');
    let year = parts.next().filter(|year| (4..=6).contains(&year.len())).and_then(digits)?;
    let (month, day) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    let year = if bc { 1 - year } else { year };
    let days = days(year, month, day);
    let real = parts.next().is_none() && civil(days) == (year, month, day) && (year > 0) != bc;
    real.then_some(days)
}

/// Seconds of `03:04:05`, which needs at least `least` of its parts.
fn parse_clock(clock: &str, most_hours: i64, least: usize) -> Option<i64> {
    let parts: Vec<i64> = clock.split(':').map(two_digits).collect::<Option<_>>()?;
    let real = (least..=3).contains(&parts.len())
        && parts[0] <= most_hours
        && parts[1..].iter().all(|part| *part < 60);
    real.then(|| parts.iter().zip([3600, 60, 1]).map(|(part, unit)| part * unit).sum())
}

/// Seconds of `+05:30`. East of Greenwich is positive.
fn parse_offset(offset: &str) -> Option<i64> {
    let (sign, offset) = match offset.split_at_checked(1)? {
        ("+", offset) => (1, offset),
        ("-", offset) => (-1, offset),
        _ => return None,
    };
    Some(sign * parse_clock(offset, 15, 1)?)
}

/// Microseconds of the digits after the decimal point.
fn parse_fraction(fraction: &str) -> Option<i64> {
    let places = u32::try_from(fraction.len()).ok().filter(|places| (1..=6).contains(places))?;
    Some(digits(fraction)? * 10_i64.pow(6 - places))
}

fn two_digits(text: &str) -> Option<i64> {
    if text.len() == 2 { digits(text) } else { None }
}

/// A short number without a sign.
fn digits(text: &str) -> Option<i64> {
    let only = text.bytes().all(|byte| byte.is_ascii_digit());
    if only { text.parse().ok() } else { None }
}

// In the two functions below, years begin in March, so that the leap day is the last day of a year,
// and repeat after 400 years (Howard Hinnant, chrono-compatible low-level date algorithms).
const ERA_DAYS: i64 = 146_097;
/// Days from the beginning of such a year 0 to 1970-01-01.
const TO_1970: i64 = 719_468;

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Year 0 is 1 BC.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + year * 365 + year / 4 - year / 100 + day_of_year - TO_1970
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::{Date, OffsetDateTime, Time, UtcOffset};

    #[test]
    fn what_postgresql_writes() {
        // From SELECT timestamptz_send(t), which is big-endian.
        for (text, micros) in [
            ("2000-01-01 00:00:00+00", 0),
            ("1999-12-31 23:59:59.999999+00", -1),
            ("2026-01-02 03:04:05.123456+00", 820_638_245_123_456),
            ("2026-01-02 08:34:05.1+05:30", 820_638_245_100_000),
            ("2026-01-01 23:04:05-04", 820_638_245_000_000),
            ("1850-01-01 00:53:28+00:53:28", -4_733_510_400_000_000),
            ("0044-03-15 12:00:00+00 BC", -64_464_465_600_000_000),
            ("4714-11-24 00:00:00+00 BC", -211_813_488_000_000_000),
            ("294276-12-31 23:59:59.999999+00", 9_223_371_331_199_999_999),
            ("infinity", i64::MAX),
            ("-infinity", i64::MIN),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_postgresql_does_not_write() {
        for text in [
            "",
            "now",
            "2026-01-02",
            "2026-01-02 03:04:05",
            "2026-01-02T03:04:05+00",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02 03:04+00",
            "2026-01-02 03:04:05.+00",
            "2026-01-02 03:04:05.1234567+00",
            "2026-01-02 03:04:05+",
            "2026-01-02 03:04:05+5",
            "2026-01-02 03:04:05+16",
            "2026-01-02 03:04:05+05:30:00:00",
            "2026-01-02 03:04:05+00 AD",
            "2026-01-02 24:00:00+00",
            "2026-01-02 03:60:05+00",
            "2026-02-29 03:04:05+00",
            "2026-13-01 03:04:05+00",
            "2026-00-01 03:04:05+00",
            "2026-1-2 03:04:05+00",
            "0000-01-01 00:00:00+00",
            "0000-01-01 00:00:00+00 BC",
            "26-01-02 03:04:05+00",
            "999999-01-01 00:00:00+00",
            "٢٠٢٦-01-02 03:04:05+00",
            "01/02/2026 03:04:05 UTC",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn rfc3339_is_in_utc() {
        assert_eq!(rfc3339(820_638_245_100_000).unwrap(), "2026-01-02T03:04:05.100000Z");
        assert_eq!(rfc3339(-1).unwrap(), "1999-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339(-64_464_465_600_000_000), None);
        assert_eq!(rfc3339(9_223_371_331_199_999_999), None);
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(rfc3339(i64::MIN), None);
    }

    /// Microseconds since 2000, computed by the crate.
    fn by_time(at: OffsetDateTime) -> i128 {
        at.unix_timestamp_nanos() / 1000 - 946_684_800_000_000
    }

    /// The text as PostgreSQL writes it, without trailing zeros and parts of the offset.
    fn written(at: OffsetDateTime) -> String {
        let (year, bc) = if at.year() > 0 { (at.year(), "") } else { (1 - at.year(), " BC") };
        let fraction = match format!(".{:06}", at.microsecond()).trim_end_matches('0') {
            "." => String::new(),
            some => some.to_owned(),
        };
        let (h, m, s) = at.offset().as_hms();
        let sign = if at.offset().is_negative() { '-' } else { '+' };
        let offset = match (h.abs(), m.abs(), s.abs()) {
            (h, 0, 0) => format!("{h:02}"),
            (h, m, 0) => format!("{h:02}:{m:02}"),
            (h, m, s) => format!("{h:02}:{m:02}:{s:02}"),
        };
        format!(
            "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction}{sign}{offset}{bc}",
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn as_the_crate_reads_it(
            day in 2_000_i32..109_000_000, // 4707 BC to 293715
            second in 0u32..86_400,
            micro in prop_oneof![Just(0), 0u32..1_000_000, (0u32..100).prop_map(|n| n * 10_000)],
            offset in prop_oneof![
                Just(0), -57_599i32..57_600, (-15i32..16).prop_map(|n| n * 3600), (-31i32..32).prop_map(|n| n * 1800)
            ],
        ) {
            let date = Date::from_julian_day(day).unwrap();
            let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
            let time = Time::from_hms_micro(h as u8, m as u8, s as u8, micro).unwrap();
            let offset = UtcOffset::from_whole_seconds(offset).unwrap();
            let at = OffsetDateTime::new_in_offset(date, time, offset);
            let text = written(at);
            prop_assert_eq!(parse(&text).map(i128::from), Some(by_time(at)), "{}", text);
        }

        #[test]
        fn rfc3339_reads_back(at in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let text = rfc3339(at).unwrap();
            let ours = text.replace('T', " ").replace('Z', "+00");
            prop_assert_eq!(parse(&ours), Some(at), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[0-9:. +-]{0,40}( BC)?") {
            let _ = parse(&text);
        }
    }
}
