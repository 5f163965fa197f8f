//! `umbel up`: a coordinator in this process, and workers as processes of their own, since what
//! crashes a worker must not take the coordinator along.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use futures::future::{join_all, select_all};
use umbel_coordinator::Running;

use super::coordinator;
use crate::config::CoordinatorFlags;
use crate::exit::Exit;
use crate::global::Global;
use crate::output;
use crate::process::{Log, Process};
use crate::signal::{self, Signals};

/// How long a worker that ended by itself is left alone before another takes its place.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints one line on stdout when coordinator and workers are ready. Ctrl-C drains, a second one
leaves at once. A worker that crashes is started again.

Examples:
  umbel up --workers 2
  umbel up --slots 8 --exec 'upper=tr a-z A-Z'
  umbel up --worker-config examples/functions/worker.toml")]
pub(crate) struct Args {
    /// Worker processes
    #[arg(
        long,
        env = "UMBEL_WORKERS",
        value_name = "N",
        default_value_t = 1,
        hide_env = true
    )]
    workers: u32,
    /// Slots of each worker; 0: one for each core [default: the cores, shared out]
    #[arg(long, env = "UMBEL_SLOTS", value_name = "N", hide_env = true)]
    slots: Option<u32>,
    /// A program offered as a function; may be repeated
    #[arg(long = "exec", value_name = "NAME=COMMAND")]
    programs: Vec<String>,
    /// Let `umbel.crash` end a worker
    #[arg(long)]
    allow_crash: bool,
    /// A file of the workers' options, such as functions of their own; config/worker.toml shows
    /// them all
    #[arg(
        long,
        env = "UMBEL_WORKER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    worker_config: Option<String>,
    #[command(flatten)]
    flags: CoordinatorFlags,
    /// The process to end with
    #[arg(long, hide = true)]
    die_with: Option<i32>,
}

/// Runs a coordinator and its workers until they are told to leave.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    signal::die_with(args.die_with)?;
    let mut signals = Signals::listen()?;
    let mut running = coordinator::start(args.flags.clone(), global).await?;
    let command = worker_command(&args, &coordinator::url(&running), global);
    let started = tokio::select! {
        started = start_workers(args.workers, &command) => started,
        () = signals.next() => Err(Exit::interrupted("")),
    };
    let mut workers = match started {
        Ok(workers) => workers,
        Err(error) => {
            signals.unless_again(drain(running, &mut [])).await??;
            return Err(error);
        }
    };
    output::line(&coordinator::ready_line(&running))?;
    supervise(&mut running, &mut workers, &command, &mut signals).await?;
    let drained = signals.unless_again(drain(running, &mut workers)).await;
    if drained.is_err() {
        // Gone before this process is: whoever sees that leave may start another on the spot.
        join_all(workers.iter_mut().map(Process::kill)).await;
    }
    drained?
}

/// The arguments of every worker; the rest, its name, is for each.
fn worker_command(args: &Args, url: &str, global: &Global) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let slots = args
        .slots
        .unwrap_or_else(|| cores.div_ceil(args.workers.max(1)));
    let mut command = ["worker", "start", "--coordinator", url]
        .map(str::to_owned)
        .to_vec();
    command.extend(["--slots".to_owned(), slots.to_string()]);
    for program in &args.programs {
        command.extend(["--exec".to_owned(), program.clone()]);
    }
    if let Some(file) = &args.worker_config {
        command.extend(["--config".to_owned(), file.clone()]);
    }
    if args.allow_crash {
        command.push("--allow-crash".to_owned());
    }
    if let Some(filter) = &global.log {
        command.extend(["--log".to_owned(), filter.clone()]);
    }
    if let Some(format) = global.log_format {
        command.extend(["--log-format".to_owned(), format.word().to_owned()]);
    }
    command
}

fn start_worker(number: usize, command: &[String]) -> Result<Process, Exit> {
    let name = format!("local-{number}");
    let arguments = command
        .iter()
        .cloned()
        .chain(["--name".to_owned(), name.clone()]);
    Process::start(format!("worker {name}"), arguments, Log::Inherit)
}

async fn start_workers(count: u32, command: &[String]) -> Result<Vec<Process>, Exit> {
    let numbers = 1..=count as usize;
    let mut workers: Vec<Process> = numbers
        .map(|number| start_worker(number, command))
        .collect::<Result<_, _>>()?;
    for worker in &mut workers {
        worker.ready().await?;
    }
    Ok(workers)
}

/// Starts crashed workers again, until a signal. Gives the error that ended the coordinator, if
/// one does.
async fn supervise(
    running: &mut Running,
    workers: &mut [Process],
    command: &[String],
    signals: &mut Signals,
) -> Result<(), Exit> {
    let mut is_here = vec![true; workers.len()];
    loop {
        let (place, ended) = tokio::select! {
            () = signals.next() => return Ok(()),
            error = running.wait() => return Err(coordinator::exit(&error)),
            ended = first_ended(workers, &is_here) => ended,
        };
        let number = place + 1;
        match ended {
            // It was drained by name: somebody wants it gone.
            Ok(status) if status.success() => {
                tracing::info!("worker local-{number} has left");
                is_here[place] = false;
                continue;
            }
            Ok(status) => tracing::warn!("worker local-{number} ended ({status}); another follows"),
            Err(error) => tracing::warn!("worker local-{number} is lost: {error}; another follows"),
        }
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
        workers[place] = start_worker(number, command)?;
    }
}

/// The place of the worker that ends first, among those that are here.
async fn first_ended(workers: &mut [Process], is_here: &[bool]) -> (usize, io::Result<ExitStatus>) {
    let waiting = workers
        .iter_mut()
        .enumerate()
        .filter(|(place, _)| is_here[*place]);
    let waits: Vec<_> = waiting
        .map(|(place, worker)| Box::pin(async move { (place, worker.wait().await) }))
        .collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    select_all(waits).await.0
}

/// The workers first, since what they finish has to be taken in.
async fn drain(running: Running, workers: &mut [Process]) -> Result<(), Exit> {
    for worker in workers.iter() {
        worker.terminate();
    }
    for worker in workers {
        if let Err(error) = worker.wait().await {
            tracing::warn!("cannot wait for a worker: {error}");
        }
    }
    running
        .drain()
        .await
        .map_err(|error| coordinator::exit(&error))
}
