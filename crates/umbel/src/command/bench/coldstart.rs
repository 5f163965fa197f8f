//! `umbel bench coldstart`: the first call of a function, against its next ones.

use super::bed::Bed;
use super::figure::percentile;
use super::from_1_to;
use super::functions::{self, Runtime};
use super::invoke::call_seen;
use super::meter::Run;
use super::published::{self, OWN, OwnArgs, publish_each};
use crate::exit::Exit;
use crate::output::count;

/// Warm calls for each cold one.
const WARM_CALLS: u32 = 20;

pub(super) const HELP: &str = "\
Each cold start is the first call of a function of its own: start of the process, its init, and
the call itself, as a client sees it through the coordinator. The warm calls are the next ones of
the same processes; the worker's own word on which was which is checked. `wasm` is loaded from its compiled form on the disk, which was made before; it
is left out of builds without that feature.

Examples:
  umbel bench coldstart --runtime python --n 20
  umbel bench coldstart --function ./resize/ --input '{\"width\": 4000, \"height\": 3000, \"box\": 640}'";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Cold starts of each runtime
    #[arg(long, default_value_t = 20, value_parser = from_1_to(300))]
    pub(super) n: u32,
    /// A runtime; may be repeated [default: all but exec]
    #[arg(long = "runtime", value_name = "RUNTIME", value_enum)]
    pub(super) runtimes: Vec<Runtime>,
    #[command(flatten)]
    pub(super) own: OwnArgs,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "cold starts, {} of {}",
            count(self.n.into()),
            self.own.what()
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let runtimes = match (self.runtimes.as_slice(), &self.own.function) {
            (_, Some(_)) => Vec::new(),
            ([], None) => Runtime::present(&Runtime::COLD),
            (chosen, None) => Runtime::present(chosen),
        };
        // What a worker brings itself of WebAssembly is loaded when it starts, so that is published.
        let brought: Vec<_> = (runtimes.iter().copied())
            .filter(|runtime| *runtime != Runtime::Wasm)
            .collect();
        let config = functions::write(bed.cluster.directory(), &brought, self.n)?;
        bed.worker_of(&["--slots", "1", "--config", &config])
            .await?;
        let mut run = Run::default();
        for runtime in runtimes {
            let word = runtime.word();
            if runtime == Runtime::Wasm {
                let path = bed.cluster.directory().join(word).join("echo.wasm");
                // One more, which is compiled.
                publish_each(&bed.client, word, 0..self.n + 1, &path).await?;
                let compiled = runtime.function(self.n);
                call_seen(&bed.client, &compiled, "0".to_owned(), "0").await?;
            }
            let call = |calls: u32| (calls.to_string(), calls.to_string());
            self.starts(bed, &mut run, word, call).await?;
        }
        if let Some(path) = &self.own.function {
            publish_each(&bed.client, OWN, 0..self.n + 1, path).await?;
            let first = published::name(OWN, self.n);
            let expected = self.own.answer(&bed.client, &first).await?;
            let call = |_| (self.own.input(), expected.clone());
            self.starts(bed, &mut run, OWN, call).await?;
        }
        Ok(run)
    }

    /// Measures the functions of one word; `given` tells the input and the output of a call.
    async fn starts(
        &self,
        bed: &Bed,
        run: &mut Run,
        word: &str,
        given: impl Fn(u32) -> (String, String),
    ) -> Result<(), Exit> {
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for number in 0..self.n {
            let function = published::name(word, number);
            for calls in 0..=WARM_CALLS {
                let (input, output) = given(calls);
                let seen = call_seen(&bed.client, &function, input, &output);
                let (time, was_cold) = seen.await?;
                if was_cold != (calls == 0) {
                    let what = if was_cold { "cold" } else { "warm" };
                    return Err(Exit::failed(format!(
                        "the check failed: call {calls} of {function} was {what}"
                    )));
                }
                if was_cold { &mut cold } else { &mut warm }.push(time);
            }
        }
        cold.sort_unstable();
        warm.sort_unstable();
        for (name, times, hundredths) in [
            ("cold_p50_us", &cold, 50),
            ("cold_p95_us", &cold, 95),
            ("warm_p50_us", &warm, 50),
            ("warm_p99_us", &warm, 99),
        ] {
            let us = percentile(times, hundredths).as_secs_f64() * 1e6;
            run.push(&format!("{word}_{name}"), us);
        }
        Ok(())
    }
}
