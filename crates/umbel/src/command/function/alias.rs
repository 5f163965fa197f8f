//! `umbel function point`, `rollback` and `delete`.

use umbel_client::{Client, v1};
use umbel_core::function::LIVE;

use super::who;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Alias};

const POINT: &str = "\
What is cut into chunks from then on runs that version; what has begun ends as it will, and retries
keep the version that they began with. An alias that there is not is made. A split of the alias ends
with that; its rules stay (`umbel route get`).

Examples:
  umbel function point resize@live 7
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
    let moved = client.point(function, alias, args.version, &who()).await?;
    print(&moved, global)
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
