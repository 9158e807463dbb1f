//! Converts the rows of tables, and makes and checks their MACs.
//!
//! The last column of every table except `event`, whose rows are chained, holds a MAC over the others
//! ([`password_verify_core::kept::row_mac`]). It is empty without a keyring, and in the first row, which
//! belongs to nobody.

use password_verify_core::kept::row_mac::Unfinished;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::table::Table;
use super::text;
use crate::error::{Error, Name};
use crate::pg::keys::keyring;
use crate::pg::keys::rows::{self, Stored};
use crate::pg::shared::databases;

/// More columns than any table has.
const MAX: usize = 24;

/// The columns of a row, without its MAC.
pub type Row<const N: usize> = [Option<pg_sys::Datum>; N];

/// What its MAC says of a row.
#[derive(Clone, Copy)]
pub enum Seen {
    /// It is as it was written. What it adds to the sum of its table.
    Genuine(u128),
    /// So is this one, with a key that is not the active one any more.
    Older(u128),
    /// It has no MAC, and needs none: there is no keyring, or none yet.
    Unsigned,
    /// It is the first row of the table, which belongs to nobody.
    First,
    /// It was made with a key that the keyring lacks.
    NoKey,
    /// It was made without a key, and there is one.
    Missing,
    /// It was changed or moved.
    Altered,
}

impl Seen {
    /// What the row adds to the sum of its table, as far as that can be told.
    pub fn share(self) -> u128 {
        match self {
            Self::Genuine(share) | Self::Older(share) => share,
            Self::Unsigned | Self::First | Self::NoKey | Self::Missing | Self::Altered => 0,
        }
    }

    /// Refuses a row that is not as it was written. The worker is told, and says so once.
    ///
    /// # Errors
    /// [`Error::NoKeyOfRow`], [`Error::Altered`].
    pub fn require(self, table: &Table) -> Result<(), Error> {
        match self {
            Self::Genuine(_) | Self::Older(_) | Self::Unsigned | Self::First => Ok(()),
            Self::NoKey | Self::Missing | Self::Altered => {
                databases::note_altered(table.shape().bit());
                let table = Name::of(table.name());
                Err(if matches!(self, Self::NoKey) {
                    Error::NoKeyOfRow(table)
                } else {
                    Error::Altered(table)
                })
            }
        }
    }

    /// Would it be signed differently now?
    pub fn is_outdated(self) -> bool {
        match self {
            Self::Older(_) => true,
            Self::Unsigned => keyring::is_there(),
            Self::Genuine(_) | Self::First | Self::NoKey | Self::Missing | Self::Altered => false,
        }
    }

    /// May a row be read that holds this sealed text? If the key of its MAC is missing, opening the text
    /// fails and names the key; so that of the text must be missing as well.
    pub fn admits(self, table: &Table, sealed: &str) -> bool {
        match self {
            Self::Genuine(_) | Self::Older(_) | Self::Unsigned | Self::First => true,
            Self::NoKey => !keyring::has_key_of(sealed),
            Self::Missing | Self::Altered => {
                databases::note_altered(table.shape().bit());
                false
            }
        }
    }
}

/// The columns of a row, if it is as it was written.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns; [`Error::Altered`];
/// [`Error::NoKeyOfRow`].
///
/// # Safety
/// `tuple` belongs to that table and is valid for as long as the columns are used.
pub unsafe fn columns<const N: usize>(
    table: &Table,
    tuple: pg_sys::HeapTuple,
) -> Result<Row<N>, Error> {
    // SAFETY: the caller's promise.
    let (row, seen) = unsafe { look::<N>(table, tuple)? };
    seen.require(table).map(|()| row)
}

/// The columns of a row, whatever its MAC says.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns.
///
/// # Safety
/// As for [`columns`].
pub unsafe fn look<const N: usize>(
    table: &Table,
    tuple: pg_sys::HeapTuple,
) -> Result<(Row<N>, Seen), Error> {
    // SAFETY: the caller's promise.
    unsafe {
        require(table, N)?;
        let (row, seen) = deform(table, tuple)?;
        Ok((std::array::from_fn(|i| row[i]), seen))
    }
}

/// What its MAC says of a row.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns.
///
/// # Safety
/// As for [`columns`].
pub unsafe fn seen(table: &Table, tuple: pg_sys::HeapTuple) -> Result<Seen, Error> {
    // SAFETY: the caller's promise.
    unsafe {
        require(table, table.shape().columns.len() - usize::from(table.shape().is_signed))?;
        Ok(deform(table, tuple)?.1)
    }
}

unsafe fn deform(
    table: &Table,
    tuple: pg_sys::HeapTuple,
) -> Result<([Option<pg_sys::Datum>; MAX], Seen), Error> {
    let mut values = [pg_sys::Datum::null(); MAX];
    let mut nulls = [true; MAX];
    // SAFETY: the caller's promise; the arrays have room for as many columns as the table has.
    unsafe {
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::heap_deform_tuple(tuple, table.tuple_desc(), values, nulls);
    }
    let row = std::array::from_fn(|i| (!nulls[i]).then_some(values[i]));
    if !table.shape().is_signed {
        return Ok((row, Seen::Unsigned));
    }
    let last = table.shape().columns.len() - 1;
    // SAFETY: the caller's promise; the last column is the bytea of the MAC.
    let seen = unsafe { check(table, &row[..last], row[last])? };
    Ok((row, seen))
}

unsafe fn check(
    table: &Table,
    row: &[Option<pg_sys::Datum>],
    mac: Option<pg_sys::Datum>,
) -> Result<Seen, Error> {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(mac) = mac else { return Ok(Seen::Altered) };
        let stored = text::borrowed(mac);
        if stored.is_empty() && table.shape().has_first_row && is_first(table, row) {
            return Ok(Seen::First);
        }
        let columns = |mac: &mut Unfinished| cover(mac, table, row);
        Ok(match rows::check(&stored, table.installation(), table.name().to_bytes(), columns) {
            Stored::Genuine(share) => Seen::Genuine(share),
            Stored::Older(share) => Seen::Older(share),
            Stored::Unsigned => Seen::Unsigned,
            Stored::NoKey => Seen::NoKey,
            Stored::Missing => Seen::Missing,
            Stored::Altered => Seen::Altered,
        })
    }
}

/// Is this the row at the lowest place, as the SQL file writes it? Its key is a uuid of zeros, and nothing else in it
/// has a meaning but the times, which have none either.
unsafe fn is_first(table: &Table, row: &[Option<pg_sys::Datum>]) -> bool {
    let empty = |(column, datum): (&pg_sys::Oid, &Option<pg_sys::Datum>)| {
        let Some(datum) = *datum else { return true };
        // SAFETY: the caller's promise: the datum is of the type of the column.
        unsafe {
            match *column {
                pg_sys::UUIDOID => *datum.cast_mut_ptr::<[u8; 16]>() == [0; 16],
                pg_sys::TEXTOID => text::bytes(datum).is_empty(),
                pg_sys::BOOLOID => datum.value() & 0xff == 0,
                pg_sys::INT2OID => datum.value() as i16 == -1,
                pg_sys::INT4OID => datum.value() as i32 == 0,
                other => other == pg_sys::TIMESTAMPTZOID,
            }
        }
    };
    row[0].is_some() && table.shape().columns.iter().zip(row).all(empty)
}

/// A row that is about to be written.
pub struct Formed {
    pub tuple: pg_sys::HeapTuple,
    /// What it adds to the sum of its table.
    pub share: u128,
}

/// Forms a tuple of that table in the current memory context, with its MAC.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns.
///
/// # Safety
/// The values have the types of the columns.
pub unsafe fn form<const N: usize>(table: &Table, columns: Row<N>) -> Result<Formed, Error> {
    let mut values = [pg_sys::Datum::null(); MAX];
    let mut nulls = [true; MAX];
    // SAFETY: the caller's promise; the arrays have room for as many columns as the table has.
    unsafe {
        require(table, N)?;
        let (mac, share) = if table.shape().is_signed {
            let cover = |mac: &mut Unfinished| cover(mac, table, &columns);
            let signed = rows::sign(table.installation(), table.name().to_bytes(), cover)?;
            let (mac, share) = signed.as_ref().map_or((&[][..], 0), |(mac, share)| (mac, *share));
            (mac.into_datum(), share)
        } else {
            (None, 0)
        };
        for (i, column) in columns.into_iter().chain([mac]).enumerate() {
            (values[i], nulls[i]) = (column.unwrap_or(pg_sys::Datum::null()), column.is_none());
        }
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        let tuple = pg_sys::heap_form_tuple(table.tuple_desc(), values, nulls);
        Ok(Formed { tuple, share })
    }
}

/// Does the table have so many columns, and one for the MAC?
unsafe fn require(table: &Table, columns: usize) -> Result<(), Error> {
    let all = columns + usize::from(table.shape().is_signed);
    // SAFETY: the table is open.
    let natts = unsafe { (*table.tuple_desc()).natts };
    if natts == all as i32 && all < MAX { Ok(()) } else { Err(Error::NotInstalled) }
}

/// Gives the columns to a MAC, in a form that a dump and restore keeps, whatever the encodings are.
unsafe fn cover(
    mac: &mut Unfinished,
    table: &Table,
    row: &[Option<pg_sys::Datum>],
) -> Result<(), Error> {
    for (column, datum) in table.shape().columns.iter().zip(row) {
        let Some(datum) = *datum else {
            mac.column(None);
            continue;
        };
        // SAFETY: the caller's promise: the datum is of the type of the column.
        unsafe {
            match *column {
                pg_sys::UUIDOID => mac.column(Some(&*datum.cast_mut_ptr::<[u8; 16]>())),
                pg_sys::BYTEAOID => mac.column(Some(&text::borrowed(datum))),
                pg_sys::TEXTOID => mac.column(Some(text::borrowed_utf8(datum)?.as_bytes())),
                pg_sys::BOOLOID => mac.column(Some(&[u8::from(datum.value() & 0xff != 0)])),
                pg_sys::INT2OID => mac.column(Some(&(datum.value() as i16).to_be_bytes())),
                pg_sys::INT4OID => mac.column(Some(&(datum.value() as i32).to_be_bytes())),
                _ => mac.column(Some(&(datum.value() as i64).to_be_bytes())),
            }
        }
    }
    Ok(())
}
