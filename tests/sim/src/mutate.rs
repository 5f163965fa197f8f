//! Where the deliberate bugs get hold of the system: between its parts.

use std::sync::Arc;

use umbel_core::change::Change;
use umbel_core::config::Config;

use crate::bug::Bug;

/// The times that a machine is started with.
pub(crate) fn config(bug: Option<Bug>, config: Config) -> Config {
    let lease_timeout_ms = match bug {
        Some(Bug::StallIsLoss) => config.lease_timeout_ms / 3,
        _ => config.lease_timeout_ms,
    };
    Config { lease_timeout_ms, ..config }
}

/// The epoch that a machine is started with.
pub(crate) fn epoch(bug: Option<Bug>, epoch: u32) -> u32 {
    if bug == Some(Bug::ReuseLeases) { 1 } else { epoch }
}

/// What a turn has written.
pub(crate) fn written(bug: Option<Bug>, changes: &[Change]) -> Vec<Change> {
    let written = changes.iter().filter(|change| match (bug, change) {
        (Some(Bug::KeepEndedLease), Change::LeaseEnded(_)) => false,
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
        _ => change.clone(),
    });
    written.collect()
}

/// What a restart gives to the machine.
pub(crate) fn restored(bug: Option<Bug>, changes: &mut [Change]) {
    for change in changes {
        let Change::Recorded(record) = change else { continue };
        match bug {
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
