//! A coordinator on a simulated host: the real services and engine, over a disk in memory that
//! is slow by chance and keeps a part of what it had not promised when the host dies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use umbel_coordinator::{Config, Coordinator, Opener};
use umbel_store::{Engine, Listener, MemoryEngine, Settings};

use crate::dice::Dice;
use crate::trace::Trace;
use crate::wire;

/// How often the engine turns, and the disk commits.
const TURN: Duration = Duration::from_millis(20);
const UNDURABLE_BYTES_MAX: usize = 4 << 20;

/// What outlives a coordinator's process.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    disk: Arc<Mutex<Option<Arc<MemoryEngine>>>>,
    dice: Arc<Mutex<Dice>>,
    trace: Trace,
    lease_timeout_ms: u64,
}

impl Machine {
    pub(crate) fn new(dice: Dice, trace: Trace, lease_timeout_ms: u64) -> Self {
        Self {
            disk: Arc::default(),
            dice: Arc::new(Mutex::new(dice)),
            trace,
            lease_timeout_ms,
        }
    }

    fn roll(&self, below: u64) -> u64 {
        self.dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .below(below)
    }

    /// What the last process has left of the disk; an empty one at first.
    fn disk_after_a_crash(&self, listener: Arc<dyn Listener>) -> Arc<dyn Engine> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match disk.take() {
            None => MemoryEngine::new(UNDURABLE_BYTES_MAX, listener),
            Some(last) => {
                let survivors = usize::try_from(self.roll(4)).unwrap_or(0);
                last.crash(survivors, listener)
            }
        };
        disk.insert(Arc::new(next)).clone()
    }

    /// One process, from its start until its host dies.
    pub(crate) async fn run(self) -> turmoil::Result {
        let connections = wire::listen().await?;
        let mut config = Config::new("/simulated");
        config.insecure = true;
        config.machine.lease_timeout_ms = self.lease_timeout_ms;
        let machine = self.clone();
        let opener = Opener::engine(Settings::new("/simulated"), move |listener| {
            Ok(machine.disk_after_a_crash(listener))
        });
        let assembled = Coordinator::assemble(&config, &opener, connections, wall_ms);
        let (_serving, mut turns) = assembled.await?;
        let disk = self.disk.lock().map(|disk| disk.clone());
        let disk = disk.ok().flatten().ok_or("the disk is gone")?;
        self.trace.note("coordinator started");
        while turns.step() {
            tokio::time::sleep(TURN).await;
            // Most of the time it keeps up; now and then it stalls for some turns.
            if self.roll(4) != 0 {
                disk.commit(usize::try_from(1 + self.roll(16)).unwrap_or(1));
            }
        }
        Err("the engine ended".into())
    }
}

fn wall_ms() -> u64 {
    let since = turmoil::since_epoch().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
