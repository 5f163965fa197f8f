//! `umbel function`: which functions are known.

use umbel_client::Client;

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Functions, Table};

const EXAMPLES: &str = "\
Examples:
  umbel function list
  umbel function list --output json";

/// The arguments of `function`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  umbel function list")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the functions that are known, by name
    #[command(after_help = EXAMPLES)]
    List,
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let Verb::List = args.verb;
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
