//! `umbel bench jobs`: many small jobs of many clients.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use umbel_client::Client;

use super::bed::{Bed, increments, wrong};
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

pub(super) const HELP: &str = "\
Each client has a connection of its own and submits its share of the jobs, so many at a time; each
job's results are followed, read and verified. The rate counts jobs from the first request to the
last result.

Example:
  umbel bench jobs --n 10000 --inputs 100 --clients 16";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Jobs
    #[arg(long, default_value_t = 10_000, value_parser = from_1_to(1_000_000))]
    pub(super) n: u32,
    /// Inputs of each job
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = from_1_to(1_000))]
    pub(super) inputs: u32,
    /// Clients
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_1_to(1_000))]
    pub(super) clients: u32,
    /// Jobs that one client has under way at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_1_to(1_000))]
    pub(super) at_once: u32,
    /// Worker processes of one slot
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    pub(super) workers: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "{} jobs of {} by {} clients, {} at once",
            count(self.n.into()),
            count(self.inputs.into()),
            self.clients,
            self.at_once
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(self.workers, 1).await?;
        let clients: Result<Vec<Client>, _> = (0..self.clients)
            .map(|_| Client::connect(&bed.cluster.url))
            .collect();
        let clients = clients?;
        let meter = Meter::start(&bed.cluster).await?;
        let each = clients
            .iter()
            .zip(0..)
            .map(|(client, number)| self.share(client, number));
        let wrongs: Vec<Option<String>> = futures::future::try_join_all(each).await?;
        let (elapsed, mut run) = meter.stop(&bed.cluster, self.n.into(), "job").await?;
        let rate = f64::from(self.n) / elapsed.as_secs_f64();
        run.lead("jobs_per_second", rate);
        run.wrong = wrongs.into_iter().flatten().next();
        Ok(run)
    }

    /// The jobs of one client: every so manieth of all.
    async fn share(&self, client: &Client, number: u32) -> Result<Option<String>, Exit> {
        let jobs = (number..self.n).step_by(self.clients as usize);
        stream::iter(jobs)
            .map(|job| increments(client, job, self.inputs, false))
            .buffer_unordered(self.at_once as usize)
            .try_fold(None, |first: Option<String>, ended| async move {
                Ok(first.or_else(|| wrong(&ended)))
            })
            .await
    }
}
