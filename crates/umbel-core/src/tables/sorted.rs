//! What of one job was sorted by what a route says of it, and waits to be cut. Only inputs to
//! which nothing has happened are here, and only some of them: those that are cut soon.

use std::collections::BTreeMap;

use crate::function::VersionId;
use crate::id::Index;
use crate::index_set::IndexSet;
use crate::limit;
use crate::ranges::Ranges;
use crate::route::{Column, Decision};

/// Inputs by what was decided of them.
#[derive(Debug)]
pub(crate) struct Sorted {
    /// The routing that counts; none: the job has none, and nothing is sorted.
    revision: Option<u64>,
    /// What a shell was asked to sort, and has not answered.
    asked: Option<Ranges>,
    sets: BTreeMap<Decision, IndexSet>,
    len: u64,
    /// How many of those go where no worker can run them: they do not lie ready for anybody.
    stranded: u64,
    /// How many are to lie ready: more each time that they were not enough.
    ahead: u32,
}

impl Default for Sorted {
    fn default() -> Self {
        Self {
            revision: None,
            asked: None,
            sets: BTreeMap::new(),
            len: 0,
            stranded: 0,
            ahead: limit::SORT_AHEAD_LEAST,
        }
    }
}

impl Sorted {
    /// Whether a route decides.
    pub(crate) fn is_routed(&self) -> bool {
        self.revision.is_some()
    }

    /// How many lie ready.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// This routing counts from now on; gives what was sorted by another one.
    pub(crate) fn route(&mut self, revision: Option<u64>) -> Option<IndexSet> {
        if self.revision == revision {
            return None;
        }
        self.revision = revision;
        self.asked = None;
        (self.len, self.stranded) = (0, 0);
        let mut all = IndexSet::new();
        for set in std::mem::take(&mut self.sets).into_values() {
            all.insert_all(&set.runs().collect());
        }
        Some(all)
    }

    /// How many more are to be sorted now.
    pub(crate) fn wants(&self) -> u32 {
        let ready = self.len.saturating_sub(self.stranded) >= u64::from(self.ahead / 2);
        if !self.is_routed() || self.asked.is_some() || ready {
            return 0;
        }
        self.ahead
    }

    /// A shell is asked for these.
    pub(crate) fn ask(&mut self, indices: Ranges) {
        self.asked = Some(indices);
        self.ahead = self
            .ahead
            .saturating_mul(2)
            .min(limit::SORT_INVOCATIONS_MAX);
    }

    /// Whether a column is the one that was asked for and still counts; it is waited for no more.
    pub(crate) fn takes(&mut self, column: &Column) -> bool {
        let takes =
            self.revision == Some(column.revision) && self.asked.as_ref() == Some(&column.indices);
        if takes {
            self.asked = None;
        }
        takes
    }

    /// These were decided.
    pub(crate) fn put(&mut self, decision: Decision, indices: &Ranges) {
        if !indices.is_empty() {
            let set = self.sets.entry(decision).or_default();
            self.len += set.insert_all(indices);
        }
    }

    /// Takes some out that go to a version which `can` be run: of those decisions the one whose
    /// first input comes first.
    pub(crate) fn cut(
        &mut self,
        take: impl FnOnce(&mut IndexSet) -> Ranges,
        can: impl Fn(Decision) -> bool,
    ) -> Option<(Decision, Ranges)> {
        let able = self.sets.iter().filter(|(decision, _)| can(**decision));
        let (decision, _) = able.min_by_key(|(_, set)| set.first())?;
        let decision = *decision;
        let set = self.sets.get_mut(&decision)?;
        let indices = take(set);
        if set.is_empty() {
            self.sets.remove(&decision);
        }
        self.len -= indices.len();
        Some((decision, indices))
    }

    /// Nobody can run these versions now.
    pub(crate) fn strand(&mut self, versions: &[(VersionId, u64)]) {
        let lost = |id: VersionId| versions.iter().any(|(other, _)| *other == id);
        let stranded = self.versions().filter(|(id, _)| lost(*id));
        self.stranded = stranded.map(|(_, count)| count).sum();
    }

    /// The versions that were decided for, each with how many inputs.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (VersionId, u64)> {
        let sets = self.sets.iter();
        sets.map(|(decision, set)| (decision.version, set.len()))
    }

    /// What was decided of the input that comes first.
    pub(crate) fn next(&self) -> Option<Decision> {
        let first = self.sets.iter().min_by_key(|(_, set)| set.first());
        first.map(|(decision, _)| *decision)
    }

    /// Takes these out, whatever was decided.
    pub(crate) fn claim(&mut self, indices: &Ranges) -> Ranges {
        let mut claimed = Ranges::new();
        for set in self.sets.values_mut() {
            let held = set.intersect(indices);
            self.len -= set.remove_all(&held);
            claimed = claimed.union(&held);
        }
        self.sets.retain(|_, set| !set.is_empty());
        claimed
    }

    /// Whether one lies ready.
    pub(crate) fn contains(&self, index: Index) -> bool {
        self.sets.values().any(|set| set.contains(index))
    }

    /// Walks the invariants; gives all that lies ready.
    pub(crate) fn check(&self) -> IndexSet {
        let mut all = IndexSet::new();
        for set in self.sets.values() {
            assert!(!set.is_empty(), "no set is empty");
            let ranges: Ranges = set.runs().collect();
            assert_eq!(all.insert_all(&ranges), set.len(), "each is decided once");
        }
        assert_eq!(all.len(), self.len);
        assert!(self.is_routed() || (self.len == 0 && self.asked.is_none()));
        all
    }
}
