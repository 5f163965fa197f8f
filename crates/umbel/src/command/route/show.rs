//! `umbel route get` and `history`.

use umbel_client::{Client, v1};

use crate::command::function::alias::parts;
use crate::command::function::get::move_word;
use crate::command::words::percent;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, GotRoute, Table, time};

/// The arguments of `route get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel route get resize
  umbel route get resize@canary --output json")]
pub(super) struct GetArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
}

/// The arguments of `route history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  umbel route history resize
  umbel route history resize@canary --output json")]
pub(super) struct HistoryArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
}

/// Shows a route.
pub(super) async fn get(args: GetArgs, global: &Global) -> Result<(), Exit> {
    let (alias, figures) = fetch(&args.alias, global).await?;
    print(&alias, figures.as_ref(), global)
}

async fn fetch(text: &str, global: &Global) -> Result<(v1::Alias, Option<v1::RouteFigures>), Exit> {
    let (function, alias) = parts(text);
    let client = Client::connect(&global.coordinator)?;
    let found = client.route(function, alias).await?;
    Ok((found.alias.unwrap_or_default(), found.figures))
}

/// Shows an alias with its route.
pub(super) fn print(
    alias: &v1::Alias,
    figures: Option<&v1::RouteFigures>,
    global: &Global,
) -> Result<(), Exit> {
    if global.output == OutputForm::Json {
        return output::document(&GotRoute::new(alias, figures));
    }
    let follows = if alias.follows {
        ", follows the newest"
    } else {
        ""
    };
    let (function, name, version) = (&alias.function, &alias.name, alias.version);
    output::line(&format!("alias  {function}@{name} -> {version}{follows}"))?;
    let Some(route) = &alias.route else {
        return output::line("route  none: everything goes to that version");
    };
    for (number, rule) in (1..).zip(&route.rules) {
        let (when, target) = (
            output::one_line(&rule.when, super::ask::WHEN_WIDTH),
            &rule.target,
        );
        let named = if rule.name == rule.target {
            String::new()
        } else {
            format!("  (arm rule:{})", rule.name)
        };
        output::line(&format!("rule   {number}. {when} => {target}{named}"))?;
    }
    match &route.split {
        Some(split) => print_split(split)?,
        None => output::line(&format!("else   {version}"))?,
    }
    figures
        .filter(|figures| figures.inputs > 0)
        .map_or(Ok(()), print_figures)
}

fn print_split(split: &v1::Split) -> Result<(), Exit> {
    let key = match split.key.as_str() {
        "" => "none: inputs go by their index, which is not sticky",
        key => key,
    };
    output::line(&format!("key    {key}"))?;
    output::line("")?;
    let mut table = Table::new([
        Column::text("ARM"),
        Column::flexible("TARGET"),
        Column::number("WEIGHT"),
        Column::flexible("BUCKETS"),
    ]);
    for arm in &split.arms {
        let buckets = arm.buckets.iter();
        let buckets: Vec<String> = buckets
            .map(|run| format!("{}..{}", run.begin, run.end))
            .collect();
        table.row([
            arm.name.clone(),
            arm.target.clone(),
            percent(arm.weight),
            buckets.join(" "),
        ]);
    }
    table.print("no arms")
}

fn print_figures(figures: &v1::RouteFigures) -> Result<(), Exit> {
    let v1::RouteFigures {
        inputs,
        rule_failures,
        not_sticky,
        last_failure,
    } = figures;
    output::line("")?;
    output::line(&format!(
        "since the coordinator started: {inputs} inputs routed, {rule_failures} rules failed on \
         one, {not_sticky} not sticky"
    ))?;
    if last_failure.is_empty() {
        return Ok(());
    }
    output::line(&format!(
        "last failure: {}",
        output::one_line(last_failure, 200)
    ))
}

/// Shows how an alias came to point where it does.
pub(super) async fn history(args: HistoryArgs, global: &Global) -> Result<(), Exit> {
    let (alias, _) = fetch(&args.alias, global).await?;
    if global.output == OutputForm::Json {
        return output::document(&GotRoute::new(&alias, None));
    }
    let mut table = Table::new([
        Column::text("AT"),
        Column::text("MOVE"),
        Column::number("FROM"),
        Column::number("TO"),
        Column::flexible("BY"),
        Column::flexible("ROUTE"),
    ]);
    for one in alias.moves.iter().rev() {
        let from = Some(one.from_version).filter(|from| *from > 0);
        table.row([
            time(one.at.as_ref()),
            move_word(one.kind()).to_owned(),
            from.map(|from| from.to_string()).unwrap_or_default(),
            one.to_version.to_string(),
            one.by.clone(),
            one.route.as_ref().map(in_short).unwrap_or_default(),
        ]);
    }
    table.print("no moves")
}

/// A route in one line.
fn in_short(route: &v1::Route) -> String {
    let mut parts = Vec::new();
    match route.rules.len() {
        0 => {}
        1 => parts.push("1 rule".to_owned()),
        rules => parts.push(format!("{rules} rules")),
    }
    if let Some(split) = &route.split {
        let arms = split.arms.iter();
        let arms: Vec<String> = arms
            .map(|arm| format!("{}={}", arm.name, percent(arm.weight)))
            .collect();
        parts.push(arms.join(","));
        if !split.key.is_empty() {
            parts.push(format!("by {}", split.key));
        }
    }
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(", ")
}
