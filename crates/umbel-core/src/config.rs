//! What an operator can set about the coordinator's machine.

/// Times of the coordinator's machine, all in milliseconds.
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_timeout_ms: 10_000,
            reconnect_grace_ms: 1_000,
            reclaim_ms: 5_000,
            heartbeat_ms: 1_000,
            upload_idle_timeout_ms: 3_600_000,
        }
    }
}
