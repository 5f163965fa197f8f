//! What a worker says, at the coordinator's door.

use bytes::Bytes;
use umbel_core::function::{Digest, Holdings};
use umbel_core::id::InvokeId;
use umbel_core::id::JobId;
use umbel_core::job::Usage;
use umbel_core::limit::{
    CHUNK_INVOCATIONS_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX, PROTOCOL, REPORT_INVOCATIONS_MAX,
    WORKER_FUNCTIONS_MAX, WORKER_HOLDINGS_MAX, WORKER_LEASES_MAX, WORKER_SLOTS_MAX,
};
use umbel_core::message::{
    Begun, ChunkReport, ColdRun, FromWorker, Hello, InvokeDone, Offer, Report, TakenBack,
};
use umbel_core::outcome::FailedAttempt;
use umbel_core::ranges::Ranges;

use super::function::{digest, parse_arm, parse_id, parse_runtimes};
use super::id::{job_bytes, lease, worker_bytes};
use super::name::{check_labels, check_plain, is_function_name};
use super::outcome::{cold_start, parse_failed, parse_failure};
use super::ranges::{check_span, ranges};
use super::{Invalid, head};
use crate::columns::Columns;
use crate::histogram;
use crate::logs::Logs;
use crate::status::Reason;
use crate::v1;
use crate::v1::connect_request::Message;

/// What comes from a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// It introduces itself.
    Hello(Box<Hello>),
    /// It says something.
    Message(FromWorker),
}

/// Reads a message of a worker.
///
/// # Errors
/// When it is not well formed or over a limit. The session is then to be ended.
pub fn incoming(wire: v1::ConnectRequest) -> Result<Incoming, Invalid> {
    let message = match wire.message {
        None => {
            return Err(Invalid::broken(
                "message",
                "it is missing or of a newer protocol",
            ));
        }
        Some(Message::Hello(hello)) => return Ok(Incoming::Hello(Box::new(parse_hello(hello)?))),
        Some(Message::Heartbeat(heartbeat)) => {
            check_count("heartbeat.begun", heartbeat.begun.len(), WORKER_LEASES_MAX)?;
            let begun = heartbeat.begun.into_iter();
            let begun = begun.map(|begun| parse_begun("heartbeat.begun", begun.lease, begun.count));
            FromWorker::Heartbeat(begun.collect::<Result<_, _>>()?)
        }
        Some(Message::Holds(holds)) => FromWorker::Holds(parse_holds(holds)?),
        Some(Message::Report(report)) => FromWorker::Report(parse_report(report)?),
        Some(Message::TakenBack(taken)) => FromWorker::TakenBack(TakenBack {
            begun: parse_begun("taken_back", taken.lease, taken.begun)?,
            indices: ranges("taken_back.indices", &taken.indices, CHUNK_INVOCATIONS_MAX)?,
        }),
        Some(Message::Leaving(v1::Leaving {})) => FromWorker::Leaving,
        Some(Message::InvokeDone(done)) => FromWorker::InvokeDone(parse_done(done)?),
    };
    Ok(Incoming::Message(message))
}

fn parse_hello(wire: v1::Hello) -> Result<Hello, Invalid> {
    // First: a hello of another protocol may mean anything in its other fields.
    if wire.protocol != PROTOCOL {
        return Err(protocol_mismatch(wire.protocol));
    }
    if wire.name.is_empty() {
        return Err(Invalid::bad("hello.name", "a worker needs a name"));
    }
    check_plain("hello.name", &wire.name)?;
    check_plain("hello.version", &wire.version)?;
    check_labels("hello.labels", &wire.labels)?;
    if !(1..=WORKER_SLOTS_MAX).contains(&wire.slots) {
        let slots = wire.slots;
        return Err(Invalid::bad(
            "hello.slots",
            format!("there are {slots}, allowed are 1 to {WORKER_SLOTS_MAX}"),
        ));
    }
    let offers = wire.offers;
    check_count("hello.offers", offers.len(), WORKER_LEASES_MAX)?;
    Ok(Hello {
        protocol: wire.protocol,
        worker: worker_bytes("hello.worker_id", &wire.worker_id)?,
        name: wire.name,
        slots: wire.slots,
        labels: wire.labels,
        functions: parse_functions(wire.functions)?,
        runs_programs: wire.runs_programs,
        runtimes: parse_runtimes(&wire.runtimes),
        holdings: parse_holds(wire.holds.unwrap_or_default())?,
        version: wire.version,
        offers: offers
            .into_iter()
            .map(parse_offer)
            .collect::<Result<_, _>>()?,
    })
}

fn parse_holds(wire: v1::Holds) -> Result<Holdings, Invalid> {
    let parse = |field: &str, digests: Vec<Bytes>| {
        check_count(field, digests.len(), WORKER_HOLDINGS_MAX)?;
        let digests = digests.iter().map(|bytes| digest(field, bytes));
        digests.collect::<Result<_, _>>()
    };
    Ok(Holdings {
        warm: parse("holds.warm", wire.warm)?,
        cached: parse("holds.cached", wire.cached)?,
        failed: parse("holds.failed", wire.failed)?,
        standing: parse_standing(wire.standing)?,
    })
}

fn parse_standing(wire: Vec<v1::Standing>) -> Result<Vec<(Digest, u32)>, Invalid> {
    let field = "holds.standing";
    check_count(field, wire.len(), WORKER_HOLDINGS_MAX)?;
    let standing = wire
        .iter()
        .map(|one| Ok((digest(field, &one.content)?, one.instances)));
    standing.collect()
}

fn protocol_mismatch(theirs: u32) -> Invalid {
    let refusal = umbel_core::command::Refusal::ProtocolMismatch {
        theirs,
        ours: PROTOCOL,
    };
    Invalid::new(
        Reason::ProtocolMismatch,
        "hello.protocol",
        refusal.to_string(),
        &[("theirs", &theirs), ("ours", &PROTOCOL)],
    )
}

fn parse_functions(mut functions: Vec<String>) -> Result<Vec<String>, Invalid> {
    let field = "hello.functions";
    if functions.len() > WORKER_FUNCTIONS_MAX {
        let count = functions.len();
        return Err(Invalid::bad(
            field,
            format!("there are {count}, the limit is {WORKER_FUNCTIONS_MAX}"),
        ));
    }
    if let Some(bad) = functions.iter().find(|name| !is_function_name(name)) {
        let shown = head(bad, 255);
        return Err(Invalid::bad(
            field,
            format!("{shown:?} cannot name a function"),
        ));
    }
    functions.sort_unstable();
    functions.dedup();
    Ok(functions)
}

fn parse_offer(wire: v1::Offer) -> Result<Offer, Invalid> {
    let field = "hello.offers";
    let job: JobId = job_bytes(field, &wire.job_id)?;
    if wire.attempt == 0 {
        return Err(Invalid::broken(field, "attempts are numbered from 1"));
    }
    Ok(Offer {
        lease: lease(field, wire.lease)?,
        job,
        indices: ranges(field, &wire.indices, CHUNK_INVOCATIONS_MAX)?,
        attempt: wire.attempt,
        version: parse_id(wire.version_id),
        arm: parse_arm(wire.arm_id),
    })
}

fn parse_begun(field: &str, wire: Option<v1::LeaseId>, count: u64) -> Result<Begun, Invalid> {
    let limit = CHUNK_INVOCATIONS_MAX;
    let fits = u32::try_from(count).ok().filter(|&count| count <= limit);
    let count = fits.ok_or_else(|| {
        Invalid::broken(
            field,
            format!("{count} of a lease's at most {limit} have begun"),
        )
    })?;
    Ok(Begun {
        lease: lease(field, wire)?,
        count,
    })
}

fn parse_report(wire: v1::Report) -> Result<Report, Invalid> {
    if wire.number == 0 {
        return Err(Invalid::broken(
            "report.number",
            "reports are numbered from 1",
        ));
    }
    check_count("report.chunks", wire.chunks.len(), WORKER_LEASES_MAX)?;
    // A packed report is no larger than one that is not, or a short message could make long work.
    let mut room = MESSAGE_BYTES_MAX;
    let chunks = wire.chunks.into_iter();
    let chunks = chunks.map(|chunk| parse_chunk(chunk, &mut room));
    let chunks: Vec<ChunkReport> = chunks.collect::<Result<_, _>>()?;
    let count: u64 = chunks
        .iter()
        .map(|chunk| chunk.usage.attempts + chunk.handed_back.len())
        .sum();
    if count > REPORT_INVOCATIONS_MAX.into() {
        return Err(Invalid::broken(
            "report.chunks",
            format!("they name {count} invocations, the limit is {REPORT_INVOCATIONS_MAX}"),
        ));
    }
    Ok(Report {
        number: wire.number,
        chunks,
    })
}

fn parse_chunk(wire: v1::ChunkReport, room: &mut usize) -> Result<ChunkReport, Invalid> {
    let most = CHUNK_INVOCATIONS_MAX;
    check_count("report.chunks.failed", wire.failed.len(), most as usize)?;
    let succeeded = ranges("report.chunks.succeeded", &wire.succeeded, most)?;
    let handed_back = ranges("report.chunks.handed_back", &wire.handed_back, most)?;
    let failed = wire.failed.into_iter().map(parse_failed);
    let mut failed: Vec<FailedAttempt> = failed.collect::<Result<_, _>>()?;
    failed.sort_by_key(|failed| failed.index);
    check_disjoint(&succeeded, &failed, &handed_back)?;

    let mut cold: Vec<ColdRun> = failed.iter().filter_map(cold_run).collect();
    let columns = wire.columns;
    if succeeded.is_empty() {
        if !columns.is_empty() {
            return Err(Invalid::broken(
                "report.chunks.columns",
                "nothing has succeeded",
            ));
        }
    } else {
        let broken = |what: String| Invalid::broken("report.chunks.columns", what);
        let parsed = Columns::parse(columns.clone(), succeeded.len(), OUTPUT_BYTES_MAX)
            .map_err(|error| broken(error.to_string()))?;
        *room = room.checked_sub(parsed.bytes()).ok_or_else(|| {
            broken(format!(
                "the columns of one report unpack to more than {MESSAGE_BYTES_MAX} bytes"
            ))
        })?;
        cold.extend(parsed.cold());
    }
    if !wire.logs.is_empty() {
        Logs::parse(wire.logs.clone(), succeeded.len())
            .map_err(|error| Invalid::broken("report.chunks.logs", error.to_string()))?;
    }
    let usage = Usage {
        duration_us: wire.duration_us,
        cpu_us: wire.cpu_us,
        attempts: succeeded.len() + failed.len() as u64,
    };
    let warm = histogram::decode(&wire.warm, usage.attempts).ok_or_else(|| {
        let words = "they are no histogram of the attempts named beside them";
        Invalid::broken("report.chunks.warm", words)
    })?;
    Ok(ChunkReport {
        begun: parse_begun("report.chunks", wire.lease, wire.begun)?,
        succeeded,
        columns,
        logs: wire.logs,
        failed,
        usage,
        handed_back,
        warm,
        cold,
    })
}

fn cold_run(failed: &FailedAttempt) -> Option<ColdRun> {
    Some(ColdRun {
        duration_us: failed.duration_us,
        parts: failed.cold_start?,
    })
}

/// An invocation has one outcome in a report, and all of them lie close together.
fn check_disjoint(
    succeeded: &Ranges,
    failed: &[FailedAttempt],
    handed_back: &Ranges,
) -> Result<(), Invalid> {
    let field = "report.chunks";
    let mut failures = Ranges::new();
    for failed in failed {
        if failures.last() == Some(failed.index) {
            let index = failed.index;
            return Err(Invalid::broken(
                field,
                format!("index {index} failed twice"),
            ));
        }
        failures.insert(failed.index);
    }
    for (a, b) in [
        (succeeded, &failures),
        (succeeded, handed_back),
        (&failures, handed_back),
    ] {
        if let Some(index) = a.intersect(b).first() {
            return Err(Invalid::broken(
                field,
                format!("index {index} has two outcomes"),
            ));
        }
    }
    let all = [succeeded, &failures, handed_back];
    let first = all.iter().filter_map(|ranges| ranges.first()).min();
    let last = all.iter().filter_map(|ranges| ranges.last()).max();
    check_span(field, first, last)
}

fn parse_done(wire: v1::InvokeDone) -> Result<InvokeDone, Invalid> {
    let outcome = match wire.outcome {
        None => return Err(Invalid::broken("invoke_done.outcome", "it is missing")),
        Some(v1::invoke_done::Outcome::Output(output)) if output.len() > OUTPUT_BYTES_MAX => {
            let length = output.len();
            return Err(Invalid::broken(
                "invoke_done.output",
                format!("it has {length} bytes, the limit is {OUTPUT_BYTES_MAX}"),
            ));
        }
        Some(v1::invoke_done::Outcome::Output(output)) => Ok(output),
        Some(v1::invoke_done::Outcome::Failure(failure)) => {
            Err(parse_failure("invoke_done.failure", Some(failure))?)
        }
    };
    Ok(InvokeDone {
        id: InvokeId(wire.id),
        outcome,
        duration_us: wire.duration_us,
        cpu_us: wire.cpu_us,
        cold_start: wire.cold_start.map(cold_start),
    })
}

fn check_count(field: &str, count: usize, limit: usize) -> Result<(), Invalid> {
    if count > limit {
        let message = format!("there are {count}, the limit is {limit}");
        return Err(Invalid::broken(field, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
