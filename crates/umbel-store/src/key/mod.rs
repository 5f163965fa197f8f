//! The keys: one page that shows how everything lies on disk.
//!
//! A key is a byte for its kind, then ids as big-endian numbers, so that the order of the keys is
//! the order in which they are read:
//!
//! | kind | key behind the kind byte | value |
//! |---|---|---|
//! | 1 `Format` | | `Format` |
//! | 2 `Function` | name | |
//! | 3 `Job` | job 16, part 2 | part of a `JobRecord` |
//! | 4 `Status` | job 16 | `JobStatus` |
//! | 5 `Appended` | job 16, first 4, appender 4 | `AppendedRecord` |
//! | 6 `Record` | job 16, commit 8, n 4, part 2 | part of an `IndexRecord` |
//! | 7 `Lease` | epoch 4, number 8 | `LeaseRecord` |
//! | 8 `Input` | job 16, first 4, appender 4, part 2 | part of a block of inputs |
//! | 9 `Columns` | job 16, commit 8, n 4, part 2 | part of a `ResultColumns` |
//! | 10 `ByIndex` | job 16, first 4, commit 8, n 4 | last index, 4 |
//! | 11 `Staged` | job 16, first 4, appender 4 | |
//! | 12 `Deleting` | job 16 | |
//! | 13 `Mark` | | number of the last turn, 8, live bytes, 8; the engine's own |
//! | 14 `Request` | request id | `RequestRecord` |
//! | 15 `Published` | name | `FunctionRecord` |
//! | 16 `Version` | version 4 | `VersionRecord` |
//! | 17 `Retired` | version 4 | `RetiredRecord` |
//! | 18 `Alias` | function, `@`, name | `AliasRecord` |
//! | 19 `Artifact` | upload 16, part 2 | part of an artifact |
//! | 20 `StagedArtifact` | upload 16 | |
//! | 21 `DeletingArtifact` | upload 16 | |
//! | 22 `Logs` | job 16, commit 8, n 4, part 2 | part of a `LogColumns` |
//! | 23 `ArmCell` | arm 4, beginning 8 | `ArmFiguresRecord` |
//! | 24 `ArmMark` | arm 4 | `ArmFiguresRecord` |
//! | 25 `Rollout` | function, `@`, alias | `RolloutRecord` |
//!
//! A restart reads the kinds up to `Lease`, `Request`, those of published functions but for their
//! artifacts, the figures of arms, rollouts, and the marks of what is staged or being deleted; inputs, outputs, logs, `ByIndex` and
//! artifacts are most of the bytes and lie apart. The numbers are on disk: they are never
//! changed and never used again.

mod codec;

use umbel_core::function::{UploadId, VersionId};
use umbel_core::id::{Appender, Index, JobId, LeaseId};
use umbel_core::route::ArmId;

pub(crate) use codec::{Error, all, artifact, behind, under};

/// Which kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Format = 1,
    Function = 2,
    Job = 3,
    Status = 4,
    Appended = 5,
    Record = 6,
    Lease = 7,
    Input = 8,
    Columns = 9,
    ByIndex = 10,
    Staged = 11,
    Deleting = 12,
    Mark = 13,
    Request = 14,
    Published = 15,
    Version = 16,
    Retired = 17,
    Alias = 18,
    Artifact = 19,
    StagedArtifact = 20,
    DeletingArtifact = 21,
    Logs = 22,
    ArmCell = 23,
    ArmMark = 24,
    Rollout = 25,
}

/// The last kind that there is.
pub(crate) const LAST: Kind = Kind::Rollout;

/// The kinds that begin with a job's id and go with the job, in the order of their removal: what is
/// small and found by others first.
pub(crate) const OF_JOB: [Kind; 9] = [
    Kind::Job,
    Kind::Status,
    Kind::Appended,
    Kind::Staged,
    Kind::ByIndex,
    Kind::Record,
    Kind::Columns,
    Kind::Logs,
    Kind::Input,
];

/// A value that is cut into parts; the keys of the parts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Job(JobId),
    Record(JobId, At),
    Input(JobId, Block),
    Columns(JobId, At),
    Logs(JobId, At),
    Artifact(UploadId),
}

/// Where a record lies in the story of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct At {
    /// The number of the turn that wrote it.
    pub(crate) commit: u64,
    /// Its position among the records of the turn.
    pub(crate) n: u32,
}

/// A block of inputs and the upload that staged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first: Index,
    pub(crate) appender: Appender,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// The data as a whole: version and epoch.
    Format,
    /// A function was announced once.
    Function(String),
    /// One part of a value that may be long.
    Part(Whole, u16),
    /// Where a job stands.
    Status(JobId),
    /// A block was accepted.
    Appended(JobId, Block),
    /// A lease was granted.
    Lease(LeaseId),
    /// A record has something to say about indices from this one on.
    ByIndex(JobId, Index, At),
    /// A block was staged; the mark goes when the block is accepted.
    Staged(JobId, Block),
    /// The job is forgotten, and what it left is being removed.
    Deleting(JobId),
    /// How far the turns came, to be held against a mark beside the data, and how much there is.
    Mark,
    /// A request id that outlives its job.
    Request(String),
    /// A function was published once.
    Published(String),
    /// A version was published.
    Version(VersionId),
    /// A version takes no new jobs.
    Retired(VersionId),
    /// Where an alias points: the function, and the alias's name.
    Alias(String, String),
    /// An artifact was staged; the mark goes when a version is made of it.
    StagedArtifact(UploadId),
    /// No version needs the artifact, and it is being removed.
    DeletingArtifact(UploadId),
    /// What came of an arm in the cell of time that begins here, milliseconds since 1970.
    ArmCell(ArmId, u64),
    /// What had come of an arm when its alias moved the last time.
    ArmMark(ArmId),
    /// The rollout of a function's alias.
    Rollout(String, String),
}

impl Key {
    /// The kind of key.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Format => Kind::Format,
            Self::Function(_) => Kind::Function,
            Self::Part(Whole::Job(_), _) => Kind::Job,
            Self::Part(Whole::Record(..), _) => Kind::Record,
            Self::Part(Whole::Input(..), _) => Kind::Input,
            Self::Part(Whole::Columns(..), _) => Kind::Columns,
            Self::Part(Whole::Logs(..), _) => Kind::Logs,
            Self::Part(Whole::Artifact(_), _) => Kind::Artifact,
            Self::Status(_) => Kind::Status,
            Self::Appended(..) => Kind::Appended,
            Self::Lease(_) => Kind::Lease,
            Self::ByIndex(..) => Kind::ByIndex,
            Self::Staged(..) => Kind::Staged,
            Self::Deleting(_) => Kind::Deleting,
            Self::Mark => Kind::Mark,
            Self::Request(_) => Kind::Request,
            Self::Published(_) => Kind::Published,
            Self::Version(_) => Kind::Version,
            Self::Retired(_) => Kind::Retired,
            Self::Alias(..) => Kind::Alias,
            Self::StagedArtifact(_) => Kind::StagedArtifact,
            Self::DeletingArtifact(_) => Kind::DeletingArtifact,
            Self::ArmCell(..) => Kind::ArmCell,
            Self::ArmMark(_) => Kind::ArmMark,
            Self::Rollout(..) => Kind::Rollout,
        }
    }
}
