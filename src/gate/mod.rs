//! The gate: the only way to test a secret.
//!
//! [`attempt`] reads top to bottom. Each stage consumes what the previous stage produced
//! ([`stages`]), so code that leaves a stage out does not compile. Each kind of secret is an
//! [`Authenticator`], a file of `authenticators/`.

use password_verify_core::rules::secret::leaving_nothing;

use crate::answer::Stop;
use crate::gate::authenticators::Authenticator;
use crate::gate::stages::{Claim, Settled};

pub mod audit;
pub mod authenticators;
mod charge;
mod claim;
mod hasher;
mod stages;

/// Tests one secret, from its place in the audit to the committed audit event.
///
/// # Errors
/// [`Stop::Denied`] unless the secret is right and the account may use it.
pub fn attempt<A: Authenticator>(claim: Claim<A>) -> Result<A::Proof, Stop> {
    let way = || {
        // audit: reserve a place for the event, or do nothing at all.
        let entered = claim.enter()?;
        // policy: text that is too long or invalid cannot be a secret. It is recorded, not tested.
        let candidate = entered.require_possible()?;
        // throttle: charge the attempt before any work.
        let admitted = candidate.charge()?;
        // slots: wait, for a bounded time, for a hash slot and for the tables.
        let ready = admitted.wait()?;
        // store: fetch the record, or for an unknown user a decoy of the same cost.
        let fetched = ready.fetch()?;
        // test: compare in constant time, then free the slot.
        let tested = fetched.test()?;
        // settle: a right answer gives back what the table says; a wrong one stays charged.
        Ok(tested.settle())
    };
    // audit: commit the event before the answer leaves.
    Settled::or_ended(leaving_nothing(way))?.audit()
}
