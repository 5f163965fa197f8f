//! A report as the machine planned it, made into what the wire bears.

use umbel_core::job::Usage;
use umbel_core::message::{ChunkReport, FromWorker, Report};
use umbel_core::outcome::{FailedAttempt, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_core::worker::{ChunkPlan, Outgoing, ReportPlan};
use umbel_proto::columns::ColumnsBuilder;

pub(crate) fn message(outgoing: Outgoing<ColumnsBuilder>) -> FromWorker {
    match outgoing {
        Outgoing::Message(message) => message,
        Outgoing::Report(plan) => FromWorker::Report(report(plan)),
    }
}

fn report(plan: ReportPlan<ColumnsBuilder>) -> Report {
    Report {
        number: plan.number,
        chunks: plan.chunks.into_iter().map(chunk).collect(),
    }
}

/// Merges the parts of a chunk: the coordinator takes it in as one.
fn chunk(plan: ChunkPlan<ColumnsBuilder>) -> ChunkReport {
    let mut columns = ColumnsBuilder::new();
    let mut succeeded = Ranges::new();
    let mut failed: Vec<FailedAttempt> = Vec::new();
    let mut usage = Usage::default();
    for part in &plan.parts {
        columns.append(&part.columns);
        part.succeeded.runs().for_each(|run| succeeded.push(run));
        failed.extend_from_slice(&part.failed);
        usage.add(part.usage);
    }
    let mut warm = columns.warm();
    let ran = failed.iter().filter(|failed| {
        failed.cold_start.is_none() && failed.failure.kind != FailureKind::Rejected
    });
    ran.for_each(|failed| warm.add(failed.duration_us));
    ChunkReport {
        begun: plan.begun,
        succeeded,
        logs: columns.finish_logs(),
        columns: columns.finish(),
        failed,
        usage,
        handed_back: plan.handed_back,
        warm,
        // The coordinator's door reads them out of the columns and failures.
        cold: Vec::new(),
    }
}
