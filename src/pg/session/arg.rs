//! Arguments of SQL functions. An invalid one is an error that is kept until [`crate::api`] looks
//! at it.

use password_verify_core::rules::policy::{MAX_BYTES, Submitted};
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::{self, NotAUserId, UserId};
use password_verify_core::trail::log_line::MAX_LINE;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::nullable::Nullable;
use pgrx::{impl_sql_translatable, pg_sys};
use zeroize::Zeroize;

use crate::error::Error;
use crate::pg::heap::text;

/// A user id of any of the declared types: bigint, uuid, text.
pub struct UserIdArg(pub Result<UserId, Error>);

impl FromDatum for UserIdArg {
    const GET_TYPOID: bool = true;

    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        type_oid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        Some(Self(match type_oid {
            pg_sys::INT8OID => Ok(UserId::from_bigint(datum.value() as i64)),
            // SAFETY: a non-null uuid is a pointer to its 16 bytes.
            pg_sys::UUIDOID => Ok(UserId::from_uuid(unsafe { *datum.cast_mut_ptr::<[u8; 16]>() })),
            // SAFETY: a non-null text.
            pg_sys::TEXTOID => unsafe { user_id_from_text(datum) },
            _ => Err(Error::UntypedCall),
        }))
    }
}

/// # Safety
/// `datum` is a non-null `text`.
unsafe fn user_id_from_text(datum: pg_sys::Datum) -> Result<UserId, Error> {
    // SAFETY: the caller's promise. The bound holds in the database's encoding, before conversion,
    // and in UTF-8.
    unsafe {
        let text = bounded(datum, user_id::MAX_BYTES)?.ok_or(NotAUserId::TooLong)?;
        Ok(UserId::from_text(text.expose())?)
    }
}

/// A text of at most `bytes` bytes. `None` if it is longer, which its length alone shows: such a
/// text is not detoasted, copied or converted.
///
/// # Safety
/// `datum` is a non-null `text`.
unsafe fn bounded(datum: pg_sys::Datum, bytes: usize) -> Result<Option<Secret>, Error> {
    // SAFETY: the caller's promise.
    unsafe { if text::length(datum) > bytes { Ok(None) } else { text::to_utf8(datum).map(Some) } }
}

/// A password, claimed or new.
pub struct PasswordArg(pub Result<Submitted, Error>);

impl FromDatum for PasswordArg {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: a non-null text, as every function that takes one declares.
        let text = unsafe { bounded(datum, MAX_BYTES) };
        Some(Self(text.map(|text| text.map_or(Submitted::Oversized, Submitted::Text))))
    }
}

/// A line of the server log; `None` if it is too long to be one, in which case it is not read.
pub struct LineArg(pub Result<Option<String>, Error>);

impl FromDatum for LineArg {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: a non-null text, as the function that takes one declares.
        let line = unsafe { bounded(datum, MAX_LINE) };
        Some(Self(line.map(|line| line.map(|line| line.expose().to_owned()))))
    }
}

/// A secret to keep; `None` if it is longer than [`MAX_SECRET`] bytes, in which case it is not read.
pub struct SecretArg(pub Result<Option<Secret>, Error>);

/// The longest secret that is kept, in bytes of UTF-8.
pub const MAX_SECRET: usize = 8192;

impl FromDatum for SecretArg {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: a non-null text, as every function that takes one declares.
        (!is_null).then(|| Self(unsafe { bounded(datum, MAX_SECRET) }))
    }
}

/// A `jsonb` as text; `None` if it is longer than [`MAX_JSON`] bytes.
pub struct JsonArg(pub Result<Option<Secret>, Error>);

/// The longest `jsonb` that is read, in bytes of text.
pub const MAX_JSON: usize = 1 << 20;

impl FromDatum for JsonArg {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: a non-null jsonb, as every function that takes one declares; its size is looked at first. The text is
        // a C string in the database's encoding, which is wiped before it is freed.
        (!is_null).then(|| unsafe {
            if text::length(datum) > 2 * MAX_JSON {
                return Self(Ok(None));
            }
            let written: Option<&std::ffi::CStr> =
                pgrx::direct_function_call(pg_sys::jsonb_out, &[Some(datum)]);
            let Some(written) = written else { return Self(Ok(None)) };
            let (start, len) = (written.as_ptr(), written.count_bytes());
            let copy = pg_sys::cstring_to_text_with_len(start, len as i32);
            let json = bounded(copy.into(), MAX_JSON);
            for (memory, bytes) in [(start.cast_mut().cast::<u8>(), len), (copy.cast(), len + 4)] {
                std::slice::from_raw_parts_mut(memory, bytes).zeroize();
                pg_sys::pfree(memory.cast());
            }
            Self(json)
        })
    }
}

macro_rules! argument {
    ($type:ty, $sql:literal) => {
        // SAFETY: NULL is handled by `from_polymorphic_datum`, in which both functions end.
        unsafe impl<'fcx> ArgAbi<'fcx> for $type {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: every argument of these types is declared `Option`, so that this is
                // reached for non-null values only.
                unsafe { arg.unbox_arg_using_from_datum() }
                    .unwrap_or(Self(Err(Error::Null("argument"))))
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: NULL is handled by `from_polymorphic_datum`.
                unsafe { arg.unbox_arg_using_from_datum() }.into()
            }
        }
        impl_sql_translatable!($type, $sql);
    };
}

argument!(UserIdArg, "text");
argument!(PasswordArg, "text");
argument!(LineArg, "text");
argument!(SecretArg, "text");
argument!(JsonArg, "jsonb");
