//! Why a worker cannot start or go on.

/// Why a worker cannot start or go on. A coordinator that cannot be reached is no
/// such reason: the worker tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A function was not taken.
    #[error("{0}")]
    Function(String),
    /// The address is none.
    #[error("`{url}` is not the address of a coordinator ({reason}); write http://HOST:PORT")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is over its limit.
    #[error("{what}: {given} is over the limit of {limit}")]
    OverLimit {
        /// Which setting.
        what: &'static str,
        /// What was given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// The cache of artifacts cannot be used.
    #[error("the cache of artifacts cannot be used: {reason}; name another folder with --cache")]
    Cache {
        /// Why.
        reason: String,
    },
    /// The system gave no thread.
    #[error("cannot start a thread for {what}: {reason}")]
    Thread {
        /// What it is for.
        what: String,
        /// Why.
        reason: String,
    },
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {reason}")]
    Signals {
        /// Why.
        reason: String,
    },
    /// The coordinator will never take this worker.
    #[error("the coordinator at {url} refused this worker for good: {reason}")]
    Refused {
        /// The coordinator.
        url: String,
        /// Its words.
        reason: String,
    },
    /// The worker's own task ended unexpectedly.
    #[error("the worker's session ended unexpectedly: {reason}; this is a bug worth a report")]
    Broken {
        /// Why.
        reason: String,
    },
}
