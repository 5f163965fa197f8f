//! What an operator reads in the log.

use umbel_core::command::Note;

use crate::metrics::Metrics;

pub(super) fn write(note: &Note, metrics: &Metrics) {
    match note {
        Note::WorkerJoined { name, slots, kept } => {
            tracing::info!(worker = name, slots, leases_kept = kept, "worker joined");
        }
        Note::WorkerLost { name, invocations } => {
            metrics.worker_lost();
            tracing::info!(
                worker = name,
                invocations,
                "worker lost, its invocations wait again"
            );
        }
        Note::WorkerLeft { name } => tracing::info!(worker = name, "worker left"),
        Note::JobEnded { job, state } => {
            metrics.job_ended(*state);
            tracing::info!(%job, state = state.as_str(), "job ended");
        }
        Note::JobSwept { job, why } => {
            metrics.job_swept(*why);
            tracing::info!(%job, why = why.as_str(), "job swept");
        }
        Note::JobRedriven {
            job,
            redrive,
            invocations,
        } => tracing::info!(%job, redrive, invocations, "job redriven"),
        Note::CrashLimit { job, index } => {
            tracing::info!(%job, index, "invocation met the crash limit");
        }
        Note::Routed(tally) => metrics.routed(tally),
        Note::ColdStart { runtime, parts } => metrics.cold_start(*runtime, *parts),
        Note::VersionPublished {
            function,
            number,
            by,
        } => tracing::info!(function, version = number, by, "version published"),
        Note::AliasMoved {
            function,
            alias,
            to,
            by,
        } => tracing::info!(function, alias, version = to, by, "alias moved"),
        Note::RolloutMoved {
            alias,
            to,
            state,
            share,
            by,
            why,
        } => {
            metrics.rollout_moved(*state);
            tracing::info!(
                alias,
                version = to,
                state = state.as_str(),
                percent = f64::from(*share) / 100.0,
                by,
                why,
                "rollout moved"
            );
        }
        Note::InvokePlaced { id } => tracing::trace!(invoke = id.0, "invoke placed"),
        Note::LeaseExpired { lease } => tracing::debug!(%lease, "lease expired"),
    }
}
