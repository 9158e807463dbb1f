//! What an application has in its database: wrappers, procedures and tables whose triggers call ours. Some are listed in
//! `password_verify.redact_functions`, others are not.

/// What is listed.
pub const REDACTED: &[&str] = &[
    "listed_sql",
    "listed_atomic",
    "listed_plpgsql",
    "listed_execute",
    "listed_using",
    "listed_cursor",
    "listed_number",
    "listed_procedure",
    "listed_signup",
];

/// It is in a table, in the log and in memory, to see that what is looked through is read.
pub const SHOWS: &str = "a text that shows everywhere";

/// `the_caller` may use all of it.
pub const OBJECTS: &str = r"
CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public;
GRANT ALL ON SCHEMA public TO the_caller;
GRANT SELECT ON pg_backend_memory_contexts TO PUBLIC;
GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts TO PUBLIC;
CREATE TYPE public.pair AS (login text, password text);

CREATE FUNCTION public.listed_sql(login text, password text) RETURNS boolean LANGUAGE sql
    AS $$ SELECT valid FROM auth.pv_validate_password(login, password) $$;
CREATE FUNCTION public.listed_atomic(login text, password text) RETURNS boolean LANGUAGE sql
    BEGIN ATOMIC SELECT valid FROM auth.pv_validate_password(login, password); END;
CREATE FUNCTION public.listed_plpgsql(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN RETURN (SELECT valid FROM auth.pv_validate_password(login, password)); END $$;
CREATE FUNCTION public.listed_execute(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ DECLARE it boolean;
          BEGIN
              EXECUTE format('SELECT valid FROM auth.pv_validate_password(%L::text, %L)', login, password)
                  INTO it;
              RETURN it;
          END $$;
CREATE FUNCTION public.listed_using(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ DECLARE it boolean;
          BEGIN
              EXECUTE 'SELECT valid FROM auth.pv_validate_password($1, $2)' INTO it USING login, password;
              RETURN it;
          END $$;
CREATE FUNCTION public.listed_cursor(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ DECLARE it record;
          BEGIN
              FOR it IN SELECT valid FROM auth.pv_validate_password(login, password) LOOP
                  RETURN it.valid;
              END LOOP;
          END $$;
-- Whoever exchanges a password and a number.
CREATE FUNCTION public.listed_number(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ DECLARE it bigint := password;
          BEGIN
              RETURN (SELECT valid FROM auth.pv_validate_password(it, login));
          END $$;
CREATE PROCEDURE public.listed_procedure(login text, password text) LANGUAGE plpgsql
    AS $$ BEGIN PERFORM auth.pv_validate_password(login, password); END $$;
CREATE FUNCTION public.unlisted_plpgsql(login text, password text) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN RETURN (SELECT valid FROM auth.pv_validate_password(login, password)); END $$;
CREATE FUNCTION public.unlisted_sql(login text, password text) RETURNS boolean LANGUAGE sql
    AS $$ SELECT valid FROM auth.pv_validate_password(login, password) $$;
CREATE PROCEDURE public.unlisted_procedure(login text, password text) LANGUAGE plpgsql
    AS $$ BEGIN PERFORM auth.pv_validate_password(login, password); END $$;

CREATE FUNCTION public.sign_up() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN
              PERFORM auth.pv_check_password(NEW.login, NEW.password);
              NEW.password := NULL;
              RETURN NEW;
          END $$;
CREATE TABLE public.listed_signup (login text UNIQUE, password text, number bigint CHECK (number < 9),
                                   code bigint UNIQUE);
CREATE TRIGGER sign_up BEFORE INSERT OR UPDATE ON public.listed_signup
    FOR EACH ROW EXECUTE FUNCTION public.sign_up();
CREATE TABLE public.unlisted_signup (login text UNIQUE, password text, number bigint CHECK (number < 9));
CREATE TRIGGER sign_up BEFORE INSERT OR UPDATE ON public.unlisted_signup
    FOR EACH ROW EXECUTE FUNCTION public.sign_up();

CREATE TABLE public.answers (number bigint UNIQUE CHECK (number < 1000), login text, valid boolean);
CREATE TABLE public.codes (code bigint UNIQUE, acceptable boolean);
INSERT INTO public.answers (login) VALUES ('a text that shows everywhere');
CREATE OPERATOR public.=?= (FUNCTION = auth.pv_check_password, LEFTARG = text, RIGHTARG = text);
GRANT ALL ON public.listed_signup, public.unlisted_signup, public.answers, public.codes TO the_caller;
";
