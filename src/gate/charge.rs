//! Whether a secret may be tested at all. Charged before any work, at every entry point alike.

use std::time::Instant;

use password_verify_core::rules::authenticator::{Pool, Purpose, Row, Work};
use password_verify_core::rules::client_addr::ClientAddr;
use password_verify_core::rules::event::Outcome;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::throttle::{Payer, Verdict};
use password_verify_core::rules::user_id::UserId;

use super::audit;
use super::claim::{Claimant, Ended};
use crate::answer::Denial;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::session::attempt::{Attempt, Conclusion};
use crate::pg::session::extension;
use crate::pg::session::statistics;
use crate::pg::tables::ledger::Ledger;
use crate::pg::vault::key::ActiveKey;
use crate::settings;

/// Tells budgets for reset tokens from those for passwords.
const TOKENS: &[u8] = b"tokens";

/// An attempt that has a place in the audit and has not paid.
#[must_use]
pub struct Entered {
    attempt: Attempt,
    row: Row,
    begun: Instant,
    /// Until when it may wait for what it needs.
    deadline: Instant,
}

/// An attempt that is paid for.
#[must_use]
pub struct Charged {
    attempt: Attempt,
    row: Row,
    deadline: Instant,
    /// Set where the account or the caller has nothing left and the client's own small budget has paid.
    second_chance: Option<SecondChance>,
}

/// Everybody who names an address gets as many hashes by it, whether the address is known to the account
/// or not, and the same answer; only for a known one does a right password count. Otherwise the
/// application could learn from a hash, or from an answer, who has logged in from where.
struct SecondChance {
    known: bool,
    refusal: Denial,
}

/// What stands in the way of a charge.
enum Hindrance {
    /// Over budget because of this payer's attempts in flight.
    InFlight(Payer),
    Refused(Denial),
}

impl Entered {
    /// Reserves its place in the audit.
    ///
    /// # Errors
    /// [`Ended::Refused`] where there is none in time; [`Error::StandbyValidation`],
    /// [`Error::JustInstalled`], [`Error::NotInstalled`], [`Error::TooManyDatabases`].
    pub fn begin(purpose: Purpose, claimant: &Claimant) -> Result<Self, Ended> {
        if server::in_recovery() && !settings::standby_validation() {
            return Err(Error::StandbyValidation.into());
        }
        extension::require_not_new()?;
        let begun = Instant::now();
        let deadline = begun + settings::queue_timeout();
        match extension::require_recordable(deadline) {
            Err(Error::Locked) => return Err(unrecorded()),
            recordable => recordable?,
        }
        let row = purpose.row();
        let record = audit::note(row.action, claimant.user.as_ref(), claimant.client);
        let attempt = Attempt::begin(record, settings::throttle(), deadline)?;
        let attempt = attempt.ok_or_else(unrecorded)?;
        Ok(Self { attempt, row, begun, deadline })
    }

    /// Nobody has such a secret: recorded as a wrong one, and not charged, because it is not tested.
    pub fn refuse_impossible(self) -> Ended {
        refuse(self.attempt, self.row.wrong.into())
    }

    /// Charges all payers or none.
    ///
    /// # Errors
    /// [`Ended::Refused`] where one of them has nothing left.
    pub fn charge(self, claimant: &Claimant) -> Result<Charged, Ended> {
        let Self { attempt, row, begun, deadline } = self;
        if !pin_all(&attempt, &row, claimant, deadline)? {
            return Err(refuse(attempt, Reason::Busy.into()));
        }
        let charged = charge_all(attempt, row, deadline);
        statistics::count_queue_time(begun.elapsed());
        charged
    }
}

/// There was no place to record it in.
fn unrecorded() -> Ended {
    Ended::Refused(None, Reason::Busy.into())
}

/// Nothing is charged for it, and that is recorded.
fn refuse(attempt: Attempt, denial: Denial) -> Ended {
    Ended::Refused(Some(attempt.refuse(denial.reason.into())), denial)
}

/// Brings every budget of the attempt into the cache and keeps it there; false when that takes too long.
fn pin_all(
    attempt: &Attempt,
    row: &Row,
    Claimant { user, client }: &Claimant,
    deadline: Instant,
) -> Result<bool, Error> {
    let key = match ActiveKey::read_by(deadline) {
        Err(Error::Locked) => return Ok(false),
        read => read?.key,
    };
    let mut client = client.map(|addr| ClientAddr::from(addr).to_bytes().to_vec());
    let mut caller = server::login_role().to_be_bytes().to_vec();
    if row.pool == Pool::Tokens {
        client.iter_mut().chain([&mut caller]).for_each(|about| about.extend(TOKENS));
    }
    let (user, client) = (user.as_ref(), client.as_deref());
    for &payer in row.payers {
        // Whom it is about: an address, a role, or nothing besides the user.
        let (about, user) = match payer {
            Payer::Account | Payer::Comparison => (Some(&[][..]), user),
            Payer::Known | Payer::Chance => (client, user),
            Payer::Client => (client, None),
            Payer::Caller if settings::throttle().caller.burst == 0 => continue,
            Payer::Caller => (Some(&caller[..]), None),
        };
        let Some(about) = about else { continue };
        let key = key.budget(payer as u8, about, user);
        let load = || Ledger::open_by(Access::Read, deadline)?.read(key);
        match attempt.pin(payer, &key, deadline, load) {
            Ok(true) => {}
            Ok(false) | Err(Error::Locked) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Charges them all or none, and waits where only attempts in flight stand in the way.
fn charge_all(attempt: Attempt, row: Row, deadline: Instant) -> Result<Charged, Ended> {
    loop {
        match try_charge(&attempt, &row) {
            Ok(second_chance) => return Ok(Charged { attempt, row, deadline, second_chance }),
            Err(Hindrance::Refused(denial)) => return Err(refuse(attempt, denial)),
            Err(Hindrance::InFlight(payer)) => {
                attempt.withdraw();
                if Instant::now() >= deadline {
                    return Err(refuse(attempt, Reason::Busy.into()));
                }
                attempt.await_others(payer, deadline);
            }
        }
    }
}

fn try_charge(attempt: &Attempt, row: &Row) -> Result<Option<SecondChance>, Hindrance> {
    let has_chance = attempt.budget(Payer::Chance).is_some();
    let mut refusal: Option<Denial> = None;
    for payer in [Payer::Client, Payer::Account, Payer::Caller, Payer::Comparison] {
        match attempt.charge(payer) {
            Verdict::Admitted => {}
            Verdict::Wait => return Err(Hindrance::InFlight(payer)),
            verdict if payer == Payer::Client || !has_chance => {
                return Err(Hindrance::Refused(denial(row, verdict)));
            }
            // Of two, the one that lasts: an account may be locked.
            verdict => refusal = refusal.or(Some(denial(row, verdict))),
        }
    }
    let Some(refusal) = refusal else { return Ok(None) };
    // The account is not charged for what may not count: its owner may be trying from somewhere new.
    attempt.withdraw_one(Payer::Account);
    match attempt.charge(Payer::Chance) {
        Verdict::Admitted => {
            let now = server::now();
            let known = attempt.budget(Payer::Known).is_some_and(|budget| budget.is_known(now));
            Ok(Some(SecondChance { known, refusal }))
        }
        Verdict::Wait => Err(Hindrance::InFlight(Payer::Chance)),
        Verdict::Refused { .. } | Verdict::Locked => Err(Hindrance::Refused(refusal)),
    }
}

fn denial(row: &Row, verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Refused { until } => Denial { reason: Reason::Throttled, until: Some(until) },
        Verdict::Locked => row.locked.unwrap_or(Reason::Throttled).into(),
        Verdict::Admitted | Verdict::Wait => Reason::Busy.into(),
    }
}

impl Charged {
    /// What testing takes.
    pub fn work(&self) -> Work {
        self.row.work
    }

    /// Until when it may wait for that.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// From here on it is a guess: whatever ends it, it stays charged. What ends before costs nothing.
    pub fn begin_hash(&self) {
        self.attempt.begin_hash();
    }

    /// It ends in an error. One that comes from a record tells something of its user, like a hash: it stays
    /// charged.
    pub fn note_error(&self, why: Error) {
        if why.is_of_a_record() {
            self.begin_hash();
        }
    }

    /// Nothing will be tested: everybody gets back what they have paid.
    pub fn withdraw(self, reason: Reason) -> Ended {
        refuse(self.attempt, reason.into())
    }

    /// Settles the charge for a right secret, which gets back what it cost. `worth` is what the account makes
    /// of it.
    pub fn settle_right(
        self,
        owner: &UserId,
        worth: Result<(), Reason>,
    ) -> (Conclusion, Result<(), Denial>) {
        let Self { attempt, second_chance, .. } = self;
        if let Some(SecondChance { known: false, refusal }) = second_chance {
            return (attempt.settle(refusal.reason.into(), false), Err(refusal));
        }
        attempt.name_user(owner);
        if worth.is_ok() {
            attempt.remember_client();
        }
        let outcome = worth.map_or_else(Outcome::from, |()| Outcome::Valid);
        (attempt.settle(outcome, true), worth.map_err(Denial::from))
    }

    /// Settles the charge for a wrong secret, which stays paid, but for one that this client has tried before.
    pub fn settle_wrong(self, mark: Option<u64>) -> (Conclusion, Denial) {
        let Self { attempt, row, second_chance, .. } = self;
        if let Some(mark) = mark {
            attempt.forgive_repeat(mark);
        }
        let denial = second_chance.map_or(row.wrong.into(), |chance| chance.refusal);
        (attempt.settle(denial.reason.into(), false), denial)
    }

    /// Settles the charge for a test that came to no end, which stays paid if a hash had begun.
    pub fn settle_unfinished(self, denial: Denial) -> (Conclusion, Denial) {
        (self.attempt.settle_unfinished(denial.reason.into()), denial)
    }
}
