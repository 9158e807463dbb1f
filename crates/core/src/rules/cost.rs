//! Argon2id parameters with a floor and a ceiling.

/// The most memory of one hash, in KiB (1 GiB).
pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// The most passes over that memory.
pub const MAX_ITERATIONS: u32 = 20;
/// The most lanes.
pub const MAX_PARALLELISM: u32 = 16;
/// The least memory in any row of `OWASP_ROWS`, in KiB.
pub const MIN_MEMORY_KIB: u32 = 7 * 1024;

/// The Argon2id rows of the OWASP password storage cheat sheet as (KiB, passes). New hashes must
/// reach both values of one row.
const OWASP_ROWS: [(u32, u32); 5] =
    [(46 * 1024, 1), (19 * 1024, 2), (12 * 1024, 3), (9 * 1024, 4), (MIN_MEMORY_KIB, 5)];

/// Argon2id parameters m, t and p (RFC 9106) within the ceilings above: safe to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
}

/// Why parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotACost {
    /// A parameter is above its ceiling.
    AboveCeiling,
    /// A parameter is below the minimum of Argon2 (RFC 9106 section 3.1: t ≥ 1, p ≥ 1, m ≥ 8p).
    BelowMinimum,
}

impl Cost {
    /// Takes m in KiB, t passes and p lanes.
    ///
    /// # Errors
    /// [`NotACost`] outside the bounds.
    pub fn new(memory_kib: u32, iterations: u32, parallelism: u32) -> Result<Self, NotACost> {
        if memory_kib > MAX_MEMORY_KIB
            || iterations > MAX_ITERATIONS
            || parallelism > MAX_PARALLELISM
        {
            Err(NotACost::AboveCeiling)
        } else if iterations < 1 || parallelism < 1 || memory_kib < 8 * parallelism {
            Err(NotACost::BelowMinimum)
        } else {
            Ok(Self { memory_kib, iterations, parallelism })
        }
    }

    /// m, in KiB.
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// t, passes over the memory.
    pub fn iterations(self) -> u32 {
        self.iterations
    }

    /// p, lanes.
    pub fn parallelism(self) -> u32 {
        self.parallelism
    }

    /// Whether the parameters reach a row of the OWASP password storage cheat sheet. New passwords
    /// are never hashed with less.
    pub fn meets_owasp(self) -> bool {
        OWASP_ROWS.iter().any(|&(m, t)| self.memory_kib >= m && self.iterations >= t)
    }

    /// Whether `current` is harder to attack, by memory or by work. Then the record is renewed at
    /// the next right password. Lanes do not count: they make a hash no harder to attack.
    pub fn weaker_than(self, current: Self) -> bool {
        self.memory_kib < current.memory_kib || self.work() < current.work()
    }

    /// KiB written over all passes. Invariant: at most 2^20 · 20, so it fits.
    fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(m: u32, t: u32, p: u32) -> Cost {
        Cost::new(m, t, p).unwrap()
    }

    #[test]
    fn ceilings_hold_to_the_unit() {
        assert!(Cost::new(MAX_MEMORY_KIB, MAX_ITERATIONS, MAX_PARALLELISM).is_ok());
        assert!(Cost::new(MAX_MEMORY_KIB + 1, 1, 1).is_err());
        assert!(Cost::new(65536, MAX_ITERATIONS + 1, 1).is_err());
        assert!(Cost::new(65536, 1, MAX_PARALLELISM + 1).is_err());
        assert!(Cost::new(u32::MAX, u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn what_argon2_cannot_compute_is_no_cost() {
        assert_eq!(Cost::new(65536, 0, 1), Err(NotACost::BelowMinimum));
        assert_eq!(Cost::new(65536, 99, 1), Err(NotACost::AboveCeiling));
        assert!(Cost::new(65536, 0, 1).is_err());
        assert!(Cost::new(65536, 1, 0).is_err());
        assert!(Cost::new(31, 1, 4).is_err());
        assert!(Cost::new(32, 1, 4).is_ok());
    }

    #[test]
    fn every_owasp_row_is_enough_and_a_kibibyte_less_is_not() {
        for (m, t) in OWASP_ROWS {
            assert!(cost(m, t, 1).meets_owasp());
            assert!(!cost(m - 1, t, 1).meets_owasp());
        }
        assert!(cost(65536, 3, 4).meets_owasp());
        assert!(!cost(19 * 1024, 1, 1).meets_owasp());
    }

    #[test]
    fn weaker_by_memory_or_by_work() {
        let current = cost(65536, 3, 4);
        assert!(!current.weaker_than(current));
        assert!(cost(65536, 2, 4).weaker_than(current));
        assert!(cost(32768, 8, 4).weaker_than(current));
        assert!(!cost(131_072, 2, 1).weaker_than(current));
        assert!(!cost(65536, 3, 1).weaker_than(current));
        assert!(cost(131_072, 1, 1).weaker_than(current));
    }
}
