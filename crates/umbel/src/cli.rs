//! The command line: noun, then verb.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::command;
use crate::exit::Exit;
use crate::global::{Global, GlobalArgs};
use crate::log;

const LIMITS: &str = "\
Limits: 6 MiB an input and an output; 100,000,000 invocations a job; 1,000 inputs or 1 MiB
inline; 32 labels of 63+255 bytes; 64 KiB a failure message, with the last 16 KiB of stderr.

Exit codes: 0 done; 1 the job failed or was cancelled; 2 bad usage or a malformed input file;
3 the coordinator cannot be reached; 4 refused, or the thing does not exist; 130 interrupted.

Example:
  umbel demo                                         watch a job survive a killed worker
  umbel up --workers 2                               a coordinator and two workers, here
  seq 1000 | umbel map umbel.increment --inputs -    fan out over them";

/// Fans a function or a program out over many inputs and many worker processes.
///
/// Execution is at least once, recording exactly once: a job survives killed workers and a
/// killed coordinator, and each of its inputs has one result.
#[derive(Debug, Parser)]
#[command(
    name = "umbel",
    version,
    after_help = LIMITS,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job, start to finish, on this machine
    Demo(command::demo::Args),
    /// Start a coordinator and workers for a laptop; Ctrl-C drains
    Up(command::up::Args),
    /// The process that accepts, decides and remembers
    #[command(
        subcommand,
        after_help = "\
Example:
  umbel coordinator start --data /var/lib/umbel"
    )]
    Coordinator(Coordinator),
    /// The processes that run functions
    #[command(
        subcommand,
        after_help = "\
Examples:
  umbel worker start --slots 8
  umbel worker list
  umbel worker drain host-1f3a"
    )]
    Worker(Worker),
    /// Submit, follow, and print outputs in input order
    Map(command::map::Args),
    /// Run one invocation and print its output
    Invoke(command::invoke::Args),
    /// Submitted work: one target, many inputs
    Job(command::job::Args),
    /// Functions, here and in the cluster
    Function(command::function::Args),
    /// Where an alias sends invocations: rules by input, and sticky splits
    Route(command::route::Args),
    /// The arms of a split held against each other
    Experiment(command::experiment::Args),
    /// Replace a version by another in steps, as long as guards hold
    Rollout(command::rollout::Args),
    /// Run a saved invocation again here, and compare how it ends
    Replay(command::replay::Args),
    /// The coordinator and its workers as a whole
    Cluster(command::cluster::Args),
    /// The data: backup, restore, check
    Admin(command::admin::Args),
    /// Measure umbel on this machine, with real processes
    #[command(after_help = "\
Examples:
  umbel bench all
  umbel bench fanout --n 100000 --repeat 3
  umbel bench invoke --output json")]
    Bench(command::bench::Args),
    /// Print a script that completes commands in a shell
    Completions(command::completions::Args),
}

#[derive(Debug, Subcommand)]
enum Coordinator {
    /// Start a coordinator
    Start(command::coordinator::Args),
}

#[derive(Debug, Subcommand)]
enum Worker {
    /// Start a worker
    Start(Box<command::worker_start::Args>),
    /// List the workers
    List(command::worker_list::Args),
    /// Ask a worker to take nothing new, finish and leave
    Drain(command::worker_list::DrainArgs),
}

/// What umbel starts itself with. Apart from [`Cli`], so that no help and no completion offers it.
#[derive(Debug, Parser)]
#[command(name = "umbel", disable_help_subcommand = true)]
pub(crate) struct Inner {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: InnerCommand,
}

#[derive(Debug, Subcommand)]
enum InnerCommand {
    /// A worker with the demo's own function
    DemoWorker(Box<command::worker_start::Args>),
    /// Very many workers in one process, for a bench
    BenchSwarm(command::bench::swarm::Args),
    /// A function for a bench
    BenchFunction,
    /// Runs programs for a worker, and leaves nothing of them behind
    Supervisor(command::supervisor::Args),
}

/// What was asked of this process.
#[derive(Debug)]
pub(crate) enum Asked {
    /// By a person or a script.
    Outside(Box<Cli>),
    /// By another process of umbel.
    Inside(Box<Inner>),
}

impl Asked {
    /// Reads the command line; bad usage ends the process here, with 2.
    pub(crate) fn parse() -> Self {
        let first = std::env::args_os().nth(1).unwrap_or_default();
        let inner = Inner::command();
        if first
            .to_str()
            .is_some_and(|name| inner.find_subcommand(name).is_some())
        {
            return Self::Inside(Box::new(Inner::parse()));
        }
        Self::Outside(Box::new(Cli::parse()))
    }

    /// Carries the command out.
    pub(crate) async fn run(self) -> Result<(), Exit> {
        match self {
            Self::Outside(cli) => cli.run().await,
            Self::Inside(inner) => inner.run().await,
        }
    }
}

impl Inner {
    async fn run(self) -> Result<(), Exit> {
        let global = Global::from(self.global);
        // A worker's log starts once its config is read.
        if !matches!(self.command, InnerCommand::DemoWorker(_)) {
            log::start(global.log.as_deref().unwrap_or("warn"), global.log_format)?;
        }
        match self.command {
            InnerCommand::DemoWorker(args) => {
                Box::pin(command::demo::run_worker(*args, &global)).await
            }
            InnerCommand::BenchSwarm(args) => {
                Box::pin(command::bench::swarm::run(args, &global)).await
            }
            InnerCommand::BenchFunction => command::bench::client::run(),
            InnerCommand::Supervisor(args) => command::supervisor::run(&args),
        }
    }
}

impl Cli {
    async fn run(self) -> Result<(), Exit> {
        let global = Global::from(self.global);
        // What has a config file of its own starts its log once that is read.
        if !matches!(
            self.command,
            Command::Up(_) | Command::Coordinator(_) | Command::Worker(Worker::Start(_))
        ) {
            log::start(global.log.as_deref().unwrap_or("warn"), global.log_format)?;
        }
        self.command.run(&global).await
    }
}

impl Command {
    async fn run(self, global: &Global) -> Result<(), Exit> {
        // Boxed: each command's future is as large as all that it keeps across awaits.
        match self {
            Self::Demo(args) => Box::pin(command::demo::run(args, global)).await,
            Self::Up(args) => Box::pin(command::up::run(args, global)).await,
            Self::Coordinator(Coordinator::Start(args)) => {
                Box::pin(command::coordinator::run(args, global)).await
            }
            Self::Worker(Worker::Start(args)) => {
                Box::pin(command::worker_start::run(*args, global)).await
            }
            Self::Worker(Worker::List(args)) => {
                Box::pin(command::worker_list::run(args, global)).await
            }
            Self::Worker(Worker::Drain(args)) => {
                Box::pin(command::worker_list::drain(args, global)).await
            }
            Self::Map(args) => Box::pin(command::map::run(args, global)).await,
            Self::Invoke(args) => Box::pin(command::invoke::run(args, global)).await,
            Self::Job(args) => Box::pin(command::job::run(args, global)).await,
            Self::Function(args) => Box::pin(command::function::run(args, global)).await,
            Self::Route(args) => Box::pin(command::route::run(args, global)).await,
            Self::Experiment(args) => Box::pin(command::experiment::run(args, global)).await,
            Self::Rollout(args) => Box::pin(command::rollout::run(args, global)).await,
            Self::Replay(args) => Box::pin(command::replay::run(args, global)).await,
            Self::Cluster(args) => Box::pin(command::cluster::run(args, global)).await,
            Self::Admin(args) => Box::pin(command::admin::run(args, global)).await,
            Self::Bench(args) => Box::pin(command::bench::run(args, global)).await,
            Self::Completions(args) => command::completions::run(&args),
        }
    }
}

/// The command line as data, for completions.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        let path = format!("{path} {}", command.get_name());
        visit(path.trim(), command);
        for inner in command.get_subcommands() {
            walk(inner, &path, visit);
        }
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn what_umbel_starts_itself_with_is_offered_to_nobody() {
        Inner::command().debug_assert();
        let outside = definition();
        for inner in Inner::command().get_subcommands() {
            let name = inner.get_name();
            assert!(outside.find_subcommand(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        let mut without = Vec::new();
        walk(&definition(), "", &mut |path, command| {
            let text = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            if !command.is_hide_set() && !text.contains(path) {
                without.push(path.to_owned());
            }
        });
        assert!(
            without.is_empty(),
            "no example of itself in the help of {without:?}"
        );
    }

    #[test]
    fn the_coordinator_is_the_flag_or_the_default() {
        let cli = Cli::parse_from(["umbel", "demo", "--coordinator", "http://there:1"]);
        let global = Global::from(cli.global);
        assert_eq!(global.coordinator, "http://there:1");
    }
}
