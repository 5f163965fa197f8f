//! Warm processes that speak the Lambda Runtime API, and the ready-made ones for Python and Node.

mod endpoint;
mod exchange;
mod headers;
mod instance;
mod instances;
mod pool;
mod ready_made;
mod report;

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::instance::{Answered, Instance};
pub use self::instances::Instances;
use self::pool::{Pool, Seat};
use self::ready_made::Bootstrap;
use crate::context::Context;
use crate::exec::{Program, ProgramError};
use crate::executable::{ColdStart, Execution, micros};
use crate::failure::{Failure, FailureKind};
use crate::process::Bounds;

/// What a process may take to ask for its first invocation, if nothing else was said.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an instance is kept that has nothing to do, if nothing else was said.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The executable of a folder, as Lambda has it.
pub(crate) const BOOTSTRAP: &str = "bootstrap";
/// Some clients read it without asking whether it is there.
const MEMORY_MB_TOLD: u64 = 1_024;

/// Why something is no function of this kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LambdaError {
    /// There is nothing at the path.
    #[error("`{path}` cannot be read: {source}; it names the function's folder or file")]
    Path {
        /// The path as it was given.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The path holds bytes that an environment or an argument of ours cannot.
    #[error("the path `{path}` is not UTF-8; move the function to one that is")]
    PathNotUtf8 {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A folder without its executable.
    #[error(
        "the folder `{folder}` holds no executable `{BOOTSTRAP}`; put one there (`chmod +x`), or name a command"
    )]
    NoBootstrap {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that cannot be started.
    #[error("`{path}` is not executable by this worker; `chmod +x` makes it so")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The handler is not of the form that languages agree on.
    #[error("`{handler}` is no handler; write MODULE.FUNCTION, such as app.handler")]
    BadHandler {
        /// The handler as it was given.
        handler: String,
    },
    /// The handler's module is not in the folder.
    #[error("there is no module `{module}` for the handler in `{folder}`; looked for {tried}")]
    NoModule {
        /// The module's name.
        module: String,
        /// The folder.
        folder: PathBuf,
        /// The files that would have done.
        tried: String,
    },
    /// The language's interpreter is not to be had.
    #[error("no `{interpreter}` on this worker: {why}")]
    NoInterpreter {
        /// The interpreter's name.
        interpreter: String,
        /// What was tried and what came of it.
        why: String,
    },
    /// The command or the environment cannot be.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// A function that is a warm process speaking the Lambda Runtime API of 2018-06-01.
///
/// Each slot that uses it at a time has an instance of its own, made when it is needed and kept
/// for the next invocation; what was idle for long is ended. An instance sees `PATH`, `HOME` and
/// `LANG` of the worker, the variables of Lambda, what was declared for it, and as `TMPDIR` a
/// directory of its own that is removed with it. What it prints is the log of its invocation; one
/// that has nothing to do is not listened to, and should not print.
#[derive(Debug)]
pub struct Lambda {
    program: Program,
    bootstrap: Option<Bootstrap>,
    name: String,
    arn: Arc<str>,
    handler: String,
    init_timeout: Duration,
    idle: Pool<Instance>,
}

impl Lambda {
    /// A command that speaks the API, such as `python3 -m awslambdaric app.handler`, with all
    /// that was said about its program. `handler` is what the process sees as `_HANDLER`.
    pub fn command_line(name: &str, program: Program, handler: &str) -> Self {
        Self::new(name, program, handler.to_owned(), None)
    }

    /// A folder with an executable named `bootstrap`, or such an executable itself.
    ///
    /// # Errors
    /// When there is none.
    pub fn folder(name: &str, path: &Path, handler: &str) -> Result<Self, LambdaError> {
        let path = existing(path)?;
        let (folder, executable) = if path.is_dir() {
            (path.clone(), path.join(BOOTSTRAP))
        } else {
            (ready_made::folder_of(&path), path.clone())
        };
        let program = Program::new([utf8(&executable)?])?.with_working_dir(&folder);
        if program.locate().is_err() {
            return Err(if path.is_dir() {
                LambdaError::NoBootstrap { folder }
            } else {
                LambdaError::NotExecutable { path }
            });
        }
        Ok(Self::new(name, program, handler.to_owned(), None))
    }

    /// A Python function: a folder and its handler, such as `app.handler`, or a file, whose
    /// handler is `handler` if none is named. Only the interpreter is needed.
    ///
    /// # Errors
    /// When there is no such module or no interpreter.
    pub fn python(name: &str, path: &Path, handler: Option<&str>) -> Result<Self, LambdaError> {
        ready_made::python(name, path, handler)
    }

    /// A Node function, as for [`Lambda::python`].
    ///
    /// # Errors
    /// When there is no such module or no interpreter.
    pub fn node(name: &str, path: &Path, handler: Option<&str>) -> Result<Self, LambdaError> {
        ready_made::node(name, path, handler)
    }

    fn new(name: &str, program: Program, handler: String, bootstrap: Option<Bootstrap>) -> Self {
        Self {
            program,
            bootstrap,
            name: name.to_owned(),
            arn: format!("arn:aws:lambda:local:000000000000:function:{name}").into(),
            handler,
            init_timeout: INIT_TIMEOUT,
            idle: Pool::new(IDLE_TIMEOUT),
        }
    }

    /// Declares a variable of the process's environment.
    ///
    /// # Errors
    /// When no environment can hold it.
    pub fn with_variable(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, LambdaError> {
        self.program = self.program.with_variable(name, value)?;
        Ok(self)
    }

    /// Bounds what each instance may take.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.program = self.program.with_bounds(bounds);
        self
    }

    /// Ends an attempt, and its instance, when one input takes so long; a cold start does not
    /// count.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.program = self.program.with_timeout(timeout);
        self
    }

    /// Gives a process so long to ask for its first invocation; 10 s if nothing is said.
    #[must_use]
    pub const fn with_init_timeout(mut self, init_timeout: Duration) -> Self {
        self.init_timeout = init_timeout;
        self
    }

    /// Ends an instance that had nothing to do for so long; 5 minutes if nothing is said.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle = Pool::new(idle_timeout);
        self
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn program(&self) -> &Program {
        &self.program
    }

    /// How many instances stand ready and have nothing to do.
    pub fn idle_count(&self) -> usize {
        self.idle.len()
    }

    /// How many instances have started and not ended.
    pub(crate) fn ready_count(&self) -> usize {
        self.idle.retain(Instance::is_usable);
        self.idle.ready_len()
    }

    /// Shares the bound of all instances.
    pub(crate) fn join(&self, all: &Arc<Instances>) {
        self.idle.join(all);
    }

    /// So many instances are to stand ready; [`Self::fill`] starts them.
    pub(crate) fn keep(&self, floor: usize) {
        self.idle.keep(floor);
    }

    /// Starts instances until as many are there as are to be kept, or there is room for.
    pub(crate) fn fill(&self, context: &Context<'_>) -> Result<(), Failure> {
        self.idle.retain(Instance::is_usable);
        while !context.cancel.is_set()
            && let Some(seat) = self.idle.seat_ahead()
        {
            let (fresh, _) = start(self, seat, context)?;
            self.idle.put(fresh);
        }
        Ok(())
    }

    fn arn(&self) -> Arc<str> {
        Arc::clone(&self.arn)
    }

    const fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    const fn bounds(&self) -> &Bounds {
        self.program.bounds()
    }

    /// What to start for one instance.
    fn command(&self, endpoint: SocketAddr, scratch: &Path) -> Result<Command, Failure> {
        let mut command = self.program.command_without_input()?;
        let memory = self.bounds().memory_bytes_max;
        if let Some(bootstrap) = &self.bootstrap {
            command.args(bootstrap.arguments(memory, scratch)?);
        }
        let memory_mb = memory.map_or(MEMORY_MB_TOLD, |bytes| bytes / (1024 * 1024));
        let defaults = [
            ("TMPDIR", scratch.display().to_string()),
            ("AWS_REGION", "local".to_owned()),
            ("AWS_DEFAULT_REGION", "local".to_owned()),
            ("AWS_EXECUTION_ENV", "umbel".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/umbel/{}", self.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", endpoint.port().to_string()),
        ];
        command.envs(
            defaults
                .into_iter()
                .filter(|(name, _)| !self.program.declares(name)),
        );
        command
            .env("AWS_LAMBDA_RUNTIME_API", endpoint.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("_HANDLER", &self.handler);
        // Without a folder of its own a program starts in the worker's.
        let folder = self.program.working_dir().map(Path::to_owned);
        if let Some(folder) = folder.or_else(|| env::current_dir().ok()) {
            command.env("LAMBDA_TASK_ROOT", folder);
        }
        Ok(command)
    }
}

/// Runs one input through an instance, on this thread.
pub(crate) fn run(
    lambda: &Lambda,
    input: &[u8],
    outputs: &mut Vec<u8>,
    context: &Context<'_>,
) -> Execution {
    let mut measured = Measured::default();
    let (outcome, log) = match answer_of(lambda, input, context, &mut measured) {
        Ok(Answered { output, log }) => {
            outputs.extend_from_slice(&output);
            (Ok(()), log)
        }
        Err(failure) => (Err(failure), None),
    };
    Execution {
        outcome,
        cpu_us: measured.cpu_us,
        cold_start: measured.cold_start,
        log,
    }
}

/// What became known of an attempt on the way, however it ends.
#[derive(Debug, Default)]
struct Measured {
    cpu_us: Option<u64>,
    cold_start: Option<ColdStart>,
}

fn answer_of(
    lambda: &Lambda,
    input: &[u8],
    context: &Context<'_>,
    measured: &mut Measured,
) -> Result<Answered, Failure> {
    context.check()?;
    // An instance that ended while nobody looked is none, and nobody's failure.
    while let Some(mut warm) = lambda.idle.take() {
        // What it did after its last answer is in no account.
        warm.take_cpu_us();
        if warm.await_asking(lambda, context)
            && let Some(answered) = attempt(lambda, warm, input, context, measured)?
        {
            return Ok(answered);
        }
        context.check()?;
    }
    let (fresh, cold) = start(lambda, lambda.idle.seat(), context)?;
    let ready = Instant::now();
    let answered = attempt(lambda, fresh, input, context, measured);
    measured.cold_start = Some(ColdStart {
        first_call_us: micros(ready.elapsed()),
        ..cold
    });
    answered?.ok_or_else(|| {
        Failure::new(
            FailureKind::Crashed,
            "NoAnswer",
            "the process asked for its first invocation and was gone before it could be given it",
        )
    })
}

fn start(
    lambda: &Lambda,
    seat: Seat,
    context: &Context<'_>,
) -> Result<(Instance, ColdStart), Failure> {
    let wished = Instant::now();
    let mut fresh = Instance::start(lambda, seat, context.limits.stderr_bytes_max)?;
    let spawned = Instant::now();
    fresh.init(lambda, context)?;
    let cold = ColdStart {
        load_us: micros(spawned - wished),
        init_us: micros(spawned.elapsed()),
        first_call_us: 0,
    };
    Ok((fresh, cold))
}

/// `Ok(None)` says that the instance was gone before it took the input.
fn attempt(
    lambda: &Lambda,
    mut instance: Instance,
    input: &[u8],
    context: &Context<'_>,
    measured: &mut Measured,
) -> Result<Option<Answered>, Failure> {
    let context = context.within(lambda.program.timeout());
    let outcome = instance.invoke(input, &context);
    measured.cpu_us = instance.take_cpu_us();
    // Its own failure says nothing against an instance; its end does.
    if instance.is_usable() {
        lambda.idle.put(instance);
    }
    outcome
}

/// The path without links and dots, so that it means the same in any working directory.
fn existing(path: &Path) -> Result<PathBuf, LambdaError> {
    fs::canonicalize(path).map_err(|source| LambdaError::Path {
        path: path.to_owned(),
        source,
    })
}

fn utf8(path: &Path) -> Result<&str, LambdaError> {
    path.to_str().ok_or_else(|| LambdaError::PathNotUtf8 {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
