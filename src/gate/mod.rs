//! The gate: the only way to test a secret.
//!
//! [`attempt`] reads top to bottom. Each stage consumes what the previous stage produced, in fields
//! that are private to this file and types that cannot be cloned, so code that leaves a stage out
//! does not compile. Each kind of secret is an [`Authenticator`], a file of `authenticators/`.

use std::time::Instant;

use password_verify_core::rules::purpose::{Purpose, Work};
use password_verify_core::rules::reason::Reason;

use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::gate::authenticators::{Authenticator, Verdict};
use crate::gate::charge::{Charged, Entered};
use crate::gate::claim::{Claimant, Ended};
use crate::gate::hasher::Hasher;
use crate::pg::heap::lock::Access;
use crate::pg::session::attempt::Conclusion;
use crate::pg::session::slot::HashSlot;
use crate::pg::session::statistics;
use crate::pg::vault::store::Store;

pub mod audit;
pub mod authenticators;
mod charge;
mod claim;
mod hasher;

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
    Settled::or_ended(way())?.audit()
}

/// An attempt before its first stage.
#[must_use]
pub struct Claim<A> {
    purpose: Purpose,
    claimant: Claimant,
    /// `None`: no user can have such a secret.
    secret: Option<A>,
}

/// Produced by [`Claim::enter`]: the attempt has a place in the audit.
#[must_use]
struct Arrived<A> {
    claim: Claim<A>,
    entered: Entered,
}

/// Produced by [`Arrived::require_possible`]: the secret has a possible form.
#[must_use]
struct Candidate<A> {
    claimant: Claimant,
    secret: A,
    entered: Entered,
}

/// Produced by [`Candidate::charge`]: the attempt is charged.
#[must_use]
struct Admitted<A> {
    secret: A,
    charged: Charged,
}

/// Produced by [`Admitted::wait`]: the secret may be tested now.
#[must_use]
struct Ready<A> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    store: Store,
}

/// Produced by [`Ready::fetch`]: the secret and its target.
#[must_use]
struct Fetched<A: Authenticator> {
    secret: A,
    charged: Charged,
    slot: Option<HashSlot>,
    target: A::Target,
}

/// Produced by [`Fetched::test`]: the verdict, not yet settled.
#[must_use]
struct Tested<A: Authenticator> {
    charged: Charged,
    verdict: Result<Verdict<A::Proof>, Denial>,
}

/// Produced by [`Tested::settle`], or by an attempt that ended early.
#[must_use]
struct Settled<P> {
    /// `None`: no place in the audit came free, and nothing was tested.
    conclusion: Option<Conclusion>,
    answer: Result<P, Denial>,
}

impl<A: Authenticator> Claim<A> {
    fn enter(self) -> Result<Arrived<A>, Ended> {
        let entered = Entered::begin(self.purpose, &self.claimant)?;
        Ok(Arrived { claim: self, entered })
    }
}

impl<A: Authenticator> Arrived<A> {
    fn require_possible(self) -> Result<Candidate<A>, Ended> {
        let Self { claim: Claim { claimant, secret, .. }, entered } = self;
        match secret {
            Some(secret) => Ok(Candidate { claimant, secret, entered }),
            None => Err(entered.refuse_impossible()),
        }
    }
}

impl<A: Authenticator> Candidate<A> {
    fn charge(self) -> Result<Admitted<A>, Ended> {
        let Self { claimant, secret, entered } = self;
        Ok(Admitted { secret, charged: entered.charge(&claimant)? })
    }
}

impl<A: Authenticator> Admitted<A> {
    fn wait(self) -> Result<Ready<A>, Ended> {
        let Self { secret, charged } = self;
        match wait(charged.work(), charged.deadline()) {
            Ok((slot, store)) => Ok(Ready { secret, charged, slot, store }),
            Err(Stop::Denied(Denial { reason, .. })) => Err(charged.withdraw(reason)),
            Err(Stop::Failed(error)) => Err(error.into()),
        }
    }
}

/// Opens the tables, or answers `busy`.
fn open_by(deadline: Instant) -> Result<Store, Stop> {
    match Store::open_by(Access::Read, deadline) {
        Err(Error::Locked) => Err(Reason::Busy.into()),
        store => Ok(store?),
    }
}

/// Waits for a hash slot, if the work takes one, and for the tables.
fn wait(work: Work, deadline: Instant) -> Result<(Option<HashSlot>, Store), Stop> {
    if work == Work::LookUp {
        return Ok((None, open_by(deadline)?));
    }
    let start = Instant::now();
    let mut opened: Option<Store> = None;
    loop {
        let slot = HashSlot::take(deadline);
        statistics::count_slot_time(start.elapsed());
        let slot = slot.ok_or(Reason::Busy)?;
        let store = match opened.take() {
            None => Store::open_at_once(Access::Read)?,
            opened => opened,
        };
        if let Some(store) = store {
            return Ok((Some(slot), store));
        }
        // Another session has locked a table, as VACUUM FULL does: free the slot before waiting for
        // it. Once opened, the table stays open, so the second round is the last.
        drop(slot);
        opened = Some(open_by(deadline)?);
    }
}

impl<A: Authenticator> Ready<A> {
    fn fetch(self) -> Result<Fetched<A>, Ended> {
        let Self { secret, charged, slot, store } = self;
        let target = secret.find(&store).inspect_err(|why| charged.note_error(*why))?;
        Ok(Fetched { secret, charged, slot, target })
    }
}

impl<A: Authenticator> Fetched<A> {
    fn test(self) -> Result<Tested<A>, Ended> {
        let Self { secret, charged, slot, target } = self;
        let verdict = match secret.test(target, &mut Hasher::new(&charged, slot)) {
            Ok(verdict) => Ok(verdict),
            Err(Stop::Denied(denial)) => Err(denial),
            Err(Stop::Failed(error)) => return Err(error.into()),
        };
        Ok(Tested { charged, verdict })
    }
}

impl<A: Authenticator> Tested<A> {
    fn settle(self) -> Settled<A::Proof> {
        let Self { charged, verdict } = self;
        match verdict {
            Ok(Verdict::Right(proof, worth)) => {
                let (conclusion, answer) = charged.settle_right(A::owner(&proof), worth);
                Settled { conclusion: Some(conclusion), answer: answer.map(|()| proof) }
            }
            Ok(Verdict::Wrong(mark)) => Settled::refused(charged.settle_wrong(mark)),
            Err(denial) => Settled::refused(charged.settle_unfinished(denial)),
        }
    }
}

impl<P> Settled<P> {
    fn refused((conclusion, denial): (Conclusion, Denial)) -> Self {
        Self { conclusion: Some(conclusion), answer: Err(denial) }
    }

    fn or_ended(settled: Result<Self, Ended>) -> Result<Self, Error> {
        match settled {
            Ok(settled) => Ok(settled),
            Err(Ended::Refused(conclusion, denial)) => Ok(Self { conclusion, answer: Err(denial) }),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    fn audit(self) -> Result<P, Stop> {
        match self.conclusion {
            Some(conclusion) => audit::wait(&conclusion)?,
            None => statistics::count_unrecorded(),
        }
        Ok(self.answer?)
    }
}
