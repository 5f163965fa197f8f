//! Ids are newtypes: a lease can never be passed where a job is meant.

use std::fmt;

/// The position of an input within its job, from 0. A job has at most
/// [`crate::limit::JOB_INPUTS_MAX`] inputs, so 32 bits are enough.
pub type Index = u32;

/// A job: the 16 bytes of a UUID of version 7.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub [u8; 16]);

/// A worker *process*: the 16 bytes of a UUID that it makes when it starts. A
/// process that reconnects keeps it; a restarted one has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub [u8; 16]);

/// One live stream between a worker and the coordinator. Numbered by the
/// coordinator's shell; never reused within a coordinator process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A lease. The epoch grows at each start of the coordinator on the same data,
/// so that what an earlier coordinator granted can never pass for a live lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The start of the coordinator that granted it.
    pub epoch: u32,
    /// Its number within the epoch, from 1.
    pub number: u64,
}

/// One `Invoke`, numbered by the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvokeId(pub u64);

/// Somebody who waits for a [`crate::command::Reply`]; the shell knows who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// One upload stream of a job, numbered by the machine within the job, from 1.
/// A newer one supersedes the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Appender(pub u32);

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_the_way_people_paste_them() {
        let id = JobId([
            0x01, 0x92, 0xab, 0xcd, 0xef, 0x01, 0x72, 0x34, 0x89, 0xab, 0, 1, 2, 3, 4, 5,
        ]);
        assert_eq!(id.to_string(), "0192abcd-ef01-7234-89ab-000102030405");
        assert_eq!(
            LeaseId {
                epoch: 3,
                number: 17
            }
            .to_string(),
            "3.17"
        );
    }
}
