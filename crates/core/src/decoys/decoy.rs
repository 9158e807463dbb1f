//! What an unknown user's password is hashed against: a decoy of some class of cost.
//!
//! An attacker can tell classes by their time ([`crate::decoys::cost_class`]): bcrypt of a system before this one from
//! Argon2id of today. So unknown ids must lie in classes as known ones do, **and change their class as often as
//! known ones do**: whoever asks again after a month learns from every id that has changed and from every id that
//! has not.
//!
//! Known ids change their class when their record is replaced, and in no other way; growth changes none. So a decoy
//! is not taken from a neighbour, which growth changes. The unknown ids are divided into [`CELLS`] cells by a keyed
//! hash of the id, and each cell belongs to a class:
//!
//! - A record **moves** from one class to another: the same part of the cells of its class moves there with it.
//!   When half of the users of a class have migrated, half of its cells have.
//! - A record is **made**: no cell moves, unless its class has become so much commoner among users than among
//!   cells that its time would tell that there is a user. A class that others are imported into takes cells when
//!   its share is a quarter above its part of the cells. The class of today's settings, which users sign up into,
//!   takes some when it is twice that; half of the cells is kept for it from the first, of which all sign-ups to
//!   come can never be twice as many.
//! - A record is **deleted**: its user is unknown again, and takes the class of its cell. No cell moves before the
//!   last record of a class is gone.
//! - The **settings change**: nothing moves. The class of the former settings keeps its cells and gives them away
//!   as its users move; users who sign up before they do pull cells over as above.
//!
//! What remains. A class that has just been seen has one cell in a thousand, or its share: the first records of an
//! import show until there are cells, and each import takes cells from unknown ids at that time, which then change
//! and known ones do not; both are the doing of a manager. Sign-ups thin the share of other classes, not
//! their cells: their time tells, more and more, that an id is probably *not* there. Unknown ids of a cell change at
//! one time. Beyond [`MAX_CLASSES`] classes the rarest are not followed: their users are recognised by their time.
//! And so is a class while its users are fewer than one in a thousand, but the other way round: most of
//! those with its time are nobody.
//!
//! Users are counted by what committed transactions report. A crash loses the reports of about a second, and a class
//! whose count comes to zero too early has no cells until all records have been counted again ([`crate::decoys::recount`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::decoys::cost_class::{ClassKey, NO_CLASS};

/// Cells that the unknown ids are divided into.
pub const CELLS: usize = 1024;
/// Bytes of a set of cells.
pub const CELLS_BYTES: usize = CELLS / 8;
/// Classes that are followed. A look-up reads them all.
pub const MAX_CLASSES: usize = 32;
/// All cells, of which a class has a part that is exact to less than a cell.
const WHOLE: u64 = 1 << 48;

/// A set of cells.
pub type Cells = [u8; CELLS_BYTES];

/// Is the cell in the set?
pub fn contains(cells: &Cells, cell: usize) -> bool {
    cells[cell / 8] >> (cell % 8) & 1 == 1
}

/// The cell of an unknown id, by 128 bits of a keyed hash of it.
pub fn cell(hash: [u8; 16]) -> usize {
    usize::from(u16::from_be_bytes([hash[0], hash[1]])) % CELLS
}

/// A class, its users and its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// A record of this class.
    pub template: String,
    /// Users whose records are of this class.
    pub users: u64,
    /// The part of the unknown ids that belongs to it, of [`WHOLE`].
    pub part: u64,
    /// Is it what new passwords are hashed with?
    pub current: bool,
    /// The cells that this comes to.
    pub cells: Cells,
}

/// Some records have been made, moved or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// [`NO_CLASS`]: made.
    pub from: ClassKey,
    /// [`NO_CLASS`]: deleted.
    pub to: ClassKey,
    /// With today's settings?
    pub ours: bool,
}

impl Move {
    /// Nothing that counts?
    pub fn is_none(&self) -> bool {
        self.from == self.to
    }
}

/// All classes that are followed.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    all: BTreeMap<ClassKey, Class>,
    changed: BTreeSet<ClassKey>,
    laid_out: LaidOut,
}

/// What the cells of each class depend on: its part, whether it is today's, and whether it has users.
type LaidOut = BTreeMap<ClassKey, (u64, bool, bool)>;

impl Classes {
    /// As they are stored.
    pub fn new(all: impl IntoIterator<Item = (ClassKey, Class)>) -> Self {
        Self { all: all.into_iter().collect(), ..Self::default() }
    }

    /// What has changed since the last time: `None` is a class that is followed no longer.
    pub fn take_changed(&mut self) -> Vec<(ClassKey, Option<&Class>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key, self.all.get(&key))).collect()
    }

    /// Is the class followed?
    pub fn follows(&self, key: ClassKey) -> bool {
        self.all.contains_key(&key)
    }

    /// The class under this key.
    pub fn get(&self, key: ClassKey) -> Option<&Class> {
        self.all.get(&key)
    }

    /// The class of a cell; `None`: that of today's settings, which has no users yet.
    pub fn of(&self, cell: usize) -> Option<&Class> {
        self.all.values().find(|class| contains(&class.cells, cell))
    }

    /// Follows one more class, if there is room.
    pub fn follow(&mut self, key: ClassKey, template: String) {
        if key == NO_CLASS || self.follows(key) {
            return;
        }
        if self.all.len() >= MAX_CLASSES {
            let unused = self.all.iter().find(|(_, class)| class.users == 0 && !class.current);
            let Some(unused) = unused.map(|(key, _)| *key) else { return };
            self.forget(unused);
        }
        let cells = [0; CELLS_BYTES];
        let class = Class { template, users: 0, part: 0, current: false, cells };
        self.all.insert(key, class);
        self.changed.insert(key);
    }

    /// So many records have done this, and their transaction is committed. Of a class that is not followed
    /// nothing is counted. Takes as long as there are classes and cells, however many records.
    pub fn apply(&mut self, change: Move, count: u64) {
        if change.is_none() || count == 0 {
            return;
        }
        if change.ours && self.follows(change.to) {
            self.make_current(change.to);
        }
        let (from, to) = (self.followed(change.from), self.followed(change.to));
        if let Some(from) = from {
            self.leave(from, to, count);
        }
        if let Some(to) = to {
            let class = self.at(to);
            class.users = class.users.saturating_add(count);
            if from.is_none() {
                self.grow(to);
            }
        }
        self.lay_out();
    }

    /// Counts as somebody has found them, and so many records that could not be read: each may be of any class. No
    /// cell moves for it, but of a class without users, and to one that is far commoner than it seemed. `today`: the
    /// class of today's settings, should nobody have told yet.
    pub fn correct(&mut self, found: &BTreeMap<ClassKey, u64>, unread: u64, today: ClassKey) {
        if self.current().is_none() && self.follows(today) {
            self.make_current(today);
        }
        for key in self.all.keys().copied().collect::<Vec<_>>() {
            let least = found.get(&key).copied().unwrap_or(0);
            let users = self.all[&key].users.clamp(least, least.saturating_add(unread));
            if self.all[&key].users == users {
                continue;
            }
            self.at(key).users = users;
            if users == 0 {
                self.abandon(key, None);
            } else {
                self.grow(key);
            }
        }
        self.lay_out();
    }

    fn followed(&self, key: ClassKey) -> Option<ClassKey> {
        self.follows(key).then_some(key)
    }

    fn at(&mut self, key: ClassKey) -> &mut Class {
        self.changed.insert(key);
        // Invariant: called with keys of classes that are followed.
        #[allow(clippy::expect_used)]
        self.all.get_mut(&key).expect("a class that is followed")
    }

    fn current(&self) -> Option<ClassKey> {
        self.all.iter().find(|(_, class)| class.current).map(|(key, _)| *key)
    }

    /// What belongs to no class is today's settings'.
    fn unclaimed(&self) -> u64 {
        WHOLE.saturating_sub(self.all.values().map(|class| class.part).sum())
    }

    fn make_current(&mut self, key: ClassKey) {
        let former = self.current();
        if former != Some(key) {
            former.into_iter().for_each(|former| self.at(former).current = false);
            self.at(key).current = true;
        }
        // Those whom no class claims are hashed with today's settings anyway.
        let unclaimed = self.unclaimed();
        if unclaimed > 0 {
            self.at(key).part += unclaimed;
        }
    }

    fn leave(&mut self, from: ClassKey, to: Option<ClassKey>, count: u64) {
        let class = self.at(from);
        let left = class.users.saturating_sub(count);
        let before = std::mem::replace(&mut class.users, left);
        if left == 0 && !class.current {
            self.abandon(from, to);
        } else if let Some(to) = to {
            let class = self.at(from);
            let moved = scaled(class.part, before - left, before.max(1));
            class.part -= moved;
            self.at(to).part += moved;
        }
    }

    /// The last of its users is gone: its cells go where that one went, or to today's class.
    fn abandon(&mut self, key: ClassKey, to: Option<ClassKey>) {
        if self.all[&key].current {
            return;
        }
        let part = std::mem::take(&mut self.at(key).part);
        if let Some(to) = to.or(self.current()) {
            self.at(to).part += part;
        }
        self.forget(key);
    }

    fn forget(&mut self, key: ClassKey) {
        self.all.remove(&key);
        self.changed.insert(key);
    }

    /// Takes cells if the class has become commoner among users than among unknown ids.
    fn grow(&mut self, key: ClassKey) {
        let total = self.all.values().map(|class| class.users).fold(0, u64::saturating_add);
        let share = |users: u64| scaled(WHOLE, users, total.max(1));
        // Today's class with what nobody claims: its due is its share, or else the half that is kept for it.
        let current = self.current();
        let (users, part) =
            current.map_or((0, 0), |key| (self.all[&key].users, self.all[&key].part));
        let today = part + self.unclaimed();
        let kept = share(users).max(today.min(WHOLE / 2));
        // The others share what is left, as their users do.
        let others = total - users;
        let due = |class: &Class| match class.current {
            true => kept,
            false => scaled(WHOLE - kept, class.users, others.max(1)),
        };
        let class = &self.all[&key];
        let (due_here, has) = (due(class), if class.current { today } else { class.part });
        let bearable = if class.current { has.saturating_mul(2) } else { has + has / 4 };
        if due_here <= bearable {
            return;
        }
        // Those who have more than their due give, each the same part of what they have too much. As all dues come
        // to one whole, that is enough.
        let wanted = due_here - has;
        let excess = |key: &ClassKey, class: &Class| {
            let has = if current == Some(*key) { today } else { class.part };
            has.saturating_sub(due(class))
        };
        let mut givers: Vec<(Option<ClassKey>, u64)> = self
            .all
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(other, class)| (Some(*other), excess(other, class)))
            .collect();
        if current.is_none() {
            givers.push((None, today.saturating_sub(kept)));
        }
        let available: u64 = givers.iter().map(|(_, excess)| excess).sum();
        let mut taken = 0;
        for (giver, excess) in givers.into_iter().filter(|(_, excess)| *excess > 0) {
            let gives = scaled(excess, wanted.min(available), available);
            if let Some(giver) = giver {
                let class = self.at(giver);
                // What today's class gives may be what nobody claims.
                let gives = gives.min(class.part);
                class.part -= gives;
            }
            taken += gives;
        }
        self.at(key).part += taken;
    }

    /// Gives each class the cells that its part comes to, moving as few as that takes.
    fn lay_out(&mut self) {
        let current = self.current();
        let parts = |class: &Class| (class.part, class.current, class.users > 0);
        let now: LaidOut = self.all.iter().map(|(key, class)| (*key, parts(class))).collect();
        if now == self.laid_out {
            return;
        }
        self.laid_out = now;
        let mut free: Vec<usize> = (0..CELLS).filter(|cell| self.of(*cell).is_none()).collect();
        let mut wanted: Vec<(ClassKey, usize)> = Vec::new();
        let mut left = CELLS;
        for (key, class) in &self.all {
            if !class.current {
                let cells = scaled(class.part, CELLS as u64, WHOLE) as usize;
                // A class that somebody is in has a cell.
                let cells = cells.max(usize::from(class.users > 0)).min(left);
                left -= cells;
                wanted.push((*key, cells));
            }
        }
        // The rest is today's.
        wanted.extend(current.map(|key| (key, left)));
        for (key, wanted) in &wanted {
            let has: Vec<usize> =
                (0..CELLS).filter(|cell| contains(&self.all[key].cells, *cell)).collect();
            for cell in has.iter().skip(*wanted) {
                self.at(*key).cells[cell / 8] &= !(1 << (cell % 8));
                free.push(*cell);
            }
        }
        for (key, wanted) in &wanted {
            let has = self.all[key].cells.iter().map(|byte| byte.count_ones() as usize).sum();
            for _ in has..*wanted {
                let Some(cell) = free.pop() else { return };
                self.at(*key).cells[cell / 8] |= 1 << (cell % 8);
            }
        }
    }
}

/// `value · part / whole`, which does not overflow.
fn scaled(value: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(part) / u128::from(whole);
    // Invariant: a part is at most the whole.
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
