//! `umbel rollout watch`.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use umbel_client::{Client, v1};

use super::show;
use crate::command::function::alias::parts;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Rollout, count};
use crate::signal::Signals;

/// How often figures are shown that change nothing.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Follows the rollout to its end.
pub(super) async fn run(text: &str, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(text);
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let mut states = pin!(client.watch_rollout(function, alias));
    let mut last: Option<v1::Rollout> = None;
    let mut shown = (String::new(), Instant::now());
    loop {
        let state = tokio::select! {
            state = states.try_next() => state?,
            () = signals.next() => {
                return Err(Exit::interrupted(format!(
                    "the rollout goes on; come back with: umbel rollout watch {text}"
                )));
            }
        };
        let Some(rollout) = state else { break };
        if global.output == OutputForm::Json {
            output::document(&Rollout::from(&rollout))?;
        } else {
            remark(&rollout, &mut shown);
        }
        last = Some(rollout);
    }
    let Some(rollout) = last else {
        return Err(Exit::refused(
            "the coordinator told no state of the rollout",
        ));
    };
    if global.output == OutputForm::Table {
        show::print(&rollout, global)?;
    }
    if rollout.state() == v1::RolloutState::RolledBack {
        let (version, why) = (rollout.to_version, rollout.why);
        return Err(Exit::failed(format!(
            "version {version} was rolled back: {why}"
        )));
    }
    Ok(())
}

/// A line on stderr when something has changed, and every few seconds.
fn remark(rollout: &v1::Rollout, (text, at): &mut (String, Instant)) {
    let standing = show::standing(rollout);
    if *text == standing && at.elapsed() < LINE_EVERY {
        return;
    }
    let arms = rollout.candidate.iter().chain(&rollout.baseline);
    let arms: Vec<String> = arms
        .map(|arm| {
            let (ended, failed) = (count(arm.ended), count(arm.failed));
            format!("{}: {ended} ended, {failed} failed", arm.name)
        })
        .collect();
    output::remark(&format!("{standing}; {}", arms.join("; ")));
    (*text, *at) = (standing, Instant::now());
}
