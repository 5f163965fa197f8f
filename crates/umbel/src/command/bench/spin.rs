//! `umbel bench spin`: short invocations that use the CPU, and how much of the slots they get.

use umbel_core::limit;

use super::bed::{Bed, verified, wrong};
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

const FUNCTION: &str = "umbel.spin";

pub(super) const HELP: &str = "\
Each invocation uses so much CPU of its worker. The wall efficiency is the ideal time (all of it
by the number of slots) by the time taken; the CPU efficiency is the CPU of the invocations by
that of all processes, which other programs on the machine disturb less.

Example:
  umbel bench spin --n 10000 --us 1000 --workers 2";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Invocations
    #[arg(long, default_value_t = 10_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    pub(super) n: u32,
    /// CPU of each invocation, in microseconds
    #[arg(long, value_name = "US", default_value_t = 1_000, value_parser = from_1_to(60_000_000))]
    pub(super) us: u32,
    /// Worker processes of one slot
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    pub(super) workers: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "{} µs of CPU, {} times, {} slots",
            count(self.us.into()),
            count(self.n.into()),
            self.workers
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(self.workers, 1).await?;
        let meter = Meter::start(&bed.cluster).await?;
        let us = self.us.to_string();
        let ended = verified(
            &bed.client,
            FUNCTION,
            self.n,
            |_| us.clone(),
            |_| us.clone(),
        )
        .await?;
        let (elapsed, mut run) = meter
            .stop(&bed.cluster, self.n.into(), "invocation")
            .await?;
        let work = f64::from(self.n) * f64::from(self.us) / 1e6;
        let used: f64 = run
            .processes
            .iter()
            .map(|process| process.cpu_seconds)
            .sum();
        let ideal = work / f64::from(self.workers);
        run.lead("cpu_efficiency", work / used);
        run.lead("wall_efficiency", ideal / elapsed.as_secs_f64());
        run.wrong = wrong(&ended);
        Ok(run)
    }
}
