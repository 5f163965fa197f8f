//! What can be set about a worker.

use std::thread::available_parallelism;
use std::time::Duration;

use umbel_core::function::Runtimes;
use umbel_core::id::WorkerId;
use umbel_core::limit;
use umbel_core::policy::Labels;
use umbel_runtime::{Catalog, Limits};
use uuid::Uuid;

use crate::error::Error;
use crate::handle::{self, Handle};
use crate::shelf::CacheConfig;

/// Instances for each slot, when it is not said how many in all.
const SLOT_INSTANCES: u32 = 4;

/// What can be set about a worker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the coordinator is, such as `http://127.0.0.1:7600`.
    pub coordinator: String,
    /// Its name, one of its own in the cluster; empty: `HOST-xxxx`.
    pub name: String,
    /// Invocations to run at a time; 0: as many as there are cores.
    pub slots: u32,
    /// What jobs can require of it.
    pub labels: Labels,
    /// The functions it has.
    pub catalog: Catalog,
    /// Whether it runs programs that a job brings.
    pub runs_programs: bool,
    /// What it can run of published functions; see [`crate::runtimes`].
    pub runtimes: Runtimes,
    /// Where their artifacts are kept; without it none is run.
    pub cache: Option<CacheConfig>,
    /// Instances of warm processes that there may be, of all functions together; 0: four for each
    /// slot, and never fewer than there are slots. For one that is needed an idle one ends.
    pub instances_max: u32,
    /// The bounds of an attempt.
    pub limits: Limits,
    /// How long a drain may take; none: as long as what runs.
    pub drain_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            coordinator: "http://127.0.0.1:7600".to_owned(),
            name: String::new(),
            slots: 0,
            labels: Labels::new(),
            catalog: Catalog::with_builtins(false),
            runs_programs: true,
            runtimes: Runtimes::NONE,
            cache: None,
            instances_max: 0,
            limits: Limits::DEFAULT,
            drain_timeout: None,
        }
    }
}

impl Config {
    /// Starts the worker: its slots stand ready, and it looks for its coordinator.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the settings do not hold, or the system gives no threads.
    pub fn start(self) -> Result<Handle, Error> {
        let worker = WorkerId(*Uuid::new_v4().as_bytes());
        handle::start(self.checked(worker)?, worker)
    }

    /// With what was left open chosen, and within the limits.
    pub(crate) fn checked(mut self, worker: WorkerId) -> Result<Self, Error> {
        if self.slots == 0 {
            let cores = available_parallelism().map_or(1, usize::from);
            let cores = u32::try_from(cores).unwrap_or(u32::MAX);
            self.slots = cores.min(limit::WORKER_SLOTS_MAX);
        }
        if self.instances_max == 0 {
            self.instances_max = self.slots.saturating_mul(SLOT_INSTANCES);
        }
        self.instances_max = self.instances_max.max(self.slots);
        if self.name.is_empty() {
            self.name = default_name(worker);
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), Error> {
        for (what, given, limit) in [
            (
                "slots",
                self.slots as usize,
                limit::WORKER_SLOTS_MAX as usize,
            ),
            (
                "the bytes of the name",
                self.name.len(),
                limit::NAME_BYTES_MAX,
            ),
            (
                "instances",
                self.instances_max as usize,
                limit::WORKER_INSTANCES_MAX as usize,
            ),
            ("labels", self.labels.len(), limit::LABELS_MAX),
            (
                "functions",
                self.catalog.names().count(),
                limit::WORKER_FUNCTIONS_MAX,
            ),
            (
                "the bytes of an output",
                self.limits.output_bytes_max,
                limit::OUTPUT_BYTES_MAX,
            ),
            (
                "the bytes of stderr kept",
                self.limits.stderr_bytes_max,
                limit::LOG_BYTES_MAX,
            ),
        ] {
            if given > limit {
                return Err(Error::OverLimit { what, given, limit });
            }
        }
        Ok(())
    }
}

/// `HOST-xxxx`: the host to be found by, the mark to tell its workers apart.
fn default_name(worker: WorkerId) -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let [a, b, ..] = worker.0;
    format!("{host}-{a:02x}{b:02x}")
}
