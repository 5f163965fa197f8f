//! `umbel bench single`: jobs of one input, one after another, each durable.

use std::time::Instant;

use super::bed::{Bed, increments, wrong};
use super::from_1_to;
use super::invoke::lead_with_latencies;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

pub(super) const HELP: &str = "\
From the request that submits a job of one input to its verified result, with a durable acceptance
and a durable result in between: two syncs of the disk at the least.

Example:
  umbel bench single --n 300";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Jobs
    #[arg(long, default_value_t = 300, value_parser = from_1_to(100_000))]
    pub(super) n: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "job of one input, {} one after another",
            count(self.n.into())
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(1, 1).await?;
        let meter = Meter::start(&bed.cluster).await?;
        let mut times = Vec::with_capacity(self.n as usize);
        let mut first_wrong = None;
        for number in 0..self.n {
            let begun = Instant::now();
            let ended = increments(&bed.client, number, 1, false).await?;
            times.push(begun.elapsed());
            first_wrong = first_wrong.or_else(|| wrong(&ended));
        }
        let (_, mut run) = meter.stop(&bed.cluster, self.n.into(), "job").await?;
        lead_with_latencies(&mut run, times);
        run.wrong = first_wrong;
        Ok(run)
    }
}
