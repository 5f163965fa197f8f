//! `umbel job cancel` and `delete`.

use serde::Serialize;
use umbel_client::Client;

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Job};

const CANCEL_EXAMPLES: &str = "\
Example:
  umbel job cancel last";

const DELETE_EXAMPLES: &str = "\
Example:
  umbel job delete 0192abcd-ef01-7234-89ab-000102030405";

/// The arguments of `job cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(super) struct CancelArgs {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
}

/// The arguments of `job delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = DELETE_EXAMPLES)]
pub(super) struct DeleteArgs {
    /// The job: its id, its name, or `last`
    #[arg(value_name = "ID")]
    job: String,
}

pub(super) async fn cancel(args: CancelArgs, global: &Global) -> Result<(), Exit> {
    let job = Client::connect(&global.coordinator)?
        .cancel(&args.job)
        .await?;
    match global.output {
        OutputForm::Json => output::document(&Job::from(&job)),
        OutputForm::Table => output::line(&output::summary(&job)),
    }
}

pub(super) async fn delete(args: DeleteArgs, global: &Global) -> Result<(), Exit> {
    #[derive(Serialize)]
    struct Deleted<'a> {
        id: &'a str,
        deleted: bool,
    }
    let client = Client::connect(&global.coordinator)?;
    // By its id, so that what is said to be gone is what was meant.
    let id = client.get(&args.job).await?.id;
    client.delete(&id).await?;
    match global.output {
        OutputForm::Json => output::document(&Deleted {
            id: &id,
            deleted: true,
        }),
        OutputForm::Table => output::line(&format!("job {id} is deleted")),
    }
}
