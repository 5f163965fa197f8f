//! What a slot's thread invokes, whatever runs it.

use std::sync::Arc;
use std::time::Duration;

use crate::context::{CancelFlag, Context, Limits};
use crate::exec::{self, Program};
use crate::failure::Failure;
use crate::lambda::{self, Instances, Lambda};
use crate::native::{self, NativeFunction};
use crate::output::Output;

/// One function, ready to be invoked. A clone shares the function.
#[derive(Clone)]
pub enum Executable {
    /// A Rust function in this process.
    Native(Arc<dyn NativeFunction>),
    /// A program that is started for each invocation.
    Exec(Arc<Program>),
    /// A warm process that speaks the Lambda Runtime API.
    Lambda(Arc<Lambda>),
    /// A WebAssembly module, of which each invocation has a fresh instance.
    #[cfg(feature = "wasm")]
    Wasm(Arc<crate::wasm::Wasm>),
}

/// What came of one attempt.
#[derive(Debug)]
pub struct Execution {
    /// Success says that the output stands at the buffer's end; a failure left no bytes there.
    pub outcome: Result<(), Failure>,
    /// CPU time (user and system) of a program and the children that it waited for; of a warm
    /// process, what all its threads used from the hand-over to the answer, and to start if it was a
    /// cold start; of an instance of WebAssembly, its own. Always absent for a native function: the thread's CPU clock, read once
    /// for a chunk, is cheaper and no less true.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
    /// What an attempt that succeeded has printed (on stderr a program, on stdout too an
    /// instance), if [`Limits::keep_log`](crate::Limits) asks for it: its last
    /// `stderr_bytes_max` bytes. The log of one that failed is with its [`Failure`].
    pub log: Option<String>,
}

/// The parts of a cold start, in microseconds. A native function has none, and neither has a
/// program: that is started anew for each invocation, so there is nothing to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdStart {
    /// From the wish for an instance until its code is there: a running process, a loaded module.
    pub load_us: u64,
    /// From there until it could take its first input.
    pub init_us: u64,
    /// From there to the end of that first attempt.
    pub first_call_us: u64,
}

impl Execution {
    /// An attempt that failed before there was anything to measure.
    pub const fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            cpu_us: None,
            cold_start: None,
            log: None,
        }
    }
}

impl Executable {
    /// Runs one input to its end on this thread, appending its output to `outputs`.
    ///
    /// It blocks, so an asynchronous program calls it from a thread that may.
    #[inline]
    pub fn invoke(&self, input: &[u8], outputs: &mut Vec<u8>, context: &Context<'_>) -> Execution {
        match self {
            Self::Native(function) => {
                let mut output = Output::new(outputs, context.limits.output_bytes_max);
                let outcome = native::guarded(function.as_ref(), input, &mut output, context);
                Execution {
                    outcome: output.close(outcome),
                    cpu_us: None,
                    cold_start: None,
                    log: None,
                }
            }
            Self::Exec(program) => exec::run(program, input, outputs, context),
            Self::Lambda(lambda) => lambda::run(lambda, input, outputs, context),
            #[cfg(feature = "wasm")]
            Self::Wasm(wasm) => crate::wasm::run(wasm, input, outputs, context),
        }
    }
}

/// Instances that stand ready before there is work. What is no warm process has none: it is ready
/// once it is loaded.
impl Executable {
    /// Its instances share the bound of all.
    pub fn join(&self, all: &Arc<Instances>) {
        if let Self::Lambda(lambda) = self {
            lambda.join(all);
        }
    }

    /// So many instances are to stand ready, however long they have nothing to do.
    pub fn keep(&self, floor: usize) {
        if let Self::Lambda(lambda) = self {
            lambda.keep(floor);
        }
    }

    /// Starts instances until as many are there as are to be kept, or there is room for. It blocks
    /// as [`Self::invoke`] does.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn fill(&self, cancel: &CancelFlag, limits: Limits) -> Result<(), Failure> {
        let Self::Lambda(lambda) = self else {
            return Ok(());
        };
        lambda.fill(&Context {
            job_id: "",
            index: 0,
            attempt: 1,
            cancel,
            deadline: None,
            limits,
        })
    }

    /// How many inputs could be run at a time without a cold start; none: as many as there are.
    pub fn ready_count(&self) -> Option<usize> {
        match self {
            Self::Lambda(lambda) => Some(lambda.ready_count()),
            _ => None,
        }
    }

    /// It was loaded before anybody wanted it: no invocation has waited for that.
    pub fn loaded_ahead(&self) {
        #[cfg(feature = "wasm")]
        if let Self::Wasm(wasm) = self {
            wasm.loaded_ahead();
        }
    }
}

/// A length of time as it is reported.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Executable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Native(_) => f.write_str("Native"),
            Self::Exec(program) => f.debug_tuple("Exec").field(program).finish(),
            Self::Lambda(lambda) => f.debug_tuple("Lambda").field(lambda).finish(),
            #[cfg(feature = "wasm")]
            Self::Wasm(wasm) => f.debug_tuple("Wasm").field(wasm).finish(),
        }
    }
}
