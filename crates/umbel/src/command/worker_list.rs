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
            functions(&worker.functions),
        ]);
    }
    table.print("no workers yet; start one with: umbel worker start")
}

/// The functions of a worker's own; of those that every worker has, only how many.
fn functions(names: &[String]) -> String {
    let (builtin, own): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| name.starts_with("umbel."));
    let builtin = match builtin.len() {
        0 => String::new(),
        count => format!("umbel.* ({count})"),
    };
    let own = own.into_iter().map(String::as_str);
    let all: Vec<_> = own
        .chain([builtin.as_str()])
        .filter(|text| !text.is_empty())
        .collect();
    all.join(" ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_own_functions_stand_before_those_that_all_have() {
        let shown =
            |names: &[&str]| functions(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shown(&["umbel.echo", "umbel.spin", "wc"]), "wc umbel.* (2)");
        assert_eq!(shown(&["wc"]), "wc");
        assert_eq!(shown(&[]), "");
    }
}
