//! `umbel function get`: the versions and aliases of a published function.

use umbel_client::{Client, v1};

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, PublishedFunction, Table, runtime_word, time};

const EXAMPLES: &str = "\
Run times are kept by version, warm apart from cold, since the coordinator started; percentiles are
off by at most 6 %.

Examples:
  umbel function get resize
  umbel function get resize --output json";

/// The arguments of `function get`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The function's name
    name: String,
    /// How many of its newest versions to show, at most 100
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(i32).range(1..=100))]
    versions: i32,
}

/// Prints them.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let found = client.function(&args.name, args.versions).await?;
    if global.output == OutputForm::Json {
        return output::document(&PublishedFunction::from(&found));
    }
    let deleted = found
        .function
        .as_ref()
        .is_some_and(|function| function.deleted);
    let ending = if deleted {
        "  (deleted; kept for the jobs that still need it)"
    } else {
        ""
    };
    output::line(&format!("function  {}{ending}", args.name))?;
    aliases(&found)?;
    output::line("")?;
    let mut table = Table::new([
        Column::number("VERSION"),
        Column::text("RUNTIME"),
        Column::text("STATE"),
        Column::number("SIZE"),
        Column::text("DIGEST"),
        Column::text("PUBLISHED"),
        Column::flexible("BY"),
        Column::number("WORKERS"),
        Column::number("WARM"),
        Column::number("READY"),
    ]);
    for version in &found.versions {
        table.row([
            version.number.to_string(),
            runtime_word(version.runtime()).to_owned(),
            state(version).to_owned(),
            output::size(version.unpacked_bytes),
            version.artifact_digest.chars().take(12).collect(),
            time(version.published_at.as_ref()),
            version.published_by.clone(),
            version.workers.to_string(),
            version.warm_workers.to_string(),
            ready(version),
        ]);
    }
    table.print("no versions")?;
    figures(&found.versions)?;
    if !found.next_page_token.is_empty() {
        output::remark("there are older versions; --versions N shows more");
    }
    Ok(())
}

fn state(version: &v1::Version) -> &'static str {
    match version.retired_at {
        Some(_) => "retired",
        None => "published",
    }
}

/// How long the versions ran, as far as they did: each warm, and each cold with the parts of that.
fn figures(versions: &[v1::Version]) -> Result<(), Exit> {
    let mut table = Table::new([
        Column::number("VERSION"),
        Column::text("START"),
        Column::number("RUNS"),
        Column::number("SHARE"),
        Column::number("P50"),
        Column::number("P95"),
        Column::number("P99"),
        Column::number("FETCH"),
        Column::number("LOAD"),
        Column::number("INIT"),
        Column::number("CALL"),
    ]);
    let ran = versions.iter().filter_map(|version| {
        let figures = version.figures.as_ref()?;
        Some((version.number, figures))
    });
    let mut since: Option<&prost_types::Timestamp> = None;
    for (number, figures) in ran {
        since = figures
            .since
            .as_ref()
            .into_iter()
            .chain(since)
            .min_by_key(|at| at.seconds);
        let [warm, cold] = [figures.warm, figures.cold].map(Option::unwrap_or_default);
        let runs = warm.count + cold.count;
        let parts = [
            figures.fetch,
            figures.load,
            figures.init,
            figures.first_call,
        ];
        let parts = parts.map(|part| output::duration_us(part.unwrap_or_default().p50_us));
        let none = [const { String::new() }; 4];
        for (start, spread, parts) in [("warm", warm, none), ("cold", cold, parts)] {
            if spread.count == 0 {
                continue;
            }
            let [fetch, load, init, call] = parts;
            table.row([
                number.to_string(),
                start.to_owned(),
                output::count(spread.count),
                share(spread.count, runs),
                output::duration_us(spread.p50_us),
                output::duration_us(spread.p95_us),
                output::duration_us(spread.p99_us),
                fetch,
                load,
                init,
                call,
            ]);
        }
    }
    let Some(since) = since else { return Ok(()) };
    output::line("")?;
    let since = time(Some(since));
    output::line(&format!(
        "run times since {since}, of the parts of cold starts the median"
    ))?;
    table.print("")
}

/// A part of a whole, in percent.
fn share(part: u64, whole: u64) -> String {
    let permille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{}%", permille / 10, permille % 10)
}

/// How many instances stand ready of those that are to be kept.
fn ready(version: &v1::Version) -> String {
    match version.kept_instances {
        0 => "-".to_owned(),
        kept => format!("{}/{kept}", version.ready_instances),
    }
}

fn aliases(found: &v1::GetFunctionResponse) -> Result<(), Exit> {
    for alias in &found.aliases {
        let follows = if alias.follows {
            ", follows the newest"
        } else {
            ""
        };
        let last = alias.moves.last().map(|last| {
            let from = match last.from_version {
                0 => String::new(),
                from => format!(" from {from}"),
            };
            let at = time(last.at.as_ref());
            format!(" ({}{from} by {}, {at})", move_word(last.kind()), last.by)
        });
        let last = last.unwrap_or_default();
        let route = alias.route.as_ref().map(|route| {
            let (rules, arms) = (route.rules.len(), route.split.as_ref());
            let arms = arms.map_or(0, |split| split.arms.len());
            let s = |count| if count == 1 { "" } else { "s" };
            format!(", {rules} rule{} and {arms} arm{}", s(rules), s(arms))
        });
        output::line(&format!(
            "alias     {}@{} -> {}{follows}{}{last}",
            alias.function,
            alias.name,
            alias.version,
            route.unwrap_or_default()
        ))?;
    }
    Ok(())
}

/// The word for a move of an alias.
pub(in crate::command) const fn move_word(kind: v1::MoveKind) -> &'static str {
    match kind {
        v1::MoveKind::Published => "published",
        v1::MoveKind::Pointed => "pointed",
        v1::MoveKind::RolledBack => "rolled back",
        v1::MoveKind::RouteSet => "route set",
        v1::MoveKind::RolloutStarted => "rollout started",
        v1::MoveKind::RolloutStepped => "rollout stepped",
        v1::MoveKind::Promoted => "promoted",
        v1::MoveKind::RolloutRolledBack => "rollout rolled back",
        v1::MoveKind::Unspecified => "moved",
    }
}
