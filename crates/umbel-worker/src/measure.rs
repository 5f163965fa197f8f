//! What one slot can do without a coordinator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use umbel_core::id::{JobId, LeaseId};
use umbel_core::job::Target;
use umbel_core::limit::CHUNK_INVOCATIONS_MAX;
use umbel_core::message::{FromWorker, GrantHead, Welcome};
use umbel_core::ranges::Ranges;
use umbel_proto::convert::Inputs;
use umbel_runtime::{Catalog, Limits};

use crate::error::Error;
use crate::floor::Floor;
use crate::work::{Shop, Work};
use crate::{report, slot};

/// Runs a built-in function over so many chunks of a range in one slot, with the
/// machine and the reports around it; tells how many invocations it ran and how
/// long that took.
///
/// # Errors
/// When the system gives no thread.
pub fn one_slot(function: &str, chunks: u32) -> Result<(u64, Duration), Error> {
    let floor = Arc::new(Floor::new(1, Limits::DEFAULT));
    let catalog = Catalog::with_builtins(false);
    let shop = Shop {
        worker: "measure",
        catalog: &catalog,
        runs_programs: false,
    };
    let welcome = Welcome {
        heartbeat_ms: 1_000,
        epoch: 1,
        answers: Vec::new(),
    };
    let _ = floor.machine().welcome(&welcome);
    for number in 0..chunks {
        let first = number * CHUNK_INVOCATIONS_MAX;
        let target = Target::Function(function.to_owned());
        let job = JobId([0; 16]);
        let work = Work::of_chunk(job, (&target, None), Inputs::Range { begin: 0 }, &shop);
        let head = GrantHead {
            lease: LeaseId {
                epoch: 1,
                number: u64::from(number) + 1,
            },
            job,
            target,
            version: None,
            arm: None,
            indices: Ranges::one(first..first + CHUNK_INVOCATIONS_MAX),
            attempt: 1,
            timeout_ms: Some(900_000),
            slots: 1,
            log_basis_points: 0,
        };
        floor.machine().grant(head, Arc::new(work));
    }
    let began = Instant::now();
    slot::start(&floor, 0)?;
    let total = u64::from(chunks) * u64::from(CHUNK_INVOCATIONS_MAX);
    let mut heard = 0;
    while heard < total {
        let next = floor.machine().next_message(floor.clock.now_us());
        let Some(outgoing) = next else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        if let FromWorker::Report(report) = report::message(outgoing) {
            let chunks = report.chunks.iter();
            heard += chunks.map(|chunk| chunk.succeeded.len()).sum::<u64>();
            floor.machine().acknowledged(report.number);
            floor.work_came();
        }
    }
    let took = began.elapsed();
    floor.stop();
    Ok((total, took))
}
