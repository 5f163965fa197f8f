//! `umbel bench`: what umbel does on this machine, with real processes and verified results.

mod all;
mod bed;
mod calls;
mod coldstart;
mod compare;
mod deletes;
mod fanout;
mod figure;
mod functions;
mod invoke;
mod jobs;
mod meter;
mod metrics;
mod mixed;
mod published;
mod report;
mod restart;
mod sessions;
mod show;
mod single;
mod spin;
mod usage;

use std::path::PathBuf;

use bed::Bed;
use meter::Run;
use report::{Document, Machine, Report};

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output;
use crate::signal::Signals;

pub(crate) use functions::client;
pub(crate) use sessions::swarm;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    how: How,
    #[command(subcommand)]
    command: Command,
}

/// How any scenario is run and shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Every bench")]
struct How {
    /// Run it so often, each time with new processes and empty data
    #[arg(
        long, global = true, value_name = "N", default_value_t = 1, value_parser = from_1_to(100)
    )]
    repeat: u32,
    /// Hold the medians against what an earlier bench printed with --output json
    #[arg(long, global = true, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// With --compare: end with 1 when a figure is worse by more than this factor
    #[arg(long, global = true, value_name = "FACTOR", requires = "compare")]
    fail_beyond: Option<f64>,
    /// The same as --output json
    #[arg(long, global = true)]
    json: bool,
}

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every scenario, and which bounds are kept
    #[command(after_help = all::HELP)]
    All(all::Args),
    #[command(flatten)]
    One(Scenario),
}

/// One thing to be measured.
#[derive(Clone, Debug, clap::Subcommand)]
enum Scenario {
    /// Fan no-op invocations out, durably, and verify each result
    #[command(after_help = fanout::HELP)]
    Fanout(fanout::Args),
    /// Invoke a function on a warm worker, one invocation after another
    #[command(after_help = invoke::HELP)]
    Invoke(invoke::Args),
    /// Submit jobs of one input, one after another
    #[command(after_help = single::HELP)]
    Single(single::Args),
    /// Use the CPU for a moment, very often
    #[command(after_help = spin::HELP)]
    Spin(spin::Args),
    /// Keep slots at work on run times with a heavy tail
    #[command(after_help = mixed::HELP)]
    Mixed(mixed::Args),
    /// Fan out while very many workers hold sessions
    #[command(after_help = sessions::HELP)]
    Sessions(sessions::Args),
    /// Submit very many small jobs from many clients
    #[command(after_help = jobs::HELP)]
    Jobs(jobs::Args),
    /// Call warm functions of each runtime
    #[command(after_help = calls::HELP)]
    Calls(calls::Args),
    /// Call functions for the first time
    #[command(after_help = coldstart::HELP)]
    Coldstart(coldstart::Args),
    /// Restart a coordinator that was killed with much in its store
    #[command(after_help = restart::HELP)]
    Restart(restart::Args),
}

impl Scenario {
    /// What it does, with its numbers.
    fn title(&self) -> String {
        match self {
            Self::Fanout(args) => args.title(),
            Self::Invoke(args) => args.title(),
            Self::Single(args) => args.title(),
            Self::Spin(args) => args.title(),
            Self::Mixed(args) => args.title(),
            Self::Sessions(args) => args.title(),
            Self::Jobs(args) => args.title(),
            Self::Calls(args) => args.title(),
            Self::Coldstart(args) => args.title(),
            Self::Restart(args) => args.title(),
        }
    }

    /// Whether its numbers fit each other.
    fn check(&self) -> Result<(), Exit> {
        match self {
            Self::Fanout(args) => args.check(),
            Self::Restart(args) => args.check(),
            _ => Ok(()),
        }
    }

    async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        // Boxed: each future is as large as all that it keeps across awaits.
        match self {
            Self::Fanout(args) => Box::pin(args.measure(bed)).await,
            Self::Invoke(args) => Box::pin(args.measure(bed)).await,
            Self::Single(args) => Box::pin(args.measure(bed)).await,
            Self::Spin(args) => Box::pin(args.measure(bed)).await,
            Self::Mixed(args) => Box::pin(args.measure(bed)).await,
            Self::Sessions(args) => Box::pin(args.measure(bed)).await,
            Self::Jobs(args) => Box::pin(args.measure(bed)).await,
            Self::Calls(args) => Box::pin(args.measure(bed)).await,
            Self::Coldstart(args) => Box::pin(args.measure(bed)).await,
            Self::Restart(args) => Box::pin(args.measure(bed)).await,
        }
    }
}

fn from_1_to(max: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(max))
}

/// Measures, prints, and ends with 1 if a result was wrong.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let old = args.how.compare.as_deref().map(compare::read).transpose()?;
    let as_json = args.how.json || global.output == OutputForm::Json;
    let mut signals = Signals::listen()?;
    let scenarios = match args.command {
        Command::All(all) => every(&all, args.how.repeat, &mut signals, as_json).await?,
        Command::One(scenario) => {
            scenario.check()?;
            let report = repeat(&scenario, args.how.repeat, &mut signals).await?;
            if !as_json {
                show::report(&report)?;
            }
            vec![report]
        }
    };
    let document = Document {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Machine::this(),
        scenarios,
    };
    if as_json {
        output::document(&document)?;
    }
    let wrong = document.scenarios.iter().find_map(Report::wrong);
    if let Some(wrong) = wrong {
        return Err(Exit::failed(format!("the check failed: {wrong}")));
    }
    let Some(old) = old else { return Ok(()) };
    let changes = compare::changes(&old, &document);
    if !as_json {
        compare::print(&changes)?;
    }
    let fail_beyond = args.how.fail_beyond;
    fail_beyond.map_or(Ok(()), |factor| compare::judge(&changes, factor))
}

/// Measures the rows that were asked for, and gives their figures the bounds.
async fn every(
    all: &all::Args,
    times: u32,
    signals: &mut Signals,
    as_json: bool,
) -> Result<Vec<Report>, Exit> {
    let rows = all.rows();
    if rows.is_empty() {
        return Err(Exit::usage(
            "no scenario has such a name; `umbel bench all --help` lists them",
        ));
    }
    let mut reports = Vec::new();
    for row in rows {
        output::remark(&format!("{}: {}", row.name, row.scenario.title()));
        let mut report = repeat(&row.scenario, times, signals).await?;
        for (name, must, goal) in row.bars {
            let figures = report.figures.iter_mut();
            for figure in figures.filter(|figure| figure.name == *name) {
                (figure.must, figure.goal) = (Some(*must), Some(*goal));
            }
            if report.figure(name).is_none() {
                report.left_out.push((name, *must, *goal));
            }
        }
        if !as_json {
            show::report(&report)?;
            output::line("")?;
        }
        reports.push(report);
    }
    if !as_json {
        show::bars(&reports)?;
    }
    Ok(reports)
}

/// Measures a scenario so often, each time in a cluster of its own.
async fn repeat(scenario: &Scenario, times: u32, signals: &mut Signals) -> Result<Report, Exit> {
    let mut runs = Vec::new();
    for _ in 0..times {
        let mut bed = tokio::select! {
            bed = Bed::start() => bed?,
            () = signals.next() => return Err(Exit::interrupted("")),
        };
        let measured = tokio::select! {
            measured = scenario.measure(&mut bed) => measured,
            () = signals.next() => {
                Err(Exit::interrupted("interrupted; every process it started is gone"))
            }
        };
        bed.cluster.stop(false).await?;
        runs.push(measured?);
    }
    Ok(Report::of(scenario.title(), runs))
}
