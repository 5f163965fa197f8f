//! What can be set about the coordinator's machine.

use crate::limit;

/// Times of the coordinator's machine, all in milliseconds, and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Silence after which a worker is lost.
    pub lease_timeout_ms: u64,
    /// How long a worker whose stream ended may take to return before it is lost.
    pub reconnect_grace_ms: u64,
    /// After a restart: how long leased work is held back for its worker.
    pub reclaim_ms: u64,
    /// How often a worker gives a sign of life.
    pub heartbeat_ms: u64,
    /// How long an unsealed job may go without an append before it is cancelled.
    pub upload_idle_timeout_ms: u64,
    /// How long a job that has ended is kept with its results; 0: until it is deleted.
    pub keep_ms: u64,
    /// Live bytes in the store above which ended jobs go, those that ended first before the
    /// others; 0: none go for room.
    pub keep_bytes: u64,
    /// Jobs that are kept at most, with the request ids that outlive theirs.
    pub jobs_max: usize,
    /// Live sessions at most.
    pub sessions_max: usize,
    /// Invokes that wait or run at a time.
    pub invokes_max: usize,
    /// Times that a job may be redriven.
    pub redrives_max: u32,
    /// Runs of consecutive indices that one redrive may run again.
    pub redrive_runs_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_timeout_ms: 10_000,
            reconnect_grace_ms: 1_000,
            reclaim_ms: 5_000,
            heartbeat_ms: 1_000,
            upload_idle_timeout_ms: 3_600_000,
            keep_ms: 0,
            keep_bytes: 0,
            jobs_max: limit::JOBS_MAX,
            sessions_max: limit::SESSIONS_MAX,
            invokes_max: limit::INVOKES_MAX,
            redrives_max: limit::REDRIVES_MAX,
            redrive_runs_max: limit::REDRIVE_RUNS_MAX,
        }
    }
}
