//! Where the deliberate bugs get hold of the system: between its parts.

use std::sync::Arc;

use umbel_core::change::Change;
use umbel_core::config::Config;
use umbel_core::history::History;
use umbel_core::id::{JobId, LeaseId};
use umbel_core::job::JobSpec;
use umbel_core::machine::Machine;
use umbel_core::message::{FromWorker, Offer, OfferAnswer};
use umbel_core::redrive::{Filter, Standing};
use umbel_core::route::Column;
use umbel_core::view::InvocationView;
use umbel_proto::v1;
use umbel_proto::v1::connect_response::Message;

use crate::bug::Bug;

/// The times that a machine is started with.
pub(crate) fn config(bug: Option<Bug>, config: Config) -> Config {
    let lease_timeout_ms = match bug {
        Some(Bug::StallIsLoss) => config.lease_timeout_ms / 3,
        _ => config.lease_timeout_ms,
    };
    Config {
        lease_timeout_ms,
        ..config
    }
}

/// The epoch that a machine is started with.
pub(crate) fn epoch(bug: Option<Bug>, epoch: u32) -> u32 {
    if bug == Some(Bug::ReuseLeases) {
        1
    } else {
        epoch
    }
}

/// What a turn has written.
pub(crate) fn written(bug: Option<Bug>, changes: &[Change]) -> Vec<Change> {
    let written = changes.iter().filter(|change| match (bug, change) {
        (Some(Bug::KeepEndedLease), Change::LeaseEnded(_)) => false,
        (Some(Bug::KeepAliases), Change::AliasRemoved { .. })
        | (Some(Bug::ForgetRetired), Change::VersionRetired { .. }) => false,
        (Some(Bug::ForgetRollout), Change::Rollout(rollout)) => !rollout.state.is_over(),
        (Some(Bug::ForgetFigures), Change::ArmCell { .. }) => false,
        (Some(Bug::ForgetSeal), Change::JobStatus { status, .. }) => {
            status.sealed.is_none() || status.started_ms.is_some()
        }
        _ => true,
    });
    let written = written.map(|change| match (bug, change) {
        (Some(Bug::ForgetRequestId), Change::JobCreated(record)) => {
            let mut record = record.as_ref().clone();
            record.request_id.clear();
            Change::JobCreated(Arc::new(record))
        }
        (Some(Bug::OldResultWins), Change::Recorded(record)) if record.waiting.is_empty() => {
            let mut record = record.clone();
            record.redrive = 0;
            Change::Recorded(record)
        }
        (Some(Bug::RemoveEarly), Change::VersionRetired { id, .. }) => Change::VersionRemoved(*id),
        _ => change.clone(),
    });
    written.collect()
}

/// What a restart gives to the machine.
pub(crate) fn restored(bug: Option<Bug>, changes: &mut Vec<Change>) {
    if bug == Some(Bug::ForgetLastId) {
        changes.retain(|change| !matches!(change, Change::Function(record) if record.deleted));
    }
    for change in changes {
        let record = match change {
            Change::Recorded(record) => record,
            Change::JobCreated(record) => {
                let record = Arc::make_mut(record);
                let policy = &mut record.spec.policy;
                if bug == Some(Bug::ForgetRetryRules) {
                    policy.retry_on.clear();
                    policy.no_retry_on.clear();
                }
                continue;
            }
            Change::JobStatus { status, .. } if bug == Some(Bug::ForgetFence) => {
                if let Some(redriven) = &mut status.redriven {
                    Arc::make_mut(redriven).first_lease = LeaseId {
                        epoch: 0,
                        number: 0,
                    };
                }
                continue;
            }
            Change::JobStatus { status, .. } if bug == Some(Bug::ForgetNeeds) => {
                status.pinned = None;
                continue;
            }
            _ => continue,
        };
        match bug {
            Some(Bug::ForgetRedrive) if record.redrive > 0 => {
                record
                    .waiting
                    .retain(|waiting| waiting.history != History::FRESH);
            }
            Some(Bug::ForgetVersion) => {
                for waiting in &mut record.waiting {
                    waiting.history.version = None;
                }
            }
            Some(Bug::ForgetArm) => {
                for waiting in &mut record.waiting {
                    waiting.history.arm = None;
                }
            }
            Some(Bug::ForgetRetries) => record.waiting.clear(),
            Some(Bug::ForgetFailure) => {
                for waiting in &mut record.waiting {
                    waiting.history.failed = 0;
                }
            }
            Some(Bug::BlameNeighbours) => {
                for waiting in &mut record.waiting {
                    if waiting.history.suspect_chunk > 0 {
                        waiting.history.lost_alone = waiting.history.lost_alone.max(2);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What was sorted, with the versions of two arms swapped.
pub(crate) fn swap_arms(column: &mut Column) {
    if let [(one, _), (two, _), ..] = &mut column.sorted[..] {
        std::mem::swap(&mut one.version, &mut two.version);
    }
}

/// What a job is accepted with.
pub(crate) fn proposed(bug: Option<Bug>, mut spec: JobSpec) -> JobSpec {
    if bug == Some(Bug::CountEnoughTwice) {
        spec.policy.enough = spec.policy.enough.map(|enough| enough.div_ceil(2));
    }
    if bug == Some(Bug::ForgetPin) {
        spec.policy.pin = false;
    }
    if bug == Some(Bug::ForgetPriority) {
        spec.policy.priority = 0;
    }
    spec
}

/// Failures lose their types.
pub(crate) fn forget_types(message: &mut FromWorker) {
    if let FromWorker::Report(report) = message {
        let failed = report.chunks.iter_mut().flat_map(|chunk| &mut chunk.failed);
        failed.for_each(|attempt| attempt.failure.error_type.clear());
    }
}

/// What every other job has used is said to be nothing.
pub(crate) fn free_ride(message: &mut FromWorker, job: &dyn Fn(LeaseId) -> Option<JobId>) {
    let FromWorker::Report(report) = message else {
        return;
    };
    for chunk in &mut report.chunks {
        if job(chunk.begun.lease).is_some_and(|job| job.0[15] % 2 == 0) {
            chunk.usage.duration_us = 0;
        }
    }
}

/// What a redrive asks for.
pub(crate) fn filter(bug: Option<Bug>, mut filter: Filter, standing: &Standing) -> Filter {
    let mut chosen = filter.choose(standing);
    if bug == Some(Bug::LeaveOneOut) && chosen.len() > 1 {
        let _last = chosen.split_off(chosen.len() - 1);
        filter.indices = Some(chosen);
    }
    filter
}

/// A grant once more, under a lease that nobody granted.
pub(crate) fn granted_again(wire: &v1::ConnectResponse) -> Option<v1::ConnectResponse> {
    let mut wire = wire.clone();
    let Some(Message::Grant(grant)) = &mut wire.message else {
        return None;
    };
    grant.lease.as_mut()?.number += 1 << 40;
    Some(wire)
}

/// Offers that were dropped go on under the leases that have ended.
pub(crate) fn keep_all(offers: &[Offer], answers: &mut [OfferAnswer]) {
    for (offer, answer) in offers.iter().zip(answers) {
        if answer.kept.is_none() && !offer.indices.is_empty() {
            answer.kept = Some((offer.lease, offer.indices.clone()));
        }
    }
}

/// Offers that bear whatever attempt would be kept.
pub(crate) fn uncounted(machine: &Machine, offers: &mut [Offer]) {
    for offer in offers {
        let first = offer.indices.first().unwrap_or(0);
        if let Some(InvocationView::Waiting { history, .. }) = machine.invocation(offer.job, first)
        {
            offer.attempt = history.next_attempt();
        }
    }
}
