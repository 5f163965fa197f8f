//! What of one job waits. Invocations to which nothing has happened are a
//! cursor; the others are sets by what has happened to them.

use std::collections::BTreeMap;

use crate::function::VersionId;
use crate::history::History;
use crate::id::{Index, WorkerId};
use crate::index_set::IndexSet;
use crate::limit;
use crate::ranges::Ranges;
use crate::route::{Column, Decision};

use super::sorted::Sorted;

/// What a bucket's invocations share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wait {
    /// When they may run, milliseconds since 1970; 0: at once. First, so that
    /// buckets sort by it.
    pub(crate) due_ms: u64,
    /// What has happened to each.
    pub(crate) history: History,
}

impl Wait {
    /// Nothing has happened yet.
    pub(crate) const FRESH: Self = Self {
        due_ms: 0,
        history: History::FRESH,
    };

    fn now(history: History) -> Self {
        Self { due_ms: 0, history }
    }
}

/// What waits of one job.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Nothing from here up to `end` was ever granted.
    fresh: Index,
    /// The end of what may run.
    end: Index,
    /// Below `fresh`, and yet nothing has happened to them: they came back unrun.
    returned: IndexSet,
    /// Of a job whose alias has rules or a split: those of the two above that were sorted by
    /// what it says of them. Nothing else of the two is cut.
    sorted: Sorted,
    /// Suspects that must travel alone; they are always due.
    lone: BTreeMap<History, IndexSet>,
    /// All others to which something has happened.
    buckets: BTreeMap<Wait, IndexSet>,
    /// How many are in `lone` and `buckets`.
    with_history: u64,
    /// Held back for workers that may still have them.
    held: BTreeMap<(WorkerId, Wait), IndexSet>,
    /// How many of all these are pinned to which version.
    pinned: BTreeMap<VersionId, u64>,
}

/// Invocations that leave the backlog together: all have the same history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Which.
    pub(crate) indices: Ranges,
    /// What they share.
    pub(crate) wait: Wait,
    /// Whether they were sorted: nothing has happened to them, and `wait` is what a route says.
    pub(crate) sorted: bool,
}

impl Cut {
    fn of(indices: Ranges, wait: Wait) -> Self {
        Self {
            indices,
            wait,
            sorted: false,
        }
    }
}

impl Backlog {
    /// A backlog after a restart: all below `fresh` that is not `final_` waits as
    /// if nothing had happened to it, until [`Self::claim`] says otherwise.
    pub(crate) fn restored(fresh: Index, final_: &[&IndexSet]) -> Self {
        let mut returned = IndexSet::new();
        returned.insert_all(&Ranges::one(0..fresh));
        for set in final_ {
            returned.subtract(set);
        }
        Self {
            fresh,
            end: fresh,
            returned,
            ..Self::default()
        }
    }

    /// Lets all up to `end` run.
    pub(crate) fn allow(&mut self, end: Index) {
        self.end = self.end.max(end);
    }

    /// The end of what may run.
    pub(crate) fn end(&self) -> Index {
        self.end
    }

    /// Puts invocations into the backlog that are leased or just failed.
    pub(crate) fn put(&mut self, indices: &Ranges, wait: Wait) {
        if indices.is_empty() {
            return;
        }
        if wait == Wait::FRESH {
            self.put_fresh(indices);
            return;
        }
        let set = if wait.history.is_lone_suspect() {
            self.lone.entry(wait.history).or_default()
        } else {
            self.buckets.entry(wait).or_default()
        };
        let count = set.insert_all(indices);
        self.with_history += count;
        self.pin(wait.history, count);
    }

    fn pin(&mut self, history: History, count: u64) {
        if let Some(version) = history.version.filter(|_| count > 0) {
            *self.pinned.entry(version).or_default() += count;
        }
    }

    fn unpin(&mut self, history: History, count: u64) {
        if let Some(version) = history.version.filter(|_| count > 0) {
            let pinned = self.pinned.entry(version).or_default();
            *pinned -= count;
            if *pinned == 0 {
                self.pinned.remove(&version);
            }
        }
    }

    /// Whether anything which waits is pinned to a version.
    pub(crate) fn is_pinned(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// The versions that something which waits is pinned to.
    pub(crate) fn pinned(&self) -> impl Iterator<Item = (VersionId, u64)> {
        self.pinned
            .iter()
            .map(|(version, count)| (*version, *count))
    }

    /// Nobody can run these versions now.
    pub(crate) fn strand(&mut self, versions: &[(VersionId, u64)]) {
        self.sorted.strand(versions);
    }

    /// The versions that something which waits will run, for some reason or other, each with how many
    /// that are; what is fresh and not sorted is not among them.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (VersionId, u64)> {
        self.pinned().chain(self.sorted.versions())
    }

    fn put_fresh(&mut self, indices: &Ranges) {
        // What was cut last may come back first: then the cursor just goes back.
        let whole = indices.run_count() == 1;
        if whole && indices.last().is_some_and(|last| last + 1 == self.fresh) {
            self.fresh = indices.first().unwrap_or(self.fresh);
            return;
        }
        self.returned.insert_all(indices);
    }

    /// Takes out at most `count` that are due and need not travel alone, of those pinned to
    /// a version that `can` be run (none: to no version).
    pub(crate) fn cut(
        &mut self,
        count: u32,
        wall_ms: u64,
        can: &dyn Fn(Option<VersionId>) -> bool,
    ) -> Option<Cut> {
        let mut due = self
            .buckets
            .keys()
            .take_while(|wait| wait.due_ms <= wall_ms);
        if let Some(&wait) = due.find(|wait| can(wait.history.version)) {
            let count = match wait.history.suspect_chunk {
                0 => count,
                most => count.min(most),
            };
            return self.cut_bucket(wait, count);
        }
        if self.sorted.is_routed() {
            return self.cut_sorted(count, can);
        }
        if !can(None) {
            return None;
        }
        self.cut_fresh(count)
    }

    /// Takes out some to which nothing has happened, whatever would be decided of them.
    pub(crate) fn cut_fresh(&mut self, count: u32) -> Option<Cut> {
        if !self.returned.is_empty() {
            let indices = take(&mut self.returned, count);
            return Some(Cut::of(indices, Wait::FRESH));
        }
        if !self.fresh_is_open() {
            return None;
        }
        let begin = self.fresh;
        self.fresh = self.end.min(begin.saturating_add(count));
        let indices = Ranges::one(begin..self.fresh);
        Some(Cut::of(indices, Wait::FRESH))
    }

    fn cut_sorted(&mut self, count: u32, can: &dyn Fn(Option<VersionId>) -> bool) -> Option<Cut> {
        if self.has_too_many_retries() {
            return None;
        }
        let take = |set: &mut IndexSet| take(set, count);
        let can = |decision: Decision| can(Some(decision.version));
        let (decision, indices) = self.sorted.cut(take, can)?;
        let history = History {
            version: Some(decision.version),
            arm: decision.arm,
            ..History::FRESH
        };
        Some(Cut {
            indices,
            wait: Wait::now(history),
            sorted: true,
        })
    }

    /// Puts back some of what was just cut.
    pub(crate) fn put_back(&mut self, cut: &Cut, rest: &Ranges) {
        let history = cut.wait.history;
        match history.version.filter(|_| cut.sorted) {
            Some(version) => {
                let arm = history.arm;
                self.sorted.put(Decision { arm, version }, rest);
            }
            None => self.put(rest, cut.wait),
        }
    }

    /// The routing of this revision decides from now on, or none does.
    pub(crate) fn route(&mut self, revision: Option<u64>) {
        if let Some(unsorted) = self.sorted.route(revision) {
            self.returned.insert_all(&unsorted.runs().collect());
        }
    }

    /// What is to be sorted next, if anything is.
    pub(crate) fn unsorted(&mut self) -> Option<Ranges> {
        let count = self.sorted.wants();
        if count == 0 {
            return None;
        }
        if self.returned.is_empty() {
            let end = self.end.min(self.fresh.saturating_add(count));
            return Some(Ranges::one(self.fresh..end)).filter(|run| !run.is_empty());
        }
        let next = take(&mut self.returned, count);
        self.returned.insert_all(&next);
        Some(next)
    }

    /// Whether something is to be sorted.
    pub(crate) fn wants_sorting(&self) -> bool {
        self.sorted.wants() > 0 && (!self.returned.is_empty() || self.fresh < self.end)
    }

    /// A shell is asked to sort these.
    pub(crate) fn ask_sorted(&mut self, indices: Ranges) {
        self.sorted.ask(indices);
    }

    /// Takes in what a shell has sorted; tells whether it counts.
    pub(crate) fn sort(&mut self, column: &Column) -> bool {
        if !self.sorted.takes(column) {
            return false;
        }
        self.reach(&column.indices);
        for (decision, indices) in &column.sorted {
            let waiting = self.returned.intersect(indices);
            self.returned.remove_all(&waiting);
            self.sorted.put(*decision, &waiting);
        }
        true
    }

    fn cut_bucket(&mut self, wait: Wait, count: u32) -> Option<Cut> {
        let set = self.buckets.get_mut(&wait)?;
        let indices = take(set, count);
        if set.is_empty() {
            self.buckets.remove(&wait);
        }
        self.with_history -= indices.len();
        self.unpin(wait.history, indices.len());
        Some(Cut::of(indices, wait))
    }

    /// Takes out one that must travel alone, as [`Self::cut`] does.
    pub(crate) fn cut_lone(&mut self, can: &dyn Fn(Option<VersionId>) -> bool) -> Option<Cut> {
        let mut histories = self.lone.keys();
        let history = *histories.find(|history| can(history.version))?;
        let set = self.lone.get_mut(&history)?;
        let indices = take(set, 1);
        if set.is_empty() {
            self.lone.remove(&history);
        }
        self.with_history -= indices.len();
        self.unpin(history, indices.len());
        Some(Cut::of(indices, Wait::now(history)))
    }

    /// The version that the next which is due is pinned to, or that was decided of it.
    pub(crate) fn next_version(&self, wall_ms: u64) -> Option<VersionId> {
        let first = self.buckets.first_key_value();
        let due = first.filter(|(wait, _)| wait.due_ms <= wall_ms);
        match due {
            Some((wait, _)) => wait.history.version,
            None => self.sorted.next().map(|decision| decision.version),
        }
    }

    /// Whether [`Self::cut`] would find something, could everything be run.
    pub(crate) fn has_due(&self, wall_ms: u64) -> bool {
        let open = if self.sorted.is_routed() {
            self.sorted.len() > 0 && !self.has_too_many_retries()
        } else {
            self.fresh_is_open() || !self.returned.is_empty()
        };
        open || self.next_due().is_some_and(|due| due <= wall_ms)
    }

    /// Too many exceptions would cost memory for each, so nothing new joins them.
    fn fresh_is_open(&self) -> bool {
        self.fresh < self.end && !self.has_too_many_retries()
    }

    /// Whether what is fresh waits until what is not has drained.
    pub(crate) fn has_too_many_retries(&self) -> bool {
        self.with_history > limit::RETRIES_WAITING_MAX
    }

    /// When the earliest of what waits out a backoff is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(wait, _)| wait.due_ms)
    }

    /// How many must travel alone.
    pub(crate) fn lone_len(&self) -> u64 {
        self.lone.values().map(IndexSet::len).sum()
    }

    /// How many wait that may be leased now or after a backoff.
    pub(crate) fn open_len(&self) -> u64 {
        self.fresh_len() + self.with_history
    }

    /// How many are held back.
    pub(crate) fn held_len(&self) -> u64 {
        self.held.values().map(IndexSet::len).sum()
    }

    /// How many wait out a backoff, and when the first of them is due.
    pub(crate) fn backing_off(&self, wall_ms: u64) -> (u64, Option<u64>) {
        let mut later = self
            .buckets
            .iter()
            .filter(|(wait, _)| wait.due_ms > wall_ms)
            .peekable();
        let first = later.peek().map(|(wait, _)| wait.due_ms);
        (later.map(|(_, set)| set.len()).sum(), first)
    }

    /// How many wait to which nothing has happened.
    pub(crate) fn fresh_len(&self) -> u64 {
        let ahead = u64::from(self.end.saturating_sub(self.fresh));
        ahead + self.returned.len() + self.sorted.len()
    }

    /// How many of them lie ready, sorted by what a route says; none: no route decides.
    pub(crate) fn sorted_len(&self) -> Option<u64> {
        self.sorted.is_routed().then(|| self.sorted.len())
    }

    /// How one waits, if it does.
    pub(crate) fn find(&self, index: Index) -> Option<Wait> {
        let fresh = (self.fresh..self.end).contains(&index);
        if fresh || self.returned.contains(index) || self.sorted.contains(index) {
            return Some(Wait::FRESH);
        }
        let lone = self.lone.iter().find(|(_, set)| set.contains(index));
        let lone = lone.map(|(history, _)| Wait::now(*history));
        let bucket = || {
            let found = self.buckets.iter().find(|(_, set)| set.contains(index));
            found.map(|(wait, _)| *wait)
        };
        let held = || {
            let found = self.held.iter().find(|(_, set)| set.contains(index));
            found.map(|((_, wait), _)| *wait)
        };
        lone.or_else(bucket).or_else(held)
    }

    /// Takes out those of `indices` that wait, held back for this worker or for
    /// nobody, by what they share.
    pub(crate) fn claim(&mut self, indices: &Ranges, worker: WorkerId) -> Vec<Cut> {
        let mut cuts = self.claim_unheld(indices);
        let before = cuts.len();
        for ((holder, wait), set) in &mut self.held {
            if *holder == worker {
                claim_of(set, *wait, indices, &mut cuts);
            }
        }
        for cut in cuts.iter().skip(before) {
            self.unpin(cut.wait.history, cut.indices.len());
        }
        self.held.retain(|_, set| !set.is_empty());
        cuts
    }

    /// Takes out those of `indices` that wait and are held back for nobody.
    pub(crate) fn claim_unheld(&mut self, indices: &Ranges) -> Vec<Cut> {
        let mut cuts = Vec::new();
        self.reach(indices);
        claim_of(&mut self.returned, Wait::FRESH, indices, &mut cuts);
        let sorted = self.sorted.claim(indices);
        if !sorted.is_empty() {
            cuts.push(Cut::of(sorted, Wait::FRESH));
        }
        for (history, set) in &mut self.lone {
            self.with_history -= claim_of(set, Wait::now(*history), indices, &mut cuts);
        }
        for (wait, set) in &mut self.buckets {
            self.with_history -= claim_of(set, *wait, indices, &mut cuts);
        }
        self.lone.retain(|_, set| !set.is_empty());
        self.buckets.retain(|_, set| !set.is_empty());
        for cut in &cuts {
            self.unpin(cut.wait.history, cut.indices.len());
        }
        cuts
    }

    /// Takes out those with such a history that wait and are held back for nobody.
    pub(crate) fn claim_if(&mut self, is: impl Fn(History) -> bool) -> Vec<Cut> {
        let mut cuts = Vec::new();
        self.lone.retain(|history, set| {
            let goes = is(*history);
            if goes {
                cuts.push(Cut::of(set.runs().collect(), Wait::now(*history)));
            }
            !goes
        });
        self.buckets.retain(|wait, set| {
            let goes = is(wait.history);
            if goes {
                cuts.push(Cut::of(set.runs().collect(), *wait));
            }
            !goes
        });
        for cut in &cuts {
            self.with_history -= cut.indices.len();
            self.unpin(cut.wait.history, cut.indices.len());
        }
        cuts
    }

    /// How many with such a history wait.
    pub(crate) fn count_if(&self, is: impl Fn(History) -> bool) -> u64 {
        let lone = self.lone.iter().map(|(history, set)| (*history, set));
        let buckets = self.buckets.iter().map(|(wait, set)| (wait.history, set));
        let held = self.held.iter().map(|((_, wait), set)| (wait.history, set));
        let all = lone.chain(buckets).chain(held);
        let some = all.filter(|(history, _)| is(*history));
        some.map(|(_, set)| set.len()).sum()
    }

    /// Moves the cursor behind what of `indices` may run, so that all of it can
    /// be taken out one by one.
    fn reach(&mut self, indices: &Ranges) {
        let behind = indices.last().map_or(0, |last| last + 1).min(self.end);
        if behind > self.fresh {
            self.returned.insert_all(&Ranges::one(self.fresh..behind));
            self.fresh = behind;
        }
    }

    /// Holds invocations back for a worker that may still have them.
    pub(crate) fn hold(&mut self, indices: &Ranges, wait: Wait, worker: WorkerId) {
        if !indices.is_empty() {
            let set = self.held.entry((worker, wait)).or_default();
            let count = set.insert_all(indices);
            self.pin(wait.history, count);
        }
    }

    /// Lets what is held back for a worker (none: for anybody) wait like the rest.
    pub(crate) fn release(&mut self, worker: Option<WorkerId>) {
        let held = std::mem::take(&mut self.held);
        for ((holder, wait), set) in held {
            if worker.is_none_or(|worker| worker == holder) {
                self.unpin(wait.history, set.len());
                self.put(&set.runs().collect(), wait);
            } else {
                self.held.insert((holder, wait), set);
            }
        }
    }

    /// Walks the invariants; gives the number of those that wait.
    pub(crate) fn check(&self) -> u64 {
        let buckets: u64 = self.buckets.values().map(IndexSet::len).sum();
        assert_eq!(
            buckets + self.lone_len(),
            self.with_history,
            "each retry is counted once"
        );
        assert!(self.fresh <= self.end);
        assert_eq!(
            self.returned.count_within(self.fresh..Index::MAX),
            0,
            "what came back lies below the cursor"
        );
        let mut pinned: BTreeMap<VersionId, u64> = BTreeMap::new();
        let waits = self.buckets.iter().map(|(wait, set)| (wait.history, set));
        let waits = waits.chain(self.lone.iter().map(|(history, set)| (*history, set)));
        let held = self.held.iter().map(|((_, wait), set)| (wait.history, set));
        for (history, set) in waits.chain(held) {
            if let Some(version) = history.version {
                *pinned.entry(version).or_default() += set.len();
            }
        }
        assert_eq!(pinned, self.pinned, "each is pinned once");
        let sets = self.buckets.values().chain(self.lone.values());
        let sets = sets.chain(self.held.values());
        assert!(sets.clone().all(|set| !set.is_empty()), "no set is empty");
        let mut all = self.returned.clone();
        let sorted: Ranges = self.sorted.check().runs().collect();
        assert_eq!(all.insert_all(&sorted), sorted.len(), "each waits once");
        assert!(sorted.last().is_none_or(|last| last < self.fresh));
        for set in sets {
            let ranges: Ranges = set.runs().collect();
            assert_eq!(all.insert_all(&ranges), set.len(), "each waits once");
        }
        all.len() + u64::from(self.end - self.fresh)
    }
}

/// Takes what a set has of `indices`; tells how many.
fn claim_of(set: &mut IndexSet, wait: Wait, indices: &Ranges, cuts: &mut Vec<Cut>) -> u64 {
    let indices = set.intersect(indices);
    let count = set.remove_all(&indices);
    if count > 0 {
        cuts.push(Cut::of(indices, wait));
    }
    count
}

/// Takes the first of a set, within the bounds of a chunk.
fn take(set: &mut IndexSet, count: u32) -> Ranges {
    set.take_first(
        u64::from(count),
        limit::CHUNK_RUNS_MAX,
        limit::RECORD_SPAN_MAX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: Option<VersionId>) -> bool {
        true
    }

    fn retried(failed: u16, due_ms: u64) -> Wait {
        Wait {
            due_ms,
            history: History {
                failed,
                ..History::FRESH
            },
        }
    }

    #[test]
    fn retries_that_are_due_go_first_and_stay_a_range() {
        let mut backlog = Backlog::default();
        backlog.allow(100);
        let first = backlog.cut(10, 0, &any).unwrap();
        backlog.put(&first.indices, retried(1, 500));
        assert_eq!(
            backlog.cut(4, 499, &any).unwrap().indices,
            Ranges::one(10..14)
        );
        let again = backlog.cut(100, 500, &any).unwrap();
        assert_eq!(again.indices, Ranges::one(0..10));
        assert_eq!(again.wait, retried(1, 500));
        backlog.check();
    }

    #[test]
    fn a_suspect_travels_in_its_chunk_or_alone() {
        let mut backlog = Backlog::default();
        backlog.allow(10);
        let all = backlog.cut(10, 0, &any).unwrap();
        let suspect = |suspect_chunk| Wait {
            due_ms: 0,
            history: History {
                suspect_chunk,
                ..History::FRESH
            },
        };
        let mut indices = all.indices;
        let tail = indices.split_off(7);
        backlog.put(&indices, suspect(5));
        backlog.put(&tail, suspect(1));
        assert_eq!(backlog.cut(100, 0, &any).unwrap().indices.len(), 5);
        assert_eq!(backlog.cut(100, 0, &any).unwrap().indices.len(), 2);
        assert_eq!(
            backlog.cut(100, 0, &any),
            None,
            "lone ones are not mixed in"
        );
        assert_eq!(backlog.cut_lone(&any).unwrap().indices, Ranges::one(7..8));
        assert_eq!(backlog.lone_len(), 2);
    }

    #[test]
    fn what_is_held_is_claimed_by_its_worker_only() {
        let (a, b) = (WorkerId([1; 16]), WorkerId([2; 16]));
        let mut backlog = Backlog::default();
        backlog.allow(10);
        let cut = backlog.cut(4, 0, &any).unwrap();
        backlog.hold(&cut.indices, cut.wait, a);
        assert_eq!(backlog.claim(&Ranges::one(0..2), b), []);
        assert_eq!(backlog.claim(&Ranges::one(0..2), a).len(), 1);
        assert_eq!(
            backlog.claim(&Ranges::one(6..8), b)[0].indices,
            Ranges::one(6..8),
            "what was never granted here may be claimed too"
        );
        backlog.release(None);
        assert_eq!(backlog.check(), 6);
        assert_eq!(
            backlog.cut(100, 0, &any).unwrap().indices,
            Ranges::one(2..6)
        );
    }

    #[test]
    fn a_worker_gets_only_what_it_can_run() {
        let mut backlog = Backlog::default();
        backlog.allow(10);
        let pinned = |number| Wait {
            due_ms: 0,
            history: History {
                failed: 1,
                version: Some(VersionId(number)),
                ..History::FRESH
            },
        };
        for number in 1..=2 {
            let cut = backlog.cut(2, 0, &|version| version.is_none()).unwrap();
            backlog.put(&cut.indices, pinned(number));
        }
        assert_eq!(backlog.next_version(0), Some(VersionId(1)));
        let only = |wanted: Option<u32>| move |version| version == wanted.map(VersionId);
        let second = backlog.cut(100, 0, &only(Some(2))).unwrap();
        assert_eq!(second.indices, Ranges::one(2..4), "not the first in line");
        let fresh = backlog.cut(100, 0, &only(None)).unwrap();
        assert_eq!(fresh.indices, Ranges::one(4..10));
        assert_eq!(backlog.cut(100, 0, &only(None)), None);
        assert_eq!(backlog.pinned().collect::<Vec<_>>(), [(VersionId(1), 2)]);
        backlog.hold(&second.indices, pinned(2), WorkerId([1; 16]));
        backlog.check();
        backlog.release(None);
        assert_eq!(backlog.check(), 4);
    }
}
