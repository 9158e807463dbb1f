//! Composite results: one row, whose columns the SQL file declares as OUT parameters.

use pgrx::callconv::{BoxRet, FcInfo};
use std::time::Duration;

use password_verify_core::rules::secret::Secret;
use password_verify_core::trail::chain::hex;
use pgrx::datum::{Datum, Interval, IntoDatum, Uuid};
use pgrx::{impl_sql_translatable, pg_sys};

use crate::pg::heap::text;

/// One column. Text is always a constant of this extension, in ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Bool(bool),
    Text(Option<&'static str>),
    Bigint(Option<i64>),
    Interval(Option<Duration>),
    Integer(i32),
    Uuid([u8; 16]),
    /// Bytes as hexadecimal digits, or NULL.
    Hex(Option<[u8; 32]>),
}

/// A row of `N` columns.
pub struct ResultRow<const N: usize>(pub [Column; N]);

impl_sql_translatable!(ResultRow<2>, "record");
impl_sql_translatable!(ResultRow<3>, "record");
impl_sql_translatable!(ResultRow<4>, "record");
impl_sql_translatable!(ResultRow<6>, "record");
impl_sql_translatable!(ResultRow<8>, "record");

/// A text that only the caller may see. Wiped once it is handed over.
pub struct Given(pub Secret);

impl IntoDatum for Given {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        text::to_datum(self.0.expose()).ok()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

/// The text of a `jsonb`, as it was when it came.
pub struct Json(pub Secret);

impl IntoDatum for Json {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let text = text::to_datum(self.0.expose()).ok()?;
        // SAFETY: a text as a C string, which this function parses.
        unsafe {
            let written = pg_sys::text_to_cstring(text.cast_mut_ptr());
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(written.into())])
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

macro_rules! returned {
    ($type:ty) => {
        // SAFETY: the datum is of the declared type, in the caller's context.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                match self.into_datum() {
                    // SAFETY: as above.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}

returned!(Given);
returned!(Json);
impl_sql_translatable!(Given, "text");
impl_sql_translatable!(Json, "jsonb");

// SAFETY: the datum is a composite of the declared row type, allocated in the caller's context.
unsafe impl<const N: usize> BoxRet for ResultRow<N> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        let mut values = [pg_sys::Datum::null(); N];
        let mut nulls = [true; N];
        for (i, column) in self.0.into_iter().enumerate() {
            let datum = match column {
                Column::Bool(value) => value.into_datum(),
                Column::Text(value) => value.into_datum(),
                Column::Bigint(value) => value.into_datum(),
                Column::Interval(value) => value
                    .and_then(|time| i64::try_from(time.as_micros()).ok())
                    .map(Interval::from_micros)
                    .and_then(IntoDatum::into_datum),
                Column::Integer(value) => value.into_datum(),
                Column::Uuid(value) => Uuid::from_bytes(value).into_datum(),
                Column::Hex(value) => value.map(|bytes| hex(&bytes)).into_datum(),
            };
            if let Some(datum) = datum {
                (values[i], nulls[i]) = (datum, false);
            }
        }
        let mut tupdesc: pg_sys::TupleDesc = std::ptr::null_mut();
        // SAFETY: `fcinfo` is the call being answered. The row type is looked up and its width
        // checked before the arrays of N elements are read through it.
        unsafe {
            let ours = fcinfo.as_mut_ptr();
            let class = pg_sys::get_call_result_type(ours, std::ptr::null_mut(), &mut tupdesc);
            // Invariant: the SQL file declares every function that returns a row with N OUT
            // parameters.
            assert!(
                class == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE && (*tupdesc).natts == N as i32,
                "function is declared with another result"
            );
            let tupdesc = pg_sys::BlessTupleDesc(tupdesc);
            let tuple = pg_sys::heap_form_tuple(tupdesc, values.as_mut_ptr(), nulls.as_mut_ptr());
            let datum = pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data);
            fcinfo.return_raw_datum(datum)
        }
    }
}
