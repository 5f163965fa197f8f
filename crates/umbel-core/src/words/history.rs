//! What has already happened to invocations that wait. Invocations with an equal
//! history stay together as a range, so a job whose every input failed once costs
//! no more than one whose inputs are fresh.

use super::function::VersionId;
use super::route::ArmId;

/// What has happened so far to each invocation of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History {
    /// Attempts that failed and count toward `max_attempts`.
    pub failed: u16,
    /// Attempts lost with their worker. Shown, never counted toward `max_attempts`.
    pub lost: u16,
    /// Losses while it was alone on its worker; these count toward the crash limit.
    pub lost_alone: u8,
    /// For a suspect: the size of the chunk it may travel in, halved at each loss.
    /// 0: not a suspect.
    pub suspect_chunk: u32,
    /// The version that it is pinned to: the one that its first attempt began with.
    /// None before that, and where nothing was published.
    pub version: Option<VersionId>,
    /// The arm that it was sent to by the route of its job's alias; it is pinned to it as it is
    /// to the version.
    pub arm: Option<ArmId>,
    /// Whether it keeps `version` and `arm` even if nothing has happened to it: it ran before a redrive, which
    /// begins its attempts anew and not its version.
    pub keeps_version: bool,
}

impl History {
    /// Nothing has happened yet.
    pub const FRESH: Self = Self {
        failed: 0,
        lost: 0,
        lost_alone: 0,
        suspect_chunk: 0,
        version: None,
        arm: None,
        keeps_version: false,
    };

    /// What is left of it in a redrive.
    #[must_use]
    pub fn redriven(version: Option<VersionId>, arm: Option<ArmId>) -> Self {
        Self {
            version,
            arm: arm.filter(|_| version.is_some()),
            keeps_version: version.is_some(),
            ..Self::FRESH
        }
    }

    /// Attempts that have ended.
    #[must_use]
    pub fn attempts(self) -> u32 {
        u32::from(self.failed) + u32::from(self.lost)
    }

    /// The number of the attempt that comes next, from 1.
    #[must_use]
    pub fn next_attempt(self) -> u32 {
        self.attempts() + 1
    }

    /// What is left of it when a grant came back unrun: to what never began, nothing has
    /// happened, and so it is not pinned either, unless it was before its redrive.
    #[must_use]
    pub fn unrun(self) -> Self {
        if self.is_fresh() { Self::FRESH } else { self }
    }

    /// Whether nothing has happened yet, whatever version it was granted under.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        let unpinned = Self {
            version: None,
            arm: None,
            ..self
        };
        unpinned == Self::FRESH
    }

    /// Whether it must travel alone.
    #[must_use]
    pub fn is_lone_suspect(self) -> bool {
        self.suspect_chunk == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redrive_pins_what_never_began() {
        let (version, arm) = (Some(VersionId(7)), Some(ArmId(3)));
        let granted = History {
            version,
            arm,
            ..History::FRESH
        };
        assert_eq!(granted.unrun(), History::FRESH);
        let redriven = History::redriven(version, arm).unrun();
        assert_eq!((redriven.version, redriven.arm), (version, arm));
        assert_eq!(History::redriven(None, arm), History::FRESH);
    }
}
