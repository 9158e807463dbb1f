//! Logs in elsewhere with passwords that password_verify keeps, and delivers what it finds there. It is the only part of
//! the project that speaks to a network.
//!
//! | module | |
//! | --- | --- |
//! | [`serve`], [`take`], [`listen`], [`work`] | from start to stop, and a job from its lease to its end |
//! | [`database`], [`dsn`], [`connector`], [`job`], [`trouble`] | what is asked of PostgreSQL, and what it is told |
//! | [`imap`], [`mail`], [`inner`], [`oauth`] | what is done elsewhere |
//! | [`ways`], [`hosts`], [`net`] | how it gets there, and whose turn it is |
//! | [`settings`], [`logs`], [`metrics`], [`hardening`], [`backoff`], [`lock`] | operation |

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, ValueExt};
use settings::{Fault, Settings};

mod backoff;
mod connector;
mod database;
mod dsn;
mod hardening;
mod hosts;
mod imap;
mod inner;
mod job;
mod listen;
mod lock;
mod logs;
mod mail;
mod metrics;
mod net;
mod oauth;
mod serve;
mod settings;
mod take;
mod trouble;
mod ways;
mod work;

/// Passwords go through libraries that do not wipe their copies: what is freed is wiped.
#[global_allocator]
static MEMORY: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

const HELP: &str = "\
pv-keeper: logs in elsewhere with passwords that password_verify keeps

  --config FILE   the configuration (/etc/password_verify/keeper.toml)
  --check         read it, connect to the database, say what is wrong, and end
  --version       print the version
  --help          print this

SIGHUP reads the configuration and all files again; SIGTERM stops.";

/// What the command is to do.
enum Command {
    Serve(PathBuf),
    Check(PathBuf),
    Say(String),
}

fn command() -> Result<Command, lexopt::Error> {
    let (mut path, mut check) = (PathBuf::from("/etc/password_verify/keeper.toml"), false);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("config") => path = arguments.value()?.parse()?,
            Long("check") => check = true,
            Long("version") | Short('V') => {
                return Ok(Command::Say(format!("pv-keeper {}", env!("CARGO_PKG_VERSION"))));
            }
            Long("help") | Short('h') => return Ok(Command::Say(HELP.to_owned())),
            other => return Err(other.unexpected()),
        }
    }
    Ok(if check { Command::Check(path) } else { Command::Serve(path) })
}

fn main() -> ExitCode {
    let done = hardening::close()
        .map_err(|why| format!("core dumps cannot be turned off: {why}"))
        .and_then(|()| command().map_err(|why| why.to_string()))
        .and_then(|command| match command {
            Command::Say(text) => {
                println!("{text}");
                Ok(())
            }
            Command::Check(path) => {
                let settings = Settings::read(&path)?;
                runtime()?.block_on(serve::check(&settings))?;
                println!("{}: good, and the database gives jobs", path.display());
                Ok(())
            }
            Command::Serve(path) => {
                let settings = Settings::read(&path)?;
                let log = logs::Log::begin(settings.log.level);
                runtime()?.block_on(serve::serve(&path, &settings, &log))
            }
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("pv-keeper: {what}");
            ExitCode::FAILURE
        }
    }
}

/// Few threads: most of the work is to wait.
fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    let threads = std::thread::available_parallelism().map_or(2, |it| it.get().clamp(2, 4));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all();
    builder.build().map_err(|why| why.to_string())
}
