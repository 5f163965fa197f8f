//! What a returning worker still holds, judged index by index: what nobody else
//! has and is not final it keeps, the rest it drops.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Out, lease, reclaim, route};
use crate::function::VersionId;
use crate::history::History;
use crate::id::{LeaseId, WorkerId};
use crate::limit;
use crate::message::{Offer, OfferAnswer};
use crate::ranges::Ranges;
use crate::tables::Tables;
use crate::tables::backlog::Cut;

/// Answers offers in order; tells also how many were kept.
pub(crate) fn answer(
    t: &mut Tables,
    out: &mut Out,
    worker: WorkerId,
    offers: Vec<Offer>,
) -> (Vec<OfferAnswer>, usize) {
    let mut offered: BTreeSet<LeaseId> = BTreeSet::new();
    let mut alive: BTreeSet<LeaseId> = BTreeSet::new();
    let mut answers = Vec::with_capacity(offers.len());
    for offer in offers {
        let old_lease = offer.lease;
        let kept = if offered.insert(old_lease) {
            judge(t, out, worker, offer)
        } else {
            None
        };
        alive.extend(kept.as_ref().map(|(lease, _)| *lease));
        let lease = kept.as_ref().and_then(|(lease, _)| t.leases.find(*lease));
        let slots = lease.map_or(0, |lease| lease.slots);
        answers.push(OfferAnswer {
            old_lease,
            kept,
            slots,
        });
    }
    // A lease that the worker does not know of was lost on the way to it.
    for id in t.leases.ids_of_worker(worker) {
        if !alive.contains(&id)
            && let Some(lease) = t.leases.find(id)
        {
            let open = lease.open.clone();
            lease::give_back(t, out, id, &open);
        }
    }
    reclaim::release(t, out, worker);
    let kept = answers
        .iter()
        .filter(|answer| answer.kept.is_some())
        .count();
    (answers, kept)
}

fn judge(
    t: &mut Tables,
    out: &mut Out,
    worker: WorkerId,
    offer: Offer,
) -> Option<(LeaseId, Ranges)> {
    let live = t.leases.held_by(offer.lease, worker);
    if let Some(lease) = live.filter(|lease| lease.job == offer.job) {
        let kept = lease.open.intersect(&offer.indices);
        let rest = lease.open.minus(&kept);
        lease::give_back(t, out, offer.lease, &rest);
        if kept.is_empty() {
            return None;
        }
        t.leases.narrow(offer.lease, &kept);
        return Some((offer.lease, kept));
    }
    renew(t, out, worker, &offer)
}

/// What an ended lease covered and waits again, or is held back for this worker,
/// gets a lease of this epoch.
fn renew(
    t: &mut Tables,
    out: &mut Out,
    worker: WorkerId,
    offer: &Offer,
) -> Option<(LeaseId, Ranges)> {
    let slots = t.roster.find(worker)?.slots;
    let side = t.leases.of_worker(worker);
    let full = side.len() >= limit::WORKER_LEASES_MAX;
    let used = t.leases.of_job(offer.job).slots;
    if !is_there(t, offer) {
        return None;
    }
    let arm = route::arm_offered(t, t.jobs.find(offer.job)?, offer);
    let job = t.jobs.find_mut(offer.job)?;
    if job.is_outdated(offer.lease) {
        return None;
    }
    let left = job
        .slot_limit()
        .map_or(u64::MAX, |limit| u64::from(limit).saturating_sub(used));
    let slots = slots.min(u32::try_from(left).unwrap_or(u32::MAX));
    let running = job.running.as_mut()?;
    if full || slots == 0 {
        return None;
    }
    let cuts = running.backlog.claim(&bounded(&offer.indices), worker);
    let runs = |version: Option<VersionId>| version.is_none() || version == offer.version;
    let still_open =
        |cut: &Cut| runs(cut.wait.history.version) && is_open(cut.wait.history, offer.attempt);
    let (open, recorded) = cuts.into_iter().partition(still_open);
    let (kept, (waited, history), others) = most_alike(open);
    for cut in others.into_iter().chain(recorded) {
        running.backlog.put(&cut.indices, cut.wait);
    }
    t.touch(offer.job);
    if kept.is_empty() {
        return None;
    }
    // What is held back for it bears the arm of the lease that it had; of a lease that nobody
    // else remembers, the arm that the worker was told.
    let granted = History {
        version: offer.version,
        arm: match history.version {
            Some(version) if Some(version) == offer.version => history.arm,
            _ => arm,
        },
        ..history
    };
    let id = lease::promise(t, out, (worker, offer.job, slots), &kept, (waited, granted))?;
    Some((id, kept))
}

/// Whether the version that is offered is the one that this id means now: it may be forgotten since, or
/// its publication was lost with an earlier start, and the id was given out again. A route may have led
/// to it from another function.
fn is_there(t: &Tables, offer: &Offer) -> bool {
    offer.version.is_none_or(|id| {
        let version = t.functions.version(id);
        version.is_some_and(|version| version.epoch <= offer.lease.epoch)
    })
}

/// Whether an attempt that was granted under this number can still be counted. Its
/// failure may have been recorded, and only the acknowledgement lost: to keep the
/// attempt would count it twice. A loss in between does not end it; where the
/// history cannot tell the two apart, the invocation rather runs again.
fn is_open(history: History, attempt: u32) -> bool {
    history.failed == 0 || history.next_attempt() == attempt
}

/// As much of an offer as a chunk may have.
fn bounded(indices: &Ranges) -> Ranges {
    let first = indices.first().unwrap_or(0);
    let within = Ranges::one(first..first.saturating_add(limit::RECORD_SPAN_MAX));
    let mut bounded = indices.intersect(&within);
    let _behind = bounded.split_off(u64::from(limit::CHUNK_INVOCATIONS_MAX));
    bounded
}

/// The largest part that one lease can cover: histories that differ only in losses
/// become the one that has seen the most. The others go on waiting. With how it waits again, should it
/// come back unrun, and what is known of what it is granted under.
fn most_alike(cuts: Vec<Cut>) -> (Ranges, (History, History), Vec<Cut>) {
    let mut alike: BTreeMap<(u16, u8, Option<VersionId>), Vec<Cut>> = BTreeMap::new();
    for cut in cuts {
        let history = cut.wait.history;
        let pinned = history.unrun().version;
        let key = (history.failed, history.lost_alone, pinned);
        alike.entry(key).or_default().push(cut);
    }
    let count = |cuts: &Vec<Cut>| -> u64 { cuts.iter().map(|cut| cut.indices.len()).sum() };
    let most = alike.iter().max_by_key(|(_, cuts)| count(cuts));
    let Some(key) = most.map(|(key, _)| *key) else {
        let none = (History::FRESH, History::FRESH);
        return (Ranges::new(), none, Vec::new());
    };
    let chosen = alike.remove(&key).unwrap_or_default();
    let mut kept = Ranges::new();
    let mut history = chosen
        .first()
        .map_or(History::FRESH, |cut| cut.wait.history);
    for cut in chosen {
        kept = kept.union(&cut.indices);
        let other = cut.wait.history;
        history.lost = history.lost.max(other.lost);
        history.suspect_chunk = match (history.suspect_chunk, other.suspect_chunk) {
            (0, chunk) | (chunk, 0) => chunk,
            (one, other) => one.min(other),
        };
    }
    // It did not take its worker down; that one is back.
    if history.is_lone_suspect() {
        history.suspect_chunk = 2;
    }
    let (_, _, pinned) = key;
    let waited = History {
        version: pinned,
        arm: history.arm.filter(|_| pinned.is_some()),
        ..history
    };
    let others = alike.into_values().flatten().collect();
    (kept, (waited, history), others)
}

#[cfg(test)]
mod tests {
    use super::super::testing::route::{bucket, wish};
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::command::Note;
    use crate::function::{Qualifier, Runtime};
    use crate::job::{JobState, Target};
    use crate::outcome::FailureKind;

    /// Gives a worker's process back what it forgot too early: it was not told that
    /// its report is durable, so it holds what it reported.
    fn unacknowledged(env: &mut Env, name: &str, lease: LeaseId, indices: Ranges) {
        let worker = env.workers.get_mut(name).unwrap();
        worker.open.insert(lease, indices);
    }

    #[test]
    fn a_failure_whose_acknowledgement_was_lost_counts_once() {
        let mut env = Env::new();
        env.worker("a", 1);
        let job = env.submit_range(1);
        let (lease, indices) = env.open("a").remove(0);
        let attempts = vec![failed(0, FailureKind::Function)];
        env.report("a", lease, (run(0..0), attempts), 10);
        unacknowledged(&mut env, "a", lease, indices);
        env.restart();
        env.connect("a");
        assert_eq!(env.open("a"), [], "what was recorded is not kept");
        env.advance(1_000);
        let (lease, indices) = env.open("a").remove(0);
        assert_eq!(env.workers["a"].held[&lease].head.attempt, 2);
        env.report("a", lease, (indices, Vec::new()), 10);
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.view(job).usage.attempts, 2);
    }

    fn seven_to_three(alias: &str) -> crate::route::RouteWish {
        let version = |number| Target::Version("f".to_owned(), Qualifier::Version(number));
        wish(
            ("f", alias),
            &[],
            &[(version(1), 7_000), (version(2), 3_000)],
        )
    }

    #[test]
    fn what_is_held_under_a_forgotten_lease_runs_for_the_arm_that_was_told() {
        let mut env = Env::with_three_versions();
        env.set_route(seven_to_three("live"));
        let job = env.submit_to("f", 10);
        let disk = env.disk.clone();
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        assert!(env.open_len("a") > 0);
        env.disk = disk;
        env.restart();
        env.connect("a");
        env.work_off();
        let arm_of = |index| if bucket(index) < 7_000 { "1" } else { "2" };
        let expected: Vec<_> = (0..10).map(arm_of).collect();
        assert_eq!(env.disk.arms_of(job), expected);
    }

    #[test]
    fn an_arm_that_was_lost_with_its_route_and_given_to_another_is_not_believed() {
        let mut env = Env::with_three_versions();
        let job = env.submit_to("f", 4);
        let disk = env.disk.clone();
        env.set_route(seven_to_three("live"));
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        assert!(env.open_len("a") > 0);
        env.disk = disk;
        env.restart();
        env.set_route(seven_to_three("canary"));
        env.connect("a");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.disk.arms_of(job), [""; 4]);
    }

    #[test]
    fn an_id_that_was_lost_with_its_publication_and_given_again_is_another_version() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        let job = env.submit_to("f", 4);
        let disk = env.disk.clone();
        env.publish("f", "lost", Runtime::Python);
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        let mut held = env.workers["a"].held.values();
        assert!(held.all(|grant| grant.head.version == Some(VersionId(2))));
        assert_eq!(env.open_len("a"), 4);
        env.disk = disk;
        env.restart();
        env.publish("f", "two", Runtime::Python);
        env.connect("a");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let mut offers_kept = env.notes.iter().filter_map(|note| match note {
            Note::WorkerJoined { kept, .. } => Some(*kept),
            _ => None,
        });
        assert_eq!(
            offers_kept.next_back(),
            Some(0),
            "what it ran is lost, and runs again"
        );
    }

    #[test]
    fn a_loss_does_not_end_an_attempt_whose_worker_returns() {
        let lost = History {
            lost: 1,
            ..History::FRESH
        };
        let failed = History {
            failed: 1,
            ..History::FRESH
        };
        assert!(is_open(History::FRESH, 1) && is_open(lost, 1) && is_open(failed, 2));
        assert!(!is_open(failed, 1));
    }
}
