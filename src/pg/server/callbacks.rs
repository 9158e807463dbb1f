//! Functions that PostgreSQL calls when this process exits or a transaction or savepoint ends.

use core::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

/// Whether this process has registered its functions. The postmaster registers none, so every
/// process begins with `false`.
pub type Registered = AtomicBool;

type AtExit = unsafe extern "C-unwind" fn(c_int, pg_sys::Datum);
type AtTransaction = unsafe extern "C-unwind" fn(pg_sys::XactEvent::Type, *mut c_void);
type AtSavepoint = unsafe extern "C-unwind" fn(
    pg_sys::SubXactEvent::Type,
    pg_sys::SubTransactionId,
    pg_sys::SubTransactionId,
    *mut c_void,
);

/// Registers, once in each process, what is called before it leaves shared memory.
pub fn at_exit(registered: &Registered, function: AtExit) {
    if !registered.swap(true, Ordering::Relaxed) {
        // SAFETY: a plain function of this library, which stays loaded.
        unsafe { pg_sys::before_shmem_exit(Some(function), pg_sys::Datum::null()) };
    }
}

/// Registers, once in each process, what is called when a transaction and a savepoint ends.
pub fn at_end(registered: &Registered, transaction: AtTransaction, savepoint: AtSavepoint) {
    if !registered.swap(true, Ordering::Relaxed) {
        // SAFETY: plain functions of this library, which stays loaded.
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(savepoint), std::ptr::null_mut());
        }
    }
}
