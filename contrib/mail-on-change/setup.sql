-- What mail_on_change.py keeps in the database. Run it once, as a superuser, in the application's database:
--   psql -v schema=auth -v role=mailer -f setup.sql
-- `schema` is the one of password_verify, and `role` the login of the program, which must exist.
\set ON_ERROR_STOP on
\if :{?schema} \else \set schema auth \endif
\if :{?role} \else \set role mailer \endif
BEGIN;

CREATE SCHEMA mail_on_change;
COMMENT ON SCHEMA mail_on_change IS 'tells users by mail what has happened to their credentials';

-- Whom to write to. Drop it and put a view of that name over the application's own table in its place, if that has addresses.
CREATE TABLE mail_on_change.address (
    user_id text PRIMARY KEY,
    address text NOT NULL
);
COMMENT ON TABLE mail_on_change.address IS 'mail addresses of users';

-- What to write. Actions without a row here are not reported. `{at}` becomes the time.
CREATE TABLE mail_on_change.notice (
    action  text PRIMARY KEY,
    subject text NOT NULL CHECK (subject !~ '[[:cntrl:]]'),
    body    text NOT NULL
);
COMMENT ON TABLE mail_on_change.notice IS 'which actions are reported, and in which words';
INSERT INTO mail_on_change.notice
SELECT a.action, a.subject, a.sentence || E'\n\nTime: {at}\n\nIf it was not you, please tell us at once.\n'
  FROM (VALUES ('change',  'Your password was changed',     'Your password was replaced by a new one.'),
               ('reset',   'Your password was reset',       'A reset link was used to choose a new password.'),
               ('set',     'Your password was replaced',    'Our staff, or a program of ours, set a new password for you.'),
               ('renamed', 'Your user name was changed',    'Your account has another user name from now on.'),
               ('disable', 'Your account was disabled',     'Your account was disabled. Nobody can log in with it.'),
               ('enable',  'Your account was enabled',      'Your account was enabled again.'),
               ('delete',  'Your password was deleted',     'Your password was deleted. Nobody can log in with it.')
       ) AS a (action, subject, sentence);

-- Up to which event the feed was read. Nothing before this moment is reported.
CREATE TABLE mail_on_change.place (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    feed   name NOT NULL,
    epoch  bigint,
    seq    bigint,
    hash   text
);
COMMENT ON TABLE mail_on_change.place IS 'the last event that was read, and the schema of password_verify';
INSERT INTO mail_on_change.place (feed, epoch, seq, hash)
SELECT :'schema', last.epoch, last.seq, encode(last.mac, 'hex')
  FROM (SELECT) always
  LEFT JOIN LATERAL (SELECT * FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 1) last ON true;

-- Changes whose transaction has not ended.
CREATE TABLE mail_on_change.change (
    epoch          bigint,
    seq            bigint,
    transaction_id text NOT NULL,
    action         text NOT NULL,
    user_id        text NOT NULL,
    at             timestamptz NOT NULL,
    PRIMARY KEY (epoch, seq)
);
CREATE INDEX ON mail_on_change.change (transaction_id);
COMMENT ON TABLE mail_on_change.change IS 'changes of transactions that are open';

-- Mails that are to be sent. A row goes when a mail server has taken it.
CREATE TABLE mail_on_change.mail (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event   text NOT NULL,
    address text NOT NULL,
    subject text NOT NULL,
    body    text NOT NULL,
    tries   integer NOT NULL DEFAULT 0,
    due_at  timestamptz NOT NULL DEFAULT now(),
    problem text
);
CREATE INDEX ON mail_on_change.mail (due_at);
COMMENT ON TABLE mail_on_change.mail IS 'mails that are to be sent; due_at is infinity for those that no server takes';

-- Reads the next events, notes changes, and makes mails of those whose transaction was committed, all in one transaction with
-- the place. `events`: how many there were. `problem`: why some may be missing. `unknown`: changes of users without an address.
CREATE FUNCTION mail_on_change.take(max_rows integer DEFAULT 1000, OUT events integer, OUT problem text, OUT unknown integer)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    last mail_on_change.place;
    next record;
    more integer;
BEGIN
    events := 0;
    unknown := 0;
    -- A second copy of the program waits here.
    SELECT p.* INTO STRICT last FROM mail_on_change.place p FOR UPDATE;
    FOR next IN EXECUTE format(
        $feed$
        SELECT f.epoch, f.seq,
               f.event->'event'->>'hash' AS hash,
               f.event->'event'->>'action' AS action,
               f.event->'event'->>'reason' AS reason,
               f.event->'user'->>'id' AS user_id,
               (f.event->>'@timestamp')::timestamptz AS at,
               COALESCE(f.event->'event'->>'start', f.event->>'@timestamp')::timestamptz AS since,
               f.event->'password_verify'->>'transaction_id' AS transaction_id,
               f.event->'password_verify'->>'detail' AS detail
          FROM %I.pv_events_after($1, $2, $3) f
         ORDER BY f.epoch, f.seq
        $feed$, last.feed)
        -- The last event is read again: it shows whether the trail is still the one that was read.
        USING last.epoch, last.seq - 1, max_rows + 1
    LOOP
        IF (next.epoch, next.seq) = (last.epoch, last.seq) THEN
            IF next.hash IS DISTINCT FROM last.hash THEN
                problem := format('event %s.%s is not the one that was read there', next.epoch, next.seq);
            END IF;
            last.hash := next.hash;
            CONTINUE;
        END IF;
        -- Events of an epoch are numbered, and its first one names the one before.
        IF (next.epoch, next.seq) <> (last.epoch, last.seq + 1)
            AND strpos(COALESCE(next.detail, ''),
                       format('"previous":{"epoch":%s,"seq":%s,"mac":"%s"}', last.epoch, last.seq, last.hash)) = 0
        THEN
            problem := format('events between %s.%s and %s.%s are missing', last.epoch, last.seq, next.epoch, next.seq);
        END IF;
        events := events + 1;
        last.epoch := next.epoch;
        last.seq := next.seq;
        last.hash := next.hash;

        IF next.reason = 'pending' THEN
            INSERT INTO mail_on_change.change (epoch, seq, transaction_id, action, user_id, at)
            SELECT next.epoch, next.seq, next.transaction_id, next.action, next.user_id, next.at
              FROM mail_on_change.notice n
             WHERE n.action = next.action AND next.user_id IS NOT NULL
                ON CONFLICT DO NOTHING;
        ELSIF next.action = 'end' THEN
            WITH ended AS (
                DELETE FROM mail_on_change.change c
                 WHERE c.transaction_id = next.transaction_id AND c.at >= next.since
                RETURNING c.*
            ), told AS (
                SELECT DISTINCT ON (c.user_id, c.action, a.address) c.epoch, c.seq, c.at, n.subject, n.body, a.address
                  FROM ended c
                  JOIN mail_on_change.notice n ON n.action = c.action
                  LEFT JOIN mail_on_change.address a ON a.user_id = c.user_id
                 WHERE next.reason = 'committed'
                 ORDER BY c.user_id, c.action, a.address, c.epoch, c.seq
            ), made AS (
                INSERT INTO mail_on_change.mail (event, address, subject, body)
                SELECT t.epoch || '.' || t.seq, t.address, t.subject,
                       replace(t.body, '{at}', to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC')
                  FROM told t
                 WHERE t.address IS NOT NULL
                 ORDER BY t.epoch, t.seq
            )
            SELECT count(*) INTO more FROM told t WHERE t.address IS NULL;
            unknown := unknown + more;
        END IF;
    END LOOP;
    UPDATE mail_on_change.place p SET epoch = last.epoch, seq = last.seq, hash = last.hash;
END
$function$;
COMMENT ON FUNCTION mail_on_change.take(integer) IS 'reads the feed from where it was left, and makes mails of committed changes';

-- The next mail that is due. It comes again in a minute, and then later and later, unless its row is deleted.
CREATE FUNCTION mail_on_change.next_mail(OUT id bigint, OUT event text, OUT address text, OUT subject text, OUT body text)
    RETURNS SETOF record
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $function$
UPDATE mail_on_change.mail m
   SET tries = m.tries + 1,
       due_at = CASE WHEN m.tries < 20 THEN now() + least(interval '1 minute' * 2 ^ m.tries, interval '6 hours') ELSE 'infinity' END
 WHERE m.id = (SELECT d.id FROM mail_on_change.mail d WHERE d.due_at <= now() ORDER BY d.due_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING m.id, m.event, m.address, m.subject, m.body
$function$;
COMMENT ON FUNCTION mail_on_change.next_mail() IS 'claims the next mail that is due';

REVOKE ALL ON FUNCTION mail_on_change.take(integer), mail_on_change.next_mail() FROM PUBLIC;
GRANT USAGE ON SCHEMA mail_on_change TO :"role";
GRANT SELECT ON mail_on_change.address, mail_on_change.notice TO :"role";
GRANT SELECT, UPDATE ON mail_on_change.place TO :"role";
GRANT SELECT, INSERT, DELETE ON mail_on_change.change TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_on_change.mail TO :"role";
GRANT EXECUTE ON FUNCTION mail_on_change.take(integer), mail_on_change.next_mail() TO :"role";
GRANT USAGE ON SCHEMA :"schema" TO :"role";
SELECT :"schema".pv_grant(:'role'::regrole, 'auditor');

COMMIT;
