//! `umbel bench calls`: warm calls a second of each runtime, in one job.

use super::bed::{Bed, verified, wrong};
use super::from_1_to;
use super::functions::{self, Runtime};
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

/// Calls of a runtime before anything is measured, so that its processes stand.
const WARM_UP: u32 = 100;
/// A process for each invocation takes so much longer.
const EXEC_SHARE: u32 = 10;

pub(super) const HELP: &str = "\
One job of each runtime over one worker; the function gives its input back. `exec` gets a tenth of
the calls, since each is a process of its own.

Example:
  umbel bench calls --runtime python --n 20000";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Calls of each runtime
    #[arg(long, default_value_t = 20_000, value_parser = from_1_to(10_000_000))]
    pub(super) n: u32,
    /// Slots of the worker
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    pub(super) slots: u32,
    /// A runtime; may be repeated [default: all]
    #[arg(long = "runtime", value_name = "RUNTIME", value_enum)]
    pub(super) runtimes: Vec<Runtime>,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "warm calls, {} of each runtime, {} slots",
            count(self.n.into()),
            self.slots
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let chosen = match self.runtimes.as_slice() {
            [] => &Runtime::ALL[..],
            chosen => chosen,
        };
        let runtimes = Runtime::present(chosen);
        let config = functions::write(bed.cluster.directory(), &runtimes, 1)?;
        let slots = self.slots.to_string();
        let command = ["worker", "start", "--slots", &slots, "--config", &config];
        bed.cluster.add_worker(&command).await?;
        let mut all = Run::default();
        for runtime in runtimes {
            let n = match runtime {
                Runtime::Exec => (self.n / EXEC_SHARE).max(1),
                _ => self.n,
            };
            let function = runtime.function(0);
            let input = |index: u32| index.to_string();
            verified(&bed.client, &function, WARM_UP, input, input).await?;
            let meter = Meter::start(&bed.cluster).await?;
            let ended = verified(&bed.client, &function, n, input, input).await?;
            let (elapsed, run) = meter.stop(&bed.cluster, n.into(), "call").await?;
            let word = runtime.word();
            let rate = f64::from(n) / elapsed.as_secs_f64();
            all.push(&format!("{word}_calls_per_second"), rate);
            // Programs are the worker's children: what has ended of them counts with it.
            let cpu = run
                .figures
                .iter()
                .find(|figure| figure.name == "call_cpu_us");
            if let Some(cpu) = cpu {
                all.push(&format!("{word}_umbel_cpu_us"), cpu.value);
            }
            all.processes = run.processes;
            all.wrong = all.wrong.or_else(|| wrong(&ended));
        }
        Ok(all)
    }
}
