//! One warm process, and the endpoint that it speaks to.
//!
//! An instance has an asynchronous runtime of its own, which runs on the slot's thread while that
//! waits for the process, and stands still otherwise: there is no thread to hand work to and back
//! from, and a process that has nothing to do costs nothing.

use std::future::pending;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::{Builder, Runtime};

use super::Lambda;
use super::endpoint::Endpoint;
use super::exchange::{Answer, Exchange, Invocation};
use super::headers::{deadline_ms, request_id, trace_id};
use super::pool::Seat;
use super::report::init_failure;
use crate::context::Context;
use crate::failure::{Failure, FailureKind};
use crate::process::{self, End, Process, Streams};
use crate::tail::Tail;

/// How long an ended process's last words may take to come through the loopback.
const LAST_WORDS_MAX: Duration = Duration::from_millis(50);
/// How often the log is read where it must not hold up anything else.
const LOG_READS_MAX: usize = 64;

/// Why an instance is waited for no longer.
#[derive(Debug)]
pub(super) enum Stop {
    Exited,
    Cancelled,
    TimedOut,
}

/// A process with its endpoint, its log and its scratch directory. Dropped, it takes all of them
/// with it.
#[derive(Debug)]
pub(super) struct Instance {
    exchange: Arc<Exchange>,
    log: Log,
    /// None once it is reaped.
    process: Option<Process>,
    /// Whether it was killed, or cannot be trusted any more.
    spent: bool,
    /// CPU time of the process that is in the account of an attempt already.
    accounted_us: u64,
    /// CPU time of the process when it ended.
    ended_us: Option<u64>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    _scratch: TempDir,
    /// Last, so that it is free when all of the instance is gone.
    seat: Seat,
}

/// An output, and what was printed for it if that is to be kept.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) output: Vec<u8>,
    pub(super) log: Option<String>,
}

#[derive(Debug)]
struct Log {
    /// None once no process holds the other end.
    pipe: Option<Receiver>,
    tail: Tail,
}

impl Instance {
    /// Starts a process; it has not asked for anything yet.
    pub(super) fn start(
        lambda: &Lambda,
        seat: Seat,
        log_bytes_max: usize,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unavailable(&error))?;
        let entered = runtime.enter();
        let endpoint = Endpoint::bind().map_err(|error| unavailable(&error))?;
        let scratch = tempfile::Builder::new()
            .prefix("instance-")
            .tempdir_in(process::scratch_root())
            .map_err(|error| unavailable(&error))?;
        let (pipe, writer) = io::pipe().map_err(|error| unavailable(&error))?;
        // Both streams in one pipe, so that their order is kept.
        let stdout = writer.try_clone().map_err(|error| unavailable(&error))?;
        let command = lambda.command(endpoint.address(), scratch.path())?;
        let streams = Streams {
            stdin: None,
            stdout: stdout.into(),
            stderr: writer.into(),
        };
        let process = Process::spawn(&command, streams, lambda.bounds(), Some(scratch.path()))?;

        let pipe = Receiver::from_owned_fd(pipe.into()).map_err(|error| unavailable(&error))?;
        let exchange = Arc::new(Exchange::new());
        runtime.spawn(endpoint.serve(Arc::clone(&exchange), lambda.arn()));
        drop(entered);
        Ok(Self {
            exchange,
            log: Log {
                pipe: Some(pipe),
                tail: Tail::new(log_bytes_max),
            },
            process: Some(process),
            spent: false,
            accounted_us: 0,
            ended_us: None,
            runtime: Some(runtime),
            _scratch: scratch,
            seat,
        })
    }

    /// Waits for a process that has just been started to ask for its first invocation.
    pub(super) fn init(&mut self, lambda: &Lambda, context: &Context<'_>) -> Result<(), Failure> {
        let started = Instant::now();
        let bounded = context.within(Some(lambda.init_timeout()));
        let first = |exchange: &Exchange| {
            let answer = exchange.take_answer();
            (answer.is_some() || exchange.is_parked()).then_some(answer)
        };
        let failure = match self.wait(&bounded, first) {
            Ok(None) => {
                self.seat.is_ready();
                return Ok(());
            }
            Ok(Some(Answer::InitError(report))) => {
                // What it printed came first, whichever of the two was heard first.
                self.log.read_rest();
                self.log.tail.append(report.stack().as_bytes());
                return Err(report.into_init_failure().with_log(self.printed()));
            }
            // Nothing else can be answered by who was given nothing.
            Ok(Some(_)) => init_failure("the process answered before it asked for an invocation"),
            Err(Stop::Exited) => self.ended(|end| {
                init_failure(format!(
                    "the process ended before it asked for its first invocation: {end}"
                ))
            }),
            Err(Stop::TimedOut) if bounded.deadline == context.deadline => Failure::new(
                FailureKind::Timeout,
                "Timeout",
                format!(
                    "the instance was still starting when the timeout of {} ms had passed",
                    context.timeout_ms(started)
                ),
            ),
            Err(Stop::TimedOut) => init_failure(format!(
                "the process did not ask for its first invocation within {} ms (init_timeout_ms); it was killed",
                lambda.init_timeout().as_millis()
            )),
            Err(stop) => self.stopped(stop, started, context),
        };
        Err(failure.with_last_lines(self.printed()))
    }

    /// Waits for a process that has answered to ask for the next invocation. Without success it
    /// is of no more use, which is nobody's failure.
    pub(super) fn await_asking(&mut self, lambda: &Lambda, context: &Context<'_>) -> bool {
        let bounded = context.within(Some(lambda.init_timeout()));
        let parked = self.wait(&bounded, |exchange| exchange.is_parked().then_some(()));
        // What it printed between two invocations belongs to neither.
        self.log.read_rest();
        self.log.tail.clear();
        parked.is_ok()
    }

    /// Runs one input. `Ok(None)` says that the process was gone before it could take it.
    pub(super) fn invoke(
        &mut self,
        input: &[u8],
        context: &Context<'_>,
    ) -> Result<Option<Answered>, Failure> {
        let started = Instant::now();
        let invocation = Invocation {
            id: request_id(context),
            deadline_ms: deadline_ms(context.deadline),
            trace_id: trace_id(),
            input: Bytes::copy_from_slice(input),
            output_bytes_max: context.limits.output_bytes_max,
        };
        if self.exchange.hand_over(invocation).is_err() {
            self.spent = true;
            return Ok(None);
        }
        let answer = self.wait(context, Exchange::take_answer);
        self.log.read_rest();
        let failure = match answer {
            Ok(Answer::Output(output)) => {
                let log = context.limits.keep_log.then(|| self.log.tail.take_text());
                self.log.tail.clear();
                return Ok(Some(Answered { output, log }));
            }
            Ok(Answer::Error(report)) => {
                self.log.tail.append(report.stack().as_bytes());
                return Err(report.into_failure().with_log(self.printed()));
            }
            Ok(Answer::OutputTooLarge) => {
                Failure::output_too_large(context.limits.output_bytes_max)
            }
            Ok(Answer::Abandoned | Answer::InitError(_)) => {
                self.spent = true;
                Failure::new(
                    FailureKind::Crashed,
                    "NoAnswer",
                    "the process asked for its next invocation and had not answered this one",
                )
            }
            Err(Stop::Exited) => self.ended(|end| {
                Failure::new(
                    FailureKind::Crashed,
                    "Exit",
                    format!("the process ended and had not answered: {end}"),
                )
            }),
            Err(stop) => self.stopped(stop, started, context),
        };
        Err(failure.with_last_lines(self.printed()))
    }

    /// Whether the process can take another invocation. Never waits.
    pub(super) fn is_usable(&self) -> bool {
        !self.spent && self.process.as_ref().is_some_and(|it| !it.has_ended())
    }

    /// CPU time that the process has used since this was last asked; none where it is not known.
    pub(super) fn take_cpu_us(&mut self) -> Option<u64> {
        let running = self.process.as_ref().and_then(Process::cpu_us);
        let used = running.or(self.ended_us)?;
        let since = used.saturating_sub(self.accounted_us);
        self.accounted_us = used;
        Some(since)
    }

    /// What the process has printed since its last invocation.
    fn printed(&mut self) -> String {
        self.log.read_rest();
        self.log.tail.take_text()
    }

    fn stopped(&mut self, stop: Stop, started: Instant, context: &Context<'_>) -> Failure {
        self.spent = true;
        // At once, and not only when the caller comes to drop it: the attempt is over.
        if let Some(process) = &self.process {
            process.kill();
        }
        match stop {
            Stop::Cancelled => Failure::cancelled(),
            Stop::TimedOut => Failure::new(
                FailureKind::Timeout,
                "Timeout",
                format!(
                    "the function outran its timeout, and its instance was killed after {} ms",
                    context.timeout_ms(started)
                ),
            ),
            Stop::Exited => Failure::new(FailureKind::Crashed, "Exit", "the process ended"),
        }
    }

    /// The failure of a process that ended by itself, which is `in_words` unless the worker
    /// had to end it.
    fn ended(&mut self, in_words: impl FnOnce(&str) -> Failure) -> Failure {
        let end: Option<io::Result<End>> = self.process.take().map(Process::reap);
        self.ended_us = end.as_ref().and_then(|end| end.as_ref().ok()?.cpu_us);
        match end {
            Some(Ok(end)) => end.failure().unwrap_or_else(|| in_words(&end.in_words())),
            Some(Err(error)) => in_words(&format!("its status is not known: {error}")),
            None => in_words("it was seen before"),
        }
    }

    /// Runs the endpoint on this thread until `ready` has something to say or there is no point
    /// in waiting any more.
    fn wait<T>(
        &mut self,
        context: &Context<'_>,
        ready: impl Fn(&Exchange) -> Option<T>,
    ) -> Result<T, Stop> {
        let (Some(runtime), Some(process)) = (&self.runtime, &self.process) else {
            return Err(Stop::Exited);
        };
        let (exchange, log) = (&self.exchange, &mut self.log);
        runtime.block_on(async {
            loop {
                if let Some(ready) = ready(exchange) {
                    return Ok(ready);
                }
                if context.cancel.is_set() {
                    return Err(Stop::Cancelled);
                }
                if context.deadline.is_some_and(|at| Instant::now() >= at) {
                    return Err(Stop::TimedOut);
                }
                // Its connection and its log close with it, so that this is soon known.
                if process.has_ended() {
                    return last_words(exchange, ready).await.ok_or(Stop::Exited);
                }
                tokio::select! {
                    biased;
                    () = exchange.changed() => {}
                    () = log.readable() => log.read(),
                    () = tokio::time::sleep(context.pause()) => {}
                }
            }
        })
    }
}

/// What an ended process has sent may still be on its way here.
async fn last_words<T>(exchange: &Exchange, ready: impl Fn(&Exchange) -> Option<T>) -> Option<T> {
    let until = Instant::now() + LAST_WORDS_MAX;
    loop {
        // A pause, so that the runtime looks at its sockets.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Some(ready) = ready(exchange) {
            return Some(ready);
        }
        if exchange.connections() == 0 || Instant::now() >= until {
            return None;
        }
    }
}

impl Log {
    async fn readable(&self) {
        match &self.pipe {
            // What is wrong with the pipe, reading it will tell.
            Some(pipe) => drop(pipe.readable().await),
            None => pending().await,
        }
    }

    /// Reads what the runtime knows to be there.
    fn read(&mut self) {
        self.read_by(|pipe, tail| tail.fill(|bytes| pipe.try_read_buf(bytes)));
    }

    /// Reads all that is there, known or not. What was printed before the process said something
    /// is never missed.
    fn read_rest(&mut self) {
        self.read_by(|pipe, tail| Ok(tail.read_from(pipe.as_fd())?));
    }

    /// Never waits.
    fn read_by(&mut self, read: impl Fn(&Receiver, &mut Tail) -> io::Result<usize>) {
        for _ in 0..LOG_READS_MAX {
            let Some(pipe) = &self.pipe else { return };
            match read(pipe, &mut self.tail) {
                Ok(0) => self.pipe = None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// The worker had not what an instance needs; another moment or another worker may do.
fn unavailable(error: &io::Error) -> Failure {
    Failure::new(
        FailureKind::Crashed,
        "SpawnFailed",
        format!("no instance could be started: {error}"),
    )
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Its connections end with it, and the process is killed by its own drop. Not waited for:
        // an asynchronous caller may be the one that drops the last instance.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
