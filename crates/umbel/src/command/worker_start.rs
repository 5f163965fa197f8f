//! `umbel worker start`.

use std::thread::available_parallelism;

use umbel_runtime::{Catalog, Program};
use uuid::Uuid;

use crate::cli::Global;
use crate::config::{self, WorkerFlags};
use crate::exit::Exit;
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
    let mut catalog = catalog(&config, &programs)?;
    more(&mut catalog).map_err(|error| Exit::usage(error.to_string()))?;
    let _ = (
        &mut signals,
        catalog,
        name(&config.name),
        slots(config.slots),
        output::line(""),
    );
    Ok(())
}

/// What is built in, what the file declares, what the flags declare.
fn catalog(config: &config::Worker, programs: &[String]) -> Result<Catalog, Exit> {
    let wrong = |error: umbel_runtime::Error| Exit::usage(error.to_string());
    let mut catalog = Catalog::with_builtins(config.allow_crash);
    for function in &config.function {
        let program = Program::new(&function.command).map_err(|source| {
            wrong(umbel_runtime::Error::Program {
                name: function.name.clone(),
                source,
            })
        })?;
        catalog
            .register_program(&function.name, program)
            .map_err(wrong)?;
    }
    for declaration in programs {
        catalog.declare(declaration).map_err(wrong)?;
    }
    Ok(catalog)
}

/// The name as given, or one that no other worker of this host has.
fn name(given: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let mark = Uuid::new_v4().simple().to_string();
    format!("{host}-{}", &mark[..4])
}

fn slots(given: u32) -> u32 {
    if given > 0 {
        return given;
    }
    available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}
