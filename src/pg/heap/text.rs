//! Converts text between the database's encoding and UTF-8. Incoming text leaves no copy behind.

use std::borrow::Cow;
use std::ffi::CStr;

use password_verify_core::rules::secret::Secret;
use password_verify_core::trail::name::printable;
use pgrx::pg_sys;
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;

/// PostgreSQL's MAX_CONVERSION_GROWTH: bytes out for a byte in.
const MAX_GROWTH: usize = 4;

/// The bytes of a value: those of the argument, or a detoasted copy, which is wiped when dropped.
struct Borrowed {
    data: *mut u8,
    len: usize,
    /// The copy, or null.
    ours: *mut pg_sys::varlena,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.ours.is_null() {
            // SAFETY: a private copy of `len` bytes, which is freed once.
            unsafe {
                std::slice::from_raw_parts_mut(self.data, self.len).zeroize();
                pg_sys::pfree(self.ours.cast());
            }
        }
    }
}

/// The length of a `text` datum in bytes, without detoasting or decompressing it.
///
/// # Safety
/// `datum` is a non-null `text`.
pub unsafe fn length(datum: pg_sys::Datum) -> usize {
    // SAFETY: the caller's promise; the size includes a header of VARHDRSZ (4) bytes.
    unsafe { pg_sys::toast_raw_datum_size(datum) - size_of::<i32>() }
}

/// The bytes of a `text` or `bytea` datum.
///
/// # Safety
/// `datum` is a non-null varlena.
unsafe fn plain(datum: pg_sys::Datum) -> Borrowed {
    let original = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's promise; a plain value comes back as it is, a toasted one as a copy.
    unsafe {
        let packed = pg_sys::pg_detoast_datum_packed(original);
        Borrowed {
            data: pgrx::vardata_any(packed).cast_mut().cast(),
            len: pgrx::varsize_any_exhdr(packed),
            ours: if packed == original { std::ptr::null_mut() } else { packed },
        }
    }
}

/// The content of a `bytea` datum.
///
/// # Safety
/// `datum` is a non-null `bytea`.
pub unsafe fn bytes(datum: pg_sys::Datum) -> Zeroizing<Vec<u8>> {
    // SAFETY: the caller's promise; copied while the datum is valid.
    unsafe {
        let plain = plain(datum);
        Zeroizing::new(std::slice::from_raw_parts(plain.data, plain.len).to_vec())
    }
}

/// The bytes of a `bytea` datum, where they lie if nothing has to be unpacked. For what is not secret.
///
/// # Safety
/// `datum` is a non-null `bytea`, valid for as long as the result.
pub unsafe fn borrowed<'a>(datum: pg_sys::Datum) -> Cow<'a, [u8]> {
    // SAFETY: the caller's promise; a copy of ours is copied before it is wiped.
    unsafe {
        let plain = plain(datum);
        let bytes = std::slice::from_raw_parts(plain.data, plain.len);
        if !plain.ours.is_null() { Cow::Owned(bytes.to_vec()) } else { Cow::Borrowed(bytes) }
    }
}

/// The text in UTF-8, where it lies if that is the database's encoding. For what is not secret.
///
/// # Errors
/// Those of [`to_utf8`].
///
/// # Safety
/// `datum` is a non-null `text`, valid for as long as the result.
pub unsafe fn borrowed_utf8<'a>(datum: pg_sys::Datum) -> Result<Cow<'a, str>, Error> {
    if !database_is_utf8() {
        // SAFETY: the caller's promise.
        return unsafe { to_utf8(datum) }.map(|text| Cow::Owned(text.expose().to_owned()));
    }
    // SAFETY: the caller's promise.
    Ok(match unsafe { borrowed(datum) } {
        Cow::Borrowed(bytes) => {
            Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| Error::NotText)?)
        }
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Error::NotText)?),
    })
}

/// The text in UTF-8. Intermediate copies are wiped.
///
/// # Errors
/// [`Error::NotText`] when the bytes are invalid in the database's encoding or have no equivalent
/// in Unicode. (PostgreSQL's own error would quote them.)
///
/// # Safety
/// `datum` is a non-null `text`.
pub unsafe fn to_utf8(datum: pg_sys::Datum) -> Result<Secret, Error> {
    // SAFETY: the caller's promise.
    let plain = unsafe { plain(datum) };
    // SAFETY: `len` bytes that live until the end of this function.
    let bytes = unsafe { std::slice::from_raw_parts(plain.data, plain.len) };
    // SAFETY: reads a static of this process.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if encoding == UTF8 {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
        return Ok(Secret::new(text.to_owned()));
    }
    let mut utf8 = Zeroizing::new(vec![0u8; bytes.len() * MAX_GROWTH + 1]);
    let len = i32::try_from(bytes.len()).map_err(|_| Error::NotText)?;
    let room = i32::try_from(utf8.len()).map_err(|_| Error::NotText)?;
    // SAFETY: reads `len` bytes and writes at most `room`, the last one a zero. The search path in
    // force is pg_catalog, as every function of the SQL file declares.
    let converted = unsafe {
        let procedure = pg_sys::FindDefaultConversionProc(encoding, UTF8);
        if procedure == pg_sys::InvalidOid {
            return Err(Error::NotText);
        }
        let (from, to) = (plain.data, utf8.as_mut_ptr());
        pg_sys::pg_do_encoding_conversion_buf(procedure, encoding, UTF8, from, len, to, room, true)
    };
    if converted != len {
        return Err(Error::NotText);
    }
    let end = utf8.iter().position(|&byte| byte == 0).unwrap_or(utf8.len());
    let text = std::str::from_utf8(&utf8[..end]).map_err(|_| Error::NotText)?;
    Ok(Secret::new(text.to_owned()))
}

/// Is the database's encoding UTF8?
pub fn database_is_utf8() -> bool {
    // SAFETY: reads a static of this process.
    unsafe { pg_sys::GetDatabaseEncoding() == UTF8 }
}

/// The name of this session's database in the form of names of roles; its OID if it has none.
pub fn database_name() -> String {
    // SAFETY: a catalog look-up in a transaction; a C string or null, copied at once.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() {
            return pg_sys::MyDatabaseId.to_u32().to_string();
        }
        printable(CStr::from_ptr(name).to_bytes(), database_is_utf8())
    }
}

/// Makes a `text` datum in the database's encoding, in the current memory context.
///
/// # Errors
/// A PostgreSQL error when the encoding lacks a character.
pub fn to_datum(text: &str) -> Result<pg_sys::Datum, Error> {
    let len = i32::try_from(text.len()).map_err(|_| Error::NotText)?;
    // SAFETY: reads `len` bytes of UTF-8; the result is palloc'ed or the same pointer, and copied.
    unsafe {
        let utf8 = text.as_ptr().cast();
        let server = pg_sys::pg_any_to_server(utf8, len, UTF8);
        let len = if server.cast_const() == utf8 {
            len
        } else {
            i32::try_from(std::ffi::CStr::from_ptr(server).count_bytes())
                .map_err(|_| Error::NotText)?
        };
        Ok(pg_sys::cstring_to_text_with_len(server, len).into())
    }
}
