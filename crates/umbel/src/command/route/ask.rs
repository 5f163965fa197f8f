//! `umbel route explain` and `simulate`: what a route would say of inputs.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use umbel_client::{Client, v1};

use crate::command::function::alias::parts;
use crate::command::words::{distinct, label};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::input::{InputArgs, Inputs};
use crate::output::{self, Column, Explained, Simulated, Table};

/// Characters that are shown of an expression.
pub(super) const WHEN_WIDTH: usize = 60;
/// Characters that are shown of why something failed.
const FAILURE_WIDTH: usize = 200;

/// The arguments of `route explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing runs, and nothing is counted.

Examples:
  umbel route explain resize@live --input '{\"country\": \"DE\"}'
  umbel route explain resize --input '{\"user\": {\"id\": 42}}' --label env=test --output json")]
pub(super) struct ExplainArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// The input, or - to read it from stdin
    #[arg(long, value_name = "TEXT|-", allow_hyphen_values = true)]
    input: String,
    /// A label of the job that it would be of; may be repeated
    #[arg(long, value_name = "K=V", value_parser = label)]
    label: Vec<(String, String)>,
    /// Its index there, which decides where a split finds no key
    #[arg(long, value_name = "I", default_value_t = 0)]
    index: u64,
}

/// The arguments of `route simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing runs, and nothing is counted.

Examples:
  umbel route simulate resize@live --inputs users.jsonl
  umbel route simulate resize --inputs users.csv --format csv --label env=test")]
pub(super) struct SimulateArgs {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    #[command(flatten)]
    inputs: InputArgs,
    /// A label of the job that they would be of; may be repeated
    #[arg(long, value_name = "K=V", value_parser = label)]
    label: Vec<(String, String)>,
}

/// Explains an input.
pub(super) async fn explain(args: ExplainArgs, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let input = crate::command::invoke::input(Some(args.input)).await?;
    let request = v1::ExplainRouteRequest {
        function: function.to_owned(),
        alias: alias.to_owned(),
        input: input.into(),
        labels: distinct("--label", &args.label).map_err(Exit::usage)?,
        index: args.index,
    };
    let client = Client::connect(&global.coordinator)?;
    let explained = client.explain_route(request).await?;
    if global.output == OutputForm::Json {
        return output::document(&Explained::from(&explained));
    }
    for step in &explained.steps {
        print_step(step)?;
    }
    let arm = match explained.arm.as_str() {
        "" => String::new(),
        arm => format!(", arm {arm}"),
    };
    output::line(&format!(
        "runs {}@{}{arm}",
        explained.function, explained.version
    ))
}

fn print_step(step: &v1::RouteStep) -> Result<(), Exit> {
    output::line(&format!("{}@{}", step.function, step.alias))?;
    for (number, rule) in (1..).zip(&step.rules) {
        let said = match rule {
            _ if rule.matched => format!("matches => {}", step.target),
            rule if rule.failure.is_empty() => "does not match".to_owned(),
            rule => format!(
                "fails, so does not match: {}",
                output::one_line(&rule.failure, FAILURE_WIDTH)
            ),
        };
        let when = output::one_line(&rule.when, WHEN_WIDTH);
        output::line(&format!("  rule {number}  {when}: {said}"))?;
    }
    let Some(split) = &step.split else {
        if step.target.is_empty() {
            return output::line("  else    the version that the alias points at");
        }
        return Ok(());
    };
    let by = match &split.key {
        Some(key) => format!("key {key:?}"),
        None => format!(
            "not sticky, since {}",
            output::one_line(&split.not_sticky, FAILURE_WIDTH)
        ),
    };
    let (bucket, arm, target) = (split.bucket, &split.arm, &step.target);
    output::line(&format!(
        "  split   {by}: bucket {bucket} of 10000, arm {arm} => {target}"
    ))
}

/// Counts where inputs go.
pub(super) async fn simulate(args: SimulateArgs, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let simulation = v1::Simulation {
        function: function.to_owned(),
        alias: alias.to_owned(),
        labels: distinct("--label", &args.label).map_err(Exit::usage)?,
    };
    let inputs = match args.inputs.open()? {
        Inputs::Stream(inputs) => inputs,
        Inputs::Range(range) => {
            let numbers = range.map(|number| Ok(number.to_string().into()));
            futures::stream::iter(numbers).boxed()
        }
    };
    // A malformed row ends what is sent, and is what is told.
    let wrong = Arc::new(Mutex::new(None));
    let found = Arc::clone(&wrong);
    let inputs = inputs.scan((), move |(), input| {
        let input = input.map_err(|error| {
            let mut wrong = found.lock().unwrap_or_else(PoisonError::into_inner);
            *wrong = Some(error.to_string());
        });
        std::future::ready(input.ok())
    });
    let client = Client::connect(&global.coordinator)?;
    let simulated = client.simulate_route(simulation, inputs).await?;
    let wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(error) = wrong {
        return Err(Exit::usage(error));
    }
    if global.output == OutputForm::Json {
        return output::document(&Simulated::from(&simulated));
    }
    print_simulated(&simulated)
}

fn print_simulated(simulated: &v1::SimulateRouteResponse) -> Result<(), Exit> {
    let figures = simulated.figures.clone().unwrap_or_default();
    let mut table = Table::new([
        Column::text("ARM"),
        Column::text("RUNS"),
        Column::number("INPUTS"),
        Column::number("SHARE"),
    ]);
    for arm in &simulated.arms {
        let points = u128::from(arm.inputs) * 10_000 / u128::from(figures.inputs.max(1));
        let points = u32::try_from(points).unwrap_or(0);
        let name = match arm.arm.as_str() {
            "" => "-",
            name => name,
        };
        table.row([
            name.to_owned(),
            format!("{}@{}", arm.function, arm.version),
            arm.inputs.to_string(),
            format!("{}.{:02}%", points / 100, points % 100),
        ]);
    }
    table.print("no inputs")?;
    if figures.not_sticky > 0 {
        let count = figures.not_sticky;
        output::remark(&format!(
            "{count} inputs have no routing key and went by their index: not sticky"
        ));
    }
    if figures.rule_failures > 0 {
        let (count, last) = (
            figures.rule_failures,
            output::one_line(&figures.last_failure, FAILURE_WIDTH),
        );
        output::remark(&format!(
            "{count} times a rule could not be evaluated, and so did not match; the last: {last}"
        ));
    }
    Ok(())
}
