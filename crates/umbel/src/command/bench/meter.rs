//! What a cluster uses between two moments: time, CPU, memory, disk, turns and commits.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::metrics::{Histogram, Metrics};
use super::usage;
use crate::exit::Exit;
use crate::local::LocalCluster;
use crate::process::{Process, directory_bytes};

/// One run of a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Run {
    /// What it found, what matters most first.
    pub(super) figures: Vec<Figure>,
    /// What each process used.
    pub(super) processes: Vec<ProcessUse>,
    /// Turns of the coordinator's engine.
    pub(super) turn_seconds: Histogram,
    /// Commits of its store.
    pub(super) commit_seconds: Histogram,
    /// The first thing that was not as it must be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) wrong: Option<String>,
}

impl Run {
    /// Adds a figure.
    pub(super) fn push(&mut self, name: &str, value: f64) {
        self.figures.push(Figure::new(name, value));
    }

    /// Adds a figure ahead of all others.
    pub(super) fn lead(&mut self, name: &str, value: f64) {
        self.figures.insert(0, Figure::new(name, value));
    }
}

/// What one process used, as the system counts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ProcessUse {
    pub(super) process: String,
    /// User and system time while it was measured.
    pub(super) cpu_seconds: f64,
    /// The most memory that it ever held; absent where the kernel does not tell.
    pub(super) memory_peak_bytes: Option<u64>,
}

/// A reading of everything, before.
#[derive(Debug)]
pub(super) struct Meter {
    cpu: Vec<Duration>,
    disk_bytes: u64,
    metrics: Metrics,
    begun: Instant,
}

impl Meter {
    /// Reads everything, and starts the clock last.
    pub(super) async fn start(cluster: &LocalCluster) -> Result<Self, Exit> {
        Ok(Self {
            metrics: Metrics::read(&cluster.url).await?,
            disk_bytes: directory_bytes(&cluster.data()),
            cpu: cpu(cluster)?,
            begun: Instant::now(),
        })
    }

    /// Stops the clock and reads everything again. `count` things were done, each `what`: their
    /// cost is told by the piece.
    pub(super) async fn stop(
        self,
        cluster: &LocalCluster,
        count: u64,
        what: &str,
    ) -> Result<(Duration, Run), Exit> {
        let elapsed = self.begun.elapsed();
        let used: Vec<Duration> = cpu(cluster)?
            .iter()
            .zip(&self.cpu)
            .map(|(after, before)| after.saturating_sub(*before))
            .collect();
        let metrics = Metrics::read(&cluster.url).await?.since(&self.metrics);
        let disk_bytes = directory_bytes(&cluster.data()).saturating_sub(self.disk_bytes);
        let mut run = Run {
            processes: processes(cluster, &used),
            turn_seconds: metrics.turns,
            commit_seconds: metrics.commits,
            ..Run::default()
        };
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        let (coordinator, client) = (used[0], used[1]);
        let workers = used[2..].iter().sum::<Duration>();
        run.push(&format!("{what}_cpu_us"), each(used.iter().sum()));
        run.push(&format!("{what}_coordinator_cpu_us"), each(coordinator));
        run.push(&format!("{what}_workers_cpu_us"), each(workers));
        run.push(&format!("{what}_client_cpu_us"), each(client));
        let peak = |process: &ProcessUse| process.memory_peak_bytes;
        if let Some(bytes) = run.processes.first().and_then(peak) {
            run.push("coordinator_memory_peak_bytes", bytes as f64);
        }
        if let Some(bytes) = run.processes.iter().skip(2).filter_map(peak).max() {
            run.push("worker_memory_peak_bytes", bytes as f64);
        }
        let disk_each = disk_bytes as f64 / count.max(1) as f64;
        run.push(&format!("{what}_disk_bytes"), disk_each);
        Ok((elapsed, run))
    }
}

fn processes(cluster: &LocalCluster, used: &[Duration]) -> Vec<ProcessUse> {
    let names = ["coordinator".to_owned(), "client".to_owned()];
    let names = names.into_iter().chain(
        cluster
            .workers
            .iter()
            .map(|worker| worker.what().to_owned()),
    );
    let ids = [cluster.coordinator.id(), Some(std::process::id())];
    let ids = ids
        .into_iter()
        .chain(cluster.workers.iter().map(Process::id));
    names
        .zip(ids)
        .zip(used)
        .map(|((process, id), used)| ProcessUse {
            process,
            cpu_seconds: used.as_secs_f64(),
            memory_peak_bytes: id.and_then(usage::memory_peak),
        })
        .collect()
}

/// CPU time so far of the coordinator, of this client, and of each worker; they must all be alive.
fn cpu(cluster: &LocalCluster) -> Result<Vec<Duration>, Exit> {
    let of = |process: &Process| {
        let used = process.id().and_then(usage::cpu);
        used.ok_or_else(|| Exit::internal(format!("the {} is gone", process.what())))
    };
    let own = usage::cpu(std::process::id());
    let own = own.ok_or_else(|| Exit::internal("/proc tells nothing of this process"))?;
    let mut all = vec![of(&cluster.coordinator)?, own];
    for worker in &cluster.workers {
        all.push(of(worker)?);
    }
    Ok(all)
}
