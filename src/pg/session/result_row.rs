//! Composite results: one row, whose columns the SQL file declares as OUT parameters.

use pgrx::callconv::{BoxRet, FcInfo};
use std::time::Duration;

use password_verify_core::trail::chain::hex;
use pgrx::datum::{Datum, Interval, IntoDatum, Uuid};
use pgrx::{impl_sql_translatable, pg_sys};

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
impl_sql_translatable!(ResultRow<5>, "record");
impl_sql_translatable!(ResultRow<8>, "record");

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
