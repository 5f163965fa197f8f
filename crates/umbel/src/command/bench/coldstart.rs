//! `umbel bench coldstart`: the first call of a function, against its next ones.

use super::bed::Bed;
use super::figure::percentile;
use super::from_1_to;
use super::functions::{self, Runtime};
use super::invoke::call;
use super::meter::Run;
use crate::exit::Exit;
use crate::output::count;

/// Warm calls for each cold one.
const WARM_CALLS: u32 = 20;

pub(super) const HELP: &str = "\
Each cold start is the first call of a function of its own: start of the process, its init, and
the call itself, as a client sees it through the coordinator. The warm calls are the next ones of
the same processes.

Example:
  umbel bench coldstart --runtime python --n 20";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Cold starts of each runtime
    #[arg(long, default_value_t = 20, value_parser = from_1_to(300))]
    pub(super) n: u32,
    /// A runtime; may be repeated [default: all that stay warm]
    #[arg(long = "runtime", value_name = "RUNTIME", value_enum)]
    pub(super) runtimes: Vec<Runtime>,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!("cold starts, {} of each runtime", count(self.n.into()))
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let chosen = match self.runtimes.as_slice() {
            [] => &Runtime::WARM[..],
            chosen => chosen,
        };
        let runtimes = Runtime::present(chosen);
        let config = functions::write(bed.cluster.directory(), &runtimes, self.n)?;
        let command = ["worker", "start", "--slots", "1", "--config", &config];
        bed.cluster.add_worker(&command).await?;
        let mut run = Run::default();
        for runtime in runtimes {
            let (mut cold, mut warm) = (Vec::new(), Vec::new());
            for number in 0..self.n {
                let function = runtime.function(number);
                cold.push(call(&bed.client, &function, "0".to_owned(), "0").await?);
                for calls in 1..=WARM_CALLS {
                    let input = calls.to_string();
                    warm.push(call(&bed.client, &function, input.clone(), &input).await?);
                }
            }
            cold.sort_unstable();
            warm.sort_unstable();
            let word = runtime.word();
            for (name, times, hundredths) in [
                ("cold_p50_us", &cold, 50),
                ("cold_p95_us", &cold, 95),
                ("warm_p50_us", &warm, 50),
                ("warm_p99_us", &warm, 99),
            ] {
                let us = percentile(times, hundredths).as_secs_f64() * 1e6;
                run.push(&format!("{word}_{name}"), us);
            }
        }
        Ok(run)
    }
}
