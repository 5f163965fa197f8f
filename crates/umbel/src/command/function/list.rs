//! `umbel function list`: which functions are known.

use umbel_client::{Client, v1};

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Functions, Table, runtime_word};

const EXAMPLES: &str = "\
Examples:
  umbel function list
  umbel function list --output json";

/// The arguments of `function list`: none.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

/// Prints them.
pub(super) async fn run(global: &Global) -> Result<(), Exit> {
    let functions = Client::connect(&global.coordinator)?.functions().await?;
    if global.output == OutputForm::Json {
        return output::document(&Functions::from(functions.as_slice()));
    }
    let mut table = Table::new([
        Column::flexible("NAME"),
        Column::text("RUNTIME"),
        Column::number("LIVE"),
        Column::number("VERSIONS"),
        Column::number("WORKERS"),
    ]);
    for function in functions {
        let live = function.live.as_ref();
        let of_live = |text: &dyn Fn(&v1::Version) -> String| live.map(text).unwrap_or_default();
        table.row([
            function.name.clone(),
            of_live(&|live| runtime_word(live.runtime()).to_owned()),
            of_live(&|live| live.number.to_string()),
            of_live(&|_| function.version_count.to_string()),
            function.workers.to_string(),
        ]);
    }
    table.print(
        "no functions yet; publish one (umbel function publish), or start a worker that brings some",
    )
}
