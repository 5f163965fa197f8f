//! `umbel job capsule`.

use umbel_client::Client;

use crate::capsule::Capsule;
use crate::exit::Exit;
use crate::global::Global;
use crate::output;

const EXAMPLES: &str = "\
The capsule goes to stdout: the input, what ran, how it ended, its log. `umbel replay` runs it
again, on any machine. It holds the input and the output as they are; of a function's environment it
holds the names and not the values.

Examples:
  umbel job capsule last 2 > case.capsule
  umbel replay case.capsule --code ./resize/";

/// The arguments of `job capsule`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
    /// Which input, from 0
    index: u64,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let capsule = client.capsule(&args.job, args.index).await?;
    output::line(&Capsule::new(capsule).text()?)
}
