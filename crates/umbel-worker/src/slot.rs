//! A slot's thread: it runs pieces in a plain loop.

use std::sync::Arc;
use std::thread;

use umbel_core::worker::{Piece, Slot};
use umbel_runtime::{CancelFlag, Context, Executable, Execution, Failure, Limits};

use crate::clock::thread_cpu_us;
use crate::error::Error;
use crate::floor::Floor;
use crate::lane::{Attempt, Lane};
use crate::work::{Cursor, Work};

/// An output buffer that grew beyond this is not kept for the next piece.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Starts the thread of a slot. It ends when the floor is stopped and its function
/// has returned.
pub(crate) fn start(floor: &Arc<Floor>, slot: Slot) -> Result<(), Error> {
    let floor = Arc::clone(floor);
    let run = move || {
        let mut output = Vec::new();
        while let Some((piece, cancel)) = floor.next_piece(slot) {
            work_off(&floor, slot, &piece, &cancel, &mut output);
            output.clear();
            output.shrink_to(BUFFER_KEPT_BYTES);
        }
    };
    let thread = thread::Builder::new().name(format!("umbel-slot-{slot}"));
    let failed = |error: std::io::Error| Error::Thread {
        what: format!("slot {slot}"),
        reason: error.to_string(),
    };
    thread.spawn(run).map(drop).map_err(failed)
}

/// Runs a piece and hands in what came of it.
pub(crate) fn work_off(
    floor: &Floor,
    slot: Slot,
    piece: &Piece<Arc<Work>>,
    cancel: &CancelFlag,
    output: &mut Vec<u8>,
) {
    let Some(lane) = floor.lane(slot) else { return };
    let cpu_us = run_piece(floor, lane, piece, cancel, output);
    let mut running = lane.take();
    if let (Some(running), Some(cpu_us)) = (&mut running, cpu_us) {
        running.spread_cpu(cpu_us);
    }
    floor.finished(slot, running);
}

/// Runs a piece to its end, or as far as it is still wanted. Gives the processor
/// time of this thread, where that is the piece's.
fn run_piece(
    floor: &Floor,
    lane: &Lane,
    piece: &Piece<Arc<Work>>,
    cancel: &CancelFlag,
    output: &mut Vec<u8>,
) -> Option<u64> {
    let work = &piece.inputs;
    let is_native = work.is_native();
    let executable = work.executable();
    let cpu_before_us = is_native.then(thread_cpu_us);
    let timeout_us = piece.timeout_ms.map(|ms| ms.saturating_mul(1_000));
    let mut cursor = work.cursor();
    let mut began_us = floor.clock.now_us();
    for index in piece.run.clone() {
        output.clear();
        let deadline_us = timeout_us.map(|timeout_us| began_us.saturating_add(timeout_us));
        let context = Context {
            job_id: &work.job_id,
            index: u64::from(index),
            attempt: piece.attempt,
            cancel,
            deadline: deadline_us.and_then(|at_us| floor.clock.instant(at_us)),
            limits: Limits {
                keep_log: work.keeps_log(index),
                ..floor.limits
            },
        };
        let execution = attempt(&executable, &mut cursor, index, output, &context);
        let ended_us = floor.clock.now_us();
        let ran_us = ended_us.saturating_sub(began_us);
        let cold_start = work.cold_start(execution.cold_start, ran_us);
        let goes_on = lane.record(Attempt {
            index,
            output,
            execution,
            cold_start,
            began_us,
            ended_us,
            started_at_us: floor.clock.wall_us(began_us),
        });
        if !goes_on {
            break;
        }
        began_us = ended_us;
    }
    cpu_before_us.map(|before_us| thread_cpu_us().saturating_sub(before_us))
}

#[inline]
fn attempt(
    executable: &Result<&Executable, Failure>,
    cursor: &mut Cursor<'_>,
    index: u32,
    output: &mut Vec<u8>,
    context: &Context<'_>,
) -> Execution {
    match (executable, cursor.input(index)) {
        (Ok(executable), Ok(input)) => executable.invoke(input, output, context),
        (Err(failure), _) => Execution::failed(failure.clone()),
        (_, Err(failure)) => Execution::failed(failure),
    }
}
