//! Decides whether a secret may be tested, and charges for it before any work. Nothing may test a
//! secret without this.

use std::time::Instant;

use password_verify_core::rules::client_addr::ClientAddr;
use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::rules::purpose::{Conditions, Pool, Purpose, Work};
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::throttle::{Admission, Payer};
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
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::throttle::Throttle;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::settings;

/// Separates the client and caller budgets for reset tokens from those for passwords.
const TOKENS: &[u8] = b"tokens";
/// Separates the other budgets for vaults from those for passwords.
const VAULTS: u8 = 0x40;

/// An attempt that has a place in the audit and is not yet charged.
#[must_use]
pub struct Entered {
    attempt: Attempt,
    conditions: Conditions,
    begun: Instant,
    /// The attempt gives up waiting for locks, budgets and slots at this time.
    deadline: Instant,
}

/// An attempt that is charged.
#[must_use]
pub struct Charged {
    attempt: Attempt,
    conditions: Conditions,
    deadline: Instant,
    /// Set where the account or the caller budget is exhausted and [`Payer::Chance`] paid instead.
    second_chance: Option<SecondChance>,
}

/// Every client address gets the same number of hashes and the same answers, whether it is known to
/// the account or not; a right password counts only from a known one. Otherwise the application
/// could learn, from a hash or an answer, from which addresses a user has logged in.
struct SecondChance {
    known: bool,
    refusal: Denial,
}

/// Why an attempt cannot be charged.
enum NotCharged {
    /// This payer would be over budget if all of its attempts in flight failed.
    InFlight(Payer),
    Refused(Denial),
}

impl Entered {
    /// Reserves the attempt's place in the audit.
    ///
    /// # Errors
    /// [`Ended::Refused`] when no place comes free in time; [`Error::StandbyValidation`],
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
        let conditions = purpose.conditions();
        let queued =
            audit::queued_event(conditions.action, claimant.user.as_ref(), claimant.client);
        let attempt = Attempt::begin(queued, settings::throttle(), deadline)?;
        let attempt = attempt.ok_or_else(unrecorded)?;
        if let Some(lease) = claimant.lease {
            let [job, _] = lease.as_chunks::<8>().0 else { return Err(unrecorded()) };
            attempt.note(|event| event.name_secret("", i64::from_be_bytes(*job)));
        }
        Ok(Self { attempt, conditions, begun, deadline })
    }

    /// Ends an attempt with a secret that no user can have. It is recorded as wrong, but neither
    /// tested nor charged.
    pub fn refuse_impossible(self) -> Ended {
        refuse(self.attempt, self.conditions.wrong.into())
    }

    /// Charges all payers of the attempt or none.
    ///
    /// # Errors
    /// [`Ended::Refused`] when one of them is over budget, or when waiting for a lock or for
    /// attempts in flight takes until the deadline.
    pub fn charge(self, claimant: &Claimant) -> Result<Charged, Ended> {
        let Self { attempt, conditions, begun, deadline } = self;
        if !pin_all(&attempt, &conditions, claimant, deadline)? {
            return Err(refuse(attempt, Reason::Busy.into()));
        }
        let charged = charge_all(attempt, conditions, deadline);
        statistics::count_queue_time(begun.elapsed());
        charged
    }
}

/// Ends an attempt that found no place in the audit.
fn unrecorded() -> Ended {
    Ended::Refused(None, Reason::Busy.into())
}

/// Withdraws every charge of the attempt and records the denial.
fn refuse(attempt: Attempt, denial: Denial) -> Ended {
    Ended::Refused(Some(attempt.refuse(denial.reason.into())), denial)
}

/// Loads every budget of the attempt into the cache and pins it there; false if that is too slow.
fn pin_all(
    attempt: &Attempt,
    conditions: &Conditions,
    Claimant { user, client, lease }: &Claimant,
    deadline: Instant,
) -> Result<bool, Error> {
    let key = match BlindIndexKey::read_by(deadline) {
        Err(Error::Locked) => return Ok(false),
        read => read?.key,
    };
    let mut client = client.map(|addr| ClientAddr::from(addr).to_bytes().to_vec());
    let mut caller = server::login_role().to_be_bytes().to_vec();
    if conditions.pool == Pool::Tokens {
        client.iter_mut().chain([&mut caller]).for_each(|about| about.extend(TOKENS));
    }
    let (user, client) = (user.as_ref(), client.as_deref());
    let vaults = if conditions.pool == Pool::Vaults { VAULTS } else { 0 };
    for &payer in conditions.payers {
        // The budget's subject beside the user: a client address, a login role, or nothing.
        let (about, user) = match payer {
            Payer::Account | Payer::Comparison | Payer::Vault => (Some(&[][..]), user),
            Payer::Known | Payer::Chance => (client, user),
            Payer::Client => (client, None),
            Payer::Caller if settings::throttle().caller.burst == 0 => continue,
            Payer::Caller => (Some(&caller[..]), None),
            Payer::Lease => (lease.as_ref().map(|lease| &lease[..]), None),
        };
        let Some(about) = about else { continue };
        let kind = payer as u8 | if payer == Payer::Vault { 0 } else { vaults };
        let (of, key) = (key.installation(), key.budget(kind, about, user));
        let load = || Throttle::open_by(of, Access::Read, deadline)?.read(key);
        match attempt.pin(payer, &key, deadline, load) {
            Ok(true) => {}
            Ok(false) | Err(Error::Locked) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Charges all payers or none. Waits while only attempts in flight stand in the way.
fn charge_all(
    attempt: Attempt,
    conditions: Conditions,
    deadline: Instant,
) -> Result<Charged, Ended> {
    loop {
        match try_charge(&attempt, &conditions) {
            Ok(second_chance) => {
                return Ok(Charged { attempt, conditions, deadline, second_chance });
            }
            Err(NotCharged::Refused(denial)) => return Err(refuse(attempt, denial)),
            Err(NotCharged::InFlight(payer)) => {
                attempt.withdraw();
                if Instant::now() >= deadline {
                    return Err(refuse(attempt, Reason::Busy.into()));
                }
                attempt.await_others(payer, deadline);
            }
        }
    }
}

/// Who is charged, in this order. A new payer does not compile until its place is decided.
const IN_ORDER: [Payer; 6] = {
    match Payer::Client {
        Payer::Client | Payer::Account | Payer::Vault => {}
        Payer::Caller | Payer::Comparison | Payer::Lease => {}
        // One is only read; the other pays where the account or the caller cannot.
        Payer::Known | Payer::Chance => {}
    }
    [Payer::Client, Payer::Account, Payer::Vault, Payer::Caller, Payer::Comparison, Payer::Lease]
};

fn try_charge(
    attempt: &Attempt,
    conditions: &Conditions,
) -> Result<Option<SecondChance>, NotCharged> {
    let has_chance = attempt.budget(Payer::Chance).is_some();
    let mut refusal: Option<Denial> = None;
    for payer in IN_ORDER {
        match attempt.charge(payer) {
            Admission::Admitted => {}
            Admission::Wait => return Err(NotCharged::InFlight(payer)),
            admission if payer == Payer::Client || !has_chance => {
                return Err(NotCharged::Refused(denial(conditions, admission)));
            }
            // Keep the account's refusal over the caller's: a locked account stays locked.
            admission => refusal = refusal.or(Some(denial(conditions, admission))),
        }
    }
    let Some(refusal) = refusal else { return Ok(None) };
    // The attempt may not count, so the account is not charged: the owner may be at a new address.
    attempt.withdraw_one(Payer::Account);
    attempt.withdraw_one(Payer::Vault);
    match attempt.charge(Payer::Chance) {
        Admission::Admitted => {
            let now = server::now();
            let known = attempt.budget(Payer::Known).is_some_and(|budget| budget.is_known(now));
            Ok(Some(SecondChance { known, refusal }))
        }
        Admission::Wait => Err(NotCharged::InFlight(Payer::Chance)),
        Admission::Refused { .. } | Admission::Locked => Err(NotCharged::Refused(refusal)),
    }
}

fn denial(conditions: &Conditions, admission: Admission) -> Denial {
    match admission {
        // Another lease need not wait for that.
        Admission::Refused { .. } if conditions.action == Action::OpenSecret => {
            Reason::Throttled.into()
        }
        Admission::Refused { until } => Denial { reason: Reason::Throttled, until: Some(until) },
        Admission::Locked => conditions.locked.unwrap_or(Reason::Throttled).into(),
        Admission::Admitted | Admission::Wait => Reason::Busy.into(),
    }
}

impl Charged {
    /// The work that testing this secret takes.
    pub fn work(&self) -> Work {
        self.conditions.work
    }

    /// When to stop waiting for slots and tables.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Marks the attempt as a guess: from here on it stays charged however it ends.
    pub fn begin_hash(&self) {
        self.attempt.begin_hash();
    }

    /// Notes that the attempt ends in an error. An error that comes from one record tells something
    /// about its user, as a hash does, so the attempt stays charged.
    pub fn note_error(&self, why: Error) {
        if why.is_of_a_record() {
            self.begin_hash();
        }
    }

    /// Ends an attempt before its test: every payer gets its charge back.
    pub fn withdraw(self, reason: Reason) -> Ended {
        refuse(self.attempt, reason.into())
    }

    /// Settles the charge for a right secret: [`Payer::on_right`] says what is given back. `worth`
    /// is what the account's state makes of the secret.
    pub fn settle_right(
        self,
        owner: &UserId,
        worth: Result<(), Reason>,
        note: impl FnOnce(&mut QueuedEvent),
    ) -> (Conclusion, Result<(), Denial>) {
        let Self { attempt, second_chance, .. } = self;
        if let Some(SecondChance { known: false, refusal }) = second_chance {
            return (attempt.settle(refusal.reason.into(), false), Err(refusal));
        }
        attempt.name_user(owner);
        if worth.is_ok() {
            attempt.note(note);
            attempt.remember_client();
        }
        let outcome = worth.map_or_else(Outcome::from, |()| Outcome::Valid);
        (attempt.settle(outcome, true), worth.map_err(Denial::from))
    }

    /// Settles the charge for a wrong secret. It stays charged, unless this client repeats a recent
    /// one and repeats are forgiven.
    pub fn settle_wrong(self, mark: Option<u64>) -> (Conclusion, Denial) {
        let Self { attempt, conditions, second_chance, .. } = self;
        if let Some(mark) = mark {
            attempt.forgive_repeat(mark);
        }
        let denial = second_chance.map_or(conditions.wrong.into(), |chance| chance.refusal);
        (attempt.settle(denial.reason.into(), false), denial)
    }

    /// Settles the charge for a test that did not finish. It stays charged if a hash had begun.
    pub fn settle_unfinished(self, denial: Denial) -> (Conclusion, Denial) {
        (self.attempt.settle_unfinished(denial.reason.into()), denial)
    }
}
