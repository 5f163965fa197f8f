//! Workers, functions and the cluster.

use std::collections::BTreeMap;

use serde::Serialize;
use umbel_client::v1;

use super::{runtime_word, shown};

/// A worker.
#[derive(Debug, Serialize)]
pub(crate) struct Worker<'a> {
    name: &'a str,
    state: &'static str,
    slots: u32,
    leases: u32,
    invocations: u64,
    labels: &'a BTreeMap<String, String>,
    functions: &'a [String],
    runtimes: Vec<&'static str>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<String>,
}

impl Worker<'_> {
    /// The word for a worker's state.
    pub(crate) const fn state(state: v1::WorkerState) -> &'static str {
        match state {
            v1::WorkerState::Ready => "ready",
            v1::WorkerState::Draining => "draining",
            v1::WorkerState::Away => "away",
            v1::WorkerState::Unspecified => "unknown",
        }
    }
}

impl<'a> From<&'a v1::Worker> for Worker<'a> {
    fn from(worker: &'a v1::Worker) -> Self {
        Self {
            name: &worker.name,
            state: Self::state(worker.state()),
            slots: worker.slots,
            leases: worker.leases,
            invocations: worker.invocations,
            labels: &worker.labels,
            functions: &worker.functions,
            runtimes: worker.runtimes().map(runtime_word).collect(),
            version: &worker.version,
            connected_at: shown(worker.connected_at.as_ref()),
        }
    }
}

/// Workers, by name.
#[derive(Debug, Serialize)]
pub(crate) struct Workers<'a> {
    workers: Vec<Worker<'a>>,
}

impl<'a> From<&'a [v1::Worker]> for Workers<'a> {
    fn from(workers: &'a [v1::Worker]) -> Self {
        Self {
            workers: workers.iter().map(Worker::from).collect(),
        }
    }
}

/// How the cluster stands.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    epoch: u32,
    workers: u32,
    slots: u32,
    slots_used: u32,
    jobs_running: u64,
    jobs_kept: u64,
    invocations_waiting: u64,
    invocations_leased: u64,
    live_bytes: u64,
    store_bytes_max: u64,
    disk_bytes: u64,
    disk_free_bytes: u64,
    data_dir: &'a str,
}

impl<'a> From<&'a v1::GetClusterStatusResponse> for Status<'a> {
    fn from(status: &'a v1::GetClusterStatusResponse) -> Self {
        Self {
            version: &status.version,
            started_at: shown(status.started_at.as_ref()),
            epoch: status.epoch,
            workers: status.workers,
            slots: status.slots,
            slots_used: status.slots_used,
            jobs_running: status.jobs_running,
            jobs_kept: status.jobs_kept,
            invocations_waiting: status.invocations_waiting,
            invocations_leased: status.invocations_leased,
            live_bytes: status.live_bytes,
            store_bytes_max: status.store_bytes_max,
            disk_bytes: status.disk_bytes,
            disk_free_bytes: status.disk_free_bytes,
            data_dir: &status.data_dir,
        }
    }
}
