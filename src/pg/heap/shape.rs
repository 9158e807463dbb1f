//! The definitions of the tables, and the check that they are still in force.
//!
//! Rows are read and written by the position and type of their columns, past the planner, rules and
//! triggers. A superuser can change a table nevertheless; then nothing is read or written, and the
//! error names the obstacle. Additional indexes and CHECKs are welcome.
//!
//! The check costs a few catalog look-ups, once each time that PostgreSQL invalidates its cached
//! entry of the table.

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pgrx::pg_sys;

use crate::error::{Error, Name, Obstacle};

/// What a table looks like.
pub struct Shape {
    pub name: &'static CStr,
    /// The names of its columns, in order. The library does not need them, but whoever queries a view does.
    names: &'static str,
    /// Their types.
    pub columns: &'static [pg_sys::Oid],
    /// How many of them form its key.
    key: usize,
    /// Is the last column a MAC over the others?
    pub is_signed: bool,
    /// Is there a row at the lowest place that belongs to nobody?
    pub has_first_row: bool,
}

const BOOL: pg_sys::Oid = pg_sys::BOOLOID;
const BYTES: pg_sys::Oid = pg_sys::BYTEAOID;
const INT2: pg_sys::Oid = pg_sys::INT2OID;
const INT4: pg_sys::Oid = pg_sys::INT4OID;
const INT8: pg_sys::Oid = pg_sys::INT8OID;
const TEXT: pg_sys::Oid = pg_sys::TEXTOID;
const TIME: pg_sys::Oid = pg_sys::TIMESTAMPTZOID;
const UUID: pg_sys::Oid = pg_sys::UUIDOID;

/// All tables, as the SQL file creates them.
const SHAPES: &[Shape] = &[
    Shape {
        name: c"credential",
        names: "blind_index user_id verifier must_change expires_at created_at changed_at reset_digest reset_issued_at reset_expires_at former mac",
        columns: &[UUID, TEXT, TEXT, BOOL, TIME, TIME, TIME, TEXT, TIME, TIME, TEXT, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: true,
    },
    Shape {
        name: c"account",
        names: "blind_index user_id disabled_at change_required_at tokens_revoked_at created_at seal mac",
        columns: &[UUID, TEXT, TIME, TIME, TIME, TIME, TEXT, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: true,
    },
    Shape {
        name: c"blind_index_key",
        names: "key in_use id mac",
        columns: &[BYTES, BOOL, UUID, BYTES],
        key: 0,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"throttle",
        names: "key kind count at known_until rests_at mac",
        columns: &[UUID, INT2, INT4, TIME, TIME, TIME, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: true,
    },
    Shape {
        name: c"event",
        names: "epoch seq at since count action outcome user_id client_addr login_role acting_role peer_addr certificate_subject certificate_serial application_name pid xid alert detail user_nonce mac",
        columns: &[
            INT8, INT8, TIME, TIME, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
            TEXT, INT4, INT8, INT4, TEXT, BYTES, BYTES,
        ],
        key: 2,
        // Its rows are chained.
        is_signed: false,
        has_first_row: false,
    },
    Shape {
        name: c"event_fold",
        names: "key at since count action outcome user_id client_addr login_role acting_role peer_addr certificate_subject certificate_serial application_name pid xid alert detail mac",
        columns: &[
            UUID, TIME, TIME, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
            INT4, INT8, INT4, TEXT, BYTES,
        ],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"open_change",
        names: "key xid top_xid epoch first_seq since clears by_session share mac",
        columns: &[UUID, INT8, INT8, INT8, INT8, TIME, UUID, BOOL, TEXT, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"forgetting",
        names: "key user_id until xid scope mac",
        columns: &[UUID, TEXT, TIME, INT8, INT2, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"anchor",
        names: "key sealed mac",
        columns: &[UUID, TEXT, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"cost_class",
        names: "key template users part current cells mac",
        columns: &[UUID, TEXT, INT8, INT8, BOOL, BYTES, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"secret",
        names: "key id user_id name destination data_key in_vault sealed state why stored_at opened_at mac",
        columns: &[UUID, UUID, TEXT, TEXT, TEXT, TEXT, BOOL, TEXT, TEXT, TEXT, TIME, TIME, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"job",
        names: "key due secret what progress state every until leases leased_by leased_with due_at attempts next_seq acked outcome detail created_at finished_at mac",
        columns: &[
            UUID, UUID, UUID, TEXT, TEXT, TEXT, INT8, TIME, INT8, INT8, TIME, TIME, INT4, INT8,
            INT8, TEXT, TEXT, TIME, TIME, BYTES,
        ],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"result",
        names: "key sealed delivered_at mac",
        columns: &[UUID, TEXT, TIME, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
    Shape {
        name: c"vault",
        names: "key id user_id sealed secrets jobs created_at changed_at mac",
        columns: &[UUID, UUID, TEXT, TEXT, INT4, INT4, TIME, TIME, BYTES],
        key: 1,
        is_signed: true,
        has_first_row: false,
    },
];

impl Shape {
    /// Its number in the list of tables, as a bit.
    pub fn bit(&self) -> u16 {
        let number = SHAPES.iter().position(|shape| shape.name == self.name);
        number.map_or(0, |number| 1 << number)
    }

    /// The names of the tables whose bits are set.
    pub fn of_bits(bits: u16) -> impl Iterator<Item = &'static CStr> {
        let all = SHAPES.iter().map(|shape| (shape.name, shape.bit()));
        all.filter(move |(_, bit)| bits & bit != 0).map(|(name, _)| name)
    }
}

/// The names of all tables.
pub fn names() -> impl Iterator<Item = &'static CStr> {
    SHAPES.iter().map(|shape| shape.name)
}

/// Tables and indexes already checked. There is more room than needed.
static LOOKED_AT: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
/// Counts invalidations by PostgreSQL.
static FORGOTTEN: AtomicU32 = AtomicU32::new(0);

/// Checks that this table is as it was created.
///
/// # Errors
/// [`Error::InTheWay`].
pub fn require_table(relation: pg_sys::Relation, shape: &Shape) -> Result<(), Error> {
    // SAFETY: the relation is open.
    once(relation, || unsafe { check_table(relation, shape) })
}

/// Checks that this index is the one by which rows of that table are found, from that column on.
///
/// # Errors
/// Those of [`require_table`].
pub fn require_index(
    relation: pg_sys::Relation,
    table: pg_sys::Relation,
    shape: &Shape,
    column: i16,
) -> Result<(), Error> {
    // SAFETY: the relations are open.
    once(relation, || unsafe { check_index(relation, table, shape, column) })
}

/// Checks that this index lists rows of that table by these columns: all that have the first.
///
/// # Errors
/// Those of [`require_table`].
pub fn require_list(
    relation: pg_sys::Relation,
    table: pg_sys::Relation,
    shape: &Shape,
    columns: &[i16],
) -> Result<(), Error> {
    // SAFETY: the relations are open.
    once(relation, || unsafe { check_list(relation, table, shape, columns) })
}

/// What the table of that name looks like.
///
/// # Errors
/// [`Error::NotInstalled`] for a name that is not in the list.
pub fn of(name: &CStr) -> Result<&'static Shape, Error> {
    SHAPES.iter().find(|shape| shape.name == name).ok_or(Error::NotInstalled)
}

/// Runs a check unless it has passed since the last invalidation. A failure is not remembered,
/// because some obstacles disappear without an invalidation.
fn once(relation: pg_sys::Relation, look: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    listen();
    // SAFETY: the relation is open.
    let oid = unsafe { (*relation).rd_id }.to_u32();
    if LOOKED_AT.iter().any(|seen| seen.load(Relaxed) == oid) {
        return Ok(());
    }
    let before = FORGOTTEN.load(Relaxed);
    look()?;
    if FORGOTTEN.load(Relaxed) == before
        && let Some(free) = LOOKED_AT.iter().find(|seen| seen.load(Relaxed) == 0)
    {
        free.store(oid, Relaxed);
    }
    Ok(())
}

/// Registers for relation cache invalidations, once in each process.
fn listen() {
    static LISTENING: AtomicU32 = AtomicU32::new(0);
    if LISTENING.swap(1, Relaxed) == 0 {
        // SAFETY: a plain function of this library, which stays loaded.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::null()) };
    }
}

unsafe extern "C-unwind" fn forget(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    FORGOTTEN.fetch_add(1, Relaxed);
    for seen in &LOOKED_AT {
        if relation == pg_sys::InvalidOid || seen.load(Relaxed) == relation.to_u32() {
            seen.store(0, Relaxed);
        }
    }
}

unsafe fn check_table(relation: pg_sys::Relation, shape: &Shape) -> Result<(), Error> {
    let table = Name::of(shape.name);
    // SAFETY: the caller's promise; names are C strings for as long as they are copied.
    unsafe {
        let class = &*(*relation).rd_rel;
        if class.relkind as u8 != pg_sys::RELKIND_RELATION
            || class.relam != pg_sys::HEAP_TABLE_AM_OID
        {
            return Err(Error::InTheWay(Obstacle::Storage, table, table));
        }
        if class.relforcerowsecurity {
            return Err(Error::InTheWay(Obstacle::RowSecurity, table, table));
        }
        check_columns((*relation).rd_att, shape)?;
        let triggers = (*relation).trigdesc;
        if !triggers.is_null() {
            for i in 0..(*triggers).numtriggers as usize {
                let trigger = &*(*triggers).triggers.add(i);
                if trigger.tgenabled as u8 == pg_sys::TRIGGER_DISABLED {
                    continue;
                }
                let constraint = pg_sys::get_constraint_name(trigger.tgconstraint);
                return Err(if constraint.is_null() {
                    Error::InTheWay(Obstacle::Trigger, name_at(trigger.tgname), table)
                } else {
                    Error::InTheWay(Obstacle::Constraint, name_at(constraint), table)
                });
            }
        }
        let rules = (*relation).rd_rules;
        if !rules.is_null() && (*rules).numLocks > 0 {
            let rule = (**(*rules).rules).ruleId;
            let name = catalog::rule_name(rule);
            return Err(Error::InTheWay(Obstacle::Rule, name, table));
        }
        if !class.relhasindex {
            return Err(Error::InTheWay(Obstacle::Index, table, table));
        }
        let oid = (*relation).rd_id;
        if let Some(parent) = catalog::parent(oid) {
            let name = name_at(pg_sys::get_rel_name(parent));
            return Err(Error::InTheWay(Obstacle::Parent, name, table));
        }
        if class.relhassubclass
            && let Some(child) = catalog::child(oid)
        {
            let name = name_at(pg_sys::get_rel_name(child));
            return Err(Error::InTheWay(Obstacle::Child, name, table));
        }
    }
    Ok(())
}

unsafe fn check_columns(columns: pg_sys::TupleDesc, shape: &Shape) -> Result<(), Error> {
    let table = Name::of(shape.name);
    // SAFETY: the caller's promise: as many attributes as it says.
    unsafe {
        let count = (*columns).natts as usize;
        for i in 0..count {
            #[cfg(not(feature = "pg18"))]
            let column = &*(*columns).attrs.as_ptr().add(i);
            // Full attributes follow the compact ones.
            #[cfg(feature = "pg18")]
            let column = {
                let behind = (*columns).compact_attrs.as_ptr().add(count);
                &*behind.cast::<pg_sys::FormData_pg_attribute>().add(i)
            };
            let plain = !column.attisdropped
                && column.atttypmod == -1
                && column.attgenerated == 0
                && column.attidentity == 0;
            let name = name_at(column.attname.data.as_ptr());
            let its = shape.names.split(' ').nth(i).is_some_and(|its| its == name.to_string());
            if !plain || !its || shape.columns.get(i) != Some(&column.atttypid) {
                return Err(Error::InTheWay(Obstacle::Column, name, table));
            }
        }
        if count == shape.columns.len() { Ok(()) } else { Err(Error::NotInstalled) }
    }
}

unsafe fn check_index(
    index: pg_sys::Relation,
    table: pg_sys::Relation,
    shape: &Shape,
    column: i16,
) -> Result<(), Error> {
    // SAFETY: the caller's promise; an index has as many elements in each array as it has columns.
    unsafe {
        let (class, row) = (&*(*index).rd_rel, &*(*index).rd_index);
        let family = if shape.columns[0] == INT8 {
            pg_sys::INTEGER_BTREE_FAM_OID
        } else {
            UUID_BTREE_FAM_OID
        };
        let keys = usize::try_from(row.indnkeyatts).unwrap_or_default();
        let as_created = is_btree_of(index, table)
            && row.indisunique
            && row.indimmediate
            && keys == if column == 1 { shape.key } else { 1 }
            && keys > 0
            && (0..keys).all(|i| {
                i32::from(*row.indkey.values.as_ptr().add(i)) == i32::from(column) + i as i32
                    && *(*index).rd_opfamily.add(i) == family
                    && *(*index).rd_indoption.add(i) == 0
            })
            && pg_sys::RelationGetIndexPredicate(index).is_null();
        if as_created {
            return Ok(());
        }
        let name = name_at(class.relname.data.as_ptr());
        Err(Error::InTheWay(Obstacle::Index, name, Name::of(shape.name)))
    }
}

/// Is it a btree on that table, which is ready to be read and written?
unsafe fn is_btree_of(index: pg_sys::Relation, table: pg_sys::Relation) -> bool {
    // SAFETY: the caller's promise: both are open.
    unsafe {
        let (class, row) = (&*(*index).rd_rel, &*(*index).rd_index);
        row.indrelid == (*table).rd_id
            && class.relam == pg_sys::BTREE_AM_OID
            && row.indisvalid
            && row.indisready
            && row.indislive
    }
}

unsafe fn check_list(
    index: pg_sys::Relation,
    table: pg_sys::Relation,
    shape: &Shape,
    columns: &[i16],
) -> Result<(), Error> {
    // SAFETY: the caller's promise; an index has as many elements in each array as it has columns. Its predicate is a
    // list of nodes, whose tag says what they are.
    unsafe {
        let (class, row) = (&*(*index).rd_rel, &*(*index).rd_index);
        let keys = usize::try_from(row.indnkeyatts).unwrap_or_default();
        let predicate = pg_sys::RelationGetIndexPredicate(index);
        let has_first = !predicate.is_null() && (*predicate).length == 1 && {
            let test = (*(*predicate).elements).ptr_value.cast::<pg_sys::NullTest>();
            (*test).xpr.type_ == pg_sys::NodeTag::T_NullTest
                && (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
                && (*(*test).arg).type_ == pg_sys::NodeTag::T_Var
                && (*(*test).arg.cast::<pg_sys::Var>()).varattno == columns[0]
        };
        let as_created = is_btree_of(index, table)
            && keys == columns.len()
            && (0..keys).all(|i| {
                let collation = *(*index).rd_indcollation.add(i);
                *row.indkey.values.as_ptr().add(i) == columns[i]
                    && *(*index).rd_indoption.add(i) == 0
                    && (collation == pg_sys::InvalidOid || collation == C_COLLATION)
            })
            && has_first;
        if as_created {
            return Ok(());
        }
        let name = name_at(class.relname.data.as_ptr());
        Err(Error::InTheWay(Obstacle::List, name, Name::of(shape.name)))
    }
}

/// The collation `"C"`; the same OID in every major version.
const C_COLLATION: pg_sys::Oid = pg_sys::Oid::from_u32(950);

/// `uuid_ops` for btree indexes; the same OID in every major version.
const UUID_BTREE_FAM_OID: pg_sys::Oid = pg_sys::Oid::from_u32(2968);

/// # Safety
/// `name` is a C string or null.
unsafe fn name_at(name: *const c_char) -> Name {
    // SAFETY: the caller's promise.
    if name.is_null() { Name::of(c"?") } else { Name::of(unsafe { CStr::from_ptr(name) }) }
}

/// Catalog rows for which PostgreSQL has no look-up function. Their OIDs are the same in every
/// major version.
mod catalog {
    use std::ffi::c_char;

    use pgrx::pg_sys;

    use super::{Name, name_at};

    const INHERITS: Catalog = Catalog { table: 2611, index: 2680, column: 1 };
    const INHERITS_BY_PARENT: Catalog = Catalog { table: 2611, index: 2187, column: 2 };
    const REWRITE: Catalog = Catalog { table: 2618, index: 2692, column: 1 };

    /// A catalog, an index of it that starts with an oid column, and the number of that column.
    struct Catalog {
        table: u32,
        index: u32,
        column: i16,
    }

    /// The table from which a table inherits.
    pub fn parent(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
        first(&INHERITS, table, 2, |datum| pg_sys::Oid::from_u32(datum.value() as u32))
    }

    pub fn child(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
        first(&INHERITS_BY_PARENT, table, 1, |datum| pg_sys::Oid::from_u32(datum.value() as u32))
    }

    pub fn rule_name(rule: pg_sys::Oid) -> Name {
        // SAFETY: the second column is a name, which is a C string.
        let name =
            first(&REWRITE, rule, 2, |datum| unsafe { name_at(datum.cast_mut_ptr::<c_char>()) });
        name.unwrap_or(Name::of(c"?"))
    }

    /// A column, never NULL, of the first row with that oid.
    fn first<T>(
        catalog: &Catalog,
        oid: pg_sys::Oid,
        column: i32,
        read: impl FnOnce(pg_sys::Datum) -> T,
    ) -> Option<T> {
        // SAFETY: a catalog is read through its index; the key lives until the scan ends, and the
        // value is copied while its row is valid.
        unsafe {
            let mut key = pg_sys::ScanKeyData::default();
            let equal = pg_sys::BTEqualStrategyNumber as u16;
            let value = pg_sys::Datum::from(oid);
            pg_sys::ScanKeyInit(&mut key, catalog.column, equal, pg_sys::F_OIDEQ.into(), value);
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let table = pg_sys::table_open(pg_sys::Oid::from_u32(catalog.table), lock);
            let index = pg_sys::Oid::from_u32(catalog.index);
            let scan =
                pg_sys::systable_beginscan(table, index, true, std::ptr::null_mut(), 1, &mut key);
            let tuple = pg_sys::systable_getnext(scan);
            let mut is_null = false;
            let found = (!tuple.is_null())
                .then(|| read(pg_sys::heap_getattr(tuple, column, (*table).rd_att, &mut is_null)));
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(table, lock);
            found
        }
    }
}
