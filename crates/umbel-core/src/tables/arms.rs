//! What came of the invocations of each arm, over time.
//!
//! Figures are durable: a turn that added some ends by writing the cells of time that it touched,
//! in the batch of the records which they are of, so that both are known after a restart or
//! neither is. Cells lie on a grid of the wall clock that grows coarser with age, the same for
//! all arms, so that arms are compared over the same time.

use std::collections::{BTreeMap, BTreeSet};

use crate::arm::ArmFigures;
use crate::change::Change;
use crate::limit;
use crate::route::ArmId;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How wide a cell is, for how long it stays so at least, and what it then becomes a part of.
/// What is older than all of these is one cell.
const GRID: [(u64, u64, u64); 3] = [
    (5 * MINUTE_MS, HOUR_MS, HOUR_MS),
    (HOUR_MS, DAY_MS, DAY_MS),
    (DAY_MS, 30 * DAY_MS, 30 * DAY_MS),
];

/// How long figures of what is written nowhere may stay in memory alone, in milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// Where the cell begins that a time lies in, seen from now.
pub(crate) fn cell_of(at_ms: u64, now_ms: u64) -> u64 {
    let grid = GRID.iter().find(|(_, kept_ms, next_ms)| {
        let oldest = now_ms.saturating_sub(*kept_ms);
        at_ms >= oldest - oldest % next_ms
    });
    grid.map_or(0, |(width_ms, ..)| at_ms - at_ms % width_ms)
}

/// What is kept of one arm.
#[derive(Debug, Default)]
struct Kept {
    /// By the time at which each begins. The last is the one that is added to.
    cells: BTreeMap<u64, ArmFigures>,
    /// The sum of the cells.
    total: ArmFigures,
    /// The sum as it was when its alias moved the last time, and when that was.
    mark: (u64, ArmFigures),
    /// When it was last added to, by [`Arms::now`].
    touched: u64,
}

/// The figures of all arms that have any.
#[derive(Debug, Default)]
pub(crate) struct Arms {
    arms: BTreeMap<ArmId, Kept>,
    /// Grows with each addition.
    now: u64,
    /// Cells that are not written as they are.
    dirty: BTreeSet<(ArmId, u64)>,
    /// Arms that made room, with the cells that were written of them.
    gone: Vec<(ArmId, BTreeSet<u64>)>,
    /// When to write, in engine time; at once, if this turn writes what they are figures of.
    due_ms: Option<u64>,
}

impl Arms {
    /// Adds to the figures of an arm.
    pub(crate) fn add(&mut self, arm: ArmId, wall_ms: u64, more: &ArmFigures) {
        if more.is_empty() {
            return;
        }
        self.now += 1;
        if !self.arms.contains_key(&arm) {
            self.make_room();
        }
        let kept = self.arms.entry(arm).or_default();
        kept.touched = self.now;
        kept.total.add(more);
        let begin_ms = cell_of(wall_ms, wall_ms);
        // A clock that was set back adds to what there is.
        let newest = kept.cells.keys().next_back().copied();
        let begin_ms = newest.map_or(begin_ms, |newest| begin_ms.max(newest));
        kept.cells.entry(begin_ms).or_default().add(more);
        self.dirty.insert((arm, begin_ms));
        if newest.is_some_and(|newest| newest < begin_ms) {
            coarsen(arm, kept, begin_ms, &mut self.dirty);
        }
    }

    /// So many that were sent to an arm are not any more, the latest of them.
    pub(crate) fn unsend(&mut self, arm: ArmId, count: u64) {
        let Some(kept) = self.arms.get_mut(&arm) else {
            return;
        };
        let mut left = count;
        for (begin_ms, cell) in kept.cells.iter_mut().rev() {
            let some = left.min(cell.routed);
            if some > 0 {
                cell.routed -= some;
                kept.total.routed -= some;
                left -= some;
                self.dirty.insert((arm, *begin_ms));
            }
            if left == 0 {
                break;
            }
        }
    }

    /// What was added belongs to what this turn writes.
    pub(crate) fn owe(&mut self) {
        if !self.dirty.is_empty() {
            self.due_ms = Some(0);
        }
    }

    /// What was added belongs to nothing that is written, so there is no hurry.
    pub(crate) fn owe_later(&mut self, engine_ms: u64) {
        if !self.dirty.is_empty() && self.due_ms.is_none() {
            self.due_ms = Some(engine_ms.saturating_add(PATIENCE_MS));
        }
    }

    /// When [`Self::changes`] has something to write, in engine time.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// What is to be written by now.
    pub(crate) fn changes(&mut self, engine_ms: u64) -> Vec<Change> {
        if self.due_ms.is_none_or(|due_ms| due_ms > engine_ms) {
            return Vec::new();
        }
        self.due_ms = None;
        let mut changes = Vec::new();
        for (arm, cells) in std::mem::take(&mut self.gone) {
            changes.extend(cells.into_iter().map(|begin_ms| Change::ArmCell {
                arm,
                begin_ms,
                figures: None,
            }));
            changes.push(Change::ArmForgotten(arm));
        }
        for (arm, begin_ms) in std::mem::take(&mut self.dirty) {
            let cell = self
                .arms
                .get(&arm)
                .and_then(|kept| kept.cells.get(&begin_ms));
            let figures = cell.cloned().map(Box::new);
            changes.push(Change::ArmCell {
                arm,
                begin_ms,
                figures,
            });
        }
        changes
    }

    /// The alias of these arms has moved: what comes now came after that.
    pub(crate) fn mark(
        &mut self,
        arms: impl IntoIterator<Item = ArmId>,
        at_ms: u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for arm in arms {
            let Some(kept) = self.arms.get_mut(&arm) else {
                continue;
            };
            kept.mark = (at_ms, kept.total.clone());
            changes.push(Change::ArmMarked {
                arm,
                at_ms,
                figures: Box::new(kept.total.clone()),
            });
        }
        // The mark is of what was added before it.
        self.owe();
        changes
    }

    /// Forgets arms, whose alias went with its function.
    pub(crate) fn forget(&mut self, arms: impl IntoIterator<Item = ArmId>) {
        for arm in arms {
            let Some(kept) = self.arms.remove(&arm) else {
                continue;
            };
            let mut cells: BTreeSet<u64> = kept.cells.into_keys().collect();
            // What has joined another cell may be written still.
            let dirty = self.dirty.range((arm, 0)..=(arm, u64::MAX));
            cells.extend(dirty.map(|(_, begin_ms)| *begin_ms));
            self.dirty.retain(|(other, _)| *other != arm);
            self.gone.push((arm, cells));
            self.due_ms = Some(0);
        }
    }

    /// Forgets the arm that was not heard of for the longest time, if there are too many.
    fn make_room(&mut self) {
        if self.arms.len() < limit::ARM_FIGURES_MAX {
            return;
        }
        let oldest = self.arms.iter().min_by_key(|(_, kept)| kept.touched);
        self.forget(oldest.map(|(arm, _)| *arm));
    }

    /// All that came of an arm since its figures began.
    pub(crate) fn total(&self, arm: ArmId) -> Option<&ArmFigures> {
        self.arms.get(&arm).map(|kept| &kept.total)
    }

    /// What came of an arm since its alias moved the last time.
    pub(crate) fn since_move(&self, arm: ArmId) -> ArmFigures {
        let kept = self.arms.get(&arm);
        kept.map_or_else(ArmFigures::default, |kept| kept.total.since(&kept.mark.1))
    }

    /// What came of an arm in the cells that begin at a time or after it.
    pub(crate) fn since(&self, arm: ArmId, begin_ms: u64) -> ArmFigures {
        let mut sum = ArmFigures::default();
        if let Some(kept) = self.arms.get(&arm) {
            let cells = kept.cells.range(begin_ms..);
            cells.for_each(|(_, figures)| sum.add(figures));
        }
        sum
    }

    /// A restart reads a cell.
    pub(crate) fn restore_cell(
        &mut self,
        arm: ArmId,
        begin_ms: u64,
        figures: Option<Box<ArmFigures>>,
    ) {
        let Some(figures) = figures else { return };
        let kept = self.arms.entry(arm).or_default();
        kept.total.add(&figures);
        kept.cells.insert(begin_ms, *figures);
        // Whoever was added to last is forgotten last.
        kept.touched = kept.touched.max(begin_ms);
        self.now = self.now.max(begin_ms);
    }

    /// A restart reads a mark.
    pub(crate) fn restore_mark(&mut self, arm: ArmId, at_ms: u64, figures: ArmFigures) {
        self.arms.entry(arm).or_default().mark = (at_ms, figures);
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        assert!(self.arms.len() <= limit::ARM_FIGURES_MAX);
        for kept in self.arms.values() {
            let mut sum = ArmFigures::default();
            kept.cells.values().for_each(|cell| sum.add(cell));
            assert_eq!(sum, kept.total, "a sum is the sum of its parts");
        }
        let known = |arm| self.arms.contains_key(arm);
        assert!(self.dirty.iter().all(|(arm, _)| known(arm)));
    }
}

/// A new cell began: those that have become old join the wider ones that they lie in.
fn coarsen(arm: ArmId, kept: &mut Kept, now_ms: u64, dirty: &mut BTreeSet<(ArmId, u64)>) {
    let moves = kept
        .cells
        .keys()
        .map(|begin| (*begin, cell_of(*begin, now_ms)));
    let moves: Vec<(u64, u64)> = moves.filter(|(begin, to)| begin != to).collect();
    for (begin_ms, to_ms) in moves {
        if let Some(figures) = kept.cells.remove(&begin_ms) {
            kept.cells.entry(to_ms).or_default().add(&figures);
            dirty.extend([(arm, begin_ms), (arm, to_ms)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succeeded(count: u64) -> ArmFigures {
        ArmFigures {
            succeeded: count,
            ..ArmFigures::default()
        }
    }

    const ONE: ArmId = ArmId(1);
    /// Some midnight.
    const NOW_MS: u64 = 20_000 * DAY_MS;

    #[test]
    fn the_grid_grows_coarser_with_age() {
        let at = NOW_MS - 7 * MINUTE_MS;
        let table = [
            (7, 10, 10),
            (3 * 60 + 7, 4 * 60, 4 * 60),
            (50 * 60, 72 * 60, 72 * 60),
        ];
        for (ago, begins_ago, again) in table {
            let cell = cell_of(NOW_MS - ago * MINUTE_MS, NOW_MS);
            assert_eq!(cell, NOW_MS - begins_ago * MINUTE_MS, "{ago}");
            assert_eq!(cell_of(cell, NOW_MS), NOW_MS - again * MINUTE_MS);
        }
        assert_eq!(cell_of(at, NOW_MS + 100 * DAY_MS), 0);
        assert_eq!(cell_of(5, 7), 0);
    }

    #[test]
    fn cells_are_bounded_and_nothing_is_lost_when_they_join() {
        let mut arms = Arms::default();
        let mut disk: BTreeMap<u64, ArmFigures> = BTreeMap::new();
        for step in 0..40_000_u64 {
            arms.add(ONE, NOW_MS + step * 3 * MINUTE_MS, &succeeded(1));
            arms.owe();
            for change in arms.changes(0) {
                let Change::ArmCell {
                    begin_ms, figures, ..
                } = change
                else {
                    panic!("only cells")
                };
                match figures {
                    Some(figures) => drop(disk.insert(begin_ms, *figures)),
                    None => drop(disk.remove(&begin_ms)),
                }
            }
        }
        arms.check();
        assert!(disk.len() < 140, "{}", disk.len());
        let mut back = Arms::default();
        for (begin_ms, figures) in disk {
            back.restore_cell(ONE, begin_ms, Some(Box::new(figures)));
        }
        assert_eq!(back.total(ONE), Some(&succeeded(40_000)));
        assert_eq!(back.arms[&ONE].cells, arms.arms[&ONE].cells);
        let now = NOW_MS + 39_999 * 3 * MINUTE_MS;
        let hour = cell_of(now - HOUR_MS, now);
        assert_eq!(
            back.since(ONE, hour).succeeded,
            (now - hour) / (3 * MINUTE_MS) + 1
        );
    }

    #[test]
    fn a_mark_begins_a_new_sum_and_a_clock_that_is_set_back_loses_nothing() {
        let mut arms = Arms::default();
        assert!(
            arms.mark([ONE], NOW_MS).is_empty(),
            "there is nothing of it"
        );
        arms.add(ONE, NOW_MS, &succeeded(3));
        let marked = arms.mark([ONE], NOW_MS + 1);
        assert_eq!(marked.len(), 1);
        arms.add(ONE, NOW_MS - DAY_MS, &succeeded(4));
        assert_eq!(arms.since_move(ONE), succeeded(4));
        assert_eq!(arms.total(ONE), Some(&succeeded(7)));
        assert_eq!(arms.since(ONE, NOW_MS), succeeded(7));
        arms.check();
    }

    #[test]
    fn what_nobody_writes_waits_a_while_and_goes_along_with_what_is_written() {
        let mut arms = Arms::default();
        arms.owe_later(5);
        assert_eq!(arms.due_ms(), None, "there is nothing to write");
        arms.add(ONE, NOW_MS, &succeeded(1));
        arms.owe_later(5);
        arms.owe_later(700);
        assert_eq!(arms.due_ms(), Some(5 + PATIENCE_MS));
        assert!(arms.changes(6).is_empty());
        arms.owe();
        assert_eq!(arms.changes(6).len(), 1);
        assert!(arms.changes(1 << 40).is_empty());
    }

    #[test]
    fn the_arm_not_heard_of_for_longest_makes_room() {
        let mut arms = Arms::default();
        let most = u32::try_from(limit::ARM_FIGURES_MAX).unwrap();
        for arm in 0..most {
            arms.add(ArmId(arm), NOW_MS, &succeeded(1));
        }
        arms.add(ArmId(0), NOW_MS, &succeeded(1));
        arms.add(ArmId(most), NOW_MS, &succeeded(1));
        arms.check();
        assert!(arms.total(ArmId(0)).is_some() && arms.total(ONE).is_none());
        let changes = arms.changes(0);
        assert!(
            changes.contains(&Change::ArmForgotten(ONE)),
            "{}",
            changes.len()
        );
    }
}
