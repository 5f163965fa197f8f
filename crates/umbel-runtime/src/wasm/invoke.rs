//! One input through one fresh instance.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use wasmtime::{ResourceLimiter, Store, Trap};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

use super::engine::{Borrowed, Ticking};
use super::scratch::Scratch;
use super::stdio::Sink;
use super::{Code, HANDLE, Wasm, in_words};
use crate::clock::thread_cpu;
use crate::context::{Context, PAUSE};
use crate::executable::{ColdStart, Execution, micros};
use crate::failure::{Failure, FailureKind};

/// Elements of a table, which are references to functions and objects.
const TABLE_ELEMENTS_MAX: usize = 1_000_000;
/// What the private directory is called inside.
const SCRATCH: &str = "/tmp";

/// What an instance has while it lives.
pub(super) struct State {
    pub(super) wasi: WasiP1Ctx,
    memory: Memory,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// How much memory an instance may still take.
#[derive(Debug)]
struct Memory {
    bytes_left: usize,
    /// Whether more was asked for.
    refused: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let granted = more <= self.bytes_left;
        if granted {
            self.bytes_left -= more;
        } else {
            self.refused = true;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

/// How an instance ended by itself.
enum Answer {
    /// A command came to its end: what it printed is the output.
    Printed,
    /// `handle` answered.
    Output(Vec<u8>),
    /// It said that it failed: a type and a message.
    Failed(String, String),
}

/// The streams of one invocation, and its directory.
struct Surroundings {
    stdout: Sink,
    stderr: Sink,
    _scratch: Option<Scratch>,
}

/// Runs one input to its end on this thread.
pub(crate) fn run(
    wasm: &Wasm,
    input: &[u8],
    outputs: &mut Vec<u8>,
    context: &Context<'_>,
) -> Execution {
    let context = context.within(wasm.timeout);
    match attempt(wasm, input, outputs, &context) {
        Ok(execution) => execution,
        Err(failure) => Execution::failed(failure),
    }
}

fn attempt(
    wasm: &Wasm,
    input: &[u8],
    outputs: &mut Vec<u8>,
    context: &Context<'_>,
) -> Result<Execution, Failure> {
    context.check()?;
    let began = Instant::now();
    let cpu_before = thread_cpu();
    let input = Bytes::copy_from_slice(input);
    let (mut store, around) = store(wasm, &input, context)?;
    let runtime = Borrowed::take().map_err(|error| unavailable(&error))?;
    let ticking = Ticking::begin();
    let mut instantiated = began;
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            answer = call(&wasm.code, &mut store, input, &mut instantiated) => Ok(answer),
            stopped = stopped(began, context) => Err(stopped),
        }
    });
    drop(ticking);
    let refused_memory = store.data().memory.refused;
    // Its memory goes back to the pool, and its streams are closed.
    drop(store);
    let outcome = match ended {
        None => Err(unavailable(&"the runtime is gone")),
        Some(Err(stopped)) => Err(stopped),
        Some(Ok(answer)) => output_of(answer, refused_memory, wasm, &around, context),
    };
    let log = around.stderr.take_log();
    let load_us = wasm.load_us.swap(0, Ordering::Relaxed);
    let cold_start = (load_us > 0).then(|| ColdStart {
        load_us,
        init_us: micros(instantiated - began),
        first_call_us: micros(instantiated.elapsed()),
    });
    let (outcome, log) = match outcome {
        Ok(output) => {
            outputs.extend_from_slice(&output);
            (Ok(()), context.limits.keep_log.then_some(log))
        }
        Err(mut failure) => {
            // What was printed says why; the stack comes below it, and not into the message.
            let stack = std::mem::take(&mut failure.log);
            let mut failure = failure.with_last_lines(log);
            failure.log.push_str(&stack);
            (Err(failure), None)
        }
    };
    Ok(Execution {
        outcome,
        // All of it has run on this thread.
        cpu_us: Some(micros(thread_cpu().saturating_sub(cpu_before))),
        cold_start,
        log,
    })
}

/// What the instance will find around it: its input, what was declared, and nothing of the machine.
fn store(
    wasm: &Wasm,
    input: &Bytes,
    context: &Context<'_>,
) -> Result<(Store<State>, Surroundings), Failure> {
    let engine = super::engine::engine().map_err(|error| unavailable(&error))?;
    let stdout = Sink::output(context.limits.output_bytes_max);
    let stderr = Sink::log(context.limits.stderr_bytes_max);
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&wasm.arguments)
        .envs(&wasm.environment)
        .env("UMBEL_JOB_ID", context.job_id)
        .env("UMBEL_INDEX", context.index.to_string())
        .env("UMBEL_ATTEMPT", context.attempt.to_string())
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        // Or a sleep would hold the thread, and its timeout, up.
        .allow_blocking_current_thread(false);
    if !matches!(wasm.code, Code::Handle(_)) {
        wasi.stdin(MemoryInputPipe::new(input.clone()));
    }
    let scratch = if wasm.opens_files {
        let scratch = Scratch::new().map_err(|error| unavailable(&error))?;
        wasi.preopened_dir(scratch.path(), SCRATCH, FsPerms::ReadWrite)
            .map_err(|error| unavailable(&error))?;
        Some(scratch)
    } else {
        None
    };
    let state = State {
        wasi: wasi.build_p1(),
        memory: Memory {
            bytes_left: wasm.memory_bytes_max,
            refused: false,
        },
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    // At each look up it lets the deadline have its say.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let around = Surroundings {
        stdout,
        stderr,
        _scratch: scratch,
    };
    Ok((store, around))
}

async fn call(
    code: &Code,
    store: &mut Store<State>,
    input: Bytes,
    instantiated: &mut Instant,
) -> wasmtime::Result<Answer> {
    match code {
        Code::Command(module) => {
            let instance = module.instantiate_async(&mut *store).await?;
            *instantiated = Instant::now();
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(&mut *store, ()).await?;
            Ok(Answer::Printed)
        }
        Code::CommandComponent(command) => {
            let command = command.instantiate_async(&mut *store).await?;
            *instantiated = Instant::now();
            Ok(match command.wasi_cli_run().call_run(&mut *store).await? {
                Ok(()) => Answer::Printed,
                Err(()) => Answer::Failed(
                    "ExitCode".to_owned(),
                    "the command said that it failed".to_owned(),
                ),
            })
        }
        Code::Handle(component) => {
            type Handled = Result<Vec<u8>, (String, String)>;
            let instance = component.instantiate_async(&mut *store).await?;
            *instantiated = Instant::now();
            let handle = instance.get_typed_func::<(Vec<u8>,), (Handled,)>(&mut *store, HANDLE)?;
            let (handled,) = handle.call_async(&mut *store, (input.to_vec(),)).await?;
            Ok(match handled {
                Ok(output) => Answer::Output(output),
                Err((error_type, message)) => Answer::Failed(error_type, message),
            })
        }
    }
}

/// Waits until nobody waits for the answer any more.
async fn stopped(began: Instant, context: &Context<'_>) -> Failure {
    loop {
        if context.cancel.is_set() {
            return Failure::cancelled();
        }
        if context.deadline.is_some_and(|at| Instant::now() >= at) {
            return Failure::new(
                FailureKind::Timeout,
                "Timeout",
                format!(
                    "the function outran its timeout and was ended after {} ms",
                    context.timeout_ms(began)
                ),
            );
        }
        tokio::select! {
            () = tokio::time::sleep(context.pause().min(PAUSE)) => {}
            () = pending() => {}
        }
    }
}

fn output_of(
    answer: wasmtime::Result<Answer>,
    refused_memory: bool,
    wasm: &Wasm,
    around: &Surroundings,
    context: &Context<'_>,
) -> Result<Vec<u8>, Failure> {
    let output_bytes_max = context.limits.output_bytes_max;
    if around.stdout.is_over() {
        return Err(Failure::output_too_large(output_bytes_max));
    }
    let output = match answer {
        Ok(Answer::Printed) => around.stdout.take_output(),
        Ok(Answer::Output(output)) => output,
        Ok(Answer::Failed(error_type, message)) => {
            return Err(Failure::function(error_type, message));
        }
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => around.stdout.take_output(),
            _ => return Err(failure_of(&error, refused_memory, wasm)),
        },
    };
    if output.len() > output_bytes_max {
        return Err(Failure::output_too_large(output_bytes_max));
    }
    Ok(output)
}

fn failure_of(error: &wasmtime::Error, refused_memory: bool, wasm: &Wasm) -> Failure {
    // A program that is given no more memory ends itself in whatever way it likes.
    if refused_memory {
        let mebibytes = wasm.memory_bytes_max / (1024 * 1024);
        return Failure::new(
            FailureKind::Crashed,
            "OutOfMemory",
            format!("the function wanted more than its {mebibytes} MiB of memory (memory_mb)"),
        );
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return Failure::function("ExitCode", format!("exit status: {code}"));
    }
    match error.downcast_ref::<Trap>() {
        // Its text has the instance's own stack below.
        Some(trap) => Failure::new(FailureKind::Crashed, "Trap", trap.to_string())
            .with_log(format!("{error:?}\n")),
        None => Failure::new(FailureKind::Crashed, "Trap", in_words(error)),
    }
}

/// The worker had not what an instance needs; another moment or another worker may do.
fn unavailable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        FailureKind::Crashed,
        "SpawnFailed",
        format!("no instance could be started: {error}"),
    )
}
