//! `umbel job get`, `list` and `explain`.

use clap::ValueEnum;
use umbel_client::{Client, ListOptions, v1};

use crate::command::words::{distinct, label};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Explanation, Job, Jobs, Table, count};

const GET_EXAMPLES: &str = "\
Examples:
  umbel job get last
  umbel job get 0192abcd-ef01-7234-89ab-000102030405 --output json";

const LIST_EXAMPLES: &str = "\
Examples:
  umbel job list --state running
  umbel job list --label team=search --limit 5 --output json";

const EXPLAIN_EXAMPLES: &str = "\
Example:
  umbel job explain last";

/// The arguments of `job get`.
#[derive(Debug, clap::Args)]
#[command(after_help = GET_EXAMPLES)]
pub(super) struct GetArgs {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
}

/// The arguments of `job list`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    /// Only jobs in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only jobs that bear this label; may be repeated
    #[arg(long, value_name = "K=V", value_parser = label)]
    label: Vec<(String, String)>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// A job's state, as a filter.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// The arguments of `job explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(super) struct ExplainArgs {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
}

pub(super) async fn get(args: GetArgs, global: &Global) -> Result<(), Exit> {
    let job = Client::connect(&global.coordinator)?.get(&args.job).await?;
    match global.output {
        OutputForm::Json => output::document(&Job::from(&job)),
        OutputForm::Table => output::job_lines(&job)
            .iter()
            .try_for_each(|line| output::line(line)),
    }
}

pub(super) async fn list(args: ListArgs, global: &Global) -> Result<(), Exit> {
    let options = ListOptions {
        state: args.state.map(|state| match state {
            State::Running => v1::JobState::Running,
            State::Succeeded => v1::JobState::Succeeded,
            State::Failed => v1::JobState::Failed,
            State::Cancelled => v1::JobState::Cancelled,
        }),
        labels: distinct("--label", &args.label)
            .map_err(Exit::usage)?
            .into_iter()
            .collect(),
        limit: Some(args.limit as usize),
    };
    let filtered = options.state.is_some() || !options.labels.is_empty();
    let jobs = Client::connect(&global.coordinator)?.list(options).await?;
    if global.output == OutputForm::Json {
        return output::document(&Jobs::from(jobs.as_slice()));
    }
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("STATE"),
        Column::number("DONE"),
        Column::text("CREATED"),
        Column::flexible("NAME, TARGET"),
    ]);
    for job in jobs {
        let counts = job.counts.unwrap_or_default();
        let done = counts.succeeded + counts.failed + counts.cancelled;
        table.row([
            job.id.clone(),
            output::job_state(job.state()).to_owned(),
            percent(done, counts.total),
            // To the second: the table has to fit.
            job.created_at.map_or_else(String::new, |mut time| {
                time.nanos = 0;
                time.to_string()
            }),
            if job.name.is_empty() {
                job.target.clone()
            } else {
                format!("{}, {}", job.name, job.target)
            },
        ]);
    }
    table.print(if filtered {
        "no such jobs; without --state and --label all are listed"
    } else {
        "no jobs yet; submit one with: umbel job submit umbel.increment --range 0..1000"
    })
}

/// How much is done, never 100% before all is.
fn percent(done: u64, total: u64) -> String {
    let percent = if total == 0 {
        100
    } else {
        u128::from(done) * 100 / u128::from(total)
    };
    format!("{percent}%")
}

pub(super) async fn explain(args: ExplainArgs, global: &Global) -> Result<(), Exit> {
    let response = Client::connect(&global.coordinator)?
        .explain(&args.job)
        .await?;
    if global.output == OutputForm::Json {
        return output::document(&Explanation::from(&response));
    }
    let Some(job) = &response.job else {
        return Err(Exit::refused("the coordinator answered without a job"));
    };
    output::line(&format!(
        "job {} is {}",
        job.id,
        output::job_state(job.state())
    ))?;
    if response.reasons.is_empty() {
        return output::line("nothing of it waits");
    }
    for reason in &response.reasons {
        let until = reason
            .until
            .map_or_else(String::new, |time| format!(" (until {time})"));
        let waiting = count(reason.invocations);
        let message = output::one_line(&reason.message, MESSAGE_WIDTH);
        output::line(&format!(
            "{waiting} waiting, {}: {message}{until}",
            reason.reason
        ))?;
    }
    Ok(())
}

/// A reason is a sentence or two, and is worth more than one line of a terminal.
const MESSAGE_WIDTH: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_is_not_all() {
        assert_eq!(percent(99_999_999, 100_000_000), "99%");
        assert_eq!(percent(3, 3), "100%");
        assert_eq!(percent(0, 0), "100%");
        assert_eq!(percent(0, 7), "0%");
    }
}
