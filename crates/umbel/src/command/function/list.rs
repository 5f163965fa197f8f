//! `umbel function list`: which functions are known.

use umbel_client::Client;

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Functions, Table};

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
    let mut table = Table::new([Column::flexible("NAME"), Column::number("WORKERS")]);
    for function in functions {
        table.row([function.name, function.workers.to_string()]);
    }
    table.print("no functions yet; a worker brings some: umbel worker start")
}
