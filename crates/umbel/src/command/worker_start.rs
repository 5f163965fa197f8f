//! `umbel worker start`.

use umbel_client::Client;
use umbel_runtime::Catalog;
use umbel_worker::Error;

use super::supervisor;
use crate::config::{self, WorkerFlags};
use crate::exit::Exit;
use crate::global::Global;
use crate::log;
use crate::output;
use crate::signal::{self, Signals};

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one line on stdout when its session stands; the log goes to stderr. SIGTERM and Ctrl-C
drain, a second one leaves at once. Options can also be set in a file (--config), and in the
environment: --allow-crash as UMBEL_ALLOW_CRASH. More workers, here or on another host, are all
it takes to scale.

Examples:
  umbel worker start --coordinator http://10.0.0.5:7600 --slots 8
  umbel worker start --label zone=a --exec 'upper=tr a-z A-Z'")]
pub(crate) struct Args {
    #[command(flatten)]
    flags: WorkerFlags,
    /// The process to end with
    #[arg(long, hide = true)]
    die_with: Option<i32>,
}

/// Runs a worker until it is told to leave.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    serve(args, global, |_| Ok(())).await
}

/// The same, with more functions than those that every worker has.
pub(crate) async fn serve(
    args: Args,
    global: &Global,
    more: impl FnOnce(&mut Catalog) -> Result<(), umbel_runtime::Error>,
) -> Result<(), Exit> {
    signal::die_with(args.die_with)?;
    let mut signals = Signals::listen()?;
    let programs = args.flags.programs.clone();
    let config = config::Worker::read(args.flags, global)?;
    log::start(&config.log, Some(config.log_format))?;
    // What is no address is told at once, in the words of every command, not dialled for ever.
    drop(Client::connect(&config.coordinator)?);
    if let Some(confinement) = config.confinement()? {
        umbel_runtime::confine(confinement).map_err(|error| Exit::usage(error.to_string()))?;
    }
    supervisor::install()?;
    let mut catalog = catalog(&config, &programs)?;
    more(&mut catalog).map_err(|error| Exit::usage(error.to_string()))?;
    for (name, failure) in catalog.unstartable() {
        tracing::warn!(
            "function {name:?} is announced, but its inputs are rejected for now: {}",
            failure.message
        );
    }
    let worker = config
        .settings(catalog)
        .start()
        .map_err(|error| exit(&error))?;
    tokio::select! {
        ready = worker.ready() => ready.map_err(|error| exit(&error))?,
        // It has no work that could be finished.
        () = signals.next() => return Ok(()),
    }
    let (name, slots) = (worker.name(), worker.slots());
    let ending = if slots == 1 { "" } else { "s" };
    output::line(&format!("umbel worker {name} ready, {slots} slot{ending}"))?;
    tokio::select! {
        // It was drained by name, or the coordinator wants it no more.
        ended = worker.wait() => return ended.map_err(|error| exit(&error)),
        () = signals.next() => worker.drain(),
    }
    signals
        .unless_again(worker.wait())
        .await?
        .map_err(|error| exit(&error))
}

/// How the process ends for an error of the worker.
fn exit(error: &Error) -> Exit {
    match error {
        Error::Function(_) | Error::Address { .. } | Error::OverLimit { .. } => {
            Exit::usage(error.to_string())
        }
        Error::Refused { .. } => Exit::refused(error.to_string()),
        _ => Exit::internal(error.to_string()),
    }
}

/// What is built in, what the file declares, what the flags declare.
fn catalog(config: &config::Worker, programs: &[String]) -> Result<Catalog, Exit> {
    let wrong = |error: umbel_runtime::Error| Exit::usage(error.to_string());
    let mut catalog = Catalog::with_builtins(config.allow_crash);
    for function in &config.function {
        function.register(&mut catalog)?;
    }
    for declaration in programs {
        catalog.declare(declaration).map_err(wrong)?;
    }
    Ok(catalog)
}
