//! The records on disk, and core words: the one place that knows both.
//!
//! What is decoded is valid: a record that does not make sense is an [`Error`] that names its kind,
//! so that a damaged store is told apart from a wrong decision.

mod arm;
mod function;
mod job;
mod record;
mod rollout;
mod route;
mod runs;

use bytes::Bytes;
use prost::Message;
use umbel_core::change::KeptRequest;
use umbel_core::id::JobId;

use crate::generated::disk as wire;

pub use arm::{decode_arm_cell, decode_arm_mark, encode_arm_cell, encode_arm_mark};
pub use function::{
    decode_alias, decode_function, decode_retired, decode_version, encode_alias, encode_function,
    encode_retired, encode_version,
};
pub use job::{
    decode_appended, decode_job, decode_status, encode_appended, encode_job, encode_status,
};
pub use record::{Columns, Stored, decode_lease, decode_record, encode_lease, encode_record};
pub use rollout::{decode_rollout, encode_rollout};

/// The version of the keys and records that this program writes and reads.
pub const VERSION: u32 = 1;

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of kind {kind} cannot be read: {problem}")]
pub struct Error {
    /// The kind of record.
    pub kind: &'static str,
    /// What was wrong with it.
    pub problem: String,
}

impl Error {
    pub(crate) fn new(kind: &'static str, problem: impl Into<String>) -> Self {
        Self {
            kind,
            problem: problem.into(),
        }
    }
}

/// The data as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The version of keys and records.
    pub version: u32,
    /// How often the data were opened.
    pub epoch: u32,
}

/// Encodes the record of the data as a whole.
#[must_use]
pub fn encode_format(format: Format) -> Bytes {
    wire::Format {
        version: format.version,
        epoch: format.epoch,
    }
    .encode_to_vec()
    .into()
}

/// Decodes the record of the data as a whole; its version is the caller's to judge.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_format(bytes: Bytes) -> Result<Format, Error> {
    let format: wire::Format = parse("Format", bytes)?;
    Ok(Format {
        version: format.version,
        epoch: format.epoch,
    })
}

/// Encodes what is left of a request id whose job is forgotten; the id is its key.
#[must_use]
pub fn encode_request(kept: KeptRequest) -> Bytes {
    let record = wire::RequestRecord {
        job: Bytes::copy_from_slice(&kept.job.0),
        until_ms: kept.until_ms,
    };
    record.encode_to_vec().into()
}

/// Decodes what is left of a request id.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_request(bytes: Bytes) -> Result<KeptRequest, Error> {
    const KIND: &str = "RequestRecord";
    let record: wire::RequestRecord = parse(KIND, bytes)?;
    let job = <[u8; 16]>::try_from(&record.job[..])
        .map_err(|_| Error::new(KIND, format!("its job has {} bytes", record.job.len())))?;
    Ok(KeptRequest {
        job: JobId(job),
        until_ms: record.until_ms,
    })
}

fn parse<M: Message + Default>(kind: &'static str, bytes: Bytes) -> Result<M, Error> {
    M::decode(bytes).map_err(|error| Error::new(kind, error.to_string()))
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_request_comes_back_and_a_short_id_is_told_of() {
        let kept = KeptRequest {
            job: JobId([7; 16]),
            until_ms: 9,
        };
        assert_eq!(decode_request(encode_request(kept)), Ok(kept));
        let error = decode_request(Bytes::new()).unwrap_err().to_string();
        assert!(
            error.contains("RequestRecord") && error.contains("0 bytes"),
            "{error}"
        );
    }
}
