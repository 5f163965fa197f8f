//! Keys as bytes, and the ranges of keys that belong together.

use std::ops::Range;

use bytes::Bytes;
use umbel_core::function::{UploadId, VersionId};
use umbel_core::id::{Appender, JobId, LeaseId};
use umbel_core::route::ArmId;

use super::{At, Block, Key, Kind, Whole};

/// A key that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key of {bytes} bytes and kind {kind} is not known: {start}")]
pub(crate) struct Error {
    kind: u8,
    bytes: usize,
    /// Its first bytes in hexadecimal, enough to find it.
    start: String,
}

impl Key {
    /// The key as bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut key = Vec::with_capacity(40);
        key.push(self.kind() as u8);
        match self {
            Self::Format | Self::Mark => {}
            Self::Function(name) | Self::Request(name) | Self::Published(name) => {
                key.extend_from_slice(name.as_bytes());
            }
            Self::Version(id) | Self::Retired(id) => key.extend_from_slice(&id.0.to_be_bytes()),
            Self::Alias(function, name) | Self::Rollout(function, name) => {
                // No name holds an `@`.
                key.extend_from_slice(function.as_bytes());
                key.push(b'@');
                key.extend_from_slice(name.as_bytes());
            }
            Self::StagedArtifact(upload) | Self::DeletingArtifact(upload) => {
                key.extend_from_slice(&upload.0);
            }
            Self::Part(whole, part) => {
                whole.extend(&mut key);
                key.extend_from_slice(&part.to_be_bytes());
            }
            Self::Status(job) | Self::Deleting(job) => key.extend_from_slice(&job.0),
            Self::Appended(job, block) | Self::Staged(job, block) => {
                key.extend_from_slice(&job.0);
                block.extend(&mut key);
            }
            Self::Lease(lease) => {
                key.extend_from_slice(&lease.epoch.to_be_bytes());
                key.extend_from_slice(&lease.number.to_be_bytes());
            }
            Self::ByIndex(job, first, at) => {
                key.extend_from_slice(&job.0);
                key.extend_from_slice(&first.to_be_bytes());
                at.extend(&mut key);
            }
            Self::ArmCell(arm, begin_ms) => {
                key.extend_from_slice(&arm.0.to_be_bytes());
                key.extend_from_slice(&begin_ms.to_be_bytes());
            }
            Self::ArmMark(arm) => key.extend_from_slice(&arm.0.to_be_bytes()),
        }
        key.into()
    }

    /// Reads a key.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let kind = bytes.first().copied().unwrap_or(0);
        let unknown = || Error {
            kind,
            bytes: bytes.len(),
            start: bytes.iter().take(40).map(|b| format!("{b:02x}")).collect(),
        };
        let mut rest = Reader(bytes.get(1..).unwrap_or_default());
        let key = rest.key(kind).ok_or_else(unknown)?;
        if rest.0.is_empty() {
            Ok(key)
        } else {
            Err(unknown())
        }
    }
}

impl Whole {
    fn extend(self, key: &mut Vec<u8>) {
        match self {
            Self::Job(job) => key.extend_from_slice(&job.0),
            Self::Record(job, at) | Self::Columns(job, at) | Self::Logs(job, at) => {
                key.extend_from_slice(&job.0);
                at.extend(key);
            }
            Self::Input(job, block) => {
                key.extend_from_slice(&job.0);
                block.extend(key);
            }
            Self::Artifact(upload) => key.extend_from_slice(&upload.0),
        }
    }
}

impl At {
    fn extend(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.commit.to_be_bytes());
        key.extend_from_slice(&self.n.to_be_bytes());
    }
}

impl Block {
    fn extend(self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.first.to_be_bytes());
        key.extend_from_slice(&self.appender.0.to_be_bytes());
    }
}

/// What is left of a key that is read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn key(&mut self, kind: u8) -> Option<Key> {
        const FORMAT: u8 = Kind::Format as u8;
        const FUNCTION: u8 = Kind::Function as u8;
        const JOB: u8 = Kind::Job as u8;
        const STATUS: u8 = Kind::Status as u8;
        const APPENDED: u8 = Kind::Appended as u8;
        const RECORD: u8 = Kind::Record as u8;
        const LEASE: u8 = Kind::Lease as u8;
        const INPUT: u8 = Kind::Input as u8;
        const COLUMNS: u8 = Kind::Columns as u8;
        const BY_INDEX: u8 = Kind::ByIndex as u8;
        const STAGED: u8 = Kind::Staged as u8;
        const DELETING: u8 = Kind::Deleting as u8;
        const MARK: u8 = Kind::Mark as u8;
        const REQUEST: u8 = Kind::Request as u8;
        const LOGS: u8 = Kind::Logs as u8;
        const PUBLISHED: u8 = Kind::Published as u8;
        const VERSION: u8 = Kind::Version as u8;
        const RETIRED: u8 = Kind::Retired as u8;
        const ALIAS: u8 = Kind::Alias as u8;
        const ARTIFACT: u8 = Kind::Artifact as u8;
        const STAGED_ARTIFACT: u8 = Kind::StagedArtifact as u8;
        const DELETING_ARTIFACT: u8 = Kind::DeletingArtifact as u8;
        const ARM_CELL: u8 = Kind::ArmCell as u8;
        const ARM_MARK: u8 = Kind::ArmMark as u8;
        const ROLLOUT: u8 = Kind::Rollout as u8;
        Some(match kind {
            FORMAT => Key::Format,
            FUNCTION => Key::Function(self.text()?),
            REQUEST => Key::Request(self.text()?),
            JOB => Key::Part(Whole::Job(self.job()?), self.part()?),
            STATUS => Key::Status(self.job()?),
            APPENDED => Key::Appended(self.job()?, self.block()?),
            RECORD => Key::Part(Whole::Record(self.job()?, self.at()?), self.part()?),
            LEASE => Key::Lease(LeaseId {
                epoch: self.u32()?,
                number: self.u64()?,
            }),
            INPUT => Key::Part(Whole::Input(self.job()?, self.block()?), self.part()?),
            COLUMNS => Key::Part(Whole::Columns(self.job()?, self.at()?), self.part()?),
            BY_INDEX => Key::ByIndex(self.job()?, self.u32()?, self.at()?),
            STAGED => Key::Staged(self.job()?, self.block()?),
            DELETING => Key::Deleting(self.job()?),
            MARK => Key::Mark,
            LOGS => Key::Part(Whole::Logs(self.job()?, self.at()?), self.part()?),
            PUBLISHED => Key::Published(self.text()?),
            VERSION => Key::Version(VersionId(self.u32()?)),
            RETIRED => Key::Retired(VersionId(self.u32()?)),
            ALIAS | ROLLOUT => {
                let text = self.text()?;
                let (function, name) = text.split_once('@')?;
                let (function, name) = (function.to_owned(), name.to_owned());
                if kind == ALIAS {
                    Key::Alias(function, name)
                } else {
                    Key::Rollout(function, name)
                }
            }
            ARTIFACT => Key::Part(Whole::Artifact(self.upload()?), self.part()?),
            STAGED_ARTIFACT => Key::StagedArtifact(self.upload()?),
            DELETING_ARTIFACT => Key::DeletingArtifact(self.upload()?),
            ARM_CELL => Key::ArmCell(ArmId(self.u32()?), self.u64()?),
            ARM_MARK => Key::ArmMark(ArmId(self.u32()?)),
            _ => return None,
        })
    }

    fn text(&mut self) -> Option<String> {
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).ok()?;
        Some(text.to_owned())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn upload(&mut self) -> Option<UploadId> {
        self.take().map(UploadId)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn job(&mut self) -> Option<JobId> {
        self.take().map(JobId)
    }

    fn part(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn at(&mut self) -> Option<At> {
        Some(At {
            commit: self.u64()?,
            n: self.u32()?,
        })
    }

    fn block(&mut self) -> Option<Block> {
        Some(Block {
            first: self.u32()?,
            appender: Appender(self.u32()?),
        })
    }
}

/// All keys of a kind.
pub(crate) fn all(kind: Kind) -> Range<Bytes> {
    let kind = kind as u8;
    Bytes::copy_from_slice(&[kind])..Bytes::copy_from_slice(&[kind + 1])
}

/// All keys of a kind that begin with a job's id.
pub(crate) fn under(kind: Kind, job: JobId) -> Range<Bytes> {
    let mut start = Vec::with_capacity(1 + job.0.len());
    start.push(kind as u8);
    start.extend_from_slice(&job.0);
    let end = behind(&start);
    start.into()..end
}

/// The parts of an artifact.
pub(crate) fn artifact(upload: UploadId) -> Range<Bytes> {
    let mut start = Vec::with_capacity(1 + upload.0.len());
    start.push(Kind::Artifact as u8);
    start.extend_from_slice(&upload.0);
    let end = behind(&start);
    start.into()..end
}

/// The smallest key above all that begin with `prefix`.
pub(crate) fn behind(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    // A kind byte is never 255, so that this ends before the key is empty.
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> impl Strategy<Value = At> {
        any::<(u64, u32)>().prop_map(|(commit, n)| At { commit, n })
    }

    fn block() -> impl Strategy<Value = Block> {
        any::<(u32, u32)>().prop_map(|(first, appender)| Block {
            first,
            appender: Appender(appender),
        })
    }

    fn job() -> impl Strategy<Value = JobId> {
        any::<[u8; 16]>().prop_map(JobId)
    }

    fn upload() -> impl Strategy<Value = UploadId> {
        any::<[u8; 16]>().prop_map(UploadId)
    }

    fn key() -> impl Strategy<Value = Key> {
        let whole = prop_oneof![
            job().prop_map(Whole::Job),
            (job(), at()).prop_map(|(job, at)| Whole::Record(job, at)),
            (job(), at()).prop_map(|(job, at)| Whole::Columns(job, at)),
            (job(), at()).prop_map(|(job, at)| Whole::Logs(job, at)),
            (job(), block()).prop_map(|(job, block)| Whole::Input(job, block)),
            upload().prop_map(Whole::Artifact),
        ];
        let lease = any::<(u32, u64)>().prop_map(|(epoch, number)| LeaseId { epoch, number });
        prop_oneof![
            Just(Key::Format),
            Just(Key::Mark),
            ".{0,12}".prop_map(Key::Function),
            ".{0,12}".prop_map(Key::Request),
            (whole, any::<u16>()).prop_map(|(whole, part)| Key::Part(whole, part)),
            job().prop_map(Key::Status),
            (job(), block()).prop_map(|(job, block)| Key::Appended(job, block)),
            lease.prop_map(Key::Lease),
            (job(), any::<u32>(), at()).prop_map(|(job, first, at)| Key::ByIndex(job, first, at)),
            (job(), block()).prop_map(|(job, block)| Key::Staged(job, block)),
            job().prop_map(Key::Deleting),
            "[a-z.]{0,12}".prop_map(Key::Published),
            any::<u32>().prop_map(|id| Key::Version(VersionId(id))),
            any::<u32>().prop_map(|id| Key::Retired(VersionId(id))),
            ("[a-z.]{0,12}", "[a-z.]{0,12}")
                .prop_map(|(function, name)| Key::Alias(function, name)),
            ("[a-z.]{1,20}", "[a-z]{1,20}")
                .prop_map(|(function, name)| Key::Rollout(function, name)),
            upload().prop_map(Key::StagedArtifact),
            upload().prop_map(Key::DeletingArtifact),
            any::<(u32, u64)>().prop_map(|(arm, begin)| Key::ArmCell(ArmId(arm), begin)),
            any::<u32>().prop_map(|arm| Key::ArmMark(ArmId(arm))),
        ]
    }

    proptest! {
        #[test]
        fn keys_come_back_and_lie_with_their_kind(key in key()) {
            let bytes = key.encode();
            prop_assert_eq!(&Key::decode(&bytes).unwrap(), &key);
            prop_assert!(all(key.kind()).contains(&bytes));
        }

        #[test]
        fn keys_of_a_job_lie_under_it(job in job(), other in job(), first: u32, at in at()) {
            let key = Key::ByIndex(job, first, at).encode();
            prop_assert!(under(Kind::ByIndex, job).contains(&key));
            prop_assert_eq!(under(Kind::ByIndex, other).contains(&key), job == other);
        }

        #[test]
        fn records_lie_in_the_order_of_their_commits(job in job(), one in at(), two in at()) {
            let key = |at| Key::Part(Whole::Record(job, at), 0).encode();
            prop_assert_eq!(one.cmp(&two), key(one).cmp(&key(two)));
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = Key::decode(&bytes);
        }
    }

    #[test]
    fn the_numbers_on_disk_stay() {
        let job = JobId([0xab; 16]);
        let key = Key::ByIndex(job, 7, At { commit: 3, n: 1 }).encode();
        let expected = [
            &[10][..],
            &[0xab; 16],
            &[0, 0, 0, 7],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 1],
        ];
        assert_eq!(key, expected.concat());
        let cut = Key::decode(&key[..key.len() - 1]).unwrap_err();
        let words = cut.to_string();
        assert!(
            words.starts_with("a key of 32 bytes and kind 10 is not known: 0aabab"),
            "{words}"
        );
    }
}
