//! `umbel cluster`: how the coordinator and its workers stand.

use umbel_client::Client;

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Status, count};

const EXAMPLES: &str = "\
Examples:
  umbel cluster status
  umbel cluster status --output json";

/// The arguments of `cluster`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  umbel cluster status")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show how the cluster stands
    #[command(after_help = EXAMPLES)]
    Status,
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let Verb::Status = args.verb;
    let client = Client::connect(&global.coordinator)?;
    let status = client.status().await?;
    if global.output == OutputForm::Json {
        return output::document(&Status::from(&status));
    }
    let started = status
        .started_at
        .map_or_else(String::new, |time| format!(", since {time}"));
    let lines = [
        format!(
            "coordinator  {}, version {}{started}",
            client.url(),
            status.version
        ),
        format!("workers      {}", count(status.workers.into())),
        format!(
            "slots        {} of {} in use",
            status.slots_used, status.slots
        ),
        format!(
            "jobs         {} running, {} kept",
            count(status.jobs_running),
            count(status.jobs_kept)
        ),
        format!(
            "invocations  {} waiting, {} leased",
            count(status.invocations_waiting),
            count(status.invocations_leased)
        ),
        format!(
            "stored       {} of {}",
            output::size(status.live_bytes),
            match status.store_bytes_max {
                0 => "no cap".to_owned(),
                bytes => output::size(bytes),
            }
        ),
        format!(
            "disk         {} in {}, {} free",
            output::size(status.disk_bytes),
            status.data_dir,
            output::size(status.disk_free_bytes)
        ),
        format!("epoch        {}", status.epoch),
    ];
    lines.iter().try_for_each(|line| output::line(line))
}
