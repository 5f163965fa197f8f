//! `umbel route set`.

use std::path::PathBuf;

use clap::ArgGroup;
use umbel_client::{Client, v1};

use super::{file, show};
use crate::command::function::alias::parts;
use crate::command::function::who;
use crate::command::words::{percent, weight};
use crate::exit::Exit;
use crate::global::Global;

const EXAMPLES: &str = "\
One set replaces the whole route: rules that are not named again are gone, and so is a split. What is
cut into chunks from then on goes the new way; what has begun, and its retries, stay on their arm.
A split with the same key keeps its salt: only what shrinking arms give up moves.

A rule is EXPR => TARGET: CEL over input (the input's JSON), labels (of the job) and size (bytes of
the input). The first that matches decides, else the split. A target is a version of the function
(7), an alias of it (@canary), or another function (resize-rust, resize-rust@live).

Examples:
  umbel route set resize@live --split 7=90%,8=10% --key /user/id
  umbel route set resize --rule 'input.country == \"DE\" => resize-rust' --rule 'size > 100000 => 6'
  umbel route set resize --file route.toml
  umbel route set resize --to 8             no rules and no split any more";

/// The arguments of `route set`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").required(true).multiple(true)
    .args(["rule", "split", "to", "file"]))]
pub(super) struct Args {
    /// NAME@ALIAS; NAME alone is NAME@live. An alias that there is not is made
    alias: String,
    /// A rule; may be repeated, the first that matches decides
    #[arg(long, value_name = "EXPR => TARGET", value_parser = rule)]
    rule: Vec<v1::Rule>,
    /// Arms with their weights, which add up to 100 %
    #[arg(long, value_name = "TARGET=P%,...", value_parser = split)]
    split: Option<Arms>,
    /// What keeps an owner of inputs on one arm: a JSON pointer into the input, or label:NAME
    #[arg(long, value_name = "/POINTER|label:NAME", requires = "split", value_parser = key)]
    key: Option<String>,
    /// The version for what rules and split leave open [default: the one with most of the split,
    /// else as before]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    to: Option<u32>,
    /// All of it from a file (see config/route.toml)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rule", "split", "key", "to"])]
    file: Option<PathBuf>,
    /// Deal everybody out anew, under another salt
    #[arg(long)]
    reshuffle: bool,
}

/// The arms of a split.
#[derive(Clone, Debug)]
struct Arms(Vec<v1::Arm>);

/// Reads `EXPR => TARGET`.
fn rule(text: &str) -> Result<v1::Rule, String> {
    let form = || {
        format!("{text:?} is no rule; write EXPR => TARGET, such as 'input.country == \"DE\" => 8'")
    };
    let (when, target) = text.rsplit_once("=>").ok_or_else(form)?;
    let (when, target) = (when.trim(), target.trim());
    if when.is_empty() || target.is_empty() {
        return Err(form());
    }
    Ok(v1::Rule {
        when: when.to_owned(),
        target: target.to_owned(),
        name: String::new(),
    })
}

/// Reads a JSON pointer, or `label:NAME`.
pub(in crate::command) fn key(text: &str) -> Result<String, String> {
    if !text.starts_with("label:") {
        let pointer = umbel_route::Pointer::parse(text);
        pointer
            .map_err(|problem| format!("{problem}; or write label:NAME for a label of the job"))?;
    }
    Ok(text.to_owned())
}

/// Reads `7=90%,8=10%`.
fn split(text: &str) -> Result<Arms, String> {
    let arms = text.split(',').map(|arm| {
        let form = || {
            format!("{arm:?} is no arm; write TARGET=P%, such as 8=10%, and commas between arms")
        };
        let (target, share) = arm.trim().split_once('=').ok_or_else(form)?;
        let weight = weight(share.trim()).ok_or_else(form)?;
        if target.is_empty() {
            return Err(form());
        }
        Ok(v1::Arm {
            target: target.trim().to_owned(),
            weight,
            name: String::new(),
            buckets: Vec::new(),
        })
    });
    arms.collect::<Result<_, String>>().map(Arms)
}

/// Sets it, and shows what is there now.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let (route, version, source) = match &args.file {
        Some(path) => {
            let (route, to) = file::read(path)?;
            (route, to, Source::File)
        }
        None => {
            let split = args.split.map(|Arms(arms)| v1::Split {
                key: args.key.unwrap_or_default(),
                arms,
                salt: String::new(),
            });
            let rules = args.rule;
            let route = v1::Route { rules, split };
            (route, args.to.unwrap_or(0), Source::Flags)
        }
    };
    check(&route, source)?;
    let (function, alias) = parts(&args.alias);
    let request = v1::SetRouteRequest {
        function: function.to_owned(),
        alias: alias.to_owned(),
        route: Some(route),
        version,
        reshuffle: args.reshuffle,
        by: who(),
    };
    let client = Client::connect(&global.coordinator)?;
    let alias = client.set_route(request).await?;
    show::print(&alias, None, global)
}

/// Where a route was written.
#[derive(Clone, Copy, Debug)]
enum Source {
    Flags,
    File,
}

/// What would be refused is named by the flag, or by the place in the file.
fn check(route: &v1::Route, source: Source) -> Result<(), Exit> {
    for (number, rule) in (1..).zip(&route.rules) {
        umbel_route::check(&rule.when).map_err(|mistake| {
            let (line, column) = (mistake.line, mistake.column);
            let shown = rule
                .when
                .lines()
                .nth(line.saturating_sub(1))
                .unwrap_or_default();
            let shown = shown.trim_end();
            let caret = format!("{}^", " ".repeat(column.saturating_sub(1)));
            let what = match source {
                Source::Flags => "--rule",
                Source::File => "[[rule]]",
            };
            let message = mistake.message;
            let at = format!("{what} {number}, line {line}, column {column}");
            Exit::usage(format!("{at}: {message}\n  {shown}\n  {caret}"))
        })?;
    }
    let Some(split) = &route.split else {
        return Ok(());
    };
    let what = match source {
        Source::Flags => "--split",
        Source::File => "[[arm]]",
    };
    let sum: u32 = split.arms.iter().map(|arm| arm.weight).sum();
    if sum != u32::from(umbel_core::route::BUCKETS) {
        let sum = percent(sum);
        return Err(Exit::usage(format!(
            "{what}: the weights add up to {sum}, and not to 100%"
        )));
    }
    if !split.key.is_empty() && !split.key.starts_with("label:") {
        let pointer = umbel_route::Pointer::parse(&split.key);
        pointer.map_err(|problem| Exit::usage(format!("key: {problem}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_splits_are_read_as_they_are_written() {
        let one = rule("input.a == \"=>\" => resize-rust@live").unwrap();
        assert_eq!(one.when, "input.a == \"=>\"");
        assert_eq!(one.target, "resize-rust@live");
        let Arms(arms) = split("7=89.5%, @canary=10.5%").unwrap();
        assert_eq!((arms[0].weight, arms[1].weight), (8_950, 1_050));
        assert_eq!(arms[1].target, "@canary");
        for wrong in ["true", "=> 7", "true =>"] {
            assert!(rule(wrong).unwrap_err().contains("is no rule"), "{wrong}");
        }
        for wrong in ["7", "7=90", "=10%", "7=90%,", "7=-1%", "7=101%", "7=1.234%"] {
            assert!(split(wrong).unwrap_err().contains("is no arm"), "{wrong}");
        }
    }
}
