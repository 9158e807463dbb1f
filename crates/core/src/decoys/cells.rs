//! Decoys: what an unknown user's password is hashed against, a template of some class of cost.
//!
//! An attacker can tell classes apart by their time ([`crate::decoys::cost_class`]), for example
//! imported bcrypt from Argon2id. So unknown ids must be spread over the classes as known ones are,
//! **and must change their class as often**: an attacker who asks again after a month learns from
//! every id that has changed, and from every id that has not.
//!
//! A known id changes its class only when its record is replaced; growth changes none. A decoy
//! taken from a neighbour would change with growth. So the unknown ids are divided into [`CELLS`]
//! cells by a keyed hash of the id, and each cell belongs to a class:
//!
//! - When a record **moves** to another class, the same part of its class's cells moves with it.
//!   After half of a class's users have migrated, half of its cells have.
//! - When a record is **made**, no cell moves, unless its class has become so much commoner among
//!   users than among cells that its time would reveal users. A class that is imported into takes
//!   cells when its share of users is a quarter above its part of the cells. The class of the
//!   current settings, which users sign up into, takes some when its share is twice its part; half
//!   of the cells is reserved for it from the start, so that sign-ups alone never reach that.
//! - When a record is **deleted**, its id is unknown again and takes the class of its cell. No cell
//!   moves before the last record of a class is gone.
//! - When the **settings change**, nothing moves. The class of the former settings keeps its cells
//!   and gives them away as its users move; sign-ups before that pull cells over as above.
//!
//! What remains: A new class has one cell in a thousand, or its share. The first records of an
//! import show until there are cells, and each import takes cells from unknown ids, which then
//! change while known ones do not; a manager causes both. Sign-ups reduce the share of other
//! classes, but not their cells: the time of those classes tells more and more that an id is
//! probably *unknown*. All unknown ids of a cell change at once. Beyond [`MAX_CLASSES`] classes the
//! rarest are not followed, and their users show by their time. While a class has fewer than one
//! user in a thousand, most ids with its time are unknown.
//!
//! Users are counted by what committed transactions report. A crash loses the reports of about a
//! second. A class whose count reaches zero too early has no cells until all records have been
//! counted again ([`crate::decoys::recount`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::decoys::cost_class::{ClassKey, NO_CLASS};

/// The number of cells that unknown ids are divided into.
pub const CELLS: usize = 1024;
/// Bytes of a set of cells.
pub const CELLS_BYTES: usize = CELLS / 8;
/// The most classes that are followed. A look-up reads them all.
pub const MAX_CLASSES: usize = 32;
/// The sum of all [`Class::part`]s: much finer than one cell.
const WHOLE: u64 = 1 << 48;

pub type Cells = [u8; CELLS_BYTES];

/// Whether the cell is in the set.
pub fn contains(cells: &Cells, cell: usize) -> bool {
    cells[cell / 8] >> (cell % 8) & 1 == 1
}

/// The cell of an unknown id. `hash` is a keyed hash of the id.
pub fn cell(hash: [u8; 16]) -> usize {
    usize::from(u16::from_be_bytes([hash[0], hash[1]])) % CELLS
}

/// A class of cost, with its users and its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The template of its records.
    pub template: String,
    /// The number of users whose records are of this class.
    pub users: u64,
    /// The part of the unknown ids that belongs to this class, out of `WHOLE`.
    pub part: u64,
    /// Whether new passwords are hashed at this cost.
    pub current: bool,
    /// The cells of this class, as many as its part comes to.
    pub cells: Cells,
}

/// Records that were made, moved to another class, or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// The former class. [`NO_CLASS`]: the records were made.
    pub from: ClassKey,
    /// The new class. [`NO_CLASS`]: the records were deleted.
    pub to: ClassKey,
    /// Whether the new class is that of the current settings.
    pub ours: bool,
}

impl Move {
    /// Whether the move changes nothing.
    pub fn is_none(&self) -> bool {
        self.from == self.to
    }
}

/// Every class that is followed.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    all: BTreeMap<ClassKey, Class>,
    changed: BTreeSet<ClassKey>,
    laid_out: LaidOut,
}

/// What the cells of a class depend on: its part, whether it is current, and whether it has users.
type LaidOut = BTreeMap<ClassKey, (u64, bool, bool)>;

impl Classes {
    /// Loads the classes as they are stored.
    pub fn new(all: impl IntoIterator<Item = (ClassKey, Class)>) -> Self {
        Self { all: all.into_iter().collect(), ..Self::default() }
    }

    /// Returns what has changed since the last call. `None`: the class is no longer followed.
    pub fn take_changed(&mut self) -> Vec<(ClassKey, Option<&Class>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key, self.all.get(&key))).collect()
    }

    pub fn follows(&self, key: ClassKey) -> bool {
        self.all.contains_key(&key)
    }

    pub fn get(&self, key: ClassKey) -> Option<&Class> {
        self.all.get(&key)
    }

    /// The class of a cell. `None`: the class of the current settings, which has no users yet.
    pub fn of(&self, cell: usize) -> Option<&Class> {
        self.all.values().find(|class| contains(&class.cells, cell))
    }

    /// Follows another class if there is room, or if a class without users can be dropped for it.
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

    /// Applies a move of `count` records whose transaction has committed. Classes that are not
    /// followed are not counted. The work depends on the number of classes and cells only.
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

    /// Corrects the counts by those that a pass has found; each of the `unread` records may be of
    /// any class. Cells move only from classes without users, and to a class far commoner than it
    /// seemed. `today` is the class of the current settings, in case no move has named it yet.
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
        // Invariant: all callers pass the key of a class that is followed.
        #[allow(clippy::expect_used)]
        self.all.get_mut(&key).expect("a class that is followed")
    }

    fn current(&self) -> Option<ClassKey> {
        self.all.iter().find(|(_, class)| class.current).map(|(key, _)| *key)
    }

    /// The part that no class owns. It counts for the current class.
    fn unclaimed(&self) -> u64 {
        WHOLE.saturating_sub(self.all.values().map(|class| class.part).sum())
    }

    fn make_current(&mut self, key: ClassKey) {
        let former = self.current();
        if former != Some(key) {
            former.into_iter().for_each(|former| self.at(former).current = false);
            self.at(key).current = true;
        }
        // Unknown ids without a class are hashed with the current settings anyway.
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

    /// Drops a class that has lost its last user. Its cells go where that user went, or to the
    /// current class.
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
        // The current class owns the unclaimed part. Its due is its share, or its reserved half.
        let current = self.current();
        let (users, part) =
            current.map_or((0, 0), |key| (self.all[&key].users, self.all[&key].part));
        let today = part + self.unclaimed();
        let kept = share(users).max(today.min(WHOLE / 2));
        // The other classes divide the rest in the ratio of their users.
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
        // Classes above their due give the same fraction of their excess. All dues add up to the
        // whole, so that is enough.
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
                // The current class may give from the unclaimed part.
                let gives = gives.min(class.part);
                class.part -= gives;
            }
            taken += gives;
        }
        self.at(key).part += taken;
    }

    /// Gives each class the number of cells that its part comes to, moving as few as possible.
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
                // A class with users has at least one cell.
                let cells = cells.max(usize::from(class.users > 0)).min(left);
                left -= cells;
                wanted.push((*key, cells));
            }
        }
        // The current class gets the rest.
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

/// `value · part / whole`, computed without overflow.
fn scaled(value: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(part) / u128::from(whole);
    // Invariant: a part is at most the whole.
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
