//! `umbel worker list` and `umbel worker drain`.

use serde::Serialize;
use umbel_client::Client;

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Table, Worker, Workers};

const LIST_EXAMPLES: &str = "\
Examples:
  umbel worker list
  umbel worker list --output json";

const DRAIN_EXAMPLES: &str = "\
Example:
  umbel worker drain laptop-3f2a";

/// The arguments of `worker list`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct Args {}

/// The arguments of `worker drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(crate) struct DrainArgs {
    /// The worker's name
    name: String,
}

/// Lists the workers, by name.
pub(crate) async fn run(Args {}: Args, global: &Global) -> Result<(), Exit> {
    let workers = Client::connect(&global.coordinator)?.workers().await?;
    if global.output == OutputForm::Json {
        return output::document(&Workers::from(workers.as_slice()));
    }
    let mut table = Table::new([
        Column::flexible("NAME"),
        Column::text("STATE"),
        Column::number("SLOTS"),
        Column::number("HOLDS"),
        Column::text("VERSION"),
        Column::flexible("LABELS"),
        Column::flexible("FUNCTIONS"),
    ]);
    for worker in workers {
        let labels: Vec<_> = worker
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.row([
            worker.name.clone(),
            Worker::state(worker.state()).to_owned(),
            worker.slots.to_string(),
            output::count(worker.invocations),
            worker.version.clone(),
            labels.join(" "),
            worker.functions.join(" "),
        ]);
    }
    table.print("no workers yet; start one with: umbel worker start")
}

/// Asks a worker to leave.
pub(crate) async fn drain(args: DrainArgs, global: &Global) -> Result<(), Exit> {
    #[derive(Serialize)]
    struct Draining<'a> {
        name: &'a str,
        state: &'static str,
    }
    Client::connect(&global.coordinator)?
        .drain(&args.name)
        .await?;
    match global.output {
        OutputForm::Json => output::document(&Draining {
            name: &args.name,
            state: "draining",
        }),
        OutputForm::Table => output::line(&format!(
            "worker {} takes nothing new, finishes what it has and leaves",
            args.name
        )),
    }
}
