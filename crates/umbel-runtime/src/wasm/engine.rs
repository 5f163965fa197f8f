//! The one engine of the process: its settings, and its sense of time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Runtime};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::context::PAUSE;

/// So many instances can run at a time. Room for each is reserved, which costs addresses and no
/// memory.
const INSTANCES_MAX: u32 = 256;
/// A component is made of several modules: so many on average, at most.
const MODULES_PER_INSTANCE: u32 = 8;

/// The engine, made when it is first asked for.
pub(super) fn engine() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let made = ENGINE.get_or_init(|| {
        // Where so many addresses are not to be had, memory is mapped for each instance anew.
        let engine = Engine::new(&config(true))
            .or_else(|_| Engine::new(&config(false)))
            .map_err(|error| format!("no engine for WebAssembly could be made: {error:#}"))?;
        let ticking = engine.clone();
        let ticker = thread::Builder::new()
            .name("umbel-epoch".to_owned())
            .spawn(move || tick(&ticking))
            .map_err(|error| format!("no thread for WebAssembly could be started: {error}"))?;
        let _only = TICKER.set(ticker.thread().clone());
        Ok(engine)
    });
    made.as_ref().map_err(Clone::clone)
}

fn config(pooled: bool) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(INSTANCES_MAX)
            .total_core_instances(INSTANCES_MAX * MODULES_PER_INSTANCE)
            .total_memories(INSTANCES_MAX * 2)
            .total_tables(INSTANCES_MAX * MODULES_PER_INSTANCE)
            .total_stacks(INSTANCES_MAX);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static TICKER: OnceLock<Thread> = OnceLock::new();

/// While one of these lives, code that runs looks up every 10 ms.
#[derive(Debug)]
pub(super) struct Ticking;

impl Ticking {
    pub(super) fn begin() -> Self {
        if RUNNING.fetch_add(1, Ordering::AcqRel) == 0
            && let Some(ticker) = TICKER.get()
        {
            ticker.unpark();
        }
        Self
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Moves the engine's time on, as long as anything runs.
fn tick(engine: &Engine) {
    loop {
        if RUNNING.load(Ordering::Acquire) == 0 {
            thread::park();
        } else {
            thread::sleep(PAUSE);
            engine.increment_epoch();
        }
    }
}

/// An asynchronous runtime for as long as one invocation takes; there are as many as run at a time.
#[derive(Debug)]
pub(super) struct Borrowed(Option<Runtime>);

static RUNTIMES: Mutex<Vec<Runtime>> = Mutex::new(Vec::new());

impl Borrowed {
    pub(super) fn take() -> std::io::Result<Self> {
        let kept = RUNTIMES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let runtime = match kept {
            Some(runtime) => runtime,
            None => Builder::new_current_thread().enable_time().build()?,
        };
        Ok(Self(Some(runtime)))
    }

    /// Runs it to its end on this thread; nothing if the runtime is gone, which it never is.
    pub(super) fn block_on<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.as_ref().map(|runtime| runtime.block_on(future))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut kept = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(self.0.take());
    }
}
