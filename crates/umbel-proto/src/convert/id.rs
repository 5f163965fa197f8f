//! Ids, as people write them and as the wire bears them.

use bytes::Bytes;
use umbel_core::id::{JobId, LeaseId, WorkerId};
use umbel_core::limit::NAME_BYTES_MAX;
use uuid::Uuid;

use super::Invalid;
use crate::v1;

/// A job as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobRef {
    /// By its id.
    Id(JobId),
    /// The newest of all.
    Last,
    /// The newest of this name.
    Name(String),
}

/// Reads a job's id out of its text.
#[must_use]
pub fn job_id(text: &str) -> Option<JobId> {
    // Only the form with hyphens: 32 letters and digits may be somebody's name.
    let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
    Some(JobId(uuid.into_bytes()))
}

/// Reads how a client names a job.
///
/// # Errors
/// When it is empty or longer than a name.
pub fn job_ref(text: &str) -> Result<JobRef, Invalid> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(Invalid::bad(
            "job_id",
            format!("name a job by its id, its name (1 to {NAME_BYTES_MAX} bytes) or `last`"),
        ));
    }
    if text == "last" {
        return Ok(JobRef::Last);
    }
    Ok(job_id(text).map_or_else(|| JobRef::Name(text.to_owned()), JobRef::Id))
}

pub(super) fn job_bytes(field: &str, bytes: &Bytes) -> Result<JobId, Invalid> {
    sixteen(field, bytes).map(JobId)
}

pub(super) fn worker_bytes(field: &str, bytes: &Bytes) -> Result<WorkerId, Invalid> {
    sixteen(field, bytes).map(WorkerId)
}

fn sixteen(field: &str, bytes: &Bytes) -> Result<[u8; 16], Invalid> {
    bytes.as_ref().try_into().map_err(|_| {
        Invalid::broken(
            field,
            format!("an id has 16 bytes, this one {}", bytes.len()),
        )
    })
}

pub(super) fn wire_bytes(id: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id)
}

pub(super) fn lease(field: &str, lease: Option<v1::LeaseId>) -> Result<LeaseId, Invalid> {
    let lease = lease.ok_or_else(|| Invalid::broken(field, "the lease is missing"))?;
    Ok(LeaseId {
        epoch: lease.epoch,
        number: lease.number,
    })
}

pub(super) fn wire_lease(lease: LeaseId) -> v1::LeaseId {
    v1::LeaseId {
        epoch: lease.epoch,
        number: lease.number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_id_by_name_or_as_the_last() {
        let id = JobId([7; 16]);
        assert_eq!(job_ref(&id.to_string()), Ok(JobRef::Id(id)));
        assert_eq!(job_ref("last"), Ok(JobRef::Last));
        assert_eq!(job_ref("nightly"), Ok(JobRef::Name("nightly".into())));
        assert_eq!(job_ref("").unwrap_err().field, "job_id");
    }
}
