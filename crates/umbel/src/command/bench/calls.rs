//! `umbel bench calls`: warm calls a second of each runtime, in one job.

use super::bed::{Bed, verified, wrong};
use super::from_1_to;
use super::functions::{self, Runtime};
use super::meter::{Meter, Run};
use super::published::{self, OWN, OwnArgs, publish_each};
use crate::exit::Exit;
use crate::output::count;

/// Calls of a runtime before anything is measured, so that its processes stand.
const WARM_UP: u32 = 100;
/// A process for each invocation takes so much longer.
const EXEC_SHARE: u32 = 10;

pub(super) const HELP: &str = "\
One job of each runtime over one worker; the function gives its input back. `exec` gets a tenth of
the calls, since each is a process of its own. `wasm` is left out of builds without that feature.

Examples:
  umbel bench calls --runtime python --n 20000
  umbel bench calls --function ./resize/ --input '{\"width\": 4000, \"height\": 3000, \"box\": 640}'";

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
    #[command(flatten)]
    pub(super) own: OwnArgs,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "warm calls, {} of {}, {} slots",
            count(self.n.into()),
            self.own.what(),
            self.slots
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let runtimes = match (self.runtimes.as_slice(), &self.own.function) {
            (_, Some(_)) => Vec::new(),
            ([], None) => Runtime::present(&Runtime::ALL),
            (chosen, None) => Runtime::present(chosen),
        };
        let config = functions::write(bed.cluster.directory(), &runtimes, 1)?;
        let slots = self.slots.to_string();
        bed.worker_of(&["--slots", &slots, "--config", &config])
            .await?;
        let mut all = Run::default();
        for runtime in runtimes {
            let n = match runtime {
                Runtime::Exec => (self.n / EXEC_SHARE).max(1),
                _ => self.n,
            };
            let same = |index: u32| index.to_string();
            let (word, function) = (runtime.word(), runtime.function(0));
            rate(bed, &mut all, (word, &function), n, same, same).await?;
        }
        if let Some(path) = &self.own.function {
            publish_each(&bed.client, OWN, 0..1, path).await?;
            let function = published::name(OWN, 0);
            let expected = self.own.answer(&bed.client, &function).await?;
            let input = |_| self.own.input();
            let output = |_| expected.clone();
            rate(bed, &mut all, (OWN, &function), self.n, input, output).await?;
        }
        Ok(all)
    }
}

/// Measures one job, whose figures begin with the word.
async fn rate(
    bed: &Bed,
    all: &mut Run,
    (word, function): (&str, &str),
    n: u32,
    input: impl Fn(u32) -> String + Send + Copy,
    output: impl Fn(u32) -> String + Copy,
) -> Result<(), Exit> {
    verified(&bed.client, function, WARM_UP, input, output).await?;
    let meter = Meter::start(&bed.cluster).await?;
    let ended = verified(&bed.client, function, n, input, output).await?;
    let (elapsed, run) = meter.stop(&bed.cluster, n.into(), "call").await?;
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
    all.wrong = all.wrong.take().or_else(|| wrong(&ended));
    Ok(())
}
