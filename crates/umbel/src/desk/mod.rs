//! Functions run here, with no coordinator: the same runtime, one input at a time.

pub(crate) mod case;
pub(crate) mod judge;
pub(crate) mod junit;
pub(crate) mod update;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use umbel_runtime::{CancelFlag, Context, Executable, Execution, Limits};

use crate::command::supervisor;
use crate::exit::Exit;
use crate::manifest::{Source, Unpacked};
use crate::output::duration_us;
use crate::signal::Signals;

/// What a function sees as the id of its job.
const JOB_ID: &str = "desk";

/// A function that is ready to be run.
#[derive(Debug)]
pub(crate) struct Desk {
    name: String,
    executable: Executable,
    /// Its code lies there as long.
    _unpacked: Option<Unpacked>,
}

/// Which attempt of which invocation a function is told that it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) job_id: String,
    pub(crate) index: u64,
    /// From 1.
    pub(crate) attempt: u32,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
}

/// What came of one input.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Empty if it failed.
    pub(crate) output: Vec<u8>,
    pub(crate) execution: Execution,
    pub(crate) duration: Duration,
}

impl Desk {
    /// Makes the function ready. From here on nothing that it starts outlives this process.
    pub(crate) fn open(source: &Source) -> Result<Self, Exit> {
        let spec = source.manifest.spec()?;
        let executable = spec
            .executable(Some(&source.code))
            .map_err(|error| Exit::usage(format!("function `{}`: {error}", spec.name)))?;
        let mut desk = Self::of(&spec.name, executable)?;
        desk._unpacked.clone_from(&source.unpacked);
        Ok(desk)
    }

    /// A function that is ready already.
    pub(crate) fn of(name: &str, executable: Executable) -> Result<Self, Exit> {
        supervisor::install()?;
        Ok(Self {
            name: name.to_owned(),
            executable,
            _unpacked: None,
        })
    }

    /// The function's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs one input to its end, or cancels it when a signal comes.
    pub(crate) async fn run(
        &self,
        index: u64,
        input: Bytes,
        signals: &mut Signals,
    ) -> Result<Attempt, Exit> {
        let place = Place {
            job_id: JOB_ID.to_owned(),
            index,
            attempt: 1,
            timeout: None,
        };
        self.run_at(place, input, signals).await
    }

    /// The same, as a given attempt of a given invocation.
    pub(crate) async fn run_at(
        &self,
        place: Place,
        input: Bytes,
        signals: &mut Signals,
    ) -> Result<Attempt, Exit> {
        let cancel = Arc::new(CancelFlag::new());
        let (executable, flag) = (self.executable.clone(), Arc::clone(&cancel));
        let mut running =
            tokio::task::spawn_blocking(move || attempt(&executable, &place, &input, &flag));
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = signals.next() => {
                cancel.set();
                // What it started is killed before this process leaves.
                let _cancelled = running.await;
                return Err(Exit::interrupted(""));
            }
        };
        ended.map_err(|error| Exit::internal(format!("the attempt broke off: {error}")))
    }
}

fn attempt(executable: &Executable, place: &Place, input: &[u8], cancel: &CancelFlag) -> Attempt {
    let began = Instant::now();
    let context = Context {
        job_id: &place.job_id,
        index: place.index,
        attempt: place.attempt,
        cancel,
        deadline: place.timeout.and_then(|timeout| began.checked_add(timeout)),
        limits: Limits {
            keep_log: true,
            ..Limits::DEFAULT
        },
    };
    let mut output = Vec::new();
    let execution = executable.invoke(input, &mut output, &context);
    Attempt {
        output,
        execution,
        duration: began.elapsed(),
    }
}

impl Attempt {
    /// The last of what the function printed, however it ended.
    pub(crate) fn log(&self) -> &str {
        match &self.execution.outcome {
            Ok(()) => self.execution.log.as_deref().unwrap_or_default(),
            Err(failure) => &failure.log,
        }
    }

    /// How long it took, in words.
    pub(crate) fn times(&self) -> String {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let took = duration_us(us(self.duration));
        match self.execution.cold_start {
            None => took,
            Some(cold) => format!(
                "{took}; cold start: load {}, init {}, first call {}",
                duration_us(cold.load_us),
                duration_us(cold.init_us),
                duration_us(cold.first_call_us)
            ),
        }
    }
}
