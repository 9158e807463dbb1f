-- password_verify 0.1.0: the whole SQL surface and all of its authority.
--
-- Start at the end: section 10 sets every owner and grant. The sections before it define the
-- objects, and each function declares that it runs as its owner and looks names up in pg_catalog
-- only.

\echo Use "CREATE EXTENSION password_verify" to load this file. \quit

-- Everything below is looked up in pg_catalog, whatever search_path the installing session has.
SET LOCAL search_path = pg_catalog, pg_temp;

--------------------------------------------------------------------------------
-- 1. Where installation is refused
--------------------------------------------------------------------------------

DO $refusals$
DECLARE
    api pg_catalog.oid;
BEGIN
    -- Passwords are compared as Unicode text. In SQL_ASCII, PostgreSQL neither knows nor checks
    -- which characters the bytes of a text stand for.
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'SQL_ASCII' THEN
        RAISE feature_not_supported USING
            MESSAGE = 'password_verify does not work in a database with encoding SQL_ASCII',
            HINT = 'Create the database with ENCODING ''UTF8''.';
    END IF;

    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n
                WHERE n.nspname OPERATOR(pg_catalog.=) 'password_verify') THEN
        RAISE duplicate_schema USING
            MESSAGE = 'schema password_verify already exists',
            HINT = 'Whoever made it could read what is kept in it. Drop or rename it first.';
    END IF;

    -- The functions go into the schema that CREATE EXTENSION names. An attacker who can create a
    -- function there, of the same name but for (integer, text), would be called instead and receive
    -- passwords. Only superusers may be able to.
    SELECT e.extnamespace INTO STRICT api
      FROM pg_catalog.pg_extension e
     WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify';
    IF EXISTS (
        SELECT
          FROM (SELECT n.nspowner AS who
                  FROM pg_catalog.pg_namespace n
                 WHERE n.oid OPERATOR(pg_catalog.=) api
                 UNION ALL
                SELECT acl.grantee
                  FROM pg_catalog.pg_namespace n
                 CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) acl
                 WHERE n.oid OPERATOR(pg_catalog.=) api
                   AND acl.privilege_type OPERATOR(pg_catalog.=) 'CREATE') creator
         WHERE NOT EXISTS (
                 -- pg_database_owner stands for the owner of this database.
                 SELECT
                   FROM pg_catalog.pg_roles named
                   JOIN pg_catalog.pg_database d
                     ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                   JOIN pg_catalog.pg_roles r
                     ON r.oid OPERATOR(pg_catalog.=)
                        CASE WHEN named.rolname OPERATOR(pg_catalog.=) 'pg_database_owner'
                             THEN d.datdba ELSE named.oid END
                  WHERE named.oid OPERATOR(pg_catalog.=) creator.who
                    AND r.rolsuper)) THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'roles that are not superusers may create objects in the schema of the extension',
            HINT = 'CREATE SCHEMA auth; CREATE EXTENSION password_verify SCHEMA auth; or revoke CREATE on the schema.';
    END IF;
END
$refusals$;

--------------------------------------------------------------------------------
-- 2. The one role: it owns everything and has no members
--------------------------------------------------------------------------------

DO $owner$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                    WHERE r.rolname OPERATOR(pg_catalog.=) 'pv_owner') THEN
        BEGIN
            CREATE ROLE pv_owner NOLOGIN;
            COMMENT ON ROLE pv_owner IS 'owns the objects of password_verify; never has a member';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- Made at this moment by CREATE EXTENSION in another database.
        END;
    END IF;

    -- Another database may have created the role. If it has any attribute or member, another role
    -- could act as the owner of the credentials.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles r
                WHERE r.rolname OPERATOR(pg_catalog.=) 'pv_owner'
                  AND (r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb
                       OR r.rolreplication OR r.rolbypassrls))
       OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m
                    JOIN pg_catalog.pg_roles r
                      ON r.oid OPERATOR(pg_catalog.=) m.roleid
                      OR r.oid OPERATOR(pg_catalog.=) m.member
                   WHERE r.rolname OPERATOR(pg_catalog.=) 'pv_owner') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'role pv_owner exists and has attributes, members or memberships',
            HINT = 'Drop it, or take away what it was given: it must be a plain NOLOGIN role.';
    END IF;
END
$owner$;

--------------------------------------------------------------------------------
-- 3. The tables
--------------------------------------------------------------------------------

CREATE SCHEMA password_verify;
COMMENT ON SCHEMA password_verify IS 'private objects of password_verify; no other role has USAGE';

-- The last column of each is a MAC over the others, empty without a keyring; the rows of the audit trail
-- are chained as well.
--
-- The library reads and writes these tables directly, in this order of columns, which
-- src/pg/heap/shape.rs repeats. It never queues for a lock, so VACUUM would not notice that it
-- waits while a table is being truncated; vacuum_truncate is therefore off.

-- One row per user.
CREATE TABLE password_verify.credential (
    blind_index uuid PRIMARY KEY,
    user_id     text COLLATE "C" NOT NULL,
    verifier    text COLLATE "C" NOT NULL,
    must_change boolean NOT NULL,
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    reset_digest     text COLLATE "C",
    reset_issued_at  timestamptz,
    reset_expires_at timestamptz,
    former      text COLLATE "C",
    mac         bytea NOT NULL,
    -- A row never comes near 8 kB, above which PostgreSQL would move a STORAGE MAIN column to a
    -- toast table.
    CHECK (pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.<=) 510),
    CHECK (pg_catalog.octet_length(verifier) OPERATOR(pg_catalog.<=) 880),
    CHECK (pg_catalog.octet_length(reset_digest) OPERATOR(pg_catalog.<=) 320),
    CHECK (pg_catalog.octet_length(former) OPERATOR(pg_catalog.<=) 4300)
) USING heap WITH (fillfactor = 80, vacuum_truncate = off);
COMMENT ON TABLE password_verify.credential IS 'one row per user';
COMMENT ON COLUMN password_verify.credential.blind_index IS 'keyed BLAKE2b of user_id: the place of the row, and its number in error messages';
COMMENT ON COLUMN password_verify.credential.user_id IS 'in canonical form; empty in the first row, which belongs to no user';
COMMENT ON COLUMN password_verify.credential.reset_digest IS 'digest of the newest reset token, sealed like verifier';
COMMENT ON COLUMN password_verify.credential.former IS 'earlier verifiers, sealed like verifier';
COMMENT ON COLUMN password_verify.credential.verifier IS 'Argon2id PHC string or imported hash, sealed with a key of the keyring if there is one';

-- The row at or before every place, so that a look-up always finds one.
INSERT INTO password_verify.credential
VALUES ('00000000-0000-0000-0000-000000000000', '', '', false, NULL,
        pg_catalog.now(), pg_catalog.now(), NULL, NULL, NULL, NULL, '');

-- One row per credential, in a table of its own: managers write this one and users the other, and
-- neither waits for the other's transaction. A missing or altered row is an error.
CREATE TABLE password_verify.account (
    blind_index uuid PRIMARY KEY,
    user_id     text COLLATE "C" NOT NULL,
    disabled_at timestamptz,
    change_required_at timestamptz,
    tokens_revoked_at  timestamptz,
    created_at  timestamptz NOT NULL,
    seal        text COLLATE "C" NOT NULL,
    mac         bytea NOT NULL,
    CHECK (pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.<=) 510),
    CHECK (pg_catalog.octet_length(seal) OPERATOR(pg_catalog.<=) 320)
) USING heap WITH (fillfactor = 90, vacuum_truncate = off);
COMMENT ON TABLE password_verify.account IS 'one row per user: the state of the account, as managers have set it';
COMMENT ON COLUMN password_verify.account.blind_index IS 'as in password_verify.credential';
COMMENT ON COLUMN password_verify.account.change_required_at IS 'passwords set at or before this time must be changed';
COMMENT ON COLUMN password_verify.account.tokens_revoked_at IS 'reset tokens issued at or before this time are invalid';
COMMENT ON COLUMN password_verify.account.seal IS 'seal over the other columns, with a key of the keyring; empty without a keyring';

-- The first row, as in password_verify.credential.
INSERT INTO password_verify.account
VALUES ('00000000-0000-0000-0000-000000000000', '', NULL, NULL, NULL, pg_catalog.now(), '', '');

-- The key of the blind index. CREATE EXTENSION makes one; the first record written under it adds it
-- again, marked as in use. A dump carries only keys in use, which win over a fresh one.
CREATE TABLE password_verify.blind_index_key (
    key    bytea NOT NULL CHECK (pg_catalog.octet_length(key) OPERATOR(pg_catalog.=) 32),
    in_use boolean NOT NULL,
    -- Without meaning: a table without a primary key cannot be published with its updates.
    id     uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    mac    bytea NOT NULL DEFAULT ''
) USING heap WITH (vacuum_truncate = off);
COMMENT ON TABLE password_verify.blind_index_key IS 'key of credential.blind_index';

-- Two uuids of 122 random bits each, from the server's strong generator.
INSERT INTO password_verify.blind_index_key
VALUES (pg_catalog.sha256(pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
                          OPERATOR(pg_catalog.||)
                          pg_catalog.uuid_send(pg_catalog.gen_random_uuid())), false);

-- Throttle budgets that are not at rest. Only the worker writes this table.
CREATE TABLE password_verify.throttle (
    key         uuid PRIMARY KEY,
    kind        smallint NOT NULL,
    count       integer NOT NULL,
    at          timestamptz NOT NULL,
    known_until timestamptz NOT NULL,
    rests_at    timestamptz NOT NULL,
    mac         bytea NOT NULL
) USING heap WITH (fillfactor = 80, vacuum_truncate = off);
COMMENT ON TABLE password_verify.throttle IS 'budgets that are not at rest';
COMMENT ON COLUMN password_verify.throttle.key IS 'keyed BLAKE2b of what the budget is for';
COMMENT ON COLUMN password_verify.throttle.kind IS '0 account, 1 known client, 2 client address, 3 login role, 4 attempts reserved for a client that may be known, 5 comparisons with earlier passwords, 6 vault, 7 lease of a job';

-- The first row, as in password_verify.credential.
INSERT INTO password_verify.throttle
VALUES ('00000000-0000-0000-0000-000000000000', -1, 0, 'infinity', 'infinity', 'infinity', '');

-- The audit trail: one row per event, ordered by (epoch, seq), each with a MAC over itself and the
-- row before it. Only the worker writes this table.
CREATE TABLE password_verify.event (
    epoch               bigint NOT NULL,
    seq                 bigint NOT NULL,
    at                  timestamptz NOT NULL,
    since               timestamptz NOT NULL,
    count               bigint NOT NULL,
    action              text COLLATE "C" NOT NULL,
    outcome             text COLLATE "C" NOT NULL,
    user_id             text COLLATE "C",
    client_addr         text COLLATE "C",
    login_role          text COLLATE "C",
    acting_role         text COLLATE "C",
    peer_addr           text COLLATE "C",
    certificate_subject text COLLATE "C",
    certificate_serial  text COLLATE "C",
    application_name    text COLLATE "C",
    pid                 integer,
    xid                 bigint,
    alert               integer NOT NULL,
    detail              text COLLATE "C",
    user_nonce          bytea,
    mac                 bytea NOT NULL,
    PRIMARY KEY (epoch, seq)
) USING heap WITH (vacuum_truncate = off);
COMMENT ON TABLE password_verify.event IS 'the audit trail, one row per event';
COMMENT ON COLUMN password_verify.event.user_nonce IS 'what mac covers of user_id is a hash of it and of these 16 bytes; where the id is erased, the hash itself';

-- What an auditor asks for, and what the worker looks for that erases an id: the events of one user and of one client, in
-- order, and of one transaction its end and its renames. The library knows these indexes, too.
CREATE INDEX event_user ON password_verify.event (user_id, at) WHERE user_id IS NOT NULL;
CREATE INDEX event_client ON password_verify.event (client_addr, at) WHERE client_addr IS NOT NULL;
CREATE INDEX event_xid ON password_verify.event (xid, action, at) WHERE xid IS NOT NULL;
-- Who had the audit verified, what was found to be changed, and what was accepted.
CREATE INDEX event_checked ON password_verify.event (at)
 WHERE action OPERATOR(pg_catalog.=) ANY ('{verify,tampered,accept_restore}');

-- Folded events whose count may still grow. Only the worker writes this table.
CREATE TABLE password_verify.event_fold (
    key                 uuid PRIMARY KEY,
    at                  timestamptz NOT NULL,
    since               timestamptz NOT NULL,
    count               bigint NOT NULL,
    action              text COLLATE "C" NOT NULL,
    outcome             text COLLATE "C" NOT NULL,
    user_id             text COLLATE "C",
    client_addr         text COLLATE "C",
    login_role          text COLLATE "C",
    acting_role         text COLLATE "C",
    peer_addr           text COLLATE "C",
    certificate_subject text COLLATE "C",
    certificate_serial  text COLLATE "C",
    application_name    text COLLATE "C",
    pid                 integer,
    xid                 bigint,
    alert               integer NOT NULL,
    detail              text COLLATE "C",
    mac                 bytea NOT NULL
) USING heap WITH (fillfactor = 50, vacuum_truncate = off);
COMMENT ON TABLE password_verify.event_fold IS 'folded events of the last minute';

-- Transactions that have made changes and whose end is not fully recorded: a row for each
-- subtransaction, for each account to clear, and, while the end is being recorded, for the progress
-- of that.
CREATE TABLE password_verify.open_change (
    key        uuid PRIMARY KEY,
    xid        bigint NOT NULL,
    top_xid    bigint NOT NULL,
    epoch      bigint NOT NULL,
    first_seq  bigint NOT NULL,
    since      timestamptz NOT NULL,
    clears     uuid,
    by_session boolean NOT NULL,
    share      text COLLATE "C",
    mac        bytea NOT NULL
) USING heap WITH (fillfactor = 50, vacuum_truncate = off);
COMMENT ON TABLE password_verify.open_change IS 'transactions that have made changes and whose end is not recorded';
COMMENT ON COLUMN password_verify.open_change.key IS 'transaction id, and a number that orders its rows';
COMMENT ON COLUMN password_verify.open_change.clears IS 'key of the budget to clear when this transaction commits';
COMMENT ON COLUMN password_verify.open_change.share IS 'what its changes add to the sum of credential and account, sealed';
COMMENT ON COLUMN password_verify.open_change.by_session IS 'true if its session clears the budget, unless the server crashes first';

-- Users to forget: ids that the worker is still to erase from events. Sessions add rows, and the worker takes them away.
CREATE TABLE password_verify.forgetting (
    key     uuid PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL,
    until   timestamptz NOT NULL,
    xid     bigint NOT NULL,
    scope   smallint NOT NULL,
    mac     bytea NOT NULL,
    CHECK (pg_catalog.octet_length(user_id) OPERATOR(pg_catalog.<=) 510)
) USING heap WITH (vacuum_truncate = off);
COMMENT ON TABLE password_verify.forgetting IS 'user ids that are still to be erased from events';
COMMENT ON COLUMN password_verify.forgetting.key IS 'begins with the time, so that whoever asked first comes first';
COMMENT ON COLUMN password_verify.forgetting.user_id IS 'as events have it';
COMMENT ON COLUMN password_verify.forgetting.until IS 'later events are about somebody who came later';
COMMENT ON COLUMN password_verify.forgetting.xid IS 'the transaction that asked for it, or that gave up the name';
COMMENT ON COLUMN password_verify.forgetting.scope IS '0 all events of the id, and former names of who had it last, 1 the same, and the end of that account was met, 2 all events of the id, 3 events of a former name while it was the account''s';

-- Where everything ended: one row, which each batch of the worker replaces. Empty without a keyring.
CREATE TABLE password_verify.anchor (
    key    uuid PRIMARY KEY,
    sealed text COLLATE "C" NOT NULL,
    mac    bytea NOT NULL
) USING heap WITH (fillfactor = 50, vacuum_truncate = off);
COMMENT ON TABLE password_verify.anchor IS 'the last row of the audit trail and what the rows of each table add up to, sealed';

-- The costs of records, and which unknown users are hashed at each. Only the worker writes this
-- table. If it is lost, passwords can still be verified, and unknown users are hashed at the cost
-- of new passwords.
CREATE TABLE password_verify.cost_class (
    key      uuid PRIMARY KEY,
    template text COLLATE "C" NOT NULL,
    users    bigint NOT NULL,
    part     bigint NOT NULL,
    current  boolean NOT NULL,
    cells    bytea NOT NULL CHECK (pg_catalog.octet_length(cells) OPERATOR(pg_catalog.=) 128),
    mac      bytea NOT NULL,
    CHECK (pg_catalog.octet_length(template) OPERATOR(pg_catalog.<=) 512)
) USING heap WITH (fillfactor = 50, vacuum_truncate = off);
COMMENT ON TABLE password_verify.cost_class IS 'the costs of records, and which unknown users are hashed at each';
COMMENT ON COLUMN password_verify.cost_class.template IS 'a record of that cost with zeros for salt and output';
COMMENT ON COLUMN password_verify.cost_class.users IS 'records of that cost';
COMMENT ON COLUMN password_verify.cost_class.part IS 'share of the unknown users that are hashed at this cost, in units of 2^-48';
COMMENT ON COLUMN password_verify.cost_class.current IS 'are new passwords hashed at this cost?';
COMMENT ON COLUMN password_verify.cost_class.cells IS 'that share as a set of cells, of 1024 in all';

-- What the keeper keeps, sealed in any case: there is none of it without a keyring. Long texts are
-- moved to a toast table, where there is nothing but ciphertext.
CREATE TABLE password_verify.secret (
    key         uuid PRIMARY KEY,
    id          uuid NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    destination text COLLATE "C" NOT NULL,
    data_key    text COLLATE "C" NOT NULL,
    in_vault    boolean NOT NULL,
    sealed      text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    why         text COLLATE "C",
    stored_at   timestamptz NOT NULL,
    opened_at   timestamptz,
    mac         bytea NOT NULL
) USING heap WITH (fillfactor = 80, vacuum_truncate = off);
COMMENT ON TABLE password_verify.secret IS 'secrets of users, which only a job opens';
COMMENT ON COLUMN password_verify.secret.key IS 'keyed BLAKE2b: the first half of the user, the second of the name';
COMMENT ON COLUMN password_verify.secret.destination IS 'where the secret may be sent; it does not open with another one';
COMMENT ON COLUMN password_verify.secret.data_key IS 'the key of sealed, locked in the vault if it is in one, and sealed with a key of the keyring';
COMMENT ON COLUMN password_verify.secret.opened_at IS 'when a job of it was last leased';

CREATE TABLE password_verify.job (
    key         uuid PRIMARY KEY,
    due         uuid NOT NULL,
    secret      uuid NOT NULL,
    what        text COLLATE "C" NOT NULL,
    progress    text COLLATE "C",
    state       text COLLATE "C" NOT NULL,
    every       bigint,
    until       timestamptz,
    leases      bigint NOT NULL,
    leased_by   bigint NOT NULL,
    leased_with timestamptz,
    due_at      timestamptz NOT NULL,
    attempts    integer NOT NULL,
    next_seq    bigint NOT NULL,
    acked       bigint NOT NULL,
    outcome     text COLLATE "C",
    detail      text COLLATE "C",
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    mac         bytea NOT NULL
) USING heap WITH (fillfactor = 50, vacuum_truncate = off);
CREATE UNIQUE INDEX job_due ON password_verify.job (due);
COMMENT ON TABLE password_verify.job IS 'what is to be done with secrets, and when';
COMMENT ON COLUMN password_verify.job.key IS 'the number of the request';
COMMENT ON COLUMN password_verify.job.due IS 'its place in the order of time: waiting jobs, leased ones by the end of the lease, those that are over';
COMMENT ON COLUMN password_verify.job.what IS 'sealed with a key of the keyring';
COMMENT ON COLUMN password_verify.job.progress IS 'what the keeper noted with its last result, sealed as well';
COMMENT ON COLUMN password_verify.job.every IS 'in microseconds';
COMMENT ON COLUMN password_verify.job.leased_with IS 'when the secret was stored that it was leased with: another is not opened';
COMMENT ON COLUMN password_verify.job.leased_by IS 'the transaction that leased it last: until it is committed, nothing is opened';

CREATE TABLE password_verify.result (
    key          uuid PRIMARY KEY,
    sealed       text COLLATE "C" NOT NULL,
    delivered_at timestamptz NOT NULL,
    mac          bytea NOT NULL
) USING heap WITH (vacuum_truncate = off);
COMMENT ON TABLE password_verify.result IS 'results of jobs that are not acknowledged, sealed with a key of the keyring';
COMMENT ON COLUMN password_verify.result.key IS 'the number of the request, and of the result';

CREATE TABLE password_verify.vault (
    key        uuid PRIMARY KEY,
    id         uuid NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    sealed     text COLLATE "C" NOT NULL,
    secrets    integer NOT NULL,
    jobs       integer NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    mac        bytea NOT NULL
) USING heap WITH (fillfactor = 80, vacuum_truncate = off);
COMMENT ON TABLE password_verify.vault IS 'one row for each user of whom anything is kept: how much, and the lock of the vault if there is one';
COMMENT ON COLUMN password_verify.vault.sealed IS 'the vault''s key, locked with the vault password, and sealed with a key of the keyring; empty without a vault password';

-- Row security does not cover statistics and toast tables: statistics stay empty, and toast tables of
-- all but what the keeper keeps.
DO $statistics$
DECLARE
    target pg_catalog.record;
BEGIN
    FOR target IN
        SELECT a.attrelid::pg_catalog.regclass::pg_catalog.text AS relation, a.attname,
               a.attlen OPERATOR(pg_catalog.<) 0 AS varies
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid IN ('password_verify.credential'::pg_catalog.regclass,
                              'password_verify.account'::pg_catalog.regclass,
                              'password_verify.blind_index_key'::pg_catalog.regclass,
                              'password_verify.throttle'::pg_catalog.regclass,
                              'password_verify.event'::pg_catalog.regclass,
                              'password_verify.event_fold'::pg_catalog.regclass,
                              'password_verify.open_change'::pg_catalog.regclass,
                              'password_verify.forgetting'::pg_catalog.regclass,
                              'password_verify.anchor'::pg_catalog.regclass,
                              'password_verify.cost_class'::pg_catalog.regclass,
                              'password_verify.secret'::pg_catalog.regclass,
                              'password_verify.job'::pg_catalog.regclass,
                              'password_verify.result'::pg_catalog.regclass,
                              'password_verify.vault'::pg_catalog.regclass)
           AND a.attnum OPERATOR(pg_catalog.>) 0
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s ALTER %I SET STATISTICS 0', target.relation, target.attname);
        IF target.varies THEN
            EXECUTE pg_catalog.format('ALTER TABLE %s ALTER %I SET STORAGE MAIN', target.relation, target.attname);
        END IF;
    END LOOP;
END
$statistics$;

-- The rows that a dump carries.
SELECT pg_catalog.pg_extension_config_dump('password_verify.credential', 'WHERE user_id <> ''''');
SELECT pg_catalog.pg_extension_config_dump('password_verify.account', 'WHERE user_id <> ''''');
SELECT pg_catalog.pg_extension_config_dump('password_verify.blind_index_key', 'WHERE in_use');
SELECT pg_catalog.pg_extension_config_dump('password_verify.throttle', 'WHERE kind >= 0');
SELECT pg_catalog.pg_extension_config_dump('password_verify.event', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.event_fold', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.open_change', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.forgetting', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.anchor', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.cost_class', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.secret', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.job', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.result', '');
SELECT pg_catalog.pg_extension_config_dump('password_verify.vault', '');

--------------------------------------------------------------------------------
-- 4. Functions of the application: verifier, enroller
--
-- Each has one C symbol for three types of user id. None is STRICT: NULL is an error and never
-- ignored. The cost makes the planner call them after anything cheaper.
--------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pv_validate_password(
        user_id bigint, password text, client_addr inet DEFAULT NULL,
        OUT valid boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_validate_password_wrapper';
CREATE FUNCTION @extschema@.pv_validate_password(
        user_id uuid, password text, client_addr inet DEFAULT NULL,
        OUT valid boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_validate_password_wrapper';
CREATE FUNCTION @extschema@.pv_validate_password(
        user_id text, password text, client_addr inet DEFAULT NULL,
        OUT valid boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_validate_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_validate_password(bigint, text, inet) IS 'is this the password?';
COMMENT ON FUNCTION @extschema@.pv_validate_password(uuid, text, inet) IS 'is this the password?';
COMMENT ON FUNCTION @extschema@.pv_validate_password(text, text, inet) IS 'is this the password?';

CREATE FUNCTION @extschema@.pv_change_password(
        user_id bigint, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_password_wrapper';
CREATE FUNCTION @extschema@.pv_change_password(
        user_id uuid, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_password_wrapper';
CREATE FUNCTION @extschema@.pv_change_password(
        user_id text, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_change_password(bigint, text, text, inet) IS 'set a new password, given the old one';
COMMENT ON FUNCTION @extschema@.pv_change_password(uuid, text, text, inet) IS 'set a new password, given the old one';
COMMENT ON FUNCTION @extschema@.pv_change_password(text, text, text, inet) IS 'set a new password, given the old one';

CREATE FUNCTION @extschema@.pv_check_password(
        user_id bigint, password text,
        OUT acceptable boolean, OUT reason text)
    LANGUAGE c COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_check_password_wrapper';
CREATE FUNCTION @extschema@.pv_check_password(
        user_id uuid, password text,
        OUT acceptable boolean, OUT reason text)
    LANGUAGE c COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_check_password_wrapper';
CREATE FUNCTION @extschema@.pv_check_password(
        user_id text, password text,
        OUT acceptable boolean, OUT reason text)
    LANGUAGE c COST 10000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_check_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_check_password(bigint, text) IS 'would this be accepted as a new password?';
COMMENT ON FUNCTION @extschema@.pv_check_password(uuid, text) IS 'would this be accepted as a new password?';
COMMENT ON FUNCTION @extschema@.pv_check_password(text, text) IS 'would this be accepted as a new password?';

CREATE FUNCTION @extschema@.pv_create_password(
        user_id bigint, password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_password_wrapper';
CREATE FUNCTION @extschema@.pv_create_password(
        user_id uuid, password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_password_wrapper';
CREATE FUNCTION @extschema@.pv_create_password(
        user_id text, password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_create_password(bigint, text) IS 'set the first password of a user who has none';
COMMENT ON FUNCTION @extschema@.pv_create_password(uuid, text) IS 'set the first password of a user who has none';
COMMENT ON FUNCTION @extschema@.pv_create_password(text, text) IS 'set the first password of a user who has none';

CREATE FUNCTION @extschema@.pv_reset_password(
        token text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_reset_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_reset_password(text, text, inet) IS 'set a new password, given a token of pv_issue_reset_token';

--------------------------------------------------------------------------------
-- 5. Functions of administrators: registrar, manager
--------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pv_set_password(
        user_id bigint, password text, must_change boolean DEFAULT false, expires_at timestamptz DEFAULT NULL,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_set_password_wrapper';
CREATE FUNCTION @extschema@.pv_set_password(
        user_id uuid, password text, must_change boolean DEFAULT false, expires_at timestamptz DEFAULT NULL,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_set_password_wrapper';
CREATE FUNCTION @extschema@.pv_set_password(
        user_id text, password text, must_change boolean DEFAULT false, expires_at timestamptz DEFAULT NULL,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_set_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_set_password(bigint, text, boolean, timestamptz) IS 'set the password of any user, whether there was one before or not';
COMMENT ON FUNCTION @extschema@.pv_set_password(uuid, text, boolean, timestamptz) IS 'set the password of any user, whether there was one before or not';
COMMENT ON FUNCTION @extschema@.pv_set_password(text, text, boolean, timestamptz) IS 'set the password of any user, whether there was one before or not';

CREATE FUNCTION @extschema@.pv_issue_reset_token(user_id bigint, valid_for interval DEFAULT '15 minutes')
    RETURNS text
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_issue_reset_token_wrapper';
CREATE FUNCTION @extschema@.pv_issue_reset_token(user_id uuid, valid_for interval DEFAULT '15 minutes')
    RETURNS text
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_issue_reset_token_wrapper';
CREATE FUNCTION @extschema@.pv_issue_reset_token(user_id text, valid_for interval DEFAULT '15 minutes')
    RETURNS text
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_issue_reset_token_wrapper';
COMMENT ON FUNCTION @extschema@.pv_issue_reset_token(bigint, interval) IS 'a token with which the password can be reset once; NULL for a user who has none';
COMMENT ON FUNCTION @extschema@.pv_issue_reset_token(uuid, interval) IS 'a token with which the password can be reset once; NULL for a user who has none';
COMMENT ON FUNCTION @extschema@.pv_issue_reset_token(text, interval) IS 'a token with which the password can be reset once; NULL for a user who has none';

CREATE FUNCTION @extschema@.pv_revoke_reset_tokens(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_revoke_reset_tokens_wrapper';
CREATE FUNCTION @extschema@.pv_revoke_reset_tokens(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_revoke_reset_tokens_wrapper';
CREATE FUNCTION @extschema@.pv_revoke_reset_tokens(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_revoke_reset_tokens_wrapper';
COMMENT ON FUNCTION @extschema@.pv_revoke_reset_tokens(bigint) IS 'make an issued reset token invalid; was there one?';
COMMENT ON FUNCTION @extschema@.pv_revoke_reset_tokens(uuid) IS 'make an issued reset token invalid; was there one?';
COMMENT ON FUNCTION @extschema@.pv_revoke_reset_tokens(text) IS 'make an issued reset token invalid; was there one?';

CREATE FUNCTION @extschema@.pv_rename_user(
        old_id bigint, new_id bigint,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_rename_user_wrapper';
CREATE FUNCTION @extschema@.pv_rename_user(
        old_id uuid, new_id uuid,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_rename_user_wrapper';
CREATE FUNCTION @extschema@.pv_rename_user(
        old_id text, new_id text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_rename_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_rename_user(bigint, bigint) IS 'give a user another id; password, history and state stay';
COMMENT ON FUNCTION @extschema@.pv_rename_user(uuid, uuid) IS 'give a user another id; password, history and state stay';
COMMENT ON FUNCTION @extschema@.pv_rename_user(text, text) IS 'give a user another id; password, history and state stay';

CREATE FUNCTION @extschema@.pv_has_password(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_has_password_wrapper';
CREATE FUNCTION @extschema@.pv_has_password(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_has_password_wrapper';
CREATE FUNCTION @extschema@.pv_has_password(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_has_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_has_password(bigint) IS 'does the user have a password?';
COMMENT ON FUNCTION @extschema@.pv_has_password(uuid) IS 'does the user have a password?';
COMMENT ON FUNCTION @extschema@.pv_has_password(text) IS 'does the user have a password?';

CREATE FUNCTION @extschema@.pv_disable_user(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_disable_user_wrapper';
CREATE FUNCTION @extschema@.pv_disable_user(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_disable_user_wrapper';
CREATE FUNCTION @extschema@.pv_disable_user(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_disable_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_disable_user(bigint) IS 'accept no password of the user any more; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_disable_user(uuid) IS 'accept no password of the user any more; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_disable_user(text) IS 'accept no password of the user any more; false if nothing had to change';

CREATE FUNCTION @extschema@.pv_enable_user(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_enable_user_wrapper';
CREATE FUNCTION @extschema@.pv_enable_user(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_enable_user_wrapper';
CREATE FUNCTION @extschema@.pv_enable_user(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_enable_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_enable_user(bigint) IS 'undo pv_disable_user; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_enable_user(uuid) IS 'undo pv_disable_user; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_enable_user(text) IS 'undo pv_disable_user; false if nothing had to change';

CREATE FUNCTION @extschema@.pv_unlock_user(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_user_wrapper';
CREATE FUNCTION @extschema@.pv_unlock_user(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_user_wrapper';
CREATE FUNCTION @extschema@.pv_unlock_user(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_unlock_user(bigint) IS 'forget wrong passwords when the transaction commits; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_unlock_user(uuid) IS 'forget wrong passwords when the transaction commits; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_unlock_user(text) IS 'forget wrong passwords when the transaction commits; false if nothing had to change';

CREATE FUNCTION @extschema@.pv_require_change(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_require_change_wrapper';
CREATE FUNCTION @extschema@.pv_require_change(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_require_change_wrapper';
CREATE FUNCTION @extschema@.pv_require_change(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_require_change_wrapper';
COMMENT ON FUNCTION @extschema@.pv_require_change(bigint) IS 'accept the password only for changing it; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_require_change(uuid) IS 'accept the password only for changing it; false if nothing had to change';
COMMENT ON FUNCTION @extschema@.pv_require_change(text) IS 'accept the password only for changing it; false if nothing had to change';

CREATE FUNCTION @extschema@.pv_delete_user(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_user_wrapper';
CREATE FUNCTION @extschema@.pv_delete_user(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_user_wrapper';
CREATE FUNCTION @extschema@.pv_delete_user(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_delete_user(bigint) IS 'delete the user''s password, history and state; false if there was nothing to delete';
COMMENT ON FUNCTION @extschema@.pv_delete_user(uuid) IS 'delete the user''s password, history and state; false if there was nothing to delete';
COMMENT ON FUNCTION @extschema@.pv_delete_user(text) IS 'delete the user''s password, history and state; false if there was nothing to delete';

CREATE FUNCTION @extschema@.pv_forget_user(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_user_wrapper';
CREATE FUNCTION @extschema@.pv_forget_user(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_user_wrapper';
CREATE FUNCTION @extschema@.pv_forget_user(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_user_wrapper';
COMMENT ON FUNCTION @extschema@.pv_forget_user(bigint) IS 'delete the user as pv_delete_user does, and erase the id from events after commit; false if there was nothing to delete';
COMMENT ON FUNCTION @extschema@.pv_forget_user(uuid) IS 'delete the user as pv_delete_user does, and erase the id from events after commit; false if there was nothing to delete';
COMMENT ON FUNCTION @extschema@.pv_forget_user(text) IS 'delete the user as pv_delete_user does, and erase the id from events after commit; false if there was nothing to delete';

CREATE FUNCTION @extschema@.pv_import_hash(
        user_id bigint, hash text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_import_hash_wrapper';
CREATE FUNCTION @extschema@.pv_import_hash(
        user_id uuid, hash text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_import_hash_wrapper';
CREATE FUNCTION @extschema@.pv_import_hash(
        user_id text, hash text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_import_hash_wrapper';
COMMENT ON FUNCTION @extschema@.pv_import_hash(bigint, text) IS 'take over a user''s password hash from another system';
COMMENT ON FUNCTION @extschema@.pv_import_hash(uuid, text) IS 'take over a user''s password hash from another system';
COMMENT ON FUNCTION @extschema@.pv_import_hash(text, text) IS 'take over a user''s password hash from another system';

CREATE FUNCTION @extschema@.pv_calibrate(
        target interval DEFAULT '200 ms',
        OUT argon2_memory integer, OUT argon2_iterations integer, OUT argon2_parallelism integer, OUT expected interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_calibrate_wrapper';
COMMENT ON FUNCTION @extschema@.pv_calibrate(interval) IS 'settings with which a hash takes about as long as target on this server; memory in kB, expected is the time it takes';

-- Key rotation is a procedure that commits after each batch, which neither SECURITY DEFINER nor SET
-- allows. It runs as its caller, who needs a grant for the batch function that does the work.
CREATE FUNCTION @extschema@.pv_rotate_batch(
        step integer, after uuid, batch_size integer,
        OUT next_step integer, OUT last uuid, OUT sealed bigint, OUT busy bigint, OUT unopened bigint, OUT finished boolean)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_rotate_batch_wrapper';
COMMENT ON FUNCTION @extschema@.pv_rotate_batch(integer, uuid, integer) IS 'one batch of pv_rotate_keys';

CREATE FUNCTION @extschema@.pv_rotate_rest()
    RETURNS boolean
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_rotate_rest_wrapper';
COMMENT ON FUNCTION @extschema@.pv_rotate_rest() IS 'the last step of pv_rotate_keys: has the worker signed its rows with the active key?';

CREATE FUNCTION password_verify.active_key()
    RETURNS text
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_active_key_wrapper';
COMMENT ON FUNCTION password_verify.active_key() IS 'id and fingerprint of the active key';

CREATE FUNCTION password_verify.kept_seals()
    RETURNS SETOF text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT kept.text
  FROM (SELECT s.data_key FROM password_verify.secret s
        UNION ALL SELECT j.what FROM password_verify.job j
        -- A row counts once for each key it needs.
        UNION ALL SELECT j.progress FROM password_verify.job j
         WHERE (pg_catalog.split_part(j.progress, '$', 4), pg_catalog.split_part(j.progress, '$', 5))
               OPERATOR(pg_catalog.<>) (pg_catalog.split_part(j.what, '$', 4), pg_catalog.split_part(j.what, '$', 5))
        UNION ALL SELECT r.sealed FROM password_verify.result r
        UNION ALL SELECT v.sealed FROM password_verify.vault v WHERE v.sealed OPERATOR(pg_catalog.<>) '') kept (text)
 -- Without a keyring nothing is kept.
 WHERE (SELECT password_verify.active_key()) IS NOT NULL
$function$;
COMMENT ON FUNCTION password_verify.kept_seals() IS 'what the keeper keeps that is sealed with a key of the keyring';

CREATE FUNCTION @extschema@.pv_rotation_left()
    RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT (SELECT pg_catalog.count(*)
  FROM password_verify.credential c
  LEFT JOIN password_verify.account a ON a.blind_index OPERATOR(pg_catalog.=) c.blind_index
 CROSS JOIN (SELECT password_verify.active_key()) AS active (key)
 WHERE c.user_id OPERATOR(pg_catalog.<>) ''
   AND CASE WHEN active.key IS NULL
            THEN pg_catalog.starts_with(c.verifier, '$sealed$') OR pg_catalog.starts_with(a.seal, '$sealed$')
            ELSE NOT (pg_catalog.starts_with(c.verifier, pg_catalog.concat('$sealed$v=1$', active.key, '$'))
                      AND pg_catalog.starts_with(a.seal, pg_catalog.concat('$sealed$v=1$', active.key, '$'))) END)
       OPERATOR(pg_catalog.+)
       (SELECT pg_catalog.count(*)
          FROM password_verify.kept_seals() kept (text)
         CROSS JOIN (SELECT password_verify.active_key()) AS active (key)
         WHERE NOT pg_catalog.starts_with(kept.text, pg_catalog.concat('$sealed$v=1$', active.key, '$')))
$function$;
COMMENT ON FUNCTION @extschema@.pv_rotation_left() IS 'how many records pv_rotate_keys would reseal';

CREATE PROCEDURE @extschema@.pv_rotate_keys(batch_size integer DEFAULT 1000)
    LANGUAGE plpgsql
    AS $procedure$
DECLARE
    first  CONSTANT pg_catalog.uuid := '00000000-0000-0000-0000-000000000000';
    began  CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    todo   pg_catalog.int8 := @extschema@.pv_rotation_left();
    done   pg_catalog.int8 := 0;
    held   pg_catalog.int8 := 0;
    closed pg_catalog.int8 := 0;
    step   pg_catalog.int4 := 0;
    place  pg_catalog.uuid := first;
    passes pg_catalog.int4 := 1;
    said   pg_catalog.timestamptz := began;
    batch  pg_catalog.record;
BEGIN
    LOOP
        SELECT b.next_step, b.last, b.sealed, b.busy, b.unopened, b.finished INTO batch
          FROM @extschema@.pv_rotate_batch(step, place, batch_size) b;
        COMMIT;
        step := batch.next_step;
        place := batch.last;
        done := done OPERATOR(pg_catalog.+) batch.sealed;
        held := held OPERATOR(pg_catalog.+) batch.busy;
        closed := closed OPERATOR(pg_catalog.+) batch.unopened;
        IF batch.finished OR pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) said OPERATOR(pg_catalog.>) '1 s'::pg_catalog.interval THEN
            said := pg_catalog.clock_timestamp();
            RAISE NOTICE '% records sealed, % left, % a second', done,
                GREATEST(todo OPERATOR(pg_catalog.-) done, 0),
                pg_catalog.round(done::pg_catalog.numeric OPERATOR(pg_catalog./)
                    GREATEST(EXTRACT(EPOCH FROM said OPERATOR(pg_catalog.-) began)::pg_catalog.numeric, 0.001));
        END IF;
        IF batch.finished THEN
            EXIT WHEN held OPERATOR(pg_catalog.=) 0 OR passes OPERATOR(pg_catalog.=) 10;
            -- Other transactions held some records: start another pass.
            PERFORM pg_catalog.pg_sleep(0.1);
            passes := passes OPERATOR(pg_catalog.+) 1;
            step := 0;
            place := first;
            held := 0;
            closed := 0;
        END IF;
    END LOOP;
    IF NOT @extschema@.pv_rotate_rest() THEN
        RAISE WARNING USING
            MESSAGE = 'budgets are still being signed with the active key',
            HINT = 'Keep the old key, and call pv_rotate_keys again.';
    END IF;
    IF held OPERATOR(pg_catalog.>) 0 THEN
        RAISE WARNING USING
            MESSAGE = pg_catalog.format('%s records were held by other transactions', held),
            HINT = 'Call pv_rotate_keys again.';
    END IF;
    IF closed OPERATOR(pg_catalog.>) 0 THEN
        RAISE WARNING USING
            MESSAGE = pg_catalog.format('%s records could not be opened', closed),
            HINT = 'pv_keys says with which keys they are sealed. Put those back into the keyring.';
    END IF;
END
$procedure$;
COMMENT ON PROCEDURE @extschema@.pv_rotate_keys(integer) IS 'reseal every record with the active key; can be interrupted and called again';

--------------------------------------------------------------------------------
-- 6. The keeper: depositor, connector
--
-- The depositor is the application; the connector is the keeper's own login. No role is both.
--------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.pv_store_secret(
        user_id bigint, name text, secret text, destination jsonb, vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_store_secret_wrapper';
CREATE FUNCTION @extschema@.pv_store_secret(
        user_id uuid, name text, secret text, destination jsonb, vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_store_secret_wrapper';
CREATE FUNCTION @extschema@.pv_store_secret(
        user_id text, name text, secret text, destination jsonb, vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_store_secret_wrapper';
COMMENT ON FUNCTION @extschema@.pv_store_secret(bigint, text, text, jsonb, text, inet) IS 'keep a secret, to be sent to this destination only; in place of one of the same name';
COMMENT ON FUNCTION @extschema@.pv_store_secret(uuid, text, text, jsonb, text, inet) IS 'keep a secret, to be sent to this destination only; in place of one of the same name';
COMMENT ON FUNCTION @extschema@.pv_store_secret(text, text, text, jsonb, text, inet) IS 'keep a secret, to be sent to this destination only; in place of one of the same name';

CREATE FUNCTION @extschema@.pv_forget_secret(user_id bigint, name text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_secret_wrapper';
CREATE FUNCTION @extschema@.pv_forget_secret(user_id uuid, name text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_secret_wrapper';
CREATE FUNCTION @extschema@.pv_forget_secret(user_id text, name text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_forget_secret_wrapper';
COMMENT ON FUNCTION @extschema@.pv_forget_secret(bigint, text) IS 'delete a secret with its requests and their results; false if there is none';
COMMENT ON FUNCTION @extschema@.pv_forget_secret(uuid, text) IS 'delete a secret with its requests and their results; false if there is none';
COMMENT ON FUNCTION @extschema@.pv_forget_secret(text, text) IS 'delete a secret with its requests and their results; false if there is none';

CREATE FUNCTION @extschema@.pv_secrets(
        user_id bigint,
        OUT name text, OUT destination jsonb, OUT in_vault boolean, OUT state text, OUT why text, OUT stored_at timestamptz, OUT opened_at timestamptz)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_secrets_wrapper';
CREATE FUNCTION @extschema@.pv_secrets(
        user_id uuid,
        OUT name text, OUT destination jsonb, OUT in_vault boolean, OUT state text, OUT why text, OUT stored_at timestamptz, OUT opened_at timestamptz)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_secrets_wrapper';
CREATE FUNCTION @extschema@.pv_secrets(
        user_id text,
        OUT name text, OUT destination jsonb, OUT in_vault boolean, OUT state text, OUT why text, OUT stored_at timestamptz, OUT opened_at timestamptz)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_secrets_wrapper';
COMMENT ON FUNCTION @extschema@.pv_secrets(bigint) IS 'the secrets of a user, without the secrets';
COMMENT ON FUNCTION @extschema@.pv_secrets(uuid) IS 'the secrets of a user, without the secrets';
COMMENT ON FUNCTION @extschema@.pv_secrets(text) IS 'the secrets of a user, without the secrets';

CREATE FUNCTION @extschema@.pv_request(
        user_id bigint, name text, what jsonb, every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_request_wrapper';
CREATE FUNCTION @extschema@.pv_request(
        user_id uuid, name text, what jsonb, every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_request_wrapper';
CREATE FUNCTION @extschema@.pv_request(
        user_id text, name text, what jsonb, every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_request_wrapper';
COMMENT ON FUNCTION @extschema@.pv_request(bigint, text, jsonb, interval, timestamptz, text) IS 'have something done with a secret, once or again and again until a time; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request(uuid, text, jsonb, interval, timestamptz, text) IS 'have something done with a secret, once or again and again until a time; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request(text, text, jsonb, interval, timestamptz, text) IS 'have something done with a secret, once or again and again until a time; the number of the request';

CREATE FUNCTION @extschema@.pv_requests(
        user_id bigint,
        OUT request bigint, OUT name text, OUT what jsonb, OUT every interval, OUT until timestamptz, OUT state text, OUT due_at timestamptz, OUT outcome text, OUT detail text, OUT finished_at timestamptz, OUT results bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_requests_wrapper';
CREATE FUNCTION @extschema@.pv_requests(
        user_id uuid,
        OUT request bigint, OUT name text, OUT what jsonb, OUT every interval, OUT until timestamptz, OUT state text, OUT due_at timestamptz, OUT outcome text, OUT detail text, OUT finished_at timestamptz, OUT results bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_requests_wrapper';
CREATE FUNCTION @extschema@.pv_requests(
        user_id text,
        OUT request bigint, OUT name text, OUT what jsonb, OUT every interval, OUT until timestamptz, OUT state text, OUT due_at timestamptz, OUT outcome text, OUT detail text, OUT finished_at timestamptz, OUT results bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_requests_wrapper';
COMMENT ON FUNCTION @extschema@.pv_requests(bigint) IS 'the requests of a user, and how many results of each are not acknowledged';
COMMENT ON FUNCTION @extschema@.pv_requests(uuid) IS 'the requests of a user, and how many results of each are not acknowledged';
COMMENT ON FUNCTION @extschema@.pv_requests(text) IS 'the requests of a user, and how many results of each are not acknowledged';

CREATE FUNCTION @extschema@.pv_cancel_request(request bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_cancel_request_wrapper';
COMMENT ON FUNCTION @extschema@.pv_cancel_request(bigint) IS 'delete a request and its results; false if there is none';

CREATE FUNCTION @extschema@.pv_results(
        request bigint, after bigint DEFAULT 0,
        OUT seq bigint, OUT delivered_at timestamptz, OUT result jsonb)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_results_wrapper';
COMMENT ON FUNCTION @extschema@.pv_results(bigint, bigint) IS 'the results of a request after a number, about 2 MB of them at most';

CREATE FUNCTION @extschema@.pv_ack_results(request bigint, up_to bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_ack_results_wrapper';
COMMENT ON FUNCTION @extschema@.pv_ack_results(bigint, bigint) IS 'delete the results of a request up to a number, and a request that is over and has no others';

CREATE FUNCTION @extschema@.pv_create_vault(
        user_id bigint, vault_password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_vault_wrapper';
CREATE FUNCTION @extschema@.pv_create_vault(
        user_id uuid, vault_password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_vault_wrapper';
CREATE FUNCTION @extschema@.pv_create_vault(
        user_id text, vault_password text,
        OUT success boolean, OUT reason text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_create_vault_wrapper';
COMMENT ON FUNCTION @extschema@.pv_create_vault(bigint, text) IS 'make a vault, whose secrets are lost if its password is forgotten';
COMMENT ON FUNCTION @extschema@.pv_create_vault(uuid, text) IS 'make a vault, whose secrets are lost if its password is forgotten';
COMMENT ON FUNCTION @extschema@.pv_create_vault(text, text) IS 'make a vault, whose secrets are lost if its password is forgotten';

CREATE FUNCTION @extschema@.pv_change_vault_password(
        user_id bigint, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_vault_password_wrapper';
CREATE FUNCTION @extschema@.pv_change_vault_password(
        user_id uuid, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_vault_password_wrapper';
CREATE FUNCTION @extschema@.pv_change_vault_password(
        user_id text, old_password text, new_password text, client_addr inet DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_change_vault_password_wrapper';
COMMENT ON FUNCTION @extschema@.pv_change_vault_password(bigint, text, text, inet) IS 'set a new vault password, given the old one';
COMMENT ON FUNCTION @extschema@.pv_change_vault_password(uuid, text, text, inet) IS 'set a new vault password, given the old one';
COMMENT ON FUNCTION @extschema@.pv_change_vault_password(text, text, text, inet) IS 'set a new vault password, given the old one';

CREATE FUNCTION @extschema@.pv_delete_vault(user_id bigint)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_vault_wrapper';
CREATE FUNCTION @extschema@.pv_delete_vault(user_id uuid)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_vault_wrapper';
CREATE FUNCTION @extschema@.pv_delete_vault(user_id text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_delete_vault_wrapper';
COMMENT ON FUNCTION @extschema@.pv_delete_vault(bigint) IS 'delete a vault with the secrets in it; false if there is none';
COMMENT ON FUNCTION @extschema@.pv_delete_vault(uuid) IS 'delete a vault with the secrets in it; false if there is none';
COMMENT ON FUNCTION @extschema@.pv_delete_vault(text) IS 'delete a vault with the secrets in it; false if there is none';

CREATE FUNCTION @extschema@.pv_unlock_vault(
        user_id bigint, vault_password text, duration interval DEFAULT '15 minutes', client_addr inet DEFAULT NULL,
        OUT handle text, OUT reason text, OUT retry_after interval)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_vault_wrapper';
CREATE FUNCTION @extschema@.pv_unlock_vault(
        user_id uuid, vault_password text, duration interval DEFAULT '15 minutes', client_addr inet DEFAULT NULL,
        OUT handle text, OUT reason text, OUT retry_after interval)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_vault_wrapper';
CREATE FUNCTION @extschema@.pv_unlock_vault(
        user_id text, vault_password text, duration interval DEFAULT '15 minutes', client_addr inet DEFAULT NULL,
        OUT handle text, OUT reason text, OUT retry_after interval)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_unlock_vault_wrapper';
COMMENT ON FUNCTION @extschema@.pv_unlock_vault(bigint, text, interval, inet) IS 'unlock a vault for a time; the handle is for pv_request';
COMMENT ON FUNCTION @extschema@.pv_unlock_vault(uuid, text, interval, inet) IS 'unlock a vault for a time; the handle is for pv_request';
COMMENT ON FUNCTION @extschema@.pv_unlock_vault(text, text, interval, inet) IS 'unlock a vault for a time; the handle is for pv_request';

CREATE FUNCTION @extschema@.pv_lock_vault(vault_handle text)
    RETURNS boolean
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_lock_vault_wrapper';
COMMENT ON FUNCTION @extschema@.pv_lock_vault(text) IS 'lock what a handle has unlocked, at once; false if that was nothing';

-- Mail, in the words of the keeper that speaks IMAP. These run as their caller, and do nothing that it could not do without
-- them. Names in their bodies are looked up once, here, whatever search_path a caller has.

CREATE FUNCTION @extschema@.pv_register_imap_account(
        user_id text, name text, host text, port integer, login text, password text,
        mechanism text DEFAULT 'PLAIN', protocol text DEFAULT 'imaps', ca text DEFAULT NULL,
        token_endpoint text DEFAULT NULL, scopes text[] DEFAULT NULL,
        vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL, vault_handle text DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval, OUT request bigint)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT stored.success, stored.reason, stored.retry_after,
           -- To unlock the vault here would cost another hash, and leave it unlocked for nobody.
           CASE WHEN stored.success AND (vault_password IS NULL OR vault_handle IS NOT NULL)
                THEN @extschema@.pv_request(user_id, name, '{"imap": "verify"}'::pg_catalog.jsonb, NULL, NULL, vault_handle)
           END
      FROM @extschema@.pv_store_secret(
               user_id, name, password,
               pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                   'protocol', protocol, 'host', host, 'port', port, 'login', login, 'mechanism', mechanism,
                   'ca', ca, 'token_endpoint', token_endpoint,
                   -- A token endpoint needs scopes; none is those that the token was made for.
                   'scopes', COALESCE(scopes, CASE WHEN token_endpoint IS NOT NULL THEN '{}'::pg_catalog.text[] END))),
               vault_password, client_addr) stored;
    END;
CREATE FUNCTION @extschema@.pv_register_imap_account(
        user_id bigint, name text, host text, port integer, login text, password text,
        mechanism text DEFAULT 'PLAIN', protocol text DEFAULT 'imaps', ca text DEFAULT NULL,
        token_endpoint text DEFAULT NULL, scopes text[] DEFAULT NULL,
        vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL, vault_handle text DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval, OUT request bigint)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT r.success, r.reason, r.retry_after, r.request
      FROM @extschema@.pv_register_imap_account(
               user_id::pg_catalog.text, name, host, port, login, password, mechanism, protocol, ca,
               token_endpoint, scopes, vault_password, client_addr, vault_handle) r;
    END;
CREATE FUNCTION @extschema@.pv_register_imap_account(
        user_id uuid, name text, host text, port integer, login text, password text,
        mechanism text DEFAULT 'PLAIN', protocol text DEFAULT 'imaps', ca text DEFAULT NULL,
        token_endpoint text DEFAULT NULL, scopes text[] DEFAULT NULL,
        vault_password text DEFAULT NULL, client_addr inet DEFAULT NULL, vault_handle text DEFAULT NULL,
        OUT success boolean, OUT reason text, OUT retry_after interval, OUT request bigint)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT r.success, r.reason, r.retry_after, r.request
      FROM @extschema@.pv_register_imap_account(
               user_id::pg_catalog.text, name, host, port, login, password, mechanism, protocol, ca,
               token_endpoint, scopes, vault_password, client_addr, vault_handle) r;
    END;
COMMENT ON FUNCTION @extschema@.pv_register_imap_account(bigint, text, text, integer, text, text, text, text, text, text, text[], text, inet, text) IS 'keep the password of a mailbox, and have the keeper try it once';
COMMENT ON FUNCTION @extschema@.pv_register_imap_account(uuid, text, text, integer, text, text, text, text, text, text, text[], text, inet, text) IS 'keep the password of a mailbox, and have the keeper try it once';
COMMENT ON FUNCTION @extschema@.pv_register_imap_account(text, text, text, integer, text, text, text, text, text, text, text[], text, inet, text) IS 'keep the password of a mailbox, and have the keeper try it once';

-- Arguments that are NULL and must not be make `what` NULL, which pv_request refuses.
CREATE FUNCTION @extschema@.pv_request_mail(
        user_id text, name text, mailbox text DEFAULT 'INBOX', since date DEFAULT NULL, parts text DEFAULT 'text',
        max_bytes integer DEFAULT NULL, max_mails integer DEFAULT NULL,
        every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request(
               user_id, name,
               CASE WHEN pg_catalog.num_nulls(mailbox, parts) OPERATOR(pg_catalog.=) 0
                    -- A date is written as ISO 8601 does, whatever DateStyle says.
                    THEN pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                        'imap', 'fetch', 'mailbox', mailbox, 'since', since, 'parts', parts,
                        'max_bytes', max_bytes, 'max_mails', max_mails)) END,
               every, until, vault_handle);
    END;
CREATE FUNCTION @extschema@.pv_request_mail(
        user_id bigint, name text, mailbox text DEFAULT 'INBOX', since date DEFAULT NULL, parts text DEFAULT 'text',
        max_bytes integer DEFAULT NULL, max_mails integer DEFAULT NULL,
        every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request_mail(
               user_id::pg_catalog.text, name, mailbox, since, parts, max_bytes, max_mails, every, until, vault_handle);
    END;
CREATE FUNCTION @extschema@.pv_request_mail(
        user_id uuid, name text, mailbox text DEFAULT 'INBOX', since date DEFAULT NULL, parts text DEFAULT 'text',
        max_bytes integer DEFAULT NULL, max_mails integer DEFAULT NULL,
        every interval DEFAULT NULL, until timestamptz DEFAULT NULL, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request_mail(
               user_id::pg_catalog.text, name, mailbox, since, parts, max_bytes, max_mails, every, until, vault_handle);
    END;
COMMENT ON FUNCTION @extschema@.pv_request_mail(bigint, text, text, date, text, integer, integer, interval, timestamptz, text) IS 'have new mail read, once or again and again until a time; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request_mail(uuid, text, text, date, text, integer, integer, interval, timestamptz, text) IS 'have new mail read, once or again and again until a time; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request_mail(text, text, text, date, text, integer, integer, interval, timestamptz, text) IS 'have new mail read, once or again and again until a time; the number of the request';

CREATE FUNCTION @extschema@.pv_request_attachment(
        user_id text, name text, mailbox text, uidvalidity bigint, uid bigint, part text, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request(
               user_id, name,
               CASE WHEN pg_catalog.num_nulls(mailbox, uidvalidity, uid, part) OPERATOR(pg_catalog.=) 0
                    THEN pg_catalog.jsonb_build_object(
                        'imap', 'attachment', 'mailbox', mailbox, 'uidvalidity', uidvalidity, 'uid', uid, 'part', part) END,
               NULL, NULL, vault_handle);
    END;
CREATE FUNCTION @extschema@.pv_request_attachment(
        user_id bigint, name text, mailbox text, uidvalidity bigint, uid bigint, part text, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request_attachment(user_id::pg_catalog.text, name, mailbox, uidvalidity, uid, part, vault_handle);
    END;
CREATE FUNCTION @extschema@.pv_request_attachment(
        user_id uuid, name text, mailbox text, uidvalidity bigint, uid bigint, part text, vault_handle text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_request_attachment(user_id::pg_catalog.text, name, mailbox, uidvalidity, uid, part, vault_handle);
    END;
COMMENT ON FUNCTION @extschema@.pv_request_attachment(bigint, text, text, bigint, bigint, text, text) IS 'have one part of one mail read; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request_attachment(uuid, text, text, bigint, bigint, text, text) IS 'have one part of one mail read; the number of the request';
COMMENT ON FUNCTION @extschema@.pv_request_attachment(text, text, text, bigint, bigint, text, text) IS 'have one part of one mail read; the number of the request';

-- Of what is in results: NULL for what it is not, and never an error, or one mail could keep all others from being read.

CREATE FUNCTION password_verify.mail_number(value jsonb)
    RETURNS bigint
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN value::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.~) '^[0-9]{1,18}$'
                THEN value::pg_catalog.text::pg_catalog.int8 END;
    END;
COMMENT ON FUNCTION password_verify.mail_number(jsonb) IS 'a number of a result; NULL if it is none';

CREATE FUNCTION password_verify.mail_texts(value jsonb)
    RETURNS text[]
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN pg_catalog.jsonb_typeof(value) OPERATOR(pg_catalog.=) 'array'
                THEN ARRAY(SELECT each.text FROM pg_catalog.jsonb_array_elements_text(value) each (text)) END;
    END;
COMMENT ON FUNCTION password_verify.mail_texts(jsonb) IS 'texts of a result; NULL if it has none';

CREATE FUNCTION password_verify.mail_bytes(value text)
    RETURNS bytea
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN value COLLATE pg_catalog."C" OPERATOR(pg_catalog.~)
                     '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
                THEN pg_catalog.decode(value, 'base64') END;
    END;
COMMENT ON FUNCTION password_verify.mail_bytes(text) IS 'bytes of a result, which are there in base64; NULL if they are not';

-- Added up instead of cast, because a stranger can write any date. The year is one that every client knows.
CREATE FUNCTION password_verify.mail_time(value text)
    RETURNS timestamptz
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN pg_catalog.date_part('month', days.day) OPERATOR(pg_catalog.=) found.part[2]::pg_catalog.float8
                 AND found.part[1] OPERATOR(pg_catalog.<>) '9999'
                THEN pg_catalog.to_timestamp(pg_catalog.date_part('epoch',
                         days.day
                         OPERATOR(pg_catalog.+) pg_catalog.make_interval(
                             hours => found.part[4]::pg_catalog.int4, mins => found.part[5]::pg_catalog.int4,
                             secs => found.part[6]::pg_catalog.float8)
                         OPERATOR(pg_catalog.-) COALESCE(pg_catalog.make_interval(
                             hours => (found.part[7] OPERATOR(pg_catalog.||) found.part[8])::pg_catalog.int4,
                             mins => (found.part[7] OPERATOR(pg_catalog.||) found.part[9])::pg_catalog.int4), '0'))) END
      FROM (SELECT pg_catalog.regexp_match(
                value COLLATE pg_catalog."C",
                '^([1-9][0-9]{3})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$')) found (part)
     CROSS JOIN LATERAL (SELECT '0001-01-01'::pg_catalog.timestamp OPERATOR(pg_catalog.+) pg_catalog.make_interval(
                years => found.part[1]::pg_catalog.int4 OPERATOR(pg_catalog.-) 1,
                months => found.part[2]::pg_catalog.int4 OPERATOR(pg_catalog.-) 1,
                days => found.part[3]::pg_catalog.int4 OPERATOR(pg_catalog.-) 1)) days (day);
    END;
COMMENT ON FUNCTION password_verify.mail_time(text) IS 'a time as RFC 3339 writes it, from the year 1000 to 9998; NULL if it is none';

-- Each result has a row at least: whoever goes on after the last number comes to the end.
CREATE FUNCTION @extschema@.pv_read_mail(
        request bigint, after bigint DEFAULT 0,
        OUT seq bigint, OUT mailbox text, OUT uidvalidity bigint, OUT uid bigint, OUT received timestamptz,
        OUT date timestamptz, OUT sender text, OUT recipients text[], OUT cc text[], OUT subject text, OUT message_id text,
        OUT text text, OUT raw bytea, OUT size bigint, OUT attachments jsonb, OUT truncated boolean, OUT note text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT r.seq,
           r.result OPERATOR(pg_catalog.->>) 'mailbox',
           password_verify.mail_number(r.result OPERATOR(pg_catalog.->) 'uidvalidity'),
           known.uid,
           password_verify.mail_time(m.mail OPERATOR(pg_catalog.->>) 'received'),
           password_verify.mail_time(m.mail OPERATOR(pg_catalog.->>) 'date'),
           m.mail OPERATOR(pg_catalog.->>) 'from',
           password_verify.mail_texts(m.mail OPERATOR(pg_catalog.->) 'to'),
           password_verify.mail_texts(m.mail OPERATOR(pg_catalog.->) 'cc'),
           m.mail OPERATOR(pg_catalog.->>) 'subject',
           m.mail OPERATOR(pg_catalog.->>) 'message_id',
           m.mail OPERATOR(pg_catalog.->>) 'text',
           password_verify.mail_bytes(m.mail OPERATOR(pg_catalog.->>) 'raw'),
           password_verify.mail_number(m.mail OPERATOR(pg_catalog.->) 'size'),
           m.mail OPERATOR(pg_catalog.->) 'attachments',
           COALESCE(m.mail OPERATOR(pg_catalog.@>) '{"truncated": true}'
                    OR m.mail OPERATOR(pg_catalog.@>) '{"text_truncated": true}', false),
           CASE WHEN known.uid IS NOT NULL THEN m.mail OPERATOR(pg_catalog.->>) 'note'
                WHEN r.result OPERATOR(pg_catalog.@>) '{"reset": true}' THEN 'mailbox_reset'
                ELSE 'other' END
      FROM @extschema@.pv_results(request, after) r
      LEFT JOIN LATERAL pg_catalog.jsonb_array_elements(
               CASE WHEN pg_catalog.jsonb_typeof(r.result OPERATOR(pg_catalog.->) 'mails') OPERATOR(pg_catalog.=) 'array'
                    THEN r.result OPERATOR(pg_catalog.->) 'mails' END) m (mail) ON true
     CROSS JOIN LATERAL (SELECT password_verify.mail_number(m.mail OPERATOR(pg_catalog.->) 'uid')) known (uid);
    END;
COMMENT ON FUNCTION @extschema@.pv_read_mail(bigint, bigint) IS 'the mails in the results of a request after a number, about 2 MB of them at most';

CREATE FUNCTION @extschema@.pv_read_attachment(
        request bigint, after bigint DEFAULT 0,
        OUT seq bigint, OUT mailbox text, OUT uidvalidity bigint, OUT uid bigint, OUT part text,
        OUT "position" bigint, OUT data bytea, OUT last boolean)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT r.seq,
           r.result OPERATOR(pg_catalog.->>) 'mailbox',
           password_verify.mail_number(r.result OPERATOR(pg_catalog.->) 'uidvalidity'),
           password_verify.mail_number(r.result OPERATOR(pg_catalog.->) 'uid'),
           r.result OPERATOR(pg_catalog.->>) 'part',
           password_verify.mail_number(r.result OPERATOR(pg_catalog.->) 'offset'),
           password_verify.mail_bytes(r.result OPERATOR(pg_catalog.->>) 'data'),
           r.result OPERATOR(pg_catalog.@>) '{"last": true}'
      FROM @extschema@.pv_results(request, after) r;
    END;
COMMENT ON FUNCTION @extschema@.pv_read_attachment(bigint, bigint) IS 'the pieces of an attachment in the results of a request after a number, about 2 MB of them at most';

CREATE FUNCTION @extschema@.pv_ack_mail(request bigint, up_to bigint)
    RETURNS boolean
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT @extschema@.pv_ack_results(request, up_to);
    END;
COMMENT ON FUNCTION @extschema@.pv_ack_mail(bigint, bigint) IS 'delete the results of a request up to a number, whose mails are in hand';

-- The connector.

CREATE FUNCTION @extschema@.pv_take_job(
        lease_for interval DEFAULT '5 minutes',
        OUT job bigint, OUT user_id text, OUT name text, OUT destination jsonb, OUT what jsonb,
        OUT lease bigint, OUT lease_ends timestamptz, OUT progress jsonb)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_take_job_wrapper';
COMMENT ON FUNCTION @extschema@.pv_take_job(interval) IS 'lease the next job that is due; no row if none is';

CREATE FUNCTION @extschema@.pv_open_secret(
        job bigint, lease bigint DEFAULT NULL,
        OUT secret text, OUT reason text, OUT retry_after interval)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_open_secret_wrapper';
COMMENT ON FUNCTION @extschema@.pv_open_secret(bigint, bigint) IS 'the secret of a job that is leased, three times at most';

CREATE FUNCTION @extschema@.pv_store_rotated(job bigint, secret text, lease bigint DEFAULT NULL)
    RETURNS pg_catalog.void
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_store_rotated_wrapper';
COMMENT ON FUNCTION @extschema@.pv_store_rotated(bigint, text, bigint) IS 'keep what the use of the secret of a leased job has made of it';

CREATE FUNCTION @extschema@.pv_deliver(
        job bigint, result jsonb, lease bigint DEFAULT NULL, progress jsonb DEFAULT NULL)
    RETURNS bigint
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_deliver_wrapper';
COMMENT ON FUNCTION @extschema@.pv_deliver(bigint, jsonb, bigint, jsonb) IS 'deliver a result of a leased job, and note how far it has come; the number of the result';

CREATE FUNCTION @extschema@.pv_finish_job(job bigint, outcome text, detail text DEFAULT 'ok', lease bigint DEFAULT NULL)
    RETURNS pg_catalog.void
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_finish_job_wrapper';
COMMENT ON FUNCTION @extschema@.pv_finish_job(bigint, text, text, bigint) IS 'end the lease of a job: done, retry, rejected or failed';

--------------------------------------------------------------------------------
-- 7. The views of the auditor
--------------------------------------------------------------------------------

-- Every C function refuses to run outside of a client's own statement. SQL functions call this one
-- to do the same.
CREATE FUNCTION password_verify.require_client()
    RETURNS boolean
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_require_client_wrapper';
COMMENT ON FUNCTION password_verify.require_client() IS 'true, or an error outside of a client''s own statement';

-- Shows never a verifier, only how it was made. The view is on a function: on a view of the table
-- itself pg_read_all_data could select, and through it pg_write_all_data could delete credentials.
-- Neither role can execute a function.
CREATE FUNCTION password_verify.users(
        IN only_one uuid,
        OUT user_id text, OUT algorithm text, OUT parameters text, OUT key_id text, OUT must_change boolean,
        OUT expires_at timestamptz, OUT disabled_at timestamptz, OUT created_at timestamptz, OUT changed_at timestamptz)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT c.user_id,
       pg_catalog.split_part(shown.label, ' ', 1),
       pg_catalog.split_part(shown.label, ' ', 2),
       CASE WHEN pg_catalog.starts_with(c.verifier, '$sealed$') THEN pg_catalog.split_part(c.verifier, '$', 4) END,
       -- NULL if the account has no row.
       c.must_change OR (a.change_required_at IS NOT NULL AND a.change_required_at OPERATOR(pg_catalog.>=) c.changed_at)
                     OR CASE WHEN a.blind_index IS NULL THEN NULL ELSE false END,
       c.expires_at,
       a.disabled_at,
       c.created_at,
       c.changed_at
  -- One half of each pair is never run.
  FROM (SELECT every.* FROM password_verify.credential every WHERE only_one IS NULL
         UNION ALL
        SELECT one.* FROM password_verify.credential one WHERE one.blind_index OPERATOR(pg_catalog.=) only_one) c
  LEFT JOIN (SELECT every.* FROM password_verify.account every WHERE only_one IS NULL
              UNION ALL
             SELECT one.* FROM password_verify.account one WHERE one.blind_index OPERATOR(pg_catalog.=) only_one) a
    ON a.blind_index OPERATOR(pg_catalog.=) c.blind_index
 CROSS JOIN LATERAL (SELECT CASE
       WHEN pg_catalog.starts_with(c.verifier, '$sealed$')
       THEN pg_catalog.split_part(c.verifier, '$', 6)
       WHEN pg_catalog.starts_with(c.verifier, '$legacy$')
       THEN pg_catalog.concat(pg_catalog.split_part(c.verifier, '$', 4), ' -')
       WHEN pg_catalog.starts_with(c.verifier, '$wrapped$')
       THEN pg_catalog.concat(pg_catalog.split_part(c.verifier, '$', 3), '+', pg_catalog.split_part(c.verifier, '$', 8),
                              ' ', pg_catalog.split_part(c.verifier, '$', 5))
       ELSE pg_catalog.concat(pg_catalog.split_part(c.verifier, '$', 2), ' ', pg_catalog.split_part(c.verifier, '$', 4))
       END) AS shown (label)
 WHERE c.user_id OPERATOR(pg_catalog.<>) ''
   AND (SELECT password_verify.require_client())
$function$;
COMMENT ON FUNCTION password_verify.users(uuid) IS 'the rows of pv_users, or the one at that place';

CREATE VIEW @extschema@.pv_users AS
SELECT u.user_id, u.algorithm, u.parameters, u.key_id, u.must_change, u.expires_at, u.disabled_at, u.created_at, u.changed_at
  FROM password_verify.users(NULL) u;
COMMENT ON VIEW @extschema@.pv_users IS 'which users have a password, and its state; never a hash';

CREATE FUNCTION password_verify.place_of(user_id bigint) RETURNS uuid
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_place_of_wrapper';
CREATE FUNCTION password_verify.place_of(user_id uuid) RETURNS uuid
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_place_of_wrapper';
CREATE FUNCTION password_verify.place_of(user_id text) RETURNS uuid
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_place_of_wrapper';
COMMENT ON FUNCTION password_verify.place_of(bigint) IS 'credential.blind_index of that user';
COMMENT ON FUNCTION password_verify.place_of(uuid) IS 'credential.blind_index of that user';
COMMENT ON FUNCTION password_verify.place_of(text) IS 'credential.blind_index of that user';

CREATE FUNCTION @extschema@.pv_user(user_id bigint) RETURNS SETOF @extschema@.pv_users
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT u.* FROM password_verify.users(password_verify.place_of(user_id)) u';
CREATE FUNCTION @extschema@.pv_user(user_id uuid) RETURNS SETOF @extschema@.pv_users
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT u.* FROM password_verify.users(password_verify.place_of(user_id)) u';
CREATE FUNCTION @extschema@.pv_user(user_id text) RETURNS SETOF @extschema@.pv_users
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT u.* FROM password_verify.users(password_verify.place_of(user_id)) u';
COMMENT ON FUNCTION @extschema@.pv_user(bigint) IS 'the row of pv_users of one user, found by an index';
COMMENT ON FUNCTION @extschema@.pv_user(uuid) IS 'the row of pv_users of one user, found by an index';
COMMENT ON FUNCTION @extschema@.pv_user(text) IS 'the row of pv_users of one user, found by an index';

CREATE FUNCTION password_verify.keys(
        OUT key_id text, OUT fingerprint text, OUT active boolean, OUT records bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
-- Once: another key may be active a moment later.
WITH active AS MATERIALIZED (SELECT password_verify.active_key() AS key)
SELECT pg_catalog.split_part(used.key, '$', 1),
       pg_catalog.split_part(used.key, '$', 2),
       COALESCE(used.key OPERATOR(pg_catalog.=) active.key, used.key IS NULL AND active.key IS NULL),
       pg_catalog.sum(used.records)::pg_catalog.int8
  -- A record counts once for each key it needs: that of its verifier and that of its account. What the keeper keeps
  -- counts row by row.
  FROM (SELECT key.of, pair.records
          FROM (SELECT CASE WHEN pg_catalog.starts_with(c.verifier, '$sealed$')
                            THEN pg_catalog.concat(pg_catalog.split_part(c.verifier, '$', 4), '$',
                                                   pg_catalog.split_part(c.verifier, '$', 5)) END,
                       CASE WHEN pg_catalog.starts_with(a.seal, '$sealed$')
                            THEN pg_catalog.concat(pg_catalog.split_part(a.seal, '$', 4), '$',
                                                   pg_catalog.split_part(a.seal, '$', 5)) END,
                       pg_catalog.count(*)
                  FROM password_verify.credential c
                  LEFT JOIN password_verify.account a ON a.blind_index OPERATOR(pg_catalog.=) c.blind_index
                 WHERE c.user_id OPERATOR(pg_catalog.<>) ''
                 GROUP BY 1, 2) pair (verifier, account, records)
         CROSS JOIN LATERAL (SELECT pair.verifier UNION SELECT pair.account) AS key (of)
         UNION ALL
        SELECT pg_catalog.concat(pg_catalog.split_part(kept.text, '$', 4), '$', pg_catalog.split_part(kept.text, '$', 5)), 1
          FROM password_verify.kept_seals() kept (text)
         UNION ALL
        SELECT active.key, 0 FROM active) used (key, records)
 CROSS JOIN active
 GROUP BY used.key, active.key
$function$;
COMMENT ON FUNCTION password_verify.keys() IS 'the rows of pv_keys';

CREATE VIEW @extschema@.pv_keys AS
SELECT k.key_id, k.fingerprint, k.active, k.records FROM password_verify.keys() k;
COMMENT ON VIEW @extschema@.pv_keys IS 'how many records are sealed with each key (NULL: unsealed), which shows the progress of a rotation';

-- A later row says whether the transaction of a change was committed.
CREATE FUNCTION password_verify.events(
        OUT epoch bigint, OUT seq bigint, OUT at timestamptz, OUT since timestamptz, OUT count bigint,
        OUT action text, OUT outcome text, OUT user_id text, OUT client_addr inet, OUT login_role text,
        OUT acting_role text, OUT peer_addr text, OUT certificate_subject text, OUT certificate_serial text,
        OUT application_name text, OUT pid integer, OUT xid bigint, OUT alert integer, OUT detail text, OUT mac bytea)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT e.epoch, e.seq, e.at, e.since, e.count, e.action, COALESCE(ended.outcome, e.outcome),
       e.user_id, e.client_addr::pg_catalog.inet, e.login_role, e.acting_role, e.peer_addr,
       e.certificate_subject, e.certificate_serial, e.application_name, e.pid, e.xid, e.alert, e.detail, e.mac
  FROM password_verify.event e
  LEFT JOIN password_verify.event ended
    ON e.outcome OPERATOR(pg_catalog.=) 'pending'
   AND ended.action OPERATOR(pg_catalog.=) 'end'
   AND ended.xid OPERATOR(pg_catalog.=) e.xid
   -- On another server, the same transaction id is another transaction.
   AND ended.since OPERATOR(pg_catalog.<=) e.at
   AND (ended.epoch, ended.seq) OPERATOR(pg_catalog.>) (e.epoch, e.seq)
 WHERE (SELECT password_verify.require_client())
UNION ALL
SELECT NULL, NULL, f.at, f.since, f.count, f.action, f.outcome, f.user_id,
       f.client_addr::pg_catalog.inet, f.login_role, f.acting_role, f.peer_addr,
       f.certificate_subject, f.certificate_serial, f.application_name, f.pid, f.xid, f.alert, f.detail, NULL
  FROM password_verify.event_fold f
$function$;
COMMENT ON FUNCTION password_verify.events() IS 'the rows of pv_events';

CREATE VIEW @extschema@.pv_events AS
SELECT e.epoch, e.seq, e.at, e.since, e.count, e.action, e.outcome, e.user_id, e.client_addr, e.login_role,
       e.acting_role, e.peer_addr, e.certificate_subject, e.certificate_serial, e.application_name, e.pid,
       e.xid, e.alert, e.detail, e.mac
  FROM password_verify.events() e;
COMMENT ON VIEW @extschema@.pv_events IS 'every attempt and every change; repeated events are counted in one row';

-- The questions below never read the whole trail, however large it is. That is not left to what PostgreSQL estimates, which
-- could be wrong, above all before the first ANALYZE, nor to the settings of whoever asks.

-- Open folds in the form of events.
CREATE FUNCTION password_verify.folds() RETURNS SETOF password_verify.event
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT NULL::pg_catalog.int8, NULL::pg_catalog.int8, f.at, f.since, f.count, f.action, f.outcome, f.user_id, f.client_addr,
       f.login_role, f.acting_role, f.peer_addr, f.certificate_subject, f.certificate_serial, f.application_name, f.pid,
       f.xid, f.alert, f.detail, NULL::pg_catalog.bytea, NULL::pg_catalog.bytea
  FROM password_verify.event_fold f
 WHERE (SELECT password_verify.require_client())
$function$;
COMMENT ON FUNCTION password_verify.folds() IS 'folded events of the last minute, as events without a place';

-- Rows of the trail as pv_events shows them.
CREATE FUNCTION password_verify.shown(events password_verify.event[]) RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_indexscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
    SET enable_mergejoin = off SET jit = off
    AS $function$
SELECT e.epoch, e.seq, e.at, e.since, e.count, e.action, COALESCE(ended.outcome, e.outcome),
       e.user_id, e.client_addr::pg_catalog.inet, e.login_role, e.acting_role, e.peer_addr,
       e.certificate_subject, e.certificate_serial, e.application_name, e.pid, e.xid, e.alert, e.detail, e.mac
  FROM pg_catalog.unnest(events) e
  LEFT JOIN LATERAL (
       SELECT d.outcome
         FROM password_verify.event d
        WHERE e.outcome OPERATOR(pg_catalog.=) 'pending'
          AND d.action OPERATOR(pg_catalog.=) 'end'
          AND d.xid OPERATOR(pg_catalog.=) e.xid
          AND d.since OPERATOR(pg_catalog.<=) e.at
          AND (d.epoch, d.seq) OPERATOR(pg_catalog.>) (e.epoch, e.seq)
        LIMIT 1) ended ON true
 WHERE (SELECT password_verify.require_client())
$function$;
COMMENT ON FUNCTION password_verify.shown(password_verify.event[]) IS 'events as pv_events shows them';

CREATE FUNCTION password_verify.events_of(ids text[], client text, since timestamptz, max_rows integer)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_indexscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    AS $function$
SELECT s.*
  FROM password_verify.shown(ARRAY(
       SELECT newest.event
         FROM (SELECT newest_of.event, newest_of.at
                 FROM pg_catalog.unnest(ids) name (of)
                CROSS JOIN LATERAL (
                      SELECT e AS event, e.at
                        FROM password_verify.event e
                       WHERE e.user_id OPERATOR(pg_catalog.=) name.of
                         AND e.at OPERATOR(pg_catalog.>=) COALESCE(events_of.since, '-infinity')
                       ORDER BY e.at DESC
                       LIMIT max_rows) newest_of
                UNION ALL
               (SELECT e, e.at
                  FROM password_verify.event e
                 WHERE e.client_addr OPERATOR(pg_catalog.=) client
                   AND e.at OPERATOR(pg_catalog.>=) COALESCE(events_of.since, '-infinity')
                 ORDER BY e.at DESC
                 LIMIT max_rows)
                UNION ALL
               SELECT f, f.at
                 FROM password_verify.folds() f
                WHERE (f.user_id OPERATOR(pg_catalog.=) ANY (ids) OR f.client_addr OPERATOR(pg_catalog.=) client)
                  AND f.at OPERATOR(pg_catalog.>=) COALESCE(events_of.since, '-infinity')) newest
        ORDER BY newest.at DESC
        LIMIT max_rows)) s
 WHERE (SELECT password_verify.require_client())
 ORDER BY s.at DESC, s.epoch DESC, s.seq DESC
$function$;
COMMENT ON FUNCTION password_verify.events_of(text[], text, timestamptz, integer) IS 'the newest events of one user, or of one client';

CREATE FUNCTION password_verify.audit_ids(user_id bigint) RETURNS text[]
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_audit_ids_wrapper';
CREATE FUNCTION password_verify.audit_ids(user_id uuid) RETURNS text[]
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_audit_ids_wrapper';
CREATE FUNCTION password_verify.audit_ids(user_id text) RETURNS text[]
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_audit_ids_wrapper';
COMMENT ON FUNCTION password_verify.audit_ids(bigint) IS 'how events name that user, or have named her';
COMMENT ON FUNCTION password_verify.audit_ids(uuid) IS 'how events name that user, or have named her';
COMMENT ON FUNCTION password_verify.audit_ids(text) IS 'how events name that user, or have named her';

CREATE FUNCTION password_verify.audit_client(client_addr inet) RETURNS text
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_audit_client_wrapper';
COMMENT ON FUNCTION password_verify.audit_client(inet) IS 'how events name that client';

CREATE FUNCTION password_verify.number_of_rows(
        max_rows integer, before_epoch bigint DEFAULT NULL, before_seq bigint DEFAULT NULL)
    RETURNS integer
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_number_of_rows_wrapper';
COMMENT ON FUNCTION password_verify.number_of_rows(integer, bigint, bigint) IS '1 to 10,000, or an error';

CREATE FUNCTION @extschema@.pv_user_events(user_id bigint, since timestamptz DEFAULT NULL, max_rows integer DEFAULT 50)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT e.* FROM password_verify.events_of(password_verify.audit_ids(user_id), NULL, since, password_verify.number_of_rows(max_rows)) e';
CREATE FUNCTION @extschema@.pv_user_events(user_id uuid, since timestamptz DEFAULT NULL, max_rows integer DEFAULT 50)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT e.* FROM password_verify.events_of(password_verify.audit_ids(user_id), NULL, since, password_verify.number_of_rows(max_rows)) e';
CREATE FUNCTION @extschema@.pv_user_events(user_id text, since timestamptz DEFAULT NULL, max_rows integer DEFAULT 50)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT e.* FROM password_verify.events_of(password_verify.audit_ids(user_id), NULL, since, password_verify.number_of_rows(max_rows)) e';
COMMENT ON FUNCTION @extschema@.pv_user_events(bigint, timestamptz, integer) IS 'the newest events of one user, found by an index';
COMMENT ON FUNCTION @extschema@.pv_user_events(uuid, timestamptz, integer) IS 'the newest events of one user, found by an index';
COMMENT ON FUNCTION @extschema@.pv_user_events(text, timestamptz, integer) IS 'the newest events of one user, found by an index';

CREATE FUNCTION @extschema@.pv_client_events(client_addr inet, since timestamptz DEFAULT NULL, max_rows integer DEFAULT 50)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT e.* FROM password_verify.events_of(NULL, password_verify.audit_client(client_addr), since, password_verify.number_of_rows(max_rows)) e';
COMMENT ON FUNCTION @extschema@.pv_client_events(inet, timestamptz, integer) IS 'the newest events of one client, found by an index';

CREATE FUNCTION @extschema@.pv_recent_events(
        max_rows integer DEFAULT 50, before_epoch bigint DEFAULT NULL, before_seq bigint DEFAULT NULL)
    RETURNS SETOF @extschema@.pv_events
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_indexscan = on SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    AS $function$
SELECT s.*
  FROM password_verify.shown(ARRAY(
       SELECT newest.event
         FROM ((SELECT e AS event, e.epoch, e.seq
                  FROM password_verify.event e
                 WHERE (e.epoch, e.seq) OPERATOR(pg_catalog.<)
                       (COALESCE(before_epoch, 9223372036854775807), COALESCE(before_seq, 9223372036854775807))
                 ORDER BY e.epoch DESC, e.seq DESC
                 LIMIT password_verify.number_of_rows(max_rows, before_epoch, before_seq))
                UNION ALL
               SELECT f, f.epoch, f.seq FROM password_verify.folds() f WHERE before_epoch IS NULL) newest
        ORDER BY newest.epoch DESC, newest.seq DESC
        LIMIT password_verify.number_of_rows(max_rows))) s
 -- By their places, so that the last row says where the next page begins.
 ORDER BY s.epoch DESC, s.seq DESC, s.at DESC
$function$;
COMMENT ON FUNCTION @extschema@.pv_recent_events(integer, bigint, bigint) IS 'the newest events, or those before a place';

CREATE FUNCTION @extschema@.pv_events_after(
        after_epoch bigint, after_seq bigint, max_rows integer DEFAULT 1000, OUT epoch bigint, OUT seq bigint, OUT event jsonb)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c COST 1000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_events_after_wrapper';
COMMENT ON FUNCTION @extschema@.pv_events_after(bigint, bigint, integer) IS 'the events after a place, in order, in the Elastic Common Schema; NULL, NULL: from the first';

CREATE FUNCTION password_verify.statistics(OUT statistic text, OUT value bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_statistics_wrapper';
COMMENT ON FUNCTION password_verify.statistics() IS 'the rows of pv_stats';

CREATE VIEW @extschema@.pv_stats AS
SELECT s.statistic, s.value FROM password_verify.statistics() s;
COMMENT ON VIEW @extschema@.pv_stats IS 'counters of this database since the server started, and current usage';

CREATE FUNCTION @extschema@.pv_verify_events(
        OUT intact boolean, OUT events bigint, OUT epoch bigint, OUT seq bigint, OUT problem text,
        OUT head_epoch bigint, OUT head_seq bigint, OUT head_mac text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_verify_events_wrapper';
COMMENT ON FUNCTION @extschema@.pv_verify_events() IS 'is the audit trail as it was written? if not, the first row that was changed, removed or inserted';

CREATE FUNCTION @extschema@.pv_verify_events(
        from_epoch bigint, from_seq bigint, from_mac text,
        OUT intact boolean, OUT events bigint, OUT epoch bigint, OUT seq bigint, OUT problem text,
        OUT head_epoch bigint, OUT head_seq bigint, OUT head_mac text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_verify_events_from_wrapper';
COMMENT ON FUNCTION @extschema@.pv_verify_events(bigint, bigint, text) IS 'the same from a head on that was kept elsewhere: its row has to be there as it was';

CREATE FUNCTION @extschema@.pv_verify_credentials(
        OUT intact boolean, OUT rows bigint, OUT table_name text, OUT problem text)
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_verify_credentials_wrapper';
COMMENT ON FUNCTION @extschema@.pv_verify_credentials() IS 'are all tables but the audit trail as they were written? if not, one that is not; needs a keyring';

CREATE FUNCTION @extschema@.pv_accept_restore(reason text)
    RETURNS pg_catalog.void
    LANGUAGE c COST 1000000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_accept_restore_wrapper';
COMMENT ON FUNCTION @extschema@.pv_accept_restore(text) IS 'take the tables as they are, after a restore to an earlier state on purpose; only superusers';

CREATE FUNCTION @extschema@.pv_verify_log_line(line text, OUT genuine boolean, OUT problem text)
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_verify_log_line_wrapper';
COMMENT ON FUNCTION @extschema@.pv_verify_log_line(text) IS 'was this line of the server log written by password_verify? if not, why not';

--------------------------------------------------------------------------------
-- 8. Kinds: which role may do what
--------------------------------------------------------------------------------

-- The complete list; pv_grant, pv_revoke and pv_grants follow it.
CREATE VIEW password_verify.kind AS
SELECT k.kind, k.object
  FROM (VALUES ('verifier',  'pv_validate_password'),
               ('verifier',  'pv_change_password'),
               ('verifier',  'pv_check_password'),
               ('verifier',  'pv_reset_password'),
               ('enroller',  'pv_create_password'),
               ('registrar', 'pv_set_password'),
               ('registrar', 'pv_has_password'),
               ('registrar', 'pv_issue_reset_token'),
               ('registrar', 'pv_revoke_reset_tokens'),
               ('manager',   'pv_disable_user'),
               ('manager',   'pv_enable_user'),
               ('manager',   'pv_unlock_user'),
               ('manager',   'pv_require_change'),
               ('manager',   'pv_delete_user'),
               ('manager',   'pv_forget_user'),
               ('manager',   'pv_rename_user'),
               ('manager',   'pv_import_hash'),
               ('manager',   'pv_calibrate'),
               ('manager',   'pv_rotate_keys'),
               ('manager',   'pv_rotate_batch'),
               ('manager',   'pv_rotate_rest'),
               ('manager',   'pv_rotation_left'),
               ('auditor',   'pv_keys'),
               ('auditor',   'keys'),
               ('auditor',   'pv_users'),
               ('auditor',   'users'),
               ('auditor',   'pv_events'),
               ('auditor',   'events'),
               ('auditor',   'pv_user'),
               ('auditor',   'pv_user_events'),
               ('auditor',   'pv_client_events'),
               ('auditor',   'pv_recent_events'),
               ('auditor',   'pv_events_after'),
               ('auditor',   'pv_stats'),
               ('auditor',   'pv_doctor_summary'),
               ('auditor',   'doctor_summary'),
               ('auditor',   'statistics'),
               ('auditor',   'pv_verify_events'),
               ('auditor',   'pv_verify_credentials'),
               ('auditor',   'pv_verify_log_line'),
               ('depositor', 'pv_store_secret'),
               ('depositor', 'pv_forget_secret'),
               ('depositor', 'pv_secrets'),
               ('depositor', 'pv_request'),
               ('depositor', 'pv_requests'),
               ('depositor', 'pv_cancel_request'),
               ('depositor', 'pv_results'),
               ('depositor', 'pv_ack_results'),
               ('depositor', 'pv_create_vault'),
               ('depositor', 'pv_change_vault_password'),
               ('depositor', 'pv_delete_vault'),
               ('depositor', 'pv_unlock_vault'),
               ('depositor', 'pv_lock_vault'),
               ('depositor', 'pv_register_imap_account'),
               ('depositor', 'pv_request_mail'),
               ('depositor', 'pv_request_attachment'),
               ('depositor', 'pv_read_mail'),
               ('depositor', 'pv_read_attachment'),
               ('depositor', 'pv_ack_mail'),
               ('depositor', 'mail_number'),
               ('depositor', 'mail_texts'),
               ('depositor', 'mail_bytes'),
               ('depositor', 'mail_time'),
               ('connector', 'pv_take_job'),
               ('connector', 'pv_open_secret'),
               ('connector', 'pv_store_rotated'),
               ('connector', 'pv_deliver'),
               ('connector', 'pv_finish_job')) AS k (kind, object);
COMMENT ON VIEW password_verify.kind IS 'which functions and views belong to each kind';

-- Every object of the extension, as GRANT names it, with its access privileges.
CREATE VIEW password_verify.member AS
SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS class, p.oid::pg_catalog.regprocedure::pg_catalog.text AS object,
       p.proname AS name, 'EXECUTE' AS privilege, p.proowner AS owner,
       COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl,
       d.refobjid AS extension
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
 WHERE d.deptype OPERATOR(pg_catalog.=) 'e'
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
   AND d.refobjid OPERATOR(pg_catalog.=)
       (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify')
UNION ALL
SELECT 'TABLE', c.oid::pg_catalog.regclass::pg_catalog.text,
       c.relname, 'SELECT', c.relowner,
       COALESCE(c.relacl, pg_catalog.acldefault('r', c.relowner)),
       d.refobjid
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid
 WHERE d.deptype OPERATOR(pg_catalog.=) 'e'
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
   AND d.refobjid OPERATOR(pg_catalog.=)
       (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify')
UNION ALL
SELECT 'SCHEMA', n.oid::pg_catalog.regnamespace::pg_catalog.text,
       n.nspname, 'USAGE', n.nspowner,
       COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner)),
       d.refobjid
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) d.objid
 WHERE d.deptype OPERATOR(pg_catalog.=) 'e'
   AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
   AND d.refobjid OPERATOR(pg_catalog.=)
       (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify');
COMMENT ON VIEW password_verify.member IS 'every object of the extension that can be granted, with its owner and privileges';

-- Grants exist in the catalog only, so that pg_dump carries them and DROP OWNED removes them.
CREATE VIEW @extschema@.pv_grants AS
SELECT acl.grantee::pg_catalog.regrole AS role,
       k.kind,
       pg_catalog.count(*) OPERATOR(pg_catalog.=)
           (SELECT pg_catalog.count(*)
              FROM password_verify.kind all_of
              JOIN password_verify.member m ON m.name OPERATOR(pg_catalog.=) all_of.object
             WHERE all_of.kind OPERATOR(pg_catalog.=) k.kind) AS complete
  FROM password_verify.kind k
  JOIN password_verify.member m ON m.name OPERATOR(pg_catalog.=) k.object
 CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) acl
 WHERE acl.grantee OPERATOR(pg_catalog.<>) m.owner
   AND acl.privilege_type OPERATOR(pg_catalog.=) m.privilege
 GROUP BY acl.grantee, k.kind;
COMMENT ON VIEW @extschema@.pv_grants IS 'which role holds which kind; complete is false if only some functions were granted';

-- The only dynamic SQL in a function, because GRANT takes no parameters. Its parts are constants,
-- names from the catalog as PostgreSQL quotes them, and the name of an existing role.
CREATE FUNCTION password_verify.change_grant(role pg_catalog.regrole, kind pg_catalog.text, template pg_catalog.text)
    RETURNS pg_catalog.void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    grantee pg_catalog.name;
    target pg_catalog.record;
BEGIN
    PERFORM password_verify.require_client();
    IF role IS NULL OR kind IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'role and kind must not be null';
    END IF;
    IF NOT EXISTS (SELECT FROM password_verify.kind k
                    WHERE k.kind OPERATOR(pg_catalog.=) change_grant.kind) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'unknown kind',
            HINT = 'The kinds are verifier, enroller, registrar, manager, auditor, depositor and connector.';
    END IF;
    SELECT r.rolname INTO grantee
      FROM pg_catalog.pg_roles r
     WHERE r.oid OPERATOR(pg_catalog.=) change_grant.role::pg_catalog.oid
       AND r.rolname OPERATOR(pg_catalog.<>) 'pv_owner';
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'a kind is granted to an existing role other than pv_owner';
    END IF;

    FOR target IN
        SELECT m.privilege, m.class, m.object
          FROM password_verify.kind k
          JOIN password_verify.member m ON m.name OPERATOR(pg_catalog.=) k.object
         WHERE k.kind OPERATOR(pg_catalog.=) change_grant.kind
    LOOP
        EXECUTE pg_catalog.format(template, target.privilege, target.class, target.object, grantee);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION password_verify.change_grant(pg_catalog.regrole, pg_catalog.text, pg_catalog.text) IS 'the common part of pv_grant and pv_revoke';

-- Whoever may ask for a job and take it could have a secret opened as they please.
CREATE FUNCTION password_verify.require_apart(role pg_catalog.regrole, kind pg_catalog.text)
    RETURNS pg_catalog.void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM password_verify.require_client();
    IF EXISTS (SELECT
                 FROM password_verify.kind other
                 JOIN password_verify.member m ON m.name OPERATOR(pg_catalog.=) other.object
                CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) acl
                WHERE other.kind IN ('depositor', 'connector')
                  AND other.kind OPERATOR(pg_catalog.<>) require_apart.kind
                  AND acl.grantee OPERATOR(pg_catalog.<>) m.owner
                  -- A role that is, or is a member of, both. Everybody is in PUBLIC, and superusers are members of all.
                  AND EXISTS (SELECT
                                FROM pg_catalog.pg_roles r
                               WHERE NOT r.rolsuper
                                 AND (acl.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                                      OR pg_catalog.pg_has_role(r.oid, acl.grantee, 'MEMBER'))
                                 AND pg_catalog.pg_has_role(r.oid, require_apart.role::pg_catalog.oid, 'MEMBER'))) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'no role can be both depositor and connector',
            HINT = 'Give the keeper a login of its own: neither may be a member of the other, and no role may be a member of both.';
    END IF;
END
$function$;
COMMENT ON FUNCTION password_verify.require_apart(pg_catalog.regrole, pg_catalog.text) IS 'refuses a role that holds the other kind of the keeper';

CREATE FUNCTION @extschema@.pv_grant(role pg_catalog.regrole, kind pg_catalog.text)
    RETURNS pg_catalog.void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    IF kind IN ('depositor', 'connector') THEN
        PERFORM password_verify.require_apart(role, kind);
    END IF;
    PERFORM password_verify.change_grant(role, kind, 'GRANT %s ON %s %s TO %I');
    IF NOT pg_catalog.has_schema_privilege(role::pg_catalog.oid, (
            SELECT e.extnamespace FROM pg_catalog.pg_extension e
             WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify'), 'USAGE') THEN
        RAISE WARNING USING
            MESSAGE = 'the role cannot reach the schema of the functions yet',
            HINT = 'GRANT USAGE ON SCHEMA ... TO ...';
    END IF;
END
$function$;
COMMENT ON FUNCTION @extschema@.pv_grant(pg_catalog.regrole, pg_catalog.text) IS 'grant a kind to a role, in this database';

CREATE FUNCTION @extschema@.pv_revoke(role pg_catalog.regrole, kind pg_catalog.text)
    RETURNS pg_catalog.void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM password_verify.change_grant(role, kind, 'REVOKE %s ON %s %s FROM %I');
END
$function$;
COMMENT ON FUNCTION @extschema@.pv_revoke(pg_catalog.regrole, pg_catalog.text) IS 'undo pv_grant';

--------------------------------------------------------------------------------
-- 9. The doctor: what is not as it should be, and how to mend it
--
-- A function for each area has a row for each finding: its rule, what it is about, and the remedy. password_verify.rule
-- says how bad that is, and why. All run as their caller: pv_doctor as a superuser, and the counts for auditors as
-- pv_owner, who does not see pg_hba.conf. What could not be looked at is a finding, too.
--
-- They read catalogs, what the library knows, and a few rows; only doctor_records reads a table of ours from end to end.
-- Their cost grows with the roles, functions and publications of the database, and each waits a second at most where
-- something is locked.
--
-- Names are spelled in printable ASCII, and a remedy that is no statement is a comment: whatever an application has named its
-- objects, what is shown here may be pasted.
--------------------------------------------------------------------------------

CREATE VIEW password_verify.rule AS
SELECT r.area, r.severity, r.rule, r.why
  FROM (VALUES
    ('installation', 'critical', 'library and SQL are of different versions', 'functions run code that was not made for them'),
    ('keys', 'warning', 'no keyring', 'whoever has a dump can attack its hashes, and whoever can write the tables can set passwords'),
    ('keys', 'critical', 'the keyring''s file is not as it must be', 'keys in it may be known to others, and the server will not start again'),
    ('keys', 'critical', 'unsealed rows are accepted', 'whoever can write the tables can set passwords'),
    ('keys', 'warning', 'a move to a keyring has been declared', 'while the setting is there, whoever can write the tables may pretend that the move has not begun'),
    ('records', 'critical', 'records under a key that the keyring lacks', 'no password of them is ever right'),
    ('records', 'warning', 'records under an old key', 'a stolen old key still opens them'),
    ('records', 'critical', 'records that are not sealed', 'a dump shows their hashes'),
    ('records', 'warning', 'imported hashes that do not look at the whole password', 'several passwords are right until each user''s next change'),
    ('records', 'note', 'imported hashes', 'they are of another system''s cost until each user''s next login'),
    ('records', 'note', 'records of another cost than new ones', 'each is renewed at its user''s next login'),
    ('roles', 'critical', 'an application logs in as a superuser', 'whatever gets into the application reads and writes everything'),
    ('roles', 'critical', 'an application may bypass row security', 'it needs one more grant to read every hash'),
    ('roles', 'critical', 'an application may replicate', 'it can copy the whole server, hashes included'),
    ('roles', 'critical', 'an application may create roles', 'before PostgreSQL 16 it can make itself a member of any role but superusers'),
    ('roles', 'critical', 'an application may use the server''s files', 'it can read or write tables, keys and logs past PostgreSQL'),
    ('roles', 'critical', 'an application may run programs', 'it is the operating system''s user of the server'),
    ('roles', 'critical', 'the owner is more than a plain role', 'whoever acts as the owner reads and writes every credential'),
    ('grants', 'critical', 'kinds that no login may have both', 'who asks for a job and takes it has any secret opened'),
    ('grants', 'warning', 'kinds that should be apart', 'whatever gets into the application can set any password'),
    ('grants', 'critical', 'granted to PUBLIC', 'every login of this database may call it'),
    ('grants', 'warning', 'a kind that is not complete', 'some of its functions fail, or were granted by hand'),
    ('grants', 'critical', 'a private object is granted', 'nobody but its owner needs it'),
    ('schema', 'critical', 'others may create objects in the schema of the functions', 'a function of the same name there is called instead, and gets the passwords'),
    ('schema', 'critical', 'a function that is called instead of ours', 'a call that does not name the schema, or with other types, gives it the password'),
    ('outside', 'critical', 'a publication has tables of ours', 'a subscriber gets every hash'),
    ('outside', 'critical', 'a connection over the network without a password', 'whoever reaches the server is the application'),
    ('outside', 'warning', 'a connection over the network without TLS', 'whoever listens there has what crosses it'),
    ('outside', 'warning', 'a login''s password crosses the network as it is', 'a server that was taken over, or pretends to be this one, gets it'),
    ('outside', 'warning', 'a line of pg_hba.conf that does not count', 'with an error in it the file is not used at all, or not this line'),
    ('logging', 'warning', 'redaction is off', 'passwords are in the log and in statistics'),
    ('logging', 'warning', 'errors are not logged', 'their texts then reach clients as PostgreSQL made them'),
    ('logging', 'warning', 'wrappers that redaction does not know', 'the log has a statement with their arguments before it is known that they call us'),
    ('settings', 'critical', 'hashes below what OWASP asks for', 'every call that hashes fails'),
    ('settings', 'warning', 'passwords shorter than NIST SP 800-63B-4 asks for', 'fewer than 15 characters are for a second factor beside'),
    ('settings', 'warning', 'common passwords are accepted', 'they are guessed first'),
    ('settings', 'warning', 'accounts hardly wait', 'a guess at one account costs nothing'),
    ('settings', 'warning', 'client addresses are not limited', 'one address may guess at every account'),
    ('settings', 'note', 'repeated failures are forgiven', 'NIST SP 800-63B-4 counts every failure, and repeats show who has logged in'),
    ('settings', 'warning', 'secrets may cross the network in the clear', 'whoever listens there has them'),
    ('settings', 'note', 'answers do not wait for their event', 'a crash loses the events of the last moment'),
    ('settings', 'warning', 'a standby has budgets of its own', 'who reaches both servers guesses twice as often'),
    ('server', 'warning', 'more memory for hashes than there is', 'the operating system ends processes of the server when all slots are in use'),
    ('server', 'warning', 'more hash slots than processors', 'each hash takes longer, and attempts time out'),
    ('server', 'note', 'hashes in small pages', 'each takes about twice as long'),
    ('worker', 'critical', 'no worker comes', 'no attempt gets an answer'),
    ('worker', 'critical', 'events wait to be written', 'answers wait for them, or fail'),
    ('worker', 'warning', 'the queue of events is filling', 'attempts are answered busy when it is full'),
    ('worker', 'warning', 'the budgets are filling', 'attempts are answered busy when there is no place for another'),
    ('audit', 'critical', 'the audit is not as it was written', 'somebody has changed, removed or inserted events'),
    ('audit', 'critical', 'a table is not as it was written', 'somebody has changed, removed or put back rows'),
    ('audit', 'warning', 'the audit was not verified for 30 days', 'a change is noticed too late to be understood'),
    ('tables', 'warning', 'an index that is not ours', 'it makes writes dearer, and its functions run with the rights of the owner'),
    ('tables', 'critical', 'a trigger', 'no call works while it is there'),
    ('tables', 'critical', 'a column that is not ours', 'no call works while it is there'),
    ('tables', 'critical', 'a table that is not as it was created', 'no call works'),
    ('tables', 'warning', 'dead rows', 'look-ups pass them'),
    ('unknown', 'unknown', 'not seen', 'nothing is known of it')) AS r (area, severity, rule, why);
COMMENT ON VIEW password_verify.rule IS 'what pv_doctor looks for';

CREATE FUNCTION password_verify.facts(OUT fact text, OUT value text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE c SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_facts_wrapper';
COMMENT ON FUNCTION password_verify.facts() IS 'what only the library knows of the server';

CREATE FUNCTION password_verify.spelled(name text, literal boolean) RETURNS text
    LANGUAGE c SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'pv_spelled_wrapper';
COMMENT ON FUNCTION password_verify.spelled(text, boolean) IS 'a name, or a literal, that is not printable ASCII, spelled in that; NULL for others';

CREATE FUNCTION password_verify.quoted(name text) RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS 'SELECT COALESCE(password_verify.spelled(name, false), pg_catalog.quote_ident(name))';
COMMENT ON FUNCTION password_verify.quoted(text) IS 'a name as a statement has it, in printable ASCII';

CREATE FUNCTION password_verify.literal(value text) RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS 'SELECT COALESCE(password_verify.spelled(value, true), pg_catalog.quote_literal(value))';
COMMENT ON FUNCTION password_verify.literal(text) IS 'a text as a statement has it, in printable ASCII';

CREATE FUNCTION password_verify.role_name(role oid) RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT CASE role WHEN 0::pg_catalog.oid THEN 'PUBLIC'
       ELSE (SELECT password_verify.quoted(r.rolname::pg_catalog.text) FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) role) END
$function$;
COMMENT ON FUNCTION password_verify.role_name(oid) IS 'a role as GRANT names it';

-- The functions' schema, to be put before a name.
CREATE FUNCTION password_verify.api() RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT password_verify.quoted(n.nspname::pg_catalog.text)
  FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
 WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify'
$function$;
COMMENT ON FUNCTION password_verify.api() IS 'the schema of the functions';

-- Memberships by which a member can act as the role: from PostgreSQL 16 on there are others.
CREATE VIEW password_verify.membership AS
SELECT m.roleid AS role, m.member
  FROM pg_catalog.pg_auth_members m
 CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(m)) AS options (of)
 WHERE COALESCE((options.of OPERATOR(pg_catalog.->>) 'inherit_option')::pg_catalog.bool, true)
    OR COALESCE((options.of OPERATOR(pg_catalog.->>) 'set_option')::pg_catalog.bool, true);
COMMENT ON VIEW password_verify.membership IS 'which role can act as which other';

CREATE VIEW password_verify.holding AS
SELECT DISTINCT acl.grantee AS role, m.class, m.object, m.name, k.kind
  FROM password_verify.member m
 CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) acl
  LEFT JOIN password_verify.kind k ON k.object OPERATOR(pg_catalog.=) m.name AND m.privilege OPERATOR(pg_catalog.=) acl.privilege_type
 WHERE acl.grantee OPERATOR(pg_catalog.<>) m.owner;
COMMENT ON VIEW password_verify.holding IS 'what has been granted to whom, and of which kind it is';

-- Every login that has a kind, or can act as a role that has one, and all roles that it can act as.
CREATE VIEW password_verify.acting AS
WITH RECURSIVE up (role) AS (
    SELECT h.role FROM password_verify.holding h WHERE h.kind IS NOT NULL AND h.role OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
     UNION
    SELECT m.member FROM up JOIN password_verify.membership m ON m.role OPERATOR(pg_catalog.=) up.role),
down (login, role) AS (
    SELECT r.oid, r.oid FROM up JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) up.role AND r.rolcanlogin
     UNION
    SELECT down.login, m.role FROM down JOIN password_verify.membership m ON m.member OPERATOR(pg_catalog.=) down.role)
SELECT down.login, down.role FROM down;
COMMENT ON VIEW password_verify.acting IS 'which roles an application''s login can act as';

CREATE FUNCTION password_verify.doctor_installation(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT 'library and SQL are of different versions',
       pg_catalog.format('%s and %s', f.value, COALESCE(password_verify.spelled(e.extversion, true), e.extversion)),
       'ALTER EXTENSION password_verify UPDATE; -- after a restart, if the server still runs an older library'
  FROM pg_catalog.pg_extension e
  JOIN password_verify.facts() f ON f.fact OPERATOR(pg_catalog.=) 'library' AND f.value OPERATOR(pg_catalog.<>) e.extversion
 WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify'
$function$;
COMMENT ON FUNCTION password_verify.doctor_installation() IS 'findings about the installation';

CREATE FUNCTION password_verify.doctor_keys(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH facts AS MATERIALIZED (SELECT f.fact, f.value FROM password_verify.facts() f)
SELECT 'no keyring', NULL, '-- make one: docs/operating.md, "Keys"'
 WHERE NOT EXISTS (SELECT FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'key')
UNION ALL
SELECT 'the keyring''s file is not as it must be', f.value,
       '-- mend it where it lies; then SELECT pg_catalog.pg_reload_conf();'
  FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'key file'
UNION ALL
SELECT CASE f.value WHEN 'on' THEN 'unsealed rows are accepted' ELSE 'a move to a keyring has been declared' END, NULL,
       '-- CALL pv_rotate_keys() in every database, remove password_verify.accept_unsealed from postgresql.conf, and restart'
  FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'accept_unsealed' AND EXISTS (SELECT FROM facts k WHERE k.fact OPERATOR(pg_catalog.=) 'key')
$function$;
COMMENT ON FUNCTION password_verify.doctor_keys() IS 'findings about the keyring';

-- What the rows are sealed with is counted one by one, which takes seconds for a million users. Whoever asks every minute is told
-- that it was not, where the table is large.
CREATE FUNCTION password_verify.doctor_records(whole boolean, OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    small CONSTANT pg_catalog.int8 := 50000000;
BEGIN
    PERFORM password_verify.require_client();
    IF whole OR pg_catalog.pg_relation_size('password_verify.credential') OPERATOR(pg_catalog.<) small THEN
        RETURN QUERY
        WITH ring AS MATERIALIZED (SELECT f.value AS key FROM password_verify.facts() f WHERE f.fact OPERATOR(pg_catalog.=) 'key'),
        used AS MATERIALIZED (
            SELECT CASE WHEN pg_catalog.starts_with(sealed.text, '$sealed$')
                        THEN pg_catalog.concat(pg_catalog.split_part(sealed.text, '$', 4), '$', pg_catalog.split_part(sealed.text, '$', 5)) END AS key,
                   pg_catalog.count(*) AS rows
              FROM (SELECT c.verifier FROM password_verify.credential c WHERE c.user_id OPERATOR(pg_catalog.<>) ''
                     UNION ALL SELECT a.seal FROM password_verify.account a WHERE a.user_id OPERATOR(pg_catalog.<>) ''
                     UNION ALL SELECT kept.text FROM password_verify.kept_seals() kept (text)) sealed (text)
             GROUP BY 1)
        SELECT CASE WHEN u.key IS NULL THEN 'records that are not sealed'
                    WHEN u.key IN (SELECT r.key FROM ring r) THEN 'records under an old key'
                    ELSE 'records under a key that the keyring lacks' END,
               pg_catalog.concat_ws(' under ', pg_catalog.format('%s rows', u.rows), password_verify.quoted(pg_catalog.split_part(u.key, '$', 1))),
               CASE WHEN u.key IS NULL OR u.key IN (SELECT r.key FROM ring r)
                    THEN pg_catalog.concat('CALL ', password_verify.api(), '.pv_rotate_keys();')
                    ELSE '-- put that key back into the keyring, before the last line; then SELECT pg_catalog.pg_reload_conf();' END
          FROM used u
         WHERE u.key IS DISTINCT FROM password_verify.active_key();
    ELSE
        RETURN QUERY SELECT 'not seen', 'which keys records are sealed with, because there are many',
                            pg_catalog.concat('SELECT * FROM ', password_verify.api(), '.pv_doctor();');
    END IF;
    RETURN QUERY
    SELECT CASE WHEN c.scheme IS NULL THEN 'records of another cost than new ones'
                WHEN c.scheme IN ('bcrypt', 'bcrypt-2x', 'des-crypt', 'xdes-crypt', 'mssql2000')
                THEN 'imported hashes that do not look at the whole password' ELSE 'imported hashes' END,
           pg_catalog.format('%s of %s, as far as counted', pg_catalog.sum(c.users), COALESCE(c.scheme, c.cost)),
           '-- they are renewed at the next login; who does not log in any more may be disabled'
      FROM (SELECT t.users,
                   CASE WHEN pg_catalog.starts_with(t.template, '$legacy$') THEN pg_catalog.split_part(t.template, '$', 4)
                        WHEN pg_catalog.starts_with(t.template, '$wrapped$') THEN pg_catalog.split_part(t.template, '$', 8) END,
                   pg_catalog.split_part(t.template, '$', 4)
              FROM password_verify.cost_class t
             WHERE t.users OPERATOR(pg_catalog.>) 0 AND NOT t.current) c (users, scheme, cost)
     GROUP BY c.scheme, CASE WHEN c.scheme IS NULL THEN c.cost END, c.cost;
END
$function$;
COMMENT ON FUNCTION password_verify.doctor_records(boolean) IS 'findings about keys and costs of records';

CREATE FUNCTION password_verify.doctor_roles(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH acting AS MATERIALIZED (
    SELECT a.login, a.role, l.rolsuper AS is_superuser,
           pg_catalog.concat_ws(' as ', password_verify.role_name(a.login),
                     CASE WHEN a.role OPERATOR(pg_catalog.<>) a.login THEN password_verify.role_name(a.role) END) AS object
      FROM password_verify.acting a
      JOIN pg_catalog.pg_roles l ON l.oid OPERATOR(pg_catalog.=) a.login)
SELECT can.rule, a.object, pg_catalog.format('ALTER ROLE %s %s;', password_verify.role_name(r.oid), can.remedy)
  FROM acting a
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.role
 CROSS JOIN LATERAL (VALUES
       ('an application logs in as a superuser', 'NOSUPERUSER', r.rolsuper),
       ('an application may bypass row security', 'NOBYPASSRLS', r.rolbypassrls AND NOT r.rolsuper),
       ('an application may replicate', 'NOREPLICATION', r.rolreplication AND NOT r.rolsuper),
       ('an application may create roles', 'NOCREATEROLE', r.rolcreaterole AND NOT r.rolsuper
            AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 160000)) AS can (rule, remedy, is_so)
 WHERE can.is_so AND (NOT a.is_superuser OR a.role OPERATOR(pg_catalog.=) a.login)
UNION ALL
-- A role that comes with PostgreSQL is taken from whoever has it directly.
SELECT CASE r.rolname WHEN 'pg_execute_server_program' THEN 'an application may run programs'
            ELSE 'an application may use the server''s files' END,
       a.object,
       (SELECT pg_catalog.string_agg(pg_catalog.format('REVOKE %s FROM %s;', r.rolname, password_verify.role_name(m.member)), ' ')
          FROM password_verify.membership m
          JOIN acting b ON b.login OPERATOR(pg_catalog.=) a.login AND b.role OPERATOR(pg_catalog.=) m.member
         WHERE m.role OPERATOR(pg_catalog.=) a.role)
  FROM acting a
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.role
   AND r.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
 WHERE NOT a.is_superuser
UNION ALL
SELECT 'the owner is more than a plain role', password_verify.role_name(o.oid),
       pg_catalog.format('ALTER ROLE %s NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;', password_verify.role_name(o.oid))
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
 WHERE n.nspname OPERATOR(pg_catalog.=) 'password_verify'
   AND (o.rolcanlogin OR o.rolsuper OR o.rolcreaterole OR o.rolcreatedb OR o.rolreplication OR o.rolbypassrls)
UNION ALL
SELECT 'the owner is more than a plain role',
       pg_catalog.format('%s is a member of %s', password_verify.role_name(m.member), password_verify.role_name(m.roleid)),
       pg_catalog.format('REVOKE %s FROM %s;', password_verify.role_name(m.roleid), password_verify.role_name(m.member))
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_auth_members m ON n.nspowner IN (m.roleid, m.member)
 WHERE n.nspname OPERATOR(pg_catalog.=) 'password_verify'
$function$;
COMMENT ON FUNCTION password_verify.doctor_roles() IS 'findings about what roles may do beside';

CREATE FUNCTION password_verify.doctor_grants(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH holding AS MATERIALIZED (SELECT h.role, h.class, h.object, h.name, h.kind FROM password_verify.holding h),
acting AS MATERIALIZED (SELECT a.login, a.role FROM password_verify.acting a),
whole AS (
    SELECT k.kind, pg_catalog.count(DISTINCT m.object) AS objects
      FROM password_verify.kind k
      JOIN password_verify.member m ON m.name OPERATOR(pg_catalog.=) k.object
     GROUP BY k.kind),
-- pv_revoke takes a name as regrole reads it, which knows no U&.
held AS (
    SELECT h.role, h.kind, pg_catalog.count(DISTINCT h.object) AS objects,
           pg_catalog.format('SELECT %s.pv_revoke(%s, %L);', password_verify.api(),
                  CASE WHEN password_verify.spelled(r.rolname::pg_catalog.text, false) IS NULL
                       THEN pg_catalog.quote_literal(pg_catalog.quote_ident(r.rolname)) ELSE pg_catalog.quote_literal(r.oid) END, h.kind) AS revoked
      FROM holding h
      JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) h.role
     WHERE h.kind IS NOT NULL
     GROUP BY h.role, h.kind, r.rolname, r.oid)
SELECT CASE pair.one WHEN 'depositor' THEN 'kinds that no login may have both' ELSE 'kinds that should be apart' END,
       pg_catalog.format('%s: %s and %s', password_verify.role_name(a.login), pair.one, pair.other),
       pg_catalog.string_agg(DISTINCT two.revoked, ' ')
  FROM (VALUES ('depositor', 'connector'), ('verifier', 'registrar'), ('verifier', 'manager')) AS pair (one, other)
  JOIN held two ON two.kind OPERATOR(pg_catalog.=) pair.other
  JOIN acting a ON a.role OPERATOR(pg_catalog.=) two.role
  JOIN pg_catalog.pg_roles l ON l.oid OPERATOR(pg_catalog.=) a.login AND NOT l.rolsuper
 WHERE EXISTS (SELECT FROM acting b
                 JOIN held one ON one.role OPERATOR(pg_catalog.=) b.role AND one.kind OPERATOR(pg_catalog.=) pair.one
                WHERE b.login OPERATOR(pg_catalog.=) a.login)
 GROUP BY a.login, pair.one, pair.other
UNION ALL
SELECT 'granted to PUBLIC', h.object, pg_catalog.format('REVOKE ALL ON %s %s FROM PUBLIC;', h.class, h.object)
  FROM holding h
 WHERE h.role OPERATOR(pg_catalog.=) 0::pg_catalog.oid
UNION ALL
SELECT 'a kind that is not complete',
       pg_catalog.format('%s of %s: %s of %s', h.kind, password_verify.role_name(h.role), h.objects, w.objects),
       pg_catalog.concat(h.revoked, ' -- or pv_grant, which grants the rest')
  FROM held h
  JOIN whole w ON w.kind OPERATOR(pg_catalog.=) h.kind AND w.objects OPERATOR(pg_catalog.<>) h.objects
UNION ALL
SELECT 'a private object is granted', pg_catalog.format('%s to %s', h.object, password_verify.role_name(h.role)),
       pg_catalog.format('REVOKE ALL ON %s %s FROM %s;', h.class, h.object, password_verify.role_name(h.role))
  FROM holding h
 WHERE h.kind IS NULL AND h.role OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND h.name NOT IN ('pv_doctor', 'pv_grants')
$function$;
COMMENT ON FUNCTION password_verify.doctor_grants() IS 'findings about kinds';

-- The search_path that a session of each login begins with: its own for this database, its own, the database's, or the
-- server's, for which the value of this session stands before any SET.
CREATE VIEW password_verify.path AS
SELECT a.login, element.place, n.oid AS schema
  FROM (SELECT DISTINCT o.login FROM password_verify.acting o) a
  JOIN pg_catalog.pg_roles l ON l.oid OPERATOR(pg_catalog.=) a.login
 CROSS JOIN LATERAL (
       SELECT COALESCE(
              (SELECT pg_catalog.substr(item.text, 13)
                 FROM pg_catalog.pg_db_role_setting s
                CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) item (text)
                WHERE s.setrole IN (a.login, 0::pg_catalog.oid)
                  AND s.setdatabase IN (0::pg_catalog.oid, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
                  AND pg_catalog.starts_with(item.text, 'search_path=')
                ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0::pg_catalog.oid DESC, s.setdatabase OPERATOR(pg_catalog.<>) 0::pg_catalog.oid DESC
                LIMIT 1),
              (SELECT s.reset_val FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path'))) whole (path)
 CROSS JOIN LATERAL pg_catalog.regexp_matches(whole.path, '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g') WITH ORDINALITY AS element (found, place)
  JOIN pg_catalog.pg_namespace n
    ON n.nspname OPERATOR(pg_catalog.=) CASE WHEN element.found[1] IS NULL THEN pg_catalog.lower(element.found[2])
                        WHEN element.found[1] OPERATOR(pg_catalog.=) '$user' THEN l.rolname::pg_catalog.text
                        ELSE pg_catalog.replace(element.found[1], '""', '"') END;
COMMENT ON VIEW password_verify.path IS 'where an application''s login looks for functions whose schema it does not name';

CREATE FUNCTION password_verify.doctor_schema(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH api AS MATERIALIZED (
    SELECT e.oid AS extension, n.oid, n.nspowner, n.nspacl, password_verify.quoted(n.nspname::pg_catalog.text) AS name
      FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
     WHERE e.extname OPERATOR(pg_catalog.=) 'password_verify'),
namesake AS MATERIALIZED (
    SELECT p.oid, p.pronamespace
      FROM (SELECT DISTINCT m.name FROM password_verify.member m WHERE m.privilege OPERATOR(pg_catalog.=) 'EXECUTE' AND pg_catalog.starts_with(m.name, 'pv_')) ours
      JOIN pg_catalog.pg_proc p ON p.proname OPERATOR(pg_catalog.=) ours.name
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid OPERATOR(pg_catalog.=) 'pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
                          AND d.refobjid OPERATOR(pg_catalog.=) (SELECT a.extension FROM api a))),
path AS MATERIALIZED (SELECT p.login, p.place, p.schema FROM password_verify.path p),
-- Schemas that are looked into before ours.
earlier AS MATERIALIZED (
    SELECT DISTINCT theirs.schema
      FROM path theirs
      LEFT JOIN (SELECT p.login, pg_catalog.min(p.place) AS place
                   FROM path p WHERE p.schema OPERATOR(pg_catalog.=) (SELECT a.oid FROM api a) GROUP BY p.login) ours ON ours.login OPERATOR(pg_catalog.=) theirs.login
     WHERE COALESCE(theirs.place OPERATOR(pg_catalog.<) ours.place, true)
       AND pg_catalog.has_schema_privilege(theirs.login, theirs.schema, 'USAGE'))
SELECT 'others may create objects in the schema of the functions',
       pg_catalog.format('%s in %s', password_verify.role_name(creator.who), a.name),
       CASE WHEN creator.owns THEN pg_catalog.format('ALTER SCHEMA %s OWNER TO %s;', a.name, password_verify.role_name(10::pg_catalog.oid))
            ELSE pg_catalog.format('REVOKE CREATE ON SCHEMA %s FROM %s;', a.name, password_verify.role_name(creator.who)) END
  FROM api a
 CROSS JOIN LATERAL (
       SELECT a.nspowner, true
        UNION ALL
       SELECT DISTINCT acl.grantee, false
         FROM pg_catalog.aclexplode(a.nspacl) acl
        WHERE acl.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND acl.grantee OPERATOR(pg_catalog.<>) a.nspowner) AS creator (who, owns)
 WHERE NOT EXISTS (SELECT
                     FROM pg_catalog.pg_roles named
                     JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                     JOIN pg_catalog.pg_roles r
                       ON r.oid OPERATOR(pg_catalog.=) CASE named.rolname WHEN 'pg_database_owner' THEN d.datdba ELSE named.oid END
                    WHERE named.oid OPERATOR(pg_catalog.=) creator.who AND r.rolsuper)
UNION ALL
SELECT 'a function that is called instead of ours', spelled.name, pg_catalog.format('DROP ROUTINE %s;', spelled.name)
  FROM (SELECT s.oid
          FROM namesake s
         WHERE s.pronamespace OPERATOR(pg_catalog.=) (SELECT a.oid FROM api a) OR s.pronamespace IN (SELECT e.schema FROM earlier e)
         -- Those that may be spelled in a second. Of ours first.
         ORDER BY s.pronamespace OPERATOR(pg_catalog.<>) (SELECT a.oid FROM api a), s.oid
         LIMIT 500) s
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) s.oid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.format('%s.%s(%s)', password_verify.quoted(n.nspname::pg_catalog.text), password_verify.quoted(p.proname::pg_catalog.text),
                     (SELECT pg_catalog.string_agg(pg_catalog.concat(password_verify.quoted(tn.nspname::pg_catalog.text), '.', password_verify.quoted(t.typname::pg_catalog.text)),
                                        ', ' ORDER BY arg.place)
                        FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS arg (type, place)
                        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) arg.type
                        JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace))) spelled (name)
$function$;
COMMENT ON FUNCTION password_verify.doctor_schema() IS 'findings about whose functions are called';

-- In PL/pgSQL, which looks for what it reads when it comes to that: not every version has publications of schemas, and not
-- every caller may read pg_hba.conf.
CREATE FUNCTION password_verify.doctor_outside(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
BEGIN
    PERFORM password_verify.require_client();
    RETURN QUERY
    SELECT 'a publication has tables of ours', pg_catalog.format('%s: all tables', password_verify.quoted(p.pubname::pg_catalog.text)),
           pg_catalog.format('DROP PUBLICATION %s; -- and create it again for the tables that it is for', password_verify.quoted(p.pubname::pg_catalog.text))
      FROM pg_catalog.pg_publication p
     WHERE p.puballtables
    UNION ALL
    SELECT 'a publication has tables of ours', pg_catalog.format('%s: %s', password_verify.quoted(p.pubname::pg_catalog.text), r.prrelid::pg_catalog.regclass),
           pg_catalog.format('ALTER PUBLICATION %s DROP TABLE %s;', password_verify.quoted(p.pubname::pg_catalog.text), r.prrelid::pg_catalog.regclass)
      FROM pg_catalog.pg_publication_rel r
      JOIN pg_catalog.pg_publication p ON p.oid OPERATOR(pg_catalog.=) r.prpubid
      JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.prrelid AND c.relnamespace OPERATOR(pg_catalog.=) 'password_verify'::pg_catalog.regnamespace;
    IF pg_catalog.to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL THEN
        RETURN QUERY
        SELECT 'a publication has tables of ours', pg_catalog.format('%s: schema password_verify', password_verify.quoted(p.pubname::pg_catalog.text)),
               pg_catalog.format('ALTER PUBLICATION %s DROP TABLES IN SCHEMA password_verify;', password_verify.quoted(p.pubname::pg_catalog.text))
          FROM pg_catalog.pg_publication_namespace s
          JOIN pg_catalog.pg_publication p ON p.oid OPERATOR(pg_catalog.=) s.pnpubid
         WHERE s.pnnspid OPERATOR(pg_catalog.=) 'password_verify'::pg_catalog.regnamespace;
    END IF;

    IF NOT pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE') THEN
        RETURN QUERY SELECT 'not seen', 'pg_hba.conf',
            pg_catalog.format('GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO %s;', password_verify.role_name(n.nspowner))
          FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'password_verify';
        RETURN;
    END IF;
    -- Lines for this database, and for a copy of the server, from another machine.
    RETURN QUERY
    SELECT found.rule, pg_catalog.format('line %s', h.line_number),
           pg_catalog.format('-- %s in line %s of pg_hba.conf; then SELECT pg_catalog.pg_reload_conf();', found.remedy, h.line_number)
      FROM pg_catalog.pg_hba_file_rules() h
     CROSS JOIN LATERAL (VALUES
           ('a connection over the network without a password', 'write scram-sha-256 or cert', h.auth_method OPERATOR(pg_catalog.=) 'trust'),
           ('a connection over the network without TLS', 'write hostssl', h.type IN ('host', 'hostnossl', 'hostnogssenc')),
           ('a login''s password crosses the network as it is', 'write scram-sha-256', h.auth_method OPERATOR(pg_catalog.=) 'password'))
           AS found (rule, remedy, is_so)
     WHERE found.is_so AND h.type OPERATOR(pg_catalog.<>) 'local' AND h.auth_method OPERATOR(pg_catalog.<>) 'reject'
       AND NOT COALESCE(h.netmask OPERATOR(pg_catalog.~) '^(255\.|ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff$)' AND h.address OPERATOR(pg_catalog.~) '^(127\.|::1$)', false)
       AND h.database OPERATOR(pg_catalog.&&) ARRAY['all', 'sameuser', 'samerole', 'samegroup', 'replication', pg_catalog.current_database()::pg_catalog.text]
    UNION ALL
    SELECT 'a line of pg_hba.conf that does not count', pg_catalog.format('line %s', h.line_number),
           '-- mend it; then SELECT pg_catalog.pg_reload_conf();'
      FROM pg_catalog.pg_hba_file_rules() h
     WHERE h.error IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION password_verify.doctor_outside() IS 'findings about publications and pg_hba.conf';

-- What an application's functions do is looked for by our names in their texts, of which there may be 16 MB as stored.
CREATE FUNCTION password_verify.doctor_logging(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    listed CONSTANT pg_catalog.text := pg_catalog.current_setting('password_verify.redact_functions');
    names  CONSTANT pg_catalog.text := pg_catalog.concat(',', pg_catalog.regexp_replace(pg_catalog.btrim(listed), '\s*,\s*', ',', 'g'), ',');
    ours   CONSTANT pg_catalog.text := (SELECT pg_catalog.string_agg(f.value, '|') FROM password_verify.facts() f WHERE f.fact OPERATOR(pg_catalog.=) 'takes a secret');
    most   CONSTANT pg_catalog.int8 := 16000000;
BEGIN
    PERFORM password_verify.require_client();
    IF most OPERATOR(pg_catalog.<) (SELECT pg_catalog.sum(pg_catalog.pg_column_size(p.prosrc)) FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid) THEN
        RETURN QUERY SELECT 'not seen', 'wrappers, because the functions of this database are too long to be searched',
                            '-- list those that take secrets in password_verify.redact_functions';
    ELSE
        -- What is called instead is a function, or a table with a trigger.
        RETURN QUERY
        SELECT 'wrappers that redaction does not know', pg_catalog.string_agg(w.name, ', ' ORDER BY w.name),
               -- No statement: whoever may make functions chooses the names, and a name that is listed has every statement with
               -- it redacted, whoever sends it.
               '-- add those that are the application''s own to password_verify.redact_functions, and rename what has a common name'
          FROM (SELECT DISTINCT password_verify.quoted(COALESCE(c.relname, p.proname)::pg_catalog.text)
                  FROM pg_catalog.pg_proc p
                  JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang AND l.lanname NOT IN ('c', 'internal')
                  LEFT JOIN pg_catalog.pg_trigger t ON t.tgfoid OPERATOR(pg_catalog.=) p.oid
                  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
                 WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
                   AND (p.prosrc OPERATOR(pg_catalog.~*) pg_catalog.concat('\m(', ours, ')\M')
                        OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                                     JOIN pg_catalog.pg_proc o ON o.oid OPERATOR(pg_catalog.=) d.refobjid AND o.proname::pg_catalog.text OPERATOR(pg_catalog.~) pg_catalog.concat('^(', ours, ')$')
                                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid
                                      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_proc'::pg_catalog.regclass))
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                     JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'password_verify'
                                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
                   AND (c.oid IS NOT NULL OR p.prorettype OPERATOR(pg_catalog.<>) 'trigger'::pg_catalog.regtype)
                   AND pg_catalog.strpos(names, pg_catalog.concat(',', pg_catalog.regexp_replace(password_verify.quoted(COALESCE(c.relname, p.proname)::pg_catalog.text), '\s*,\s*', ',', 'g'), ',')) OPERATOR(pg_catalog.=) 0
                   AND pg_catalog.lower(pg_catalog.replace(names, '"', '')) OPERATOR(pg_catalog.!~) pg_catalog.concat('[,.]', pg_catalog.regexp_replace(COALESCE(c.relname, p.proname)::pg_catalog.text, '\W', '\\&', 'g'), ',')
                 LIMIT 100) w (name)
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;
    END IF;
END
$function$;
COMMENT ON FUNCTION password_verify.doctor_logging() IS 'findings about what statements show';

-- Values that are not good, of which pv_doctor has the rules. Each is a setting of its own.
CREATE VIEW password_verify.bad_setting AS
SELECT b.name, b.rule, b.bad, b.good
  FROM (VALUES
    ('password_verify.redact', 'redaction is off', '^(0|of|off|f|fa|fal|fals|false|n|no)$', 'on'),
    ('log_min_messages', 'errors are not logged', '^(fatal|panic)$', 'warning'),
    ('password_verify.min_length', 'passwords shorter than NIST SP 800-63B-4 asks for', '^([0-9]|1[0-4])$', '15'),
    ('password_verify.common_passwords', 'common passwords are accepted', '^(0|of|off|f|fa|fal|fals|false|n|no)$', 'on'),
    ('password_verify.throttle_free_failures', 'accounts hardly wait', '^([5-9][0-9]|100)$', '5'),
    ('password_verify.throttle_client_failures', 'client addresses are not limited', '^0$', '50'),
    ('password_verify.throttle_forgive_repeats', 'repeated failures are forgiven', '^(1|on|t|tr|tru|true|y|ye|yes)$', 'off'),
    ('password_verify.require_tls', 'secrets may cross the network in the clear', '^(0|of|off|f|fa|fal|fals|false|n|no)$', 'on'),
    ('password_verify.audit_durability', 'answers do not wait for their event', '^async$', 'commit'),
    ('password_verify.standby_validation', 'a standby has budgets of its own', '^(1|on|t|tr|tru|true|y|ye|yes)$', 'off'))
    AS b (name, rule, bad, good);
COMMENT ON VIEW password_verify.bad_setting IS 'values that pv_doctor finds';

-- This session's, unless it has them from its database or role, and those of databases and roles.
CREATE VIEW password_verify.setting_in_force AS
SELECT s.name, pg_catalog.lower(s.setting) AS value, NULL AS holder,
       CASE s.source WHEN 'session' THEN pg_catalog.format('RESET %s;', s.name) END AS reset
  FROM pg_catalog.pg_settings s
 WHERE s.source NOT IN ('database', 'user', 'database user')
UNION ALL
SELECT pg_catalog.split_part(item.text, '=', 1), pg_catalog.lower(pg_catalog.substr(item.text, pg_catalog.strpos(item.text, '=') OPERATOR(pg_catalog.+) 1)),
       whose.holder, pg_catalog.concat('ALTER ', whose.holder, ' RESET ', pg_catalog.split_part(item.text, '=', 1), ';')
  FROM pg_catalog.pg_db_role_setting d
 CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) item (text)
 CROSS JOIN LATERAL (
       SELECT CASE WHEN d.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND d.setdatabase OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                   THEN pg_catalog.concat('DATABASE ', password_verify.quoted(pg_catalog.current_database()::pg_catalog.text))
                   ELSE pg_catalog.concat('ROLE ', COALESCE(password_verify.role_name(nullif(d.setrole, 0::pg_catalog.oid)), 'ALL'),
                               CASE WHEN d.setdatabase OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                                    THEN pg_catalog.concat(' IN DATABASE ', password_verify.quoted(pg_catalog.current_database()::pg_catalog.text)) END) END) whose (holder)
 WHERE d.setdatabase IN (0::pg_catalog.oid, (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()));
COMMENT ON VIEW password_verify.setting_in_force IS 'settings of this session, and of roles and this database';

CREATE FUNCTION password_verify.doctor_settings(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT b.rule, pg_catalog.concat_ws(' of ', pg_catalog.format('%s = %s', b.name, s.value), s.holder),
       COALESCE(s.reset, pg_catalog.format('ALTER SYSTEM SET %s = %L; SELECT pg_catalog.pg_reload_conf();', b.name, b.good))
  FROM password_verify.bad_setting b
  JOIN password_verify.setting_in_force s ON s.name OPERATOR(pg_catalog.=) b.name AND s.value OPERATOR(pg_catalog.~) b.bad
UNION ALL
SELECT 'hashes below what OWASP asks for', pg_catalog.format('%s kB and %s passes', cost.memory, cost.passes),
       COALESCE((SELECT pg_catalog.string_agg(s.reset, ' ' ORDER BY s.name)
                   FROM password_verify.setting_in_force s
                  WHERE s.name IN ('password_verify.argon2_memory', 'password_verify.argon2_iterations')
                    AND COALESCE(s.holder, 'DATABASE') OPERATOR(pg_catalog.~~) 'DATABASE%'),
                'ALTER SYSTEM RESET password_verify.argon2_memory; ALTER SYSTEM RESET password_verify.argon2_iterations; SELECT pg_catalog.pg_reload_conf();')
  FROM (SELECT m.setting::pg_catalog.int4, t.setting::pg_catalog.int4
          FROM pg_catalog.pg_settings m
          JOIN pg_catalog.pg_settings t ON t.name OPERATOR(pg_catalog.=) 'password_verify.argon2_iterations'
         WHERE m.name OPERATOR(pg_catalog.=) 'password_verify.argon2_memory') cost (memory, passes)
 WHERE NOT EXISTS (SELECT FROM (VALUES (47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5)) owasp (memory, passes)
                    WHERE cost.memory OPERATOR(pg_catalog.>=) owasp.memory AND cost.passes OPERATOR(pg_catalog.>=) owasp.passes)
$function$;
COMMENT ON FUNCTION password_verify.doctor_settings() IS 'findings about settings';

CREATE FUNCTION password_verify.doctor_server(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH facts AS MATERIALIZED (SELECT f.fact, f.value FROM password_verify.facts() f),
figures AS MATERIALIZED (
    SELECT (SELECT f.value::pg_catalog.int8 FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'memory') AS memory,
           (SELECT f.value::pg_catalog.int8 FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'processors') AS processors,
           pg_catalog.current_setting('password_verify.hash_slots')::pg_catalog.int8 AS slots,
           (SELECT s.setting::pg_catalog.int8 FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'password_verify.hash_memory_limit') AS hash,
           (SELECT s.setting::pg_catalog.int8 OPERATOR(pg_catalog.*) 8 FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'shared_buffers') AS buffers,
           (SELECT s.value FROM password_verify.statistics() s WHERE s.statistic OPERATOR(pg_catalog.=) 'hashes_in_small_pages') AS small_pages)
SELECT 'more memory for hashes than there is',
       pg_catalog.format('%s slots of %s kB and shared_buffers of %s kB in %s kB', f.slots, f.hash, f.buffers, f.memory),
       pg_catalog.format('ALTER SYSTEM SET password_verify.hash_slots = %s; -- and restart', GREATEST(1, LEAST(f.processors, (f.memory OPERATOR(pg_catalog.-) f.buffers) OPERATOR(pg_catalog./) (2 OPERATOR(pg_catalog.*) f.hash))))
  FROM figures f
 WHERE ((f.slots OPERATOR(pg_catalog.*) f.hash) OPERATOR(pg_catalog.+) f.buffers) OPERATOR(pg_catalog.>) ((f.memory OPERATOR(pg_catalog./) 10) OPERATOR(pg_catalog.*) 9)
UNION ALL
SELECT 'more hash slots than processors', pg_catalog.format('%s on %s', f.slots, f.processors),
       pg_catalog.format('ALTER SYSTEM SET password_verify.hash_slots = %s; -- and restart', GREATEST(1, f.processors OPERATOR(pg_catalog.-) 1))
  FROM figures f
 WHERE f.slots OPERATOR(pg_catalog.>) f.processors
UNION ALL
SELECT 'hashes in small pages', f.small_pages::pg_catalog.text,
       '-- as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; the count begins anew with the server'
  FROM figures f
 WHERE f.small_pages OPERATOR(pg_catalog.>) 0
UNION ALL
SELECT 'not seen', pg_catalog.format('how many %s there are', missing.what), '-- it is read from /proc/meminfo and from the scheduler'
  FROM figures f
 CROSS JOIN LATERAL (VALUES ('kB of memory', f.memory), ('processors', f.processors)) missing (what, figure)
 WHERE missing.figure IS NULL
$function$;
COMMENT ON FUNCTION password_verify.doctor_server() IS 'findings about the machine';

CREATE FUNCTION password_verify.doctor_worker(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH facts AS MATERIALIZED (SELECT f.fact, f.value FROM password_verify.facts() f),
stats AS MATERIALIZED (SELECT s.statistic, s.value FROM password_verify.statistics() s)
SELECT waits.rule, pg_catalog.format('%s s', f.value), waits.remedy
  FROM (VALUES ('worker wanted', 'no worker comes', '-- the log says why; other databases may have taken all places (password_verify.workers)'),
               ('oldest event', 'events wait to be written', '-- the log says why; a lock on a table of ours (pg_locks) or a full disk may be in the way'))
       AS waits (fact, rule, remedy)
  JOIN facts f ON CASE WHEN f.fact OPERATOR(pg_catalog.=) waits.fact THEN f.value::pg_catalog.int8 OPERATOR(pg_catalog.>=) 5 END
UNION ALL
SELECT 'not seen', 'the worker', '-- more than 64 databases of this server use password_verify'
 WHERE NOT EXISTS (SELECT FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'oldest event')
UNION ALL
SELECT filling.rule, pg_catalog.format('%s of %s', used.value, size.value OPERATOR(pg_catalog./) filling.part),
       pg_catalog.format('ALTER SYSTEM SET password_verify.%s = %s; -- and restart', filling.setting, 2 OPERATOR(pg_catalog.*) size.value)
       -- A database has a quarter of the queue. A budget that is written gives its place to another; attempts wait for
       -- one long before there is none, because each may be in a few places only.
  FROM (VALUES ('the queue of events is filling', 'queue_used', 'queue_size', 1, 3, 'audit_queue'),
               ('the queue of events is filling', 'queue_used_here', 'queue_size', 4, 3, 'audit_queue'),
               ('the budgets are filling', 'throttle_entries_unwritten', 'throttle_entries_size', 1, 2, 'throttle_entries'))
       AS filling (rule, used, size, part, quarters, setting)
  JOIN (SELECT s.statistic, s.value FROM stats s
         UNION ALL SELECT 'queue_used_here', f.value::pg_catalog.int8 FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'queue') used (statistic, value)
    ON used.statistic OPERATOR(pg_catalog.=) filling.used
  JOIN stats size ON size.statistic OPERATOR(pg_catalog.=) filling.size
 WHERE used.value OPERATOR(pg_catalog.>) ((size.value OPERATOR(pg_catalog./) (4 OPERATOR(pg_catalog.*) filling.part)) OPERATOR(pg_catalog.*) filling.quarters)
$function$;
COMMENT ON FUNCTION password_verify.doctor_worker() IS 'findings about what the worker does';

-- By indexes, whatever the planner thinks of the trail.
CREATE FUNCTION password_verify.doctor_audit(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    AS $function$
WITH checked AS MATERIALIZED (
    SELECT (SELECT e.at FROM password_verify.event e ORDER BY e.epoch, e.seq LIMIT 1) AS began,
           (SELECT e.at FROM password_verify.event e WHERE e.action OPERATOR(pg_catalog.=) 'verify' ORDER BY e.at DESC LIMIT 1) AS verified,
           (SELECT e.detail FROM password_verify.event e WHERE e.action OPERATOR(pg_catalog.=) 'verify' ORDER BY e.at DESC LIMIT 1) AS said,
           (SELECT e.at FROM password_verify.event e WHERE e.action OPERATOR(pg_catalog.=) 'tampered' ORDER BY e.at DESC LIMIT 1) AS altered,
           (SELECT e.detail FROM password_verify.event e WHERE e.action OPERATOR(pg_catalog.=) 'tampered' ORDER BY e.at DESC LIMIT 1) AS which,
           (SELECT e.at FROM password_verify.event e WHERE e.action OPERATOR(pg_catalog.=) 'accept_restore' ORDER BY e.at DESC LIMIT 1) AS accepted)
SELECT 'the audit is not as it was written', pg_catalog.format('verified at %s', c.verified),
       pg_catalog.format('SELECT * FROM %s.pv_verify_events(); -- docs/operating.md, "Tables that were changed"', password_verify.api())
  FROM checked c
 WHERE c.said OPERATOR(pg_catalog.!~~) '{"intact":true%' AND COALESCE(c.verified OPERATOR(pg_catalog.>) c.accepted, true)
UNION ALL
SELECT 'a table is not as it was written', pg_catalog.format('%s at %s', c.which, c.altered),
       pg_catalog.format('SELECT * FROM %s.pv_verify_credentials(); -- docs/operating.md, "Tables that were changed"', password_verify.api())
  FROM checked c
 WHERE c.altered IS NOT NULL AND COALESCE(c.altered OPERATOR(pg_catalog.>) c.accepted, true)
UNION ALL
SELECT 'the audit was not verified for 30 days', NULL, pg_catalog.format('SELECT * FROM %s.pv_verify_events();', password_verify.api())
  FROM checked c
 WHERE COALESCE(c.verified, c.began) OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) '30 days'::pg_catalog.interval)
$function$;
COMMENT ON FUNCTION password_verify.doctor_audit() IS 'findings about what the audit says of itself';

-- Who keeps VACUUM from removing dead rows, if that is more than a moment old.
CREATE FUNCTION password_verify.oldest_snapshot(OUT remedy text)
    RETURNS text
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT holder.remedy
  FROM (SELECT pg_catalog.age(a.backend_xmin),
               CASE a.backend_type WHEN 'client backend' THEN pg_catalog.format('SELECT pg_catalog.pg_terminate_backend(%s, 5000);', a.pid) END
          FROM pg_catalog.pg_stat_activity a
         WHERE a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND COALESCE(a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database(), true)
        UNION ALL
        SELECT pg_catalog.age(s.xmin), pg_catalog.format('SELECT pg_catalog.pg_drop_replication_slot(%s);', password_verify.literal(s.slot_name::pg_catalog.text))
          FROM pg_catalog.pg_replication_slots s
        UNION ALL
        SELECT pg_catalog.age(p.transaction), pg_catalog.format('ROLLBACK PREPARED %s;', password_verify.literal(p.gid))
          FROM pg_catalog.pg_prepared_xacts p
         WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()) holder (age, remedy)
 WHERE holder.age OPERATOR(pg_catalog.>) 100
 ORDER BY holder.age DESC
 LIMIT 1
$function$;
COMMENT ON FUNCTION password_verify.oldest_snapshot() IS 'how to end what keeps dead rows';

CREATE FUNCTION password_verify.doctor_tables(OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
WITH ours AS MATERIALIZED (
    SELECT c.oid, c.relname::pg_catalog.text AS name, pg_catalog.concat('password_verify.', password_verify.quoted(c.relname::pg_catalog.text)) AS spelled
      FROM pg_catalog.pg_class c
     WHERE c.relnamespace OPERATOR(pg_catalog.=) 'password_verify'::pg_catalog.regnamespace AND c.relkind OPERATOR(pg_catalog.=) 'r'),
facts AS MATERIALIZED (
    SELECT f.fact, pg_catalog.concat('password_verify.', password_verify.quoted(f.value)) AS spelled
      FROM password_verify.facts() f
     WHERE f.fact IN ('altered table', 'locked table')),
seen AS MATERIALIZED (
    SELECT 'an index that is not ours' AS rule, o.spelled, name.spelled AS object,
           COALESCE((SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %s;', o.spelled, password_verify.quoted(k.conname::pg_catalog.text))
                       FROM pg_catalog.pg_constraint k
                      WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid AND k.conrelid OPERATOR(pg_catalog.=) o.oid AND k.contype IN ('u', 'x')),
                    pg_catalog.concat('DROP INDEX ', name.spelled, ';')) AS remedy
      FROM ours o
      JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) o.oid AND NOT i.indisprimary
      JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
       AND c.relname NOT IN ('job_due', 'event_user', 'event_client', 'event_xid', 'event_checked')
     CROSS JOIN LATERAL (SELECT pg_catalog.concat('password_verify.', password_verify.quoted(c.relname::pg_catalog.text))) name (spelled)
    UNION ALL
    SELECT 'a trigger', o.spelled, pg_catalog.format('%s on %s', name.spelled, o.spelled), pg_catalog.format('DROP TRIGGER %s ON %s;', name.spelled, o.spelled)
      FROM ours o
      JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) o.oid AND NOT t.tgisinternal
     CROSS JOIN LATERAL (SELECT password_verify.quoted(t.tgname::pg_catalog.text)) name (spelled)
    UNION ALL
    -- The MAC is the last column of ours, and the key of the blind index ends in one, too.
    SELECT 'a column that is not ours', o.spelled, pg_catalog.format('%s of %s', name.spelled, o.spelled),
           '-- there is no way back, not even by dropping it: restore the tables from a backup'
      FROM ours o
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) o.oid AND NOT a.attisdropped
       AND a.attnum OPERATOR(pg_catalog.>) (SELECT m.attnum FROM pg_catalog.pg_attribute m WHERE m.attrelid OPERATOR(pg_catalog.=) o.oid AND m.attname OPERATOR(pg_catalog.=) 'mac')
     CROSS JOIN LATERAL (SELECT password_verify.quoted(a.attname::pg_catalog.text)) name (spelled))
SELECT s.rule, s.object, s.remedy FROM seen s
UNION ALL
SELECT 'a table that is not as it was created', f.spelled, '-- the hint of any call names what is in the way: a rule, a parent, a type, a dropped column'
  FROM facts f
 WHERE f.fact OPERATOR(pg_catalog.=) 'altered table'
   AND NOT EXISTS (SELECT FROM seen s WHERE s.spelled OPERATOR(pg_catalog.=) f.spelled AND s.rule OPERATOR(pg_catalog.<>) 'an index that is not ours')
UNION ALL
SELECT 'not seen', pg_catalog.concat(f.spelled, ', because it is locked'), '-- pg_locks says by whom' FROM facts f WHERE f.fact OPERATOR(pg_catalog.=) 'locked table'
UNION ALL
SELECT 'dead rows', pg_catalog.format('%s in %s', dead.rows, o.spelled),
       pg_catalog.concat_ws(' ', password_verify.oldest_snapshot(), pg_catalog.format('VACUUM %s;', o.spelled))
  FROM ours o
 CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_dead_tuples(o.oid), pg_catalog.pg_stat_get_live_tuples(o.oid)) dead (rows, live)
 WHERE dead.rows OPERATOR(pg_catalog.>) 10000 AND dead.rows OPERATOR(pg_catalog.>) dead.live
$function$;
COMMENT ON FUNCTION password_verify.doctor_tables() IS 'findings about our tables';

CREATE FUNCTION password_verify.examined(area text, whole boolean, OUT rule text, OUT object text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_installation() f WHERE area OPERATOR(pg_catalog.=) 'installation'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_keys() f WHERE area OPERATOR(pg_catalog.=) 'keys'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_records(whole) f WHERE area OPERATOR(pg_catalog.=) 'records'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_roles() f WHERE area OPERATOR(pg_catalog.=) 'roles'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_grants() f WHERE area OPERATOR(pg_catalog.=) 'grants'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_schema() f WHERE area OPERATOR(pg_catalog.=) 'schema'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_outside() f WHERE area OPERATOR(pg_catalog.=) 'outside'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_logging() f WHERE area OPERATOR(pg_catalog.=) 'logging'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_settings() f WHERE area OPERATOR(pg_catalog.=) 'settings'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_server() f WHERE area OPERATOR(pg_catalog.=) 'server'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_worker() f WHERE area OPERATOR(pg_catalog.=) 'worker'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_audit() f WHERE area OPERATOR(pg_catalog.=) 'audit'
UNION ALL SELECT f.rule, f.object, f.remedy FROM password_verify.doctor_tables() f WHERE area OPERATOR(pg_catalog.=) 'tables'
$function$;
COMMENT ON FUNCTION password_verify.examined(text, boolean) IS 'the findings about one area';

-- An area that fails says so, and the others are looked at all the same. Of a rule that finds more than 20, 20 are shown: an
-- application that makes a thousand functions hides nothing behind them.
CREATE FUNCTION password_verify.findings(whole boolean, OUT severity text, OUT what text, OUT why text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms'
    AS $function$
DECLARE
    part pg_catalog.text;
BEGIN
    PERFORM password_verify.require_client();
    FOR part IN SELECT DISTINCT r.area FROM password_verify.rule r WHERE r.area OPERATOR(pg_catalog.<>) 'unknown' LOOP
        BEGIN
            RETURN QUERY
            SELECT r.severity,
                   pg_catalog.concat_ws(': ', r.rule, CASE WHEN f.number OPERATOR(pg_catalog.<=) 20 THEN f.object ELSE pg_catalog.format('and at least %s more', f.total OPERATOR(pg_catalog.-) 20) END),
                   r.why,
                   CASE WHEN f.number OPERATOR(pg_catalog.<=) 20 THEN f.remedy ELSE '-- mend these first' END
              FROM (SELECT e.rule, e.object, e.remedy, pg_catalog.row_number() OVER (PARTITION BY e.rule ORDER BY e.object),
                           pg_catalog.count(*) OVER (PARTITION BY e.rule)
                      FROM password_verify.examined(part, whole) e) f (rule, object, remedy, number, total)
              JOIN password_verify.rule r ON r.rule OPERATOR(pg_catalog.=) f.rule
             WHERE f.number OPERATOR(pg_catalog.<=) 21;
        EXCEPTION WHEN OTHERS THEN
            RETURN QUERY
            SELECT r.severity, pg_catalog.format('%s: %s, for an error %s', r.rule, part, SQLSTATE), r.why,
                   CASE SQLSTATE WHEN '55P03' THEN '-- something is locked: pg_locks says by whom'
                        ELSE pg_catalog.format('SELECT * FROM password_verify.examined(%L, true); -- fails in the same way, and says where', part) END
              FROM password_verify.rule r WHERE r.area OPERATOR(pg_catalog.=) 'unknown';
        END;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION password_verify.findings(boolean) IS 'the rows of pv_doctor, or as much of it as can be asked every minute';

CREATE FUNCTION @extschema@.pv_doctor(OUT severity text, OUT what text, OUT why text, OUT remedy text)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT f.severity, f.what, f.why, f.remedy
  FROM password_verify.findings(true) f
 ORDER BY pg_catalog.array_position(ARRAY['critical', 'warning', 'unknown', 'note'], f.severity), f.what
$function$;
COMMENT ON FUNCTION @extschema@.pv_doctor() IS 'what is not as it should be, why that matters, and the statement that mends it';

CREATE FUNCTION password_verify.doctor_summary(OUT severity text, OUT findings bigint)
    RETURNS SETOF pg_catalog.record
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
SELECT s.severity, pg_catalog.count(f.severity)
  FROM pg_catalog.unnest(ARRAY['critical', 'warning', 'unknown', 'note']) WITH ORDINALITY AS s (severity, place)
  LEFT JOIN password_verify.findings(false) f ON f.severity OPERATOR(pg_catalog.=) s.severity
 GROUP BY s.severity, s.place
 ORDER BY s.place
$function$;
COMMENT ON FUNCTION password_verify.doctor_summary() IS 'the rows of pv_doctor_summary';

CREATE VIEW @extschema@.pv_doctor_summary AS
SELECT s.severity, s.findings FROM password_verify.doctor_summary() s;
COMMENT ON VIEW @extschema@.pv_doctor_summary IS 'how much pv_doctor finds, as far as the owner of the extension can see it';

--------------------------------------------------------------------------------
-- 10. Every privilege
--
-- Everything belongs to pv_owner, and no other role has any privilege. Functions declare that they
-- run as pv_owner and look names up in pg_catalog only. Some run as their caller: the procedure
-- must, because it commits, pv_grant and pv_revoke are a superuser's GRANT, and pv_doctor looks where only
-- superusers see everything. As pv_owner they
-- would need USAGE on the schema of the functions to name them, and granting that here would make
-- all earlier grants on that schema part of the extension, which a dump leaves out. Those about mail
-- need nothing that a depositor has not.
-- tests/contract/surface.expected lists the privileges of each object.
--------------------------------------------------------------------------------

DO $privileges$
DECLARE
    target pg_catalog.record;
BEGIN
    -- 10a. The owner.
    FOR target IN SELECT m.class, m.object FROM password_verify.member m LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO pv_owner', target.class, target.object);
    END LOOP;

    -- 10b. The sweep: takes away what was granted at creation, by default (to PUBLIC) or by ALTER
    -- DEFAULT PRIVILEGES.
    FOR target IN
        SELECT DISTINCT m.class, m.object,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE acl.grantee::pg_catalog.regrole::pg_catalog.text END AS grantee
          FROM password_verify.member m
         CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) acl
         WHERE acl.grantee OPERATOR(pg_catalog.<>) m.owner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', target.class, target.object, target.grantee);
    END LOOP;
END
$privileges$;

-- 10c. Row security without a policy: only the owner sees or writes rows, and no session runs as the
-- owner. pg_read_all_data and pg_write_all_data give access to every table, but do not bypass this.
-- (FORCE and a policy for the owner would be equivalent, but pg_dump in older minor releases also
-- dumps the policies of extensions, and a restore then fails because they exist.)
ALTER TABLE password_verify.credential ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.account ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.blind_index_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.throttle ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.event ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.event_fold ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.open_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.forgetting ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.anchor ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.cost_class ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.job ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.result ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_verify.vault ENABLE ROW LEVEL SECURITY;

-- Row types keep the USAGE that PUBLIC has on every type: revoking it would cause a warning in
-- every dump. Without USAGE on the schema no role can name them.

--------------------------------------------------------------------------------
-- 11. Refuse at once when the library is not preloaded (55000), as every function does
--------------------------------------------------------------------------------

SELECT @extschema@.pv_check_password('install'::pg_catalog.text, ''::pg_catalog.text);
