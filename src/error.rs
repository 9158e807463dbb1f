//! Errors: misuse and broken promises. A wrong password is an answer, not an error.
//!
//! Messages are fixed and must never contain anything that the caller passed.

use password_verify_core::keeper::destination::NotADestination;
use password_verify_core::keeper::schedule::NotASchedule;
use password_verify_core::kept::keyring::KeyId;
use password_verify_core::kept::verifier::NotAVerifier;
use password_verify_core::kept::workspace::OutOfMemory;
use password_verify_core::rules::user_id::NotAUserId;

use crate::pg::report::{ErrorReport, ROUTINE, SqlState, log_record};

/// The number of a record: `password_verify.credential.blind_index`. It is pseudo-random, and
/// useless without the table.
pub type RecordNumber = [u8; 16];

/// The name of an object, truncated as PostgreSQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; 64]);

impl Name {
    /// Copies the first 64 bytes of the name.
    pub fn of(name: &std::ffi::CStr) -> Self {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(name.to_bytes()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(bytes))
    }
}

/// What differs from the table that the extension created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A trigger would run foreign code inside a login, or would be skipped.
    Trigger,
    /// A foreign key, or a constraint that is deferred.
    Constraint,
    Rule,
    /// A column was dropped or added, or has another type.
    Column,
    /// The table is not an ordinary heap table.
    Storage,
    /// Row security would hide rows from the owner's views.
    RowSecurity,
    Parent,
    Child,
    /// The index of the primary key differs.
    Index,
    /// Another index differs, or is missing.
    List,
}

impl Obstacle {
    fn hint(self, name: Name, table: Name) -> String {
        let table = format!("password_verify.{table}");
        match self {
            Self::Trigger => format!("Drop or disable trigger \"{name}\" on {table}."),
            Self::Constraint => format!("Drop constraint \"{name}\", which concerns {table}."),
            Self::Rule => format!("Drop rule \"{name}\" on {table}."),
            Self::Column => {
                format!(
                    "Column \"{name}\" of {table} is not as it was created; restore the table from a backup."
                )
            }
            Self::Storage => {
                format!("Give {table} its storage back: it must be an ordinary table, USING heap.")
            }
            Self::RowSecurity => {
                format!("Run ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY.")
            }
            Self::Parent => format!("Detach {table} from \"{name}\", of which it is a part."),
            Self::Child => format!("Detach or drop \"{name}\", which inherits from {table}."),
            Self::List => {
                format!(
                    "Index \"{name}\" of {table} is not as it was created: drop it if it is there, and create it again."
                )
            }
            Self::Index => {
                format!(
                    "Index \"{name}\" of {table} is not as it was created: drop it if it is there, and add PRIMARY KEY to the table again."
                )
            }
        }
    }
}

/// Every error that can end a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The library is not in `shared_preload_libraries`.
    NotPreloaded,
    /// The tables or the key of the extension are missing.
    NotInstalled,
    /// The records of two databases, each with its own blind index key, were mixed.
    TwoKeys,
    /// The argument with this name must not be NULL.
    Null(&'static str),
    /// The user id is the empty text.
    EmptyUserId,
    /// The user id is longer than 255 bytes of UTF-8.
    UserIdTooLong,
    /// The target of `pv_calibrate` is out of bounds.
    Target,
    /// The life of a reset token is out of bounds.
    TokenLife,
    /// The types of the arguments are not known, as in a call by the fast-path protocol.
    UntypedCall,
    /// Called inside a parallel operation.
    Parallel,
    /// Called in a background process, or while PostgreSQL evaluates a user's expression for
    /// maintenance: the call would be charged to the wrong user.
    NotByClient,
    /// A secret came over a network connection that is not encrypted.
    NotEncrypted,
    /// A secret came over a connection without a client certificate that the server has verified.
    NoClientCertificate,
    /// A text is not valid in the encoding of the database.
    NotText,
    /// A change was called in a read-only transaction or on a standby.
    ReadOnly,
    /// Another transaction holds the record, and the function returns no `reason`.
    Busy,
    /// No hash slot came free, and the function returns no `reason`.
    ServerBusy,
    /// A stored verifier does not parse.
    Corrupt(RecordNumber),
    /// The state of an account is missing, or was changed or moved.
    CorruptAccount(RecordNumber),
    /// A row of the table with this name was changed, moved, or made without a key.
    Altered(Name),
    /// A row of the table with this name was made with a key that is not in the keyring.
    NoKeyOfRow(Name),
    /// The key of the blind index is not the one that the anchor names.
    OtherIndexKey,
    /// A MAC is not the 64 hexadecimal digits of one.
    NotAMac,
    /// There is no keyring, without which nothing can be verified.
    NoKeyring,
    /// Events are to name users by digests, and there is no keyring to keep the key of those.
    NoKeyForDigests,
    /// The caller is not a superuser.
    NotSuperuser,
    /// A destination is not one, in these words.
    Destination(NotADestination),
    /// A request cannot be repeated like that.
    Schedule(NotASchedule),
    /// An argument is out of bounds: what it is, and its bounds.
    Bounds(&'static str, &'static str),
    /// The user has no secret of that name.
    NoSecretNamed,
    /// There is no such job, or its secret is gone.
    NoJob,
    /// The job is not leased, or not any more.
    NotLeased,
    /// The secret was stored anew since its job was leased.
    NewSecret,
    /// A secret has as many jobs as it can have.
    TooManyJobs,
    /// A job has as many results as it can have.
    ResultsFull,
    /// The secret is in a vault that this handle does not unlock.
    VaultLocked,
    /// There is no place for another unlocked vault, or for a job with a secret of one.
    VaultPlaces,
    /// Another transaction holds something that is kept for the user.
    Held,
    /// The reason for accepting a restore is empty or too long.
    Reason,
    /// There is a keyring, and the tables are from before it or look like that.
    NotDeclared,
    /// A stored verifier asks for more work than the ceilings allow.
    OverLimit(RecordNumber),
    /// `password_verify.argon2_*` are below every row of the OWASP recommendation.
    SettingsTooWeak,
    /// `password_verify.argon2_memory` is above `password_verify.hash_memory_limit`.
    SettingsAboveLimit,
    /// A stored verifier asks for more memory than `password_verify.hash_memory_limit`.
    OverMemoryLimit(RecordNumber),
    /// A stored record is another system's hash, and this build cannot read it.
    ImportNotBuilt,
    /// A secret is sealed with a key that is not in the keyring.
    UnknownKey(KeyId),
    /// A secret is sealed with a different key than the keyring has under that id.
    OtherKey(KeyId),
    /// The operating system refused the memory for a hash.
    OutOfMemory,
    /// The operating system returned no random numbers.
    NoRandomness,
    /// Called in the transaction that created or altered the extension.
    JustInstalled,
    /// The transaction has changed passwords or accounts.
    HasChanges,
    /// More databases use the extension than shared memory has places for.
    TooManyDatabases,
    /// A change found no place in the audit, or no worker to write it.
    AuditBusy,
    /// The audit event was not committed in time.
    AuditNotWritten,
    /// PREPARE TRANSACTION in a transaction with changes.
    Prepare,
    /// Validation on a standby is not allowed by the settings.
    StandbyValidation,
    /// Another session locked a table until the deadline, and the function returns no `reason`.
    Locked,
    /// A table is not as it was created: the obstacle, its name, and the name of the table.
    InTheWay(Obstacle, Name, Name),
    /// An index or constraint that was added to a table refused a row.
    Objection,
    /// The extension was dropped. Only a worker sees this.
    Dropped,
    /// The extension exists, but its schema was renamed. Only a worker sees this.
    SchemaRenamed,
    /// The extension was dropped and created again. Only a worker sees this.
    Replaced,
}

impl Error {
    /// The table of SQLSTATEs, messages and hints.
    fn sqlstate_and_texts(self) -> (SqlState, String, &'static str) {
        use SqlState::*;
        let (state, message, hint) = match self {
            Self::NotPreloaded => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify is not preloaded",
                "Add shared_preload_libraries = 'password_verify' to postgresql.conf and restart the server.",
            ),
            Self::NotInstalled => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the tables of password_verify are missing or incomplete",
                "Restore schema password_verify from a backup, or drop and create the extension.",
            ),
            Self::TwoKeys => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify.blind_index_key holds more than one key in use",
                "Data was restored into a database that already had passwords; restore into an empty one.",
            ),
            Self::Null(what) => {
                return (ERRCODE_NULL_VALUE_NOT_ALLOWED, format!("{what} must not be null"), "");
            }
            Self::EmptyUserId => (ERRCODE_INVALID_PARAMETER_VALUE, "user id must not be empty", ""),
            Self::UserIdTooLong => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "user id is too long",
                "A user id has at most 255 bytes in UTF-8.",
            ),
            Self::Target => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "the target is out of bounds",
                "A target is between 1 millisecond and 10 seconds.",
            ),
            Self::TokenLife => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "the life of a reset token is out of bounds",
                "valid_for is between 1 minute and 7 days.",
            ),
            Self::UntypedCall => (
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "function cannot be called without argument types",
                "Call it in a SQL statement.",
            ),
            Self::Parallel => (
                ERRCODE_INVALID_TRANSACTION_STATE,
                "function cannot be called during a parallel operation",
                "Do not mark functions that call it PARALLEL SAFE.",
            ),
            Self::NotByClient => (
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "function can only be called by a client's own statement",
                "Not by maintenance (ANALYZE, CREATE INDEX, REINDEX, CLUSTER, VACUUM, REFRESH MATERIALIZED VIEW), a background worker, or logical replication.",
            ),
            Self::NotEncrypted => (
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "secrets cannot cross a network connection that is not encrypted",
                "Connect with TLS (ssl = on, hostssl in pg_hba.conf, sslmode=verify-full) or GSS encryption. What was sent may have been read on its way. See password_verify.require_tls.",
            ),
            Self::NoClientCertificate => (
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "secrets cannot cross a connection without a verified client certificate",
                "Connect with TLS and a certificate (sslcert, sslkey) that ssl_ca_file of the server vouches for. See password_verify.require_client_certificate.",
            ),
            Self::NotText => (
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                "argument is not valid text in the encoding of the database",
                "",
            ),
            Self::ReadOnly => (
                ERRCODE_READ_ONLY_SQL_TRANSACTION,
                "cannot change credentials in a read-only transaction",
                "",
            ),
            Self::Busy => (
                ERRCODE_LOCK_NOT_AVAILABLE,
                "another transaction is changing the same credential",
                "Try again when that transaction has ended.",
            ),
            Self::ServerBusy => (
                ERRCODE_LOCK_NOT_AVAILABLE,
                "no hash slot came free in time",
                "Try again when fewer passwords are being hashed.",
            ),
            Self::Corrupt(_) => {
                (ERRCODE_DATA_CORRUPTED, "a credential record is corrupt", NAMED_IN_LOG)
            }
            Self::CorruptAccount(_) => (
                ERRCODE_DATA_CORRUPTED,
                "an account record is corrupt",
                "Call pv_disable_user or pv_enable_user for the user whose record it is: the server log has its password_verify.credential.blind_index. It is written anew, and the password has to be changed.",
            ),
            Self::Altered(table) => {
                return (
                    ERRCODE_DATA_CORRUPTED,
                    format!("a row of password_verify.{table} is not as it was written"),
                    "Somebody has written to the table, or it was damaged. See docs/tampering.md.",
                );
            }
            Self::OtherIndexKey => (
                ERRCODE_DATA_CORRUPTED,
                "the key in password_verify.blind_index_key is not the one that was used",
                "Put the right row back from a backup: without it, nobody's record is found.",
            ),
            Self::NotSuperuser => {
                (ERRCODE_INSUFFICIENT_PRIVILEGE, "only a superuser can accept a restore", "")
            }
            Self::Reason => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "the reason is empty or too long",
                "A reason has 1 to 255 bytes in UTF-8.",
            ),
            Self::NotAMac => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "the mac is not 64 hexadecimal digits",
                "Take epoch, seq and mac from what pv_verify_events has answered, or from a line of the server log with \"audit\":\"head\".",
            ),
            Self::NoKeyring => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "there is no keyring",
                "Set password_verify.keyring_file. Without a key nothing can be verified, and no secret can be kept.",
            ),
            Self::NoKeyForDigests => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify.audit_user_ids is digest, and there is no keyring",
                "Set password_verify.keyring_file, with which the key of the digests is sealed, or set audit_user_ids to text.",
            ),
            Self::NotDeclared => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the tables of password_verify were not sealed, and there is a keyring",
                "If the keyring is new, set password_verify.accept_unsealed = until_rotated, restart, and call pv_rotate_keys. If it is not, the tables were changed: see docs/tampering.md.",
            ),
            Self::Destination(why) => {
                return (
                    ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("the destination is refused: {}", why.as_str()),
                    "See docs/keeper.md for what a destination consists of.",
                );
            }
            Self::Schedule(why) => {
                return (
                    ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("the request cannot be repeated like that: {}", why.as_str()),
                    "A repeated request has an end, within 400 days; every is between 1 minute and 31 days.",
                );
            }
            Self::Bounds(what, bounds) => {
                return (
                    ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("{what} is out of bounds"),
                    bounds,
                );
            }
            Self::NoSecretNamed => {
                (ERRCODE_UNDEFINED_OBJECT, "the user has no secret of that name", "")
            }
            Self::NoJob => (ERRCODE_UNDEFINED_OBJECT, "there is no such job", ""),
            Self::NotLeased => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the job is not leased",
                "Call pv_take_job, commit, and finish before the lease ends.",
            ),
            Self::NewSecret => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the secret was stored anew since the job was leased",
                "Call pv_finish_job with retry: what is kept now belongs to the user, and comes with the next lease.",
            ),
            Self::TooManyJobs => (
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many requests",
                "Acknowledge the results of those that are over, or cancel some: a user has 200 at most.",
            ),
            Self::ResultsFull => (
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many results of one request are not acknowledged",
                "Call pv_ack_results: 1000 are kept at most.",
            ),
            Self::VaultLocked => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the secret is in a vault that is not unlocked",
                "Call pv_unlock_vault, and pass the handle to pv_request.",
            ),
            Self::VaultPlaces => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "no place for another unlocked vault",
                "Lock vaults that are not in use, or raise password_verify.vault_places. One login role has half of them, and a vault 8 handles and 128 places in all.",
            ),
            Self::Held => (
                ERRCODE_LOCK_NOT_AVAILABLE,
                "another transaction holds what is kept for the user",
                "Try again when that transaction has ended.",
            ),
            Self::NoKeyOfRow(table) => {
                return (
                    ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "the keyring of password_verify lacks the key of a row of password_verify.{table}"
                    ),
                    "Put the key back into password_verify.keyring_file, before the last line; a reload is not needed.",
                );
            }
            Self::OverLimit(_) => (
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "a credential record asks for more work than is allowed",
                NAMED_IN_LOG,
            ),
            Self::SettingsTooWeak => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the argon2 settings of password_verify are below the owasp minimum",
                "Raise password_verify.argon2_memory or password_verify.argon2_iterations: 46 MB and 1, 19 MB and 2, 12 MB and 3, 9 MB and 4, or 7 MB and 5.",
            ),
            Self::UnknownKey(id) => {
                return (
                    ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("the keyring of password_verify has no key {}", id.as_str()),
                    "Put the key back into password_verify.keyring_file, before the last line; a reload is not needed.",
                );
            }
            Self::OtherKey(id) => {
                return (
                    ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "key {} in the keyring of password_verify is not the one that was used",
                        id.as_str()
                    ),
                    "Put the right key of that id back into password_verify.keyring_file; give a new key an id of its own.",
                );
            }
            Self::SettingsAboveLimit => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify.argon2_memory is above password_verify.hash_memory_limit",
                "Lower argon2_memory, or raise hash_memory_limit, which takes a restart.",
            ),
            Self::OverMemoryLimit(_) => (
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "a credential record asks for more memory than one hash may take",
                "Raise password_verify.hash_memory_limit, which takes a restart.",
            ),
            Self::OutOfMemory => (
                ERRCODE_OUT_OF_MEMORY,
                "out of memory for a password hash",
                "Lower password_verify.hash_slots or password_verify.argon2_memory, or give the server more memory.",
            ),
            Self::JustInstalled => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify was created or altered in this transaction",
                "Commit first: attempts are recorded by another session, which cannot see it yet.",
            ),
            Self::HasChanges => (
                ERRCODE_ACTIVE_SQL_TRANSACTION,
                "this transaction has changed what is to be verified",
                "Commit it, or roll it back, and call this in a transaction of its own.",
            ),
            Self::TooManyDatabases => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "password_verify is in use in too many databases of this server",
                "At most 64 databases can use it at the same time.",
            ),
            Self::AuditBusy => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "no place for the audit event of this change",
                "Try again, or raise password_verify.audit_queue or password_verify.workers. If everybody is busy, the server log says why no worker comes.",
            ),
            Self::AuditNotWritten => (
                ERRCODE_IO_ERROR,
                "the audit event of this call was not written in time",
                "The server log says what keeps the password_verify worker from writing.",
            ),
            Self::Prepare => (
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot prepare a transaction that has changed passwords",
                "Use COMMIT.",
            ),
            Self::StandbyValidation => (
                ERRCODE_READ_ONLY_SQL_TRANSACTION,
                "cannot validate passwords on a standby",
                "Ask the primary, or set password_verify.standby_validation, which keeps attempts in memory only.",
            ),
            Self::SchemaRenamed => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "schema password_verify has been renamed, or its tables have",
                "Give it its name back. What is to be recorded waits until then.",
            ),
            Self::Locked => (
                ERRCODE_LOCK_NOT_AVAILABLE,
                "a table of password_verify is locked by another session",
                "Try again when VACUUM FULL, CLUSTER, REINDEX or LOCK TABLE has ended.",
            ),
            // `ErrorReport::from` makes the hint, which needs the names.
            Self::InTheWay(..) => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "a table of password_verify is not as it was created",
                "",
            ),
            Self::Objection => (
                ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION,
                "an index or constraint that was added to a table of password_verify refuses a row",
                "Drop it, or make it accept every row: its expression has failed.",
            ),
            Self::Dropped | Self::Replaced => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "password_verify is not installed in this database",
                "",
            ),
            Self::ImportNotBuilt => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "this build of password_verify does not read imported hashes",
                "Install a build with the feature import, which is the default.",
            ),
            Self::NoRandomness => {
                (ERRCODE_SYSTEM_ERROR, "the operating system gave no random numbers", "")
            }
        };
        (state, message.to_owned(), hint)
    }
}

/// Does not name the record, so that the caller cannot learn from it whether the user has one.
const NAMED_IN_LOG: &str = "Set a new password for the user whose record it is: the server log has its password_verify.credential.blind_index.";

/// Turns the error into PostgreSQL's, and logs the record that it is about.
impl From<Error> for ErrorReport {
    #[track_caller]
    fn from(error: Error) -> Self {
        let (state, message, hint) = error.sqlstate_and_texts();
        if let Some(number) = error.record() {
            log_record(&message, &uuid(number));
        }
        let report = Self::new(state, message, ROUTINE);
        if let Error::InTheWay(obstacle, name, table) = error {
            return report.set_hint(obstacle.hint(name, table));
        }
        if hint.is_empty() { report } else { report.set_hint(hint) }
    }
}

impl From<NotAUserId> for Error {
    fn from(why: NotAUserId) -> Self {
        match why {
            NotAUserId::Empty => Self::EmptyUserId,
            NotAUserId::TooLong => Self::UserIdTooLong,
        }
    }
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl Error {
    /// The record that the error is about.
    fn record(self) -> Option<RecordNumber> {
        match self {
            Self::Corrupt(number)
            | Self::CorruptAccount(number)
            | Self::OverLimit(number)
            | Self::OverMemoryLimit(number) => Some(number),
            _ => None,
        }
    }

    /// Whether the error depends on one record. Then it is an answer about its user and is charged
    /// as one. A missing key does not: unknown users get that error too, and no account may be
    /// locked out by it.
    pub fn is_of_a_record(self) -> bool {
        self.record().is_some()
    }

    /// Whether the error comes from one row, which others need not suffer from.
    pub fn is_of_a_row(self) -> bool {
        let of_key = matches!(self, Self::UnknownKey(_) | Self::OtherKey(_));
        of_key || self.is_of_a_record() || matches!(self, Self::Altered(_) | Self::NoKeyOfRow(_))
    }

    /// The error for a stored text that is not a usable verifier.
    pub fn stored(why: NotAVerifier, record: RecordNumber) -> Self {
        match why {
            NotAVerifier::Malformed => Self::Corrupt(record),
            NotAVerifier::OverLimit => Self::OverLimit(record),
            NotAVerifier::OverMemory => Self::OverMemoryLimit(record),
            NotAVerifier::NotBuilt => Self::ImportNotBuilt,
        }
    }
}

fn uuid(number: RecordNumber) -> String {
    password_verify_core::rules::user_id::UserId::from_uuid(number).as_str().to_owned()
}
