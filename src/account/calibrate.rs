//! `pv_calibrate`: finds the Argon2id parameters that this machine computes within a given time.

use std::time::{Duration, Instant};

use password_verify_core::kept::verifier::Verifier;
use password_verify_core::rules::cost::{Cost, MAX_ITERATIONS};

use crate::error::Error;
use crate::pg::session::slot::HashSlot;
use crate::{salt, settings};

/// Memory sizes to try, in KiB, largest first: memory hurts an attacker most (RFC 9106 section 4).
const MEMORY_KIB: [u32; 10] = [
    1024 * 1024,
    512 * 1024,
    256 * 1024,
    128 * 1024,
    64 * 1024,
    46 * 1024,
    19 * 1024,
    12 * 1024,
    9 * 1024,
    7 * 1024,
];
/// Passes of RFC 9106's second recommended option. If they take too long, less memory is tried.
const PASSES: u32 = 3;
/// Lanes of the same option.
const LANES: u32 = 4;
/// Hashes per measurement. The fastest counts, because other load can only slow a hash down.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub cost: Cost,
    /// The time of one hash with these parameters on this machine.
    pub expected: Duration,
}

/// Measures this machine and proposes parameters for `target`, never below the OWASP minimum, even
/// if that takes longer. Takes some seconds, and one hash slot at a time.
///
/// # Errors
/// [`Error::ServerBusy`] when no slot comes free; [`Error::OutOfMemory`]; [`Error::NoRandomness`];
/// [`Error::SettingsAboveLimit`] when `hash_memory_limit` is below every OWASP row.
pub fn propose(target: Duration) -> Result<Proposal, Error> {
    let mut proposal = None;
    for memory in MEMORY_KIB.into_iter().filter(|kib| *kib <= settings::hash_memory_limit()) {
        let Some(least) = (1..=MAX_ITERATIONS).find(|t| of(memory, *t).is_some()) else { continue };
        let Some(cost) = of(memory, least) else { continue };
        let pass = measure(cost)? / least;
        let affordable = target.as_nanos() / pass.as_nanos().max(1);
        let passes = u32::try_from(affordable).unwrap_or(u32::MAX).min(MAX_ITERATIONS);
        let Some(cost) = of(memory, passes.max(least)) else { continue };
        let expected = pass * cost.iterations();
        proposal = Some(Proposal { cost, expected });
        if passes >= least.max(PASSES) {
            break;
        }
    }
    proposal.ok_or(Error::SettingsAboveLimit)
}

/// The parameters, if they reach a row of OWASP's.
fn of(memory_kib: u32, passes: u32) -> Option<Cost> {
    Cost::new(memory_kib, passes, LANES).ok().filter(|cost| cost.meets_owasp())
}

fn measure(cost: Cost) -> Result<Duration, Error> {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let deadline = Instant::now() + settings::queue_timeout();
        let mut slot = HashSlot::take(deadline).ok_or(Error::ServerBusy)?;
        // As in a login, the time includes allocating the memory.
        let start = Instant::now();
        let mut workspace = slot.workspace(Some(cost))?;
        Verifier::measure(cost, salt::random()?, &mut workspace)?;
        drop(workspace);
        fastest = fastest.min(start.elapsed());
    }
    Ok(fastest)
}
