//! Hooks that see a statement before other libraries do: they redact its text, so that what those
//! keep (pg_stat_statements), print (auto_explain) or pass on (parallel workers) is redacted.
//!
//! A text that is the client's message, or that a prepared statement or portal has copied for
//! itself, is changed where it lies. Any other may be held by SPI, a procedural language or the
//! catalog and parsed again: those who come next are given a copy.
//!
//! An error of what comes next passes through these functions by `longjmp`, as through PostgreSQL's
//! own: with a guard of pgrx in between it would be another error, without its context. So they hold
//! nothing that has to be dropped, and what may panic is in functions of its own, with a guard.

use core::ffi::{c_char, c_int};
use std::sync::OnceLock;

use pgrx::pg_sys;

use super::command::CLEAN;
use super::{command, copies, log, text};
use crate::settings;

static NEXT_ANALYZE: OnceLock<pg_sys::post_parse_analyze_hook_type> = OnceLock::new();
static NEXT_PLANNER: OnceLock<pg_sys::planner_hook_type> = OnceLock::new();
static NEXT_START: OnceLock<pg_sys::ExecutorStart_hook_type> = OnceLock::new();
static NEXT_END: OnceLock<pg_sys::ExecutorEnd_hook_type> = OnceLock::new();
static NEXT_UTILITY: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

/// Called in the postmaster whenever shared memory is made; the hooks are installed once.
pub fn install() {
    // SAFETY: the postmaster has one thread; every backend is forked with the hooks in place.
    unsafe {
        put_first!(NEXT_ANALYZE, post_parse_analyze_hook, on_analyze);
        put_first!(NEXT_PLANNER, planner_hook, on_plan);
        put_first!(NEXT_START, ExecutorStart_hook, on_start);
        put_first!(NEXT_END, ExecutorEnd_hook, on_end);
        put_first!(NEXT_UTILITY, ProcessUtility_hook, on_utility);
    }
}

unsafe extern "C-unwind" {
    // PostgreSQL's own, without the guard that pgrx puts around them.
    fn standard_planner(
        parse: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    fn standard_ExecutorEnd(query: *mut pg_sys::QueryDesc);
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

unsafe extern "C-unwind" fn on_analyze(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: PostgreSQL passes valid structures; the text is put back before anybody else looks.
    unsafe {
        let text = (*state).p_sourcetext;
        (*state).p_sourcetext = to_analyze(text);
        if command::is_text_a_call() && !(*query).utilityStmt.is_null() && (*query).queryId != 0 {
            (*query).queryId = query_id(text) as _;
        }
        if let Some(Some(next)) = NEXT_ANALYZE.get() {
            next(state, query, jumble);
        }
        (*state).p_sourcetext = text;
    }
}

unsafe extern "C-unwind" fn on_plan(
    parse: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: PostgreSQL passes valid arguments, which are passed on.
    unsafe {
        look(text);
        match NEXT_PLANNER.get() {
            Some(Some(next)) => next(parse, text, options, parameters),
            _ => standard_planner(parse, text, options, parameters),
        }
    }
}

unsafe extern "C-unwind" fn on_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: PostgreSQL passes a valid structure. It was made in the current memory context, so a
    // copy of its text lives as long; nothing else points to its text but this field.
    unsafe {
        let text = (*query).sourceText;
        (*query).sourceText = to_execute(text);
        copies::note(query, (*query).sourceText, text);
        match NEXT_START.get() {
            Some(Some(next)) => next(query, flags),
            _ => standard_ExecutorStart(query, flags),
        }
    }
}

unsafe extern "C-unwind" fn on_end(query: *mut pg_sys::QueryDesc) {
    // SAFETY: PostgreSQL passes a valid structure. Others have read its text when they return, and
    // PostgreSQL does not read it any more.
    unsafe {
        match NEXT_END.get() {
            Some(Some(next)) => next(query),
            _ => standard_ExecutorEnd(query),
        }
        copies::free(query);
    }
}

unsafe extern "C-unwind" fn on_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: PostgreSQL passes valid arguments, which are passed on; a copy of the text lives in the
    // current memory context, as long as the command.
    unsafe {
        let text = to_execute(text);
        redact_prepared();
        note_cursor((*statement).utilityStmt);
        let next = NEXT_UTILITY.get().copied().flatten().unwrap_or(standard_ProcessUtility);
        next(
            statement,
            text,
            read_only_tree,
            context,
            parameters,
            environment,
            receiver,
            completion,
        );
    }
}

/// What has to happen to a text.
#[derive(PartialEq, Eq)]
enum Found {
    /// It calls no function that takes or gives a secret.
    Nothing,
    /// It does, and has been redacted where it lies.
    Redacted,
    /// It does, and others have to be given a copy.
    NotOurs,
}

/// The text for those who come next, of a statement that is analysed: which need not mean that it is
/// executed, as with the body of a function that is created.
///
/// # Safety
/// That of [`look`].
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn to_analyze(text: *const c_char) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { if look_at(text, false) == Found::NotOurs { text::redacted_copy(text) } else { text } }
}

/// The same of one that is about to be executed.
///
/// # Safety
/// That of [`look`].
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn to_execute(text: *const c_char) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe {
        let found = look_at(text, true);
        if found != Found::Nothing {
            command::count();
        }
        if found == Found::NotOurs { text::redacted_copy(text) } else { text }
    }
}

/// # Safety
/// `text` is a C string.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn query_id(text: *const c_char) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { text::query_id(text) }
}

/// Looks at the text of a statement that is planned.
///
/// # Safety
/// `text` is null or the C string that PostgreSQL passes to a hook.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn look(text: *const c_char) {
    // SAFETY: the caller's promise.
    unsafe { look_at(text, false) };
}

/// # Safety
/// That of [`look`].
unsafe fn look_at(text: *const c_char, is_executed: bool) -> Found {
    log::restore_statement();
    // SAFETY: the caller's promise, and values of this process. What is changed in place belongs to
    // the client's message, to the prepared statement that is being bound, or to a portal.
    unsafe {
        if !settings::redact() {
            return Found::Nothing;
        }
        let is_message = !text.is_null() && text == pg_sys::debug_query_string;
        // A statement that was prepared by this message has a copy of all of it.
        let message = || text::bytes(text) == text::bytes(pg_sys::debug_query_string);
        if CLEAN.is_set() && (is_message || message()) {
            command::note_text(false);
            return Found::Nothing;
        }
        let is_known = is_message && command::is_redacted();
        command::note_text(is_known || text::calls(text));
        if is_known {
            return Found::Redacted;
        }
        if !command::is_text_a_call() {
            if is_message {
                CLEAN.set();
            }
            return Found::Nothing;
        }
        if !command::is_client() {
            return Found::NotOurs;
        }
        if is_message || is_executed {
            command::note_call();
            command::redact_message();
        }
        let portal = pg_sys::ActivePortal;
        let is_portals = !is_message && !portal.is_null() && text == (*portal).sourceText;
        if is_portals {
            text::redact_in_place(text, false);
        }
        if is_message || is_portals { Found::Redacted } else { Found::NotOurs }
    }
}

/// Redacts what PostgreSQL keeps of the prepared statement that is being executed, which it would
/// show again with the next Bind. A plannable one is seen by the planner while it is bound.
#[pgrx::pg_guard]
extern "C-unwind" fn redact_prepared() {
    // SAFETY: values of this process; a portal of a prepared statement has its name. The text is the
    // statement's own copy.
    unsafe {
        let portal = pg_sys::ActivePortal;
        if !command::is_call() || portal.is_null() || (*portal).prepStmtName.is_null() {
            return;
        }
        if let Some(source) =
            text::prepared_source(std::ffi::CStr::from_ptr((*portal).prepStmtName))
        {
            text::redact_in_place((*source).query_string, false);
        }
    }
}

/// FETCH says nothing of the query whose rows it computes.
///
/// # Safety
/// `node` is a utility statement.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn note_cursor(node: *mut pg_sys::Node) {
    // SAFETY: the caller's promise; the tag tells the type.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_FetchStmt || !settings::redact() {
            return;
        }
        let portal = pg_sys::GetPortalByName((*node.cast::<pg_sys::FetchStmt>()).portalname);
        if !portal.is_null() && text::calls((*portal).sourceText) {
            command::note_call();
        }
    }
}
