//! `umbel rollout shadow` and `umbel rollout differences`.

use futures::{StreamExt as _, pin_mut};
use umbel_client::{Client, v1};

use crate::capsule::{Failure, Outcome, Verdict};
use crate::command::function::alias::parts;
use crate::command::function::who;
use crate::command::words::{percent, weight};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Shadow, ShadowDifference, Table, count, failure_kind, time};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Of every job that is submitted over the alias from now on, a sample of the inputs runs on the other
version too: as a job of its own, behind all others, with the policy of the first but for its
tolerance. What comes of it is compared and never returned; outputs that are JSON are compared by what
they say. `umbel invoke` is not copied. Without --to, shows where copies go and what came of them.

Only a version marked `pure = true` in its umbel.toml may run copies: of another, what it does besides
its output would happen twice.

Examples:
  umbel rollout shadow resize@live --to 8 --sample 5%
  umbel rollout shadow resize@live
  umbel rollout differences resize@live
  umbel rollout shadow resize@live --stop";

/// The arguments of `rollout shadow`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// The version that runs the copies
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "stop")]
    to: Option<u32>,
    /// How many of the inputs are copied
    #[arg(long, value_name = "P%", default_value = "5%", value_parser = sample, requires = "to")]
    sample: u32,
    /// Also where the version is not marked pure
    #[arg(long, requires = "to")]
    force: bool,
    /// Copy nothing more; what was copied runs to its end
    #[arg(long)]
    stop: bool,
}

const LIST_EXAMPLES: &str = "\
Both outcomes are kept as results: the first of the job, the second of the job of its copies.

Examples:
  umbel rollout differences resize@live
  umbel rollout differences resize --job crawl --limit 1000 --output json
  umbel job capsule crawl 17 > case.capsule    an input that comes out otherwise, to run at the desk";

/// The arguments of `rollout differences`.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct Differences {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// Only of this job: its id, its name, or `last` [default: the latest 100 that were copied]
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// How many are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Reads a part that is more than nothing.
fn sample(text: &str) -> Result<u32, String> {
    let sample = weight(text).filter(|sample| *sample > 0);
    sample.ok_or_else(|| {
        format!("{text:?} is no part; write a percentage from 0.01% to 100%, such as 5%")
    })
}

/// Starts, stops or shows a shadow.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let client = Client::connect(&global.coordinator)?;
    if args.stop {
        client.stop_shadow(function, alias).await?;
        output::remark(&format!("nothing more is copied from {function}@{alias}"));
        return Ok(());
    }
    if let Some(to_version) = args.to {
        let request = v1::StartShadowRequest {
            function: function.to_owned(),
            alias: alias.to_owned(),
            to_version,
            sample: args.sample,
            force: args.force,
            by: who(),
        };
        client.start_shadow(request).await?;
    }
    let found = client.shadow(function, alias).await?;
    if global.output == OutputForm::Json {
        return output::document(&Shadow::from(&found));
    }
    let standing = found.shadow.as_ref().map_or_else(
        || format!("nothing is copied from {function}@{alias} now"),
        |shadow| {
            format!(
                "shadow    {function}@{alias}: {} of the inputs also on version {}\nsince     {} by {}",
                percent(shadow.sample),
                shadow.to_version,
                time(shadow.since.as_ref()),
                shadow.by
            )
        },
    );
    output::line(&standing)?;
    output::line("")?;
    jobs(&found).print("no job was submitted over it since")?;
    if found.cut {
        output::remark("some older jobs were not looked at: they have too many copies");
    }
    Ok(())
}

fn jobs(found: &v1::GetShadowResponse) -> Table<5> {
    let mut table = Table::new([
        Column::text("JOB"),
        Column::number("VERSION"),
        Column::number("COPIES"),
        Column::number("COMPARED"),
        Column::number("DIFFERENT"),
    ]);
    for job in &found.jobs {
        table.row([
            job.job_id.clone(),
            job.to_version.to_string(),
            count(job.copied),
            count(job.compared),
            count(job.different),
        ]);
    }
    table
}

/// Lists what came out otherwise.
pub(super) async fn differences(args: Differences, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let request = v1::ListShadowDifferencesRequest {
        function: function.to_owned(),
        alias: alias.to_owned(),
        job_id: args.job.unwrap_or_default(),
    };
    let found = client.shadow_differences(request).await?;
    pin_mut!(found);
    let mut out = output::Out::new();
    let (mut shown, mut more) = (0, false);
    loop {
        let next = tokio::select! {
            next = found.next() => next,
            () = signals.next() => return Err(Exit::interrupted("")),
        };
        let Some(next) = next else { break };
        let one = next?;
        if shown == args.limit {
            more = true;
            break;
        }
        shown += 1;
        show(&mut out, &one, global.output)?;
    }
    out.flush()?;
    if shown == 0 {
        output::remark(&format!(
            "nothing that was compared of {function}@{alias} came out otherwise"
        ));
    }
    if more {
        output::remark(&format!("there are more: --limit {}", args.limit * 10));
    }
    Ok(())
}

fn show(out: &mut output::Out, one: &v1::ShadowDifference, form: OutputForm) -> Result<(), Exit> {
    let outcome = ended(one.output.as_ref(), one.failure.as_ref());
    let shadow = ended(one.shadow_output.as_ref(), one.shadow_failure.as_ref());
    let difference = Verdict::of(&outcome, &shadow).difference;
    if form == OutputForm::Json {
        return out.object(&ShadowDifference {
            job_id: &one.job_id,
            index: one.index,
            shadow_job_id: &one.shadow_job_id,
            shadow_index: one.shadow_index,
            outcome: outcome.words(),
            shadow: shadow.words(),
            difference,
        });
    }
    let head = format!(
        "input {} of {}, copy {} of {}:",
        one.index, one.job_id, one.shadow_index, one.shadow_job_id
    );
    out.bytes(format!("{head}\n{}\n", difference.trim_end()).as_bytes())
}

fn ended(output: Option<&bytes::Bytes>, failure: Option<&v1::Failure>) -> Outcome {
    match (output, failure) {
        (_, Some(failure)) => Outcome::Failed(Failure {
            kind: failure_kind(failure.kind()).to_owned(),
            type_: failure.r#type.clone(),
            message: failure.message.clone(),
        }),
        (output, None) => Outcome::Succeeded(output.cloned().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_percentage_above_nothing() {
        assert_eq!(sample("5%"), Ok(500));
        assert_eq!(sample("0.01%"), Ok(1));
        for wrong in ["0%", "5", "101%", "x"] {
            assert!(sample(wrong).unwrap_err().contains("such as 5%"), "{wrong}");
        }
    }
}
