//! `umbel admin`: what an operator does with the data: back them up, restore them, check them.

use std::path::PathBuf;

use futures::TryStreamExt as _;
use serde::Serialize;
use umbel_client::Client;
use umbel_store::backup::{self, Summary, Writer};
use umbel_store::check::{self, Progress, Report};
use umbel_store::{Error, Settings};

use crate::config;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, count, size};

/// The arguments of `admin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel admin backup /backups/monday
  umbel admin restore /backups/monday --data /tmp/monday
  umbel admin check --data /tmp/monday")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Copy all data of a running coordinator into a new directory
    #[command(after_help = "\
The copy is the state at one commit, the last one before its end; the coordinator goes on
meanwhile. The directory is made here, where the command runs, and never written over.

Example:
  umbel admin backup /backups/monday")]
    Backup {
        /// The directory to make
        dir: PathBuf,
    },
    /// Make a data directory from a backup
    #[command(after_help = "\
The whole backup is checked before anything is made. A coordinator that is started on the data
goes on as after a restart: jobs that had not ended run on.

Example:
  umbel admin restore /backups/monday --data /var/lib/umbel
  umbel admin check --data /var/lib/umbel
  umbel coordinator start --data /var/lib/umbel")]
    Restore {
        /// The backup's directory
        backup: PathBuf,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Read all data of a stopped coordinator and hold them against each other and their checksums
    #[command(after_help = "\
Prints each problem on a line, with its job and its key. Exit codes: 0 all is well, 1 there are
problems.

Example:
  umbel admin check --data /var/lib/umbel")]
    Check {
        #[command(flatten)]
        data: DataArgs,
    },
}

/// Where the data lie.
#[derive(Debug, clap::Args)]
struct DataArgs {
    /// The data directory [default: $XDG_DATA_HOME/umbel or ~/.local/share/umbel]
    #[arg(long = "data", env = "UMBEL_DATA", value_name = "DIR", hide_env = true)]
    dir: Option<PathBuf>,
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::Backup { dir } => back_up(dir, global).await,
        Verb::Restore { backup, data } => {
            let settings = Settings::new(config::data_directory(data.dir)?);
            let form = global.output;
            blocking(move || restore(&backup, &settings, form)).await
        }
        Verb::Check { data } => {
            let settings = Settings::new(config::data_directory(data.dir)?);
            let form = global.output;
            blocking(move || check(&settings, form)).await
        }
    }
}

/// What waits for the disk all the time leaves the runtime's threads alone.
async fn blocking(work: impl FnOnce() -> Result<(), Exit> + Send + 'static) -> Result<(), Exit> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Exit::internal(error.to_string()))?
}

/// A backup as JSON: what `backup` made, or `restore` took.
#[derive(Debug, Serialize)]
struct Backup {
    backup: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    epoch: u32,
    durable: u64,
    writes: u64,
    bytes: u64,
}

impl Backup {
    fn new(backup: PathBuf, data: Option<PathBuf>, summary: &Summary) -> Self {
        Self {
            backup,
            data,
            epoch: summary.epoch,
            durable: summary.durable,
            writes: summary.writes,
            bytes: summary.bytes,
        }
    }
}

async fn back_up(dir: PathBuf, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    // Made first, so that a name that is taken costs the coordinator nothing.
    let mut writer = Writer::create(&dir).map_err(refused)?;
    let mut pieces = client.backup().await?;
    let mut pace = Pace::default();
    while let Some(piece) = pieces.try_next().await? {
        writer.push(&piece).map_err(refused)?;
        pace.say(writer.bytes(), |bytes| format!("{} copied", size(bytes)));
    }
    let summary = writer.finish().map_err(refused)?;
    if global.output == OutputForm::Json {
        return output::document(&Backup::new(dir, None, &summary));
    }
    output::line(&format!(
        "backup of commit {} in {}: {}, {} writes",
        summary.durable,
        dir.display(),
        size(summary.bytes),
        count(summary.writes)
    ))
}

fn restore(from: &std::path::Path, settings: &Settings, form: OutputForm) -> Result<(), Exit> {
    let restored = backup::restore(from, settings).map_err(refused)?;
    let summary = restored.summary;
    if form == OutputForm::Json {
        let data = Some(settings.dir.clone());
        return output::document(&Backup::new(from.to_owned(), data, &summary));
    }
    output::line(&format!(
        "restored commit {} into {}: {}, {} writes",
        summary.durable,
        settings.dir.display(),
        size(summary.bytes),
        count(summary.writes)
    ))
}

/// A check as JSON.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    jobs: u64,
    keys: u64,
    bytes: u64,
    problems_count: u64,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    key: String,
    what: String,
}

impl From<Report> for Checked {
    fn from(report: Report) -> Self {
        let problems = report.problems.into_iter().map(|problem| Problem {
            job: problem.job.map(|job| job.to_string()),
            key: problem.key,
            what: problem.what,
        });
        Self {
            ok: report.problems_count == 0,
            jobs: report.looked_at.jobs,
            keys: report.looked_at.keys,
            bytes: report.looked_at.bytes,
            problems_count: report.problems_count,
            problems: problems.collect(),
        }
    }
}

fn check(settings: &Settings, form: OutputForm) -> Result<(), Exit> {
    let mut pace = Pace::default();
    let mut progress = |at: Progress| {
        pace.say(at.keys, |keys| {
            let (jobs, bytes) = (count(at.jobs), size(at.bytes));
            format!("{} keys of {jobs} jobs read, {bytes}", count(keys))
        });
    };
    let report = check::check(settings, &mut progress).map_err(|error| match error {
        // What does not even open is the worst of problems, not bad usage.
        Error::Corrupt { .. } | Error::Damaged { .. } => Exit::failed(error.to_string()),
        Error::InUse { .. } => Exit::refused(format!(
            "{} is in use by a coordinator: stop it to check its data, or check a copy of them, \
             which `umbel admin backup` and `umbel admin restore` make while it runs",
            settings.dir.display()
        )),
        _ => refused(error),
    })?;
    let problems = report.problems_count;
    if form == OutputForm::Json {
        output::document(&Checked::from(report))?;
    } else {
        for problem in &report.problems {
            output::line(&problem.to_string())?;
        }
        let more = problems - report.problems.len() as u64;
        if more > 0 {
            output::line(&format!("and {} more", count(more)))?;
        }
        let Progress { jobs, keys, bytes } = report.looked_at;
        if problems == 0 {
            output::line("no problems")?;
        }
        output::remark(&format!(
            "{} jobs, {} keys, {} read",
            count(jobs),
            count(keys),
            size(bytes)
        ));
    }
    match problems {
        0 => Ok(()),
        problems => Err(Exit::failed(format!(
            "{} problems in {}; a backup that is sound can be restored with `umbel admin restore`",
            count(problems),
            settings.dir.display()
        ))),
    }
}

/// Says on stderr how far something long has come, seldom enough to be read.
#[derive(Debug, Default)]
struct Pace {
    said: Option<std::time::Instant>,
}

impl Pace {
    const EVERY: std::time::Duration = std::time::Duration::from_secs(5);

    fn say(&mut self, at: u64, words: impl FnOnce(u64) -> String) {
        let said = self.said.get_or_insert_with(std::time::Instant::now);
        if said.elapsed() >= Self::EVERY {
            *said = std::time::Instant::now();
            output::remark(&words(at));
        }
    }
}

fn refused(error: Error) -> Exit {
    match error {
        Error::Io { .. } | Error::Full { .. } | Error::Engine { .. } => {
            Exit::internal(error.to_string())
        }
        _ => Exit::refused(error.to_string()),
    }
}
