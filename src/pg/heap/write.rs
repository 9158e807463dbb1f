//! Rows written as the executor writes them.
//!
//! Not as catalogs are written: that knows neither expressions nor predicates in indexes, and skips
//! constraints. A DBA may have put an index or a CHECK on a table of ours, as on any other. What may
//! not be there is refused when the table is opened ([`crate::pg::heap::shape`]): triggers, above all.
//!
//! Why not prepared statements, at least for the tables that only a worker writes? Measured on PostgreSQL 15
//! with a copy of `event`, 5120 rows a transaction, the best of 15 in each of two runs on a busy machine: a
//! prepared INSERT a row takes 16 and 29 µs a row, one INSERT of all rows, for which the executor opens the
//! indexes once as here, 8 and 7 µs. The worker is one process that everybody waits for. And a statement obeys
//! rules, row security and every setting there is, which would have to be pinned one by one; past the planner
//! there are none.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgLogLevel, PgMemoryContexts, PgTryBuilder};

use super::lock;
use super::lock::Access;
use crate::error::Error;
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::pg::server::unwinding;

/// How long a row waits for another transaction that has a row with the same key in an index of somebody
/// else's. (None of ours can make it wait.) Milliseconds.
const PATIENCE: i32 = 1000;

/// A table that is being written: its indexes are opened once, and closed when this is dropped. What an
/// error leaves goes with the transaction.
pub struct Writer {
    relation: pg_sys::Relation,
    estate: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Writer {
    /// For a table that is open, locked for [`Access::Write`], and closed later.
    ///
    /// # Errors
    /// [`Error::Locked`]
    pub fn begin(relation: pg_sys::Relation) -> Result<Self, Error> {
        let indexes = lock_indexes(relation)?;
        // SAFETY: the relation is open. What is allocated lives in the memory of the estate, which lives
        // in the current one or until `drop`.
        let writer = unsafe {
            let estate = pg_sys::CreateExecutorState();
            let (result, slot) = PgMemoryContexts::For((*estate).es_query_cxt).switch_to(|_| {
                let result: *mut pg_sys::ResultRelInfo =
                    pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
                (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
                pg_sys::InitResultRelInfo(result, relation, 0, std::ptr::null_mut(), 0);
                pg_sys::ExecOpenIndices(result, false);
                let kind = &raw const pg_sys::TTSOpsHeapTuple;
                (result, pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, kind))
            });
            Self { relation, estate, result, slot }
        };
        indexes.into_iter().for_each(|index| lock::give_back(index, Access::Write));
        Ok(writer)
    }

    /// # Safety
    /// A tuple of this table. It is freed.
    pub unsafe fn insert(&self, tuple: pg_sys::HeapTuple) {
        // SAFETY: the caller's promise.
        unsafe {
            self.with_row(tuple, || {
                pg_sys::simple_table_tuple_insert(self.relation, self.slot);
                if (*self.result).ri_NumIndices > 0 {
                    self.insert_index_entries(false, false);
                }
            });
        }
    }

    /// # Safety
    /// The place of a row of this table that nobody else is changing, and a tuple, which is freed.
    pub unsafe fn update(&self, place: &mut pg_sys::ItemPointerData, tuple: pg_sys::HeapTuple) {
        // SAFETY: the caller's promise. A published table without replica identity is an error here, as
        // for any UPDATE: subscribers would not learn of it.
        unsafe {
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_UPDATE);
            self.with_row(tuple, || {
                let mut indexes = Default::default();
                let nothing = std::ptr::null_mut();
                let slot = self.slot;
                pg_sys::simple_table_tuple_update(
                    self.relation,
                    place,
                    slot,
                    nothing,
                    &mut indexes,
                );
                // A row that was moved within its page, with all indexed columns as they were, is found
                // by the entries there are.
                if (*self.result).ri_NumIndices == 0 {
                    return;
                }
                #[cfg(any(feature = "pg14", feature = "pg15"))]
                if indexes {
                    self.insert_index_entries(true, false);
                }
                #[cfg(not(any(feature = "pg14", feature = "pg15")))]
                if indexes != pg_sys::TU_UpdateIndexes::TU_None {
                    let summaries = indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing;
                    self.insert_index_entries(true, summaries);
                }
            });
        }
    }

    /// # Safety
    /// The place of a row of this table that nobody else is changing.
    pub unsafe fn delete(&self, place: &mut pg_sys::ItemPointerData) {
        // SAFETY: the caller's promise; as in `update`.
        unsafe {
            pg_sys::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_DELETE);
            pg_sys::simple_table_tuple_delete(self.relation, place, std::ptr::null_mut());
        }
    }

    /// Checks the constraints of a row, and writes it.
    ///
    /// # Safety
    /// A tuple of this table. It is freed.
    unsafe fn with_row(&self, tuple: pg_sys::HeapTuple, write: impl FnOnce()) {
        // SAFETY: the caller's promise; the slot is emptied before the tuple is freed.
        let all = || unsafe {
            pg_sys::ExecStoreHeapTuple(tuple, self.slot, false);
            if !(*(*self.relation).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.result, self.slot, self.estate);
            }
            write();
            if let Some(clear) = (*(*self.slot).tts_ops).clear {
                clear(self.slot);
            }
            pg_sys::heap_freetuple(tuple);
            let scratch = (*self.estate).es_per_tuple_exprcontext;
            if !scratch.is_null() {
                pg_sys::MemoryContextReset((*scratch).ecxt_per_tuple_memory);
            }
        };
        let _hurry = Hurry::begin();
        PgTryBuilder::new(AssertUnwindSafe(all)).catch_others(conceal).execute();
    }

    unsafe fn insert_index_entries(&self, update: bool, summaries_only: bool) {
        let (result, slot, estate) = (self.result, self.slot, self.estate);
        let nothing = std::ptr::null_mut();
        // SAFETY: the row in the slot has just been written. There are no deferred indexes, which would
        // have a trigger, so nothing is left to be checked later.
        unsafe {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            {
                let _: bool = summaries_only;
                pg_sys::ExecInsertIndexTuples(
                    result,
                    slot,
                    estate,
                    update,
                    false,
                    nothing,
                    std::ptr::null_mut(),
                );
            }
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            pg_sys::ExecInsertIndexTuples(
                result,
                slot,
                estate,
                update,
                false,
                nothing,
                std::ptr::null_mut(),
                summaries_only,
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by `begin`, ended once; no slot is left that points to the row type.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::ExecCloseIndices(self.result);
                pg_sys::FreeExecutorState(self.estate);
            }
        }
    }
}

/// PostgreSQL opens the indexes of a table one after the other and waits for each: for one that is
/// being moved to another tablespace, say. Here they are locked before, or not.
fn lock_indexes(relation: pg_sys::Relation) -> Result<Vec<pg_sys::Oid>, Error> {
    let deadline = lock::deadline();
    // SAFETY: the relation is open; a copy of the list, in the current memory context.
    let indexes: Vec<pg_sys::Oid> = unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        let count = if list.is_null() { 0 } else { (*list).length };
        let all = (0..count as usize).map(|i| (*(*list).elements.add(i)).oid_value).collect();
        pg_sys::list_free(list);
        all
    };
    for index in &indexes {
        while !lock::take(*index, Access::Write) {
            if std::time::Instant::now() >= deadline {
                return Err(Error::Locked);
            }
            server::rest();
        }
    }
    Ok(indexes)
}

/// While this lives, no lock is waited for longer than [`PATIENCE`].
struct Hurry(i32);

impl Hurry {
    fn begin() -> Self {
        // SAFETY: a setting of this process, as it is read whenever a lock is waited for.
        unsafe {
            let theirs = pg_sys::LockTimeout;
            if theirs == 0 || theirs > PATIENCE {
                pg_sys::LockTimeout = PATIENCE;
            }
            Self(theirs)
        }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        // Also while an error unwinds: it is the session's setting.
        // SAFETY: as in `begin`.
        unsafe { pg_sys::LockTimeout = self.0 };
    }
}

/// An index or a constraint has refused the row. PostgreSQL says with which values: they are not for
/// whoever called, nor for the log. Neither is what an expression of an index has said about them.
fn conceal(error: CaughtError) {
    let report = match &error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { .. } => error.rethrow(),
    };
    let code = report.sql_error_code() as i32;
    let class = |text: [u8; 2]| {
        let six_bits = |c: u8| i32::from(c.wrapping_sub(b'0') & 0x3f);
        code & 0xfff == six_bits(text[0]) | six_bits(text[1]) << 6
    };
    // Cancelled, out of something, locked, broken: no word about values.
    let harmless = [b"57", b"53", b"54", b"55", b"58", b"40", b"XX"];
    if harmless.into_iter().any(|text| class(*text)) {
        error.rethrow();
    }
    let mut ours = ErrorReport::from(Error::Objection);
    if class(*b"23") {
        // Which constraint it was, by its name.
        ours = ours.set_hint(format!("PostgreSQL says: {}.", report.message()));
    }
    ours.report(PgLogLevel::ERROR);
}
