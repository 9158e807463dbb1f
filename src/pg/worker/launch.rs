//! Tells PostgreSQL of the processes of this library.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::server;
use crate::settings;

/// Registers the workers. Called once, while the postmaster preloads the library.
pub fn register() {
    for _ in 0..settings::workers() {
        let mut worker = process(c"password_verify", c"password_verify_worker");
        worker.bgw_restart_time = 0;
        // SAFETY: called while libraries are preloaded; PostgreSQL copies the struct.
        unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
    }
}

/// Starts a check of the tables of this worker's database. If no process can be started for it, the log says so:
/// `pv_verify_credentials` does the same.
pub fn check() {
    let mut worker = process(c"password_verify check", c"password_verify_check");
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker.bgw_main_arg = pg_sys::Datum::from(server::database());
    // SAFETY: PostgreSQL copies the struct.
    let started =
        unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut worker, std::ptr::null_mut()) };
    if !started {
        pgrx::log!(
            "password_verify: the tables are not checked in the background, because max_worker_processes is used up; call pv_verify_credentials"
        );
    }
}

fn process(name: &CStr, function: &CStr) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION)
            as i32,
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        ..Default::default()
    };
    put(&mut worker.bgw_name, name);
    put(&mut worker.bgw_type, name);
    put(&mut worker.bgw_library_name, c"password_verify");
    put(&mut worker.bgw_function_name, function);
    worker
}

fn put<const N: usize>(field: &mut [std::ffi::c_char; N], value: &CStr) {
    for (to, from) in field.iter_mut().zip(value.to_bytes_with_nul()) {
        *to = *from as std::ffi::c_char;
    }
}
