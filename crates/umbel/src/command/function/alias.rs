//! `umbel function point`, `rollback` and `delete`.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use umbel_client::{Client, v1};
use umbel_core::function::LIVE;

use super::who;
use crate::command::words;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Alias};

/// How long a version may take to be ready, if nothing is said, and how often is asked.
const WARM_TIMEOUT_MS: u64 = 60_000;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

const POINT: &str = "\
What is cut into chunks from then on runs that version; what has begun ends as it will, and retries
keep the version that they began with. An alias that there is not is made. A split of the alias ends
with that; its rules stay (`umbel route get`).

With --when-warm the alias moves once every worker that can run the version has its instances ready
(published with --warm N), so that nothing meets a cold start; what it pointed at before stays ready
for a rollback until it has been idle for its time.

Examples:
  umbel function point resize@live 7
  umbel function point resize@live 7 --when-warm
  umbel function point resize@canary 8";

const ROLLBACK: &str = "\
Each rollback goes one step further back; versions that were deleted are passed over.

Examples:
  umbel function rollback resize
  umbel function rollback resize@canary";

const DELETE: &str = "\
New jobs cannot name it from then on. What running jobs need is kept until they have ended.

Examples:
  umbel function delete resize@3
  umbel function delete resize";

/// The arguments of `function point`.
#[derive(Debug, clap::Args)]
#[command(after_help = POINT)]
pub(super) struct PointArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// The number of the version
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
    /// Wait until the version's instances stand ready (function publish --warm N)
    #[arg(long)]
    when_warm: bool,
    /// How long that may take [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = words::ms, requires = "when_warm")]
    warm_timeout: Option<u64>,
}

/// The arguments of `function rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = ROLLBACK)]
pub(super) struct RollbackArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
}

/// The arguments of `function delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = DELETE)]
pub(super) struct DeleteArgs {
    /// NAME@NUMBER, or NAME for all of it, its aliases too
    target: String,
}

/// Points an alias.
pub(super) async fn point(args: PointArgs, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let client = Client::connect(&global.coordinator)?;
    if args.when_warm {
        let timeout = Duration::from_millis(args.warm_timeout.unwrap_or(WARM_TIMEOUT_MS));
        warm(&client, function, args.version, timeout).await?;
    }
    let moved = client.point(function, alias, args.version, &who()).await?;
    print(&moved, global)
}

/// Waits until a version's instances stand ready, and sees to it that they will.
async fn warm(
    client: &Client,
    function: &str,
    version: u32,
    timeout: Duration,
) -> Result<(), Exit> {
    let until = Instant::now() + timeout;
    let version_name = format!("{function}@{version}");
    loop {
        let now = client.warm(function, version).await?;
        let (ready, kept, workers) = (now.ready_instances, now.kept_instances, now.workers);
        if kept == 0 && workers > 0 {
            return Err(Exit::refused(format!(
                "{version_name} asks for no instances to be kept ready; publish it with --warm N, or point without --when-warm"
            )));
        }
        if kept > 0 && ready >= kept {
            return Ok(());
        }
        if Instant::now() >= until {
            let state = if workers == 0 {
                "no worker that can run it is connected".to_owned()
            } else {
                format!(
                    "{ready} of {kept} instances stand ready on {workers} workers; their logs say what is missing"
                )
            };
            return Err(Exit::refused(format!(
                "{version_name} was not ready within {} ms, and nothing was pointed at it: {state}",
                timeout.as_millis()
            )));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Rolls an alias back.
pub(super) async fn rollback(args: RollbackArgs, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let client = Client::connect(&global.coordinator)?;
    let moved = client.roll_back(function, alias, &who()).await?;
    print(&moved, global)
}

/// Function and alias of a text that names an alias.
pub(in crate::command) fn parts(text: &str) -> (&str, &str) {
    text.split_once('@').unwrap_or((text, LIVE))
}

fn print(alias: &v1::Alias, global: &Global) -> Result<(), Exit> {
    if global.output == OutputForm::Json {
        return output::document(&Alias::from(alias));
    }
    let (function, name, version) = (&alias.function, &alias.name, alias.version);
    let follows = if alias.follows {
        ", and follows the newest"
    } else {
        ""
    };
    let route = match &alias.route {
        Some(_) => ", with a route (`umbel route get` shows it)",
        None => "",
    };
    output::line(&format!("{function}@{name} -> {version}{follows}{route}"))
}

/// Deletes a version or a function.
pub(super) async fn delete(args: DeleteArgs, global: &Global) -> Result<(), Exit> {
    let (function, version) = match args.target.split_once('@') {
        None => (args.target.as_str(), None),
        Some((function, number)) => {
            let number: u32 = number.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                Exit::usage(format!(
                    "{:?} names no version; write NAME@NUMBER, such as {function}@3",
                    args.target
                ))
            })?;
            (function, Some(number))
        }
    };
    let client = Client::connect(&global.coordinator)?;
    client.retire(function, version).await?;
    if global.output == OutputForm::Table {
        output::line(&format!("{} is deleted", args.target))?;
    }
    Ok(())
}
