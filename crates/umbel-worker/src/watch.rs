//! The watch: sees to it that nothing is stuck behind an invocation that runs long,
//! and that one that outran its timeout ends for all others.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use umbel_core::worker::{Origin, Slot};

use crate::error::Error;
use crate::floor::{Floor, WorkerMachine};
use crate::lane::Lane;

/// How often it looks while something runs.
const TICK: Duration = Duration::from_millis(10);
/// After so long the rest of a piece is for other slots.
const LONG_US: u64 = 10_000;
/// A function that minds its deadline itself gets so long to do it.
const GRACE_US: u64 = 20_000;

/// Starts the watch. It ends when the floor is stopped.
pub(crate) fn start(floor: &Arc<Floor>) -> Result<(), Error> {
    let floor = Arc::clone(floor);
    let watch = move || {
        while floor.watch_for(TICK) {
            look(&floor);
        }
    };
    let thread = thread::Builder::new().name("umbel-watch".to_owned());
    let failed = |error: std::io::Error| Error::Thread {
        what: "the watch".to_owned(),
        reason: error.to_string(),
    };
    thread.spawn(watch).map(drop).map_err(failed)
}

/// Looks at all slots once.
pub(crate) fn look(floor: &Floor) {
    let mut machine = floor.machine();
    let now_us = floor.clock.now_us();
    let mut returned = false;
    for (slot, lane) in floor.lanes() {
        returned |= look_at(floor, &mut machine, slot, lane, now_us);
    }
    let says = machine.report_due(now_us);
    drop(machine);
    if returned {
        floor.work_came();
    }
    if returned || says {
        floor.wake.notify_one();
    }
}

/// Looks at one slot; tells whether something changed hands.
fn look_at(
    floor: &Floor,
    machine: &mut WorkerMachine,
    slot: Slot,
    lane: &Lane,
    now_us: u64,
) -> bool {
    let mut guard = lane.lock();
    let Some(running) = guard.as_mut() else {
        return false;
    };
    if running.is_overdue(now_us, GRACE_US) {
        running.time_out(now_us, floor.clock.wall_us(running.began_us()));
        // A function that looks at its flag returns now.
        running.cancel.set();
        if let Some(running) = guard.take() {
            match running.origin {
                Origin::Chunk { .. } => machine.timed_out(now_us, slot, running.into_part()),
                Origin::Invoke(id) => machine.invoke_timed_out(slot, running.into_done(id)),
            }
        }
        return true;
    }
    let is_chunk = matches!(running.origin, Origin::Chunk { .. });
    let is_long = is_chunk && running.ran_us(now_us) >= LONG_US;
    let Some(end) = is_long.then(|| running.cut()).flatten() else {
        return false;
    };
    machine.cut(slot, end);
    true
}
