//! `umbel route`: where an alias sends invocations.

mod ask;
mod file;
mod set;
mod show;

pub(in crate::command) use set::key;

use crate::exit::Exit;
use crate::global::Global;

/// The arguments of `route`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel route set resize@live --rule 'input.country == \"DE\" => resize-rust' \\
        --split 7=90%,8=10% --key /user/id
  umbel route explain resize@live --input '{\"country\": \"FR\", \"user\": {\"id\": 42}}'
  umbel route simulate resize@live --inputs users.jsonl")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set the rules and the split of an alias, all at once
    Set(set::Args),
    /// Show the rules and the split of an alias, and what happened to inputs
    Get(show::GetArgs),
    /// Show how an alias came to point where it does
    History(show::HistoryArgs),
    /// Say where an input would go, and why
    Explain(ask::ExplainArgs),
    /// Count where the inputs of a file would go
    Simulate(ask::SimulateArgs),
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    match args.verb {
        Verb::Set(args) => set::run(args, global).await,
        Verb::Get(args) => show::get(args, global).await,
        Verb::History(args) => show::history(args, global).await,
        Verb::Explain(args) => ask::explain(args, global).await,
        Verb::Simulate(args) => ask::simulate(args, global).await,
    }
}
