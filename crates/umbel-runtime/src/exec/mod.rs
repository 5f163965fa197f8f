//! Programs: one is started for each invocation, and attended to until nothing of it is left.

mod pipes;
mod program;
mod words;

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Instant;

use rustix::io::Errno;
use tempfile::TempDir;

pub use program::{Program, ProgramError};
pub(crate) use program::{check_variable, is_executable};

use self::pipes::Pipes;
use crate::context::Context;
use crate::executable::Execution;
use crate::failure::{Failure, FailureKind};
use crate::process::{self, Process, unattended};

/// Why a program is attended to no longer.
enum End {
    Exited,
    Cancelled,
    TimedOut,
    TooLarge,
    Broken(Errno),
}

/// Runs one input through the program, on this thread, to the end of the program.
///
/// All that it started is killed when the attempt is cancelled, outruns its deadline or prints too
/// much, and also when the program has ended: what it left in the background does not outlive its
/// invocation, and cannot hold its answer back.
pub(crate) fn run(
    program: &Program,
    input: &[u8],
    outputs: &mut Vec<u8>,
    context: &Context<'_>,
) -> Execution {
    let context = context.within(program.timeout());
    run_measured(program, input, outputs, &context).unwrap_or_else(Execution::failed)
}

fn run_measured(
    program: &Program,
    input: &[u8],
    outputs: &mut Vec<u8>,
    context: &Context<'_>,
) -> Result<Execution, Failure> {
    context.check()?;
    let started = Instant::now();
    let mut command = program.command(input, context)?;
    // Removed with the invocation, when this function is left.
    let scratch = scratch(program, &mut command)?;
    let stdin: &[u8] = if program.input_in_arguments() {
        &[]
    } else {
        input
    };
    let (mut pipes, streams) =
        Pipes::new(stdin, outputs, context.limits).map_err(|error| unattended(&error))?;
    let process = Process::spawn(
        &command,
        streams,
        program.bounds(),
        scratch.as_ref().map(TempDir::path),
    )?;

    let end = attend(&process, &mut pipes, context);
    if matches!(end, End::Exited) {
        pipes.drain();
    } else {
        process.kill();
    }
    let ended = match process.reap() {
        Ok(ended) => ended,
        Err(error) => {
            let log = pipes.drop_output();
            return Err(unattended(&error).with_log(log));
        }
    };

    let failure = match end {
        End::Exited if pipes.is_too_large() => Some(too_large(context)),
        End::Exited if ended.status.success() => None,
        End::Exited => Some(ended_badly(&ended)),
        End::Cancelled => Some(Failure::cancelled()),
        End::TimedOut => Some(timed_out(started, context)),
        End::TooLarge => Some(too_large(context)),
        End::Broken(error) => Some(unattended(&error.into())),
    };
    let (outcome, log) = match failure {
        None => (Ok(()), pipes.keep_output()),
        Some(failure) => (Err(failure.with_last_lines(pipes.drop_output())), None),
    };
    Ok(Execution {
        outcome,
        cpu_us: ended.cpu_us,
        cold_start: None,
        log,
    })
}

/// A directory of the invocation's own for what is temporary.
fn scratch(program: &Program, command: &mut Command) -> Result<Option<TempDir>, Failure> {
    if program.declares("TMPDIR") {
        return Ok(None);
    }
    let scratch = tempfile::Builder::new()
        .prefix("invocation-")
        .tempdir_in(process::scratch_root())
        .map_err(|error| {
            Failure::new(
                FailureKind::Crashed,
                "SpawnFailed",
                format!("no scratch directory could be made: {error}"),
            )
        })?;
    command.env("TMPDIR", scratch.path());
    Ok(Some(scratch))
}

/// Moves bytes until the program ends or must end.
fn attend(process: &Process, pipes: &mut Pipes<'_>, context: &Context<'_>) -> End {
    loop {
        let Some(program) = process.ended() else {
            return End::Exited;
        };
        match pipes.attend(program, context.pause()) {
            Ok(true) => return End::Exited,
            Ok(false) => {}
            Err(error) => return End::Broken(error),
        }
        if pipes.is_too_large() {
            return End::TooLarge;
        }
        if context.cancel.is_set() {
            return End::Cancelled;
        }
        if context.deadline.is_some_and(|at| Instant::now() >= at) {
            return End::TimedOut;
        }
    }
}

fn ended_badly(ended: &process::End) -> Failure {
    if let Some(failure) = ended.failure() {
        return failure;
    }
    match ended.status.signal() {
        Some(_) => Failure::new(FailureKind::Crashed, "Signal", ended.in_words()),
        None => Failure::function("ExitCode", ended.status.to_string()),
    }
}

fn timed_out(started: Instant, context: &Context<'_>) -> Failure {
    let timeout_ms = context.timeout_ms(started);
    Failure::new(
        FailureKind::Timeout,
        "Timeout",
        format!("the program outran its timeout and was killed after {timeout_ms} ms"),
    )
}

fn too_large(context: &Context<'_>) -> Failure {
    Failure::output_too_large(context.limits.output_bytes_max)
}

#[cfg(test)]
mod tests;
