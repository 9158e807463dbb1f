//! `password_verify.cost_class`: the costs of all records, and which unknown users are hashed at
//! each.

use std::collections::BTreeMap;
use std::time::Instant;

use password_verify_core::decoys::cells::{Cells, Class, Classes, MAX_CLASSES, contains};
use password_verify_core::decoys::cost_class::ClassKey;
use password_verify_core::kept::row_mac::Installation;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::row::Row;
use crate::pg::heap::text;
use crate::pg::shared::class_counts::Tally;
use crate::pg::tables::keyed::{Keyed, RowKey};

const COLUMNS: usize = 6;

pub struct CostClasses(Keyed<COLUMNS>);

impl CostClasses {
    /// # Errors
    /// Those of [`Keyed::open`].
    pub fn open(of: Installation, access: Access) -> Result<Self, Error> {
        Keyed::open(c"cost_class", c"cost_class_pkey", of, access).map(Self)
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`CostClasses::open`].
    pub fn open_by(of: Installation, access: Access, deadline: Instant) -> Result<Self, Error> {
        Keyed::open_by(c"cost_class", c"cost_class_pkey", of, access, deadline).map(Self)
    }

    /// [`Keyed::renew`].
    ///
    /// # Errors
    /// Those of [`Keyed::renew`].
    pub fn renew(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
    ) -> Result<Option<RowKey>, Error> {
        self.0.renew(after, count, discard)
    }

    /// What the writes so far have added to the sum of the table.
    pub fn added(&self) -> u128 {
        self.0.added()
    }

    /// The template of the class to which a cell belongs; `None`: a new password's cost.
    ///
    /// Reads every class, [`MAX_CLASSES`] at most. This takes more steps the more versions their
    /// rows have, but as many for every cell, so it does not tell known from unknown users. A row
    /// can be missed once while it is being updated (`scan::now`), so a cell that was found in no
    /// class is looked up again.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns.
    pub fn of(&self, cell: usize) -> Result<Option<String>, Error> {
        let look = || -> Result<Option<String>, Error> {
            let rows = self.0.peek_all(2 * MAX_CLASSES, |row| {
                let (_, class) = read(row)?;
                Ok(contains(&class.cells, cell).then_some(class.template))
            })?;
            Ok(rows.into_iter().flatten().next())
        };
        match look()? {
            Some(template) => Ok(Some(template)),
            None => look(),
        }
    }

    /// Counts committed moves and adjusts the costs of unknown users. Costs a pass over all classes
    /// and cells, however many records there are.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn count(&self, tallies: &[Tally]) -> Result<(), Error> {
        let mut classes = self.all()?;
        apply(&mut classes, tallies);
        self.store(&mut classes)
    }

    /// Adds classes found while counting all records.
    ///
    /// # Errors
    /// Those of [`CostClasses::count`].
    pub fn follow(&self, templates: BTreeMap<ClassKey, String>) -> Result<(), Error> {
        let mut classes = self.all()?;
        templates.into_iter().for_each(|(key, template)| classes.follow(key, template));
        self.store(&mut classes)
    }

    /// Replaces the counts by those of a complete count, which includes these committed moves.
    ///
    /// # Errors
    /// Those of [`CostClasses::count`].
    pub fn correct(
        &self,
        tallies: &[Tally],
        found: &BTreeMap<ClassKey, u64>,
        unread: u64,
        today: ClassKey,
    ) -> Result<(), Error> {
        let mut classes = self.all()?;
        apply(&mut classes, tallies);
        classes.correct(found, unread, today);
        self.store(&mut classes)
    }

    fn all(&self) -> Result<Classes, Error> {
        Ok(Classes::new(self.0.after(None, 2 * MAX_CLASSES, read)?))
    }

    fn store(&self, classes: &mut Classes) -> Result<(), Error> {
        classes.take_changed().into_iter().try_for_each(|(key, class)| self.write(key, class))
    }

    fn write(&self, mut key: ClassKey, class: Option<&Class>) -> Result<(), Error> {
        let row = match class {
            None => None,
            Some(class) => Some([
                Some(pg_sys::Datum::from(key.as_mut_ptr())),
                Some(text::to_datum(&class.template)?),
                bigint(class.users),
                bigint(class.part),
                class.current.into_datum(),
                class.cells.as_slice().into_datum(),
            ]),
        };
        // SAFETY: uuid, text, two bigint, boolean and bytea, as the SQL file declares.
        unsafe { self.0.put(key, row) }
    }
}

fn apply(classes: &mut Classes, tallies: &[Tally]) {
    for tally in tallies.iter().filter(|tally| !tally.made.is_none()) {
        classes.follow(tally.made.to, tally.template.clone());
        classes.apply(tally.made, tally.count);
    }
}

fn bigint(number: u64) -> Option<pg_sys::Datum> {
    i64::try_from(number).unwrap_or(i64::MAX).into_datum()
}

fn read(row: Row<COLUMNS>) -> Result<(ClassKey, Class), Error> {
    let [Some(key), Some(template), Some(users), Some(part), Some(current), Some(cells)] = row
    else {
        return Err(Error::NotInstalled);
    };
    let number = |datum: pg_sys::Datum| u64::try_from(datum.value() as i64).unwrap_or(0);
    // SAFETY: uuid, text, two bigint, boolean and bytea, as the SQL file declares; copied while the
    // row is valid.
    let (key, template, cells) =
        unsafe { (*key.cast_mut_ptr::<ClassKey>(), text::to_utf8(template)?, text::bytes(cells)) };
    let cells: Cells = cells.as_slice().try_into().map_err(|_| Error::NotInstalled)?;
    let class = Class {
        template: template.expose().to_owned(),
        users: number(users),
        part: number(part),
        current: current.value() & 1 != 0,
        cells,
    };
    Ok((key, class))
}
