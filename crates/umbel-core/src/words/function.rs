//! Published functions: their versions, and the aliases that move between them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::route::{ArmId, Plan, Route};
use super::shadow::Shadow;

/// The alias that a bare function's name means.
pub const LIVE: &str = "live";

/// 32 bytes of SHA-256: of an artifact, or of all that makes a version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A version of any function, numbered by the coordinator from 1 and never used again:
/// short enough to stand in every history, lease and record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(pub u32);

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// One upload of an artifact, the 16 bytes of a UUID: under it the bytes lie in the
/// store, so that two uploads of one artifact never write over each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

/// What runs a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// A program that is started for each invocation.
    Exec,
    /// A warm process that speaks the Lambda Runtime API.
    Lambda,
    /// A Python function, in a warm process.
    Python,
    /// A Node.js function, in a warm process.
    Node,
    /// A WebAssembly module or component.
    Wasm,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Exec,
        Self::Lambda,
        Self::Python,
        Self::Node,
        Self::Wasm,
    ];

    /// The word that people write and read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Lambda => "lambda",
            Self::Python => "python",
            Self::Node => "node",
            Self::Wasm => "wasm",
        }
    }

    /// The runtime of a word.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether builds of umbel have it or lack it, whatever their host has.
    #[must_use]
    pub fn is_of_builds(self) -> bool {
        self == Self::Wasm
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// Some runtimes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Runtimes(u8);

impl Runtimes {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub fn insert(&mut self, runtime: Runtime) {
        self.0 |= runtime.bit();
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, runtime: Runtime) -> bool {
        self.0 & runtime.bit() != 0
    }

    /// Whether the two have one in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Runtime> {
        Runtime::ALL.into_iter().filter(move |r| self.contains(*r))
    }

    /// Their words, as in `python or node`.
    #[must_use]
    pub fn in_words(self) -> String {
        let words: Vec<&str> = self.iter().map(Runtime::as_str).collect();
        words.join(" or ")
    }
}

impl Extend<Runtime> for Runtimes {
    fn extend<T: IntoIterator<Item = Runtime>>(&mut self, runtimes: T) {
        runtimes.into_iter().for_each(|one| self.insert(one));
    }
}

impl FromIterator<Runtime> for Runtimes {
    fn from_iter<T: IntoIterator<Item = Runtime>>(runtimes: T) -> Self {
        let mut all = Self::NONE;
        runtimes.into_iter().for_each(|one| all.insert(one));
        all
    }
}

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Which version of a function a target means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qualifier {
    /// This one, by number.
    Version(u32),
    /// Wherever an alias points.
    Alias(String),
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(number) => write!(f, "{number}"),
            Self::Alias(name) => f.write_str(name),
        }
    }
}

/// How a version is run. Part of what the version *is*: with another spec it is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSpec {
    /// What runs it.
    pub runtime: Runtime,
    /// What is called in it: `app.handler`, a file, a command; what it means is the
    /// runtime's business. Empty: what the runtime finds by itself.
    pub handler: String,
    /// The command that is started, for `exec` and `lambda`; empty: the artifact's own.
    pub command: Vec<String>,
    /// Variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// How much memory an instance may take, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many files an instance may have open.
    pub files_max: Option<u64>,
    /// How many processes an instance may have.
    pub processes_max: Option<u64>,
    /// How long one attempt may run, where its job does not say less.
    pub timeout_ms: Option<u64>,
    /// How long an instance may take until it asks for its first input.
    pub init_timeout_ms: Option<u64>,
    /// How long an instance is kept that has nothing to do.
    pub idle_timeout_ms: Option<u64>,
    /// How many instances are to be kept ready.
    pub warm: u32,
    /// Whether it has no effect but its output.
    pub pure: bool,
}

/// The bytes of a version, addressed by digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of what is packed in it (see `proto/ARTIFACT.md`).
    pub digest: Digest,
    /// The upload under which it lies in the store.
    pub upload: UploadId,
    /// Its length as it is stored and sent.
    pub packed_bytes: u64,
    /// Its length unpacked.
    pub unpacked_bytes: u64,
    /// How many files it holds.
    pub file_count: u32,
}

/// A publication of a function. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number among all versions.
    pub id: VersionId,
    /// The function.
    pub function: String,
    /// Its number among the function's versions, from 1.
    pub number: u32,
    /// The digest of name, spec and artifact: what is published twice is one version.
    pub content: Digest,
    /// How it is run.
    pub spec: VersionSpec,
    /// Its bytes.
    pub artifact: Artifact,
    /// The start of the coordinator that it was published at; 0: not told. What an earlier start
    /// called by this id was another version, whose publication was lost with it.
    pub epoch: u32,
    /// When it was published, milliseconds since 1970.
    pub published_ms: u64,
    /// Who published it, as they said.
    pub published_by: String,
}

/// What is kept of a published function, and of a deleted one as long as a kept job names it, so that
/// no number means two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRecord {
    /// Its name.
    pub name: String,
    /// The number of its newest version, removed or not.
    pub last_number: u32,
    /// The id of that version.
    pub last_id: VersionId,
    /// Whether it was deleted, and not published since.
    pub deleted: bool,
    /// The number of the newest arm of its aliases.
    pub last_arm: ArmId,
}

/// A movable name of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The function.
    pub function: String,
    /// Its name.
    pub name: String,
    /// Where it points.
    pub route: Route,
    /// Whether it goes along with each new version.
    pub follows: bool,
    /// Where it pointed before, the last at the end: what a rollback goes back to.
    pub trail: Vec<Route>,
    /// How it came to point there, the newest at the end.
    pub moves: Vec<Move>,
    /// The arms that it ever had, as far as they are remembered: their names by number.
    pub arms: BTreeMap<ArmId, String>,
    /// Where copies of what is submitted over it go.
    pub shadow: Option<Shadow>,
}

impl Alias {
    /// How many bytes it takes at most to remember it, with all that it remembers itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let trail = self.trail.iter().map(Route::bytes);
        let moves = self.moves.iter().map(Move::bytes);
        let arms = self.arms.values().map(|name| Self::arm_bytes(name));
        let shadow = self.shadow.as_ref().map(Shadow::bytes);
        self.route.bytes() + trail.chain(moves).chain(arms).chain(shadow).sum::<usize>()
    }

    /// The same of the name of one arm.
    #[must_use]
    pub fn arm_bytes(name: &str) -> usize {
        16 + name.len()
    }
}

impl Move {
    /// How many bytes it takes at most to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        48 + self.by.len() + self.plan.as_deref().map_or(0, Plan::bytes)
    }
}

/// One move of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Why it moved.
    pub kind: MoveKind,
    /// Who moved it, as they said.
    pub by: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// From which version; none: it is new.
    pub from: Option<u32>,
    /// To which version.
    pub to: u32,
    /// Its rules and split since then; none: it had none, or they are not remembered any more.
    pub plan: Option<Arc<Plan>>,
}

/// Why an alias moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveKind {
    /// It followed a new version.
    Published,
    /// It was pointed there.
    Pointed,
    /// It was rolled back.
    RolledBack,
    /// Its rules and split were set.
    RouteSet,
    /// A version began to be rolled out.
    RolloutStarted,
    /// A rollout went to its next step.
    RolloutStepped,
    /// A rollout ended with the new version in place of the old one.
    Promoted,
    /// A rollout was taken back.
    RolloutRolledBack,
}

impl MoveKind {
    /// Whether a rollback goes back to where it was before such a move. Of a rollout that ended
    /// well, that is where it was before it began.
    #[must_use]
    pub fn leaves_trail(self) -> bool {
        match self {
            Self::Published | Self::Pointed | Self::RouteSet => true,
            Self::RolledBack
            | Self::RolloutStarted
            | Self::RolloutStepped
            | Self::Promoted
            | Self::RolloutRolledBack => false,
        }
    }

    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Pointed => "pointed",
            Self::RolledBack => "rolled_back",
            Self::RouteSet => "route_set",
            Self::RolloutStarted => "rollout_started",
            Self::RolloutStepped => "rollout_stepped",
            Self::Promoted => "promoted",
            Self::RolloutRolledBack => "rollout_rolled_back",
        }
    }
}

/// What a worker has of versions: the placement prefers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Versions that stand ready, by what they are.
    pub warm: Vec<Digest>,
    /// Artifacts that lie in its cache.
    pub cached: Vec<Digest>,
    /// Of the versions that are to stand ready, how many instances do; of what needs no instance,
    /// as many as are to be kept.
    pub standing: Vec<(Digest, u32)>,
    /// Versions that could not be made ready when that was last tried.
    pub failed: Vec<Digest>,
}

/// A version that a worker is to have ready before there is work for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The version.
    pub version: VersionId,
    /// How many instances of it; at least 1, and no more than the worker has slots.
    pub instances: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_a_set_of_words() {
        let some: Runtimes = [Runtime::Node, Runtime::Python].into_iter().collect();
        assert!(some.contains(Runtime::Node) && !some.contains(Runtime::Wasm));
        assert_eq!(some.in_words(), "python or node");
        let exec = Runtimes::from_iter([Runtime::Exec]);
        assert!(!some.meets(exec) && Runtimes::NONE.is_empty());
        for runtime in Runtime::ALL {
            assert_eq!(Runtime::of_name(runtime.as_str()), Some(runtime));
        }
    }
}
