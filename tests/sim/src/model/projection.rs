//! What of a machine is durable: all but sessions, live leases and attempts under way.

use std::collections::BTreeMap;

use umbel_core::change::JobStatus;
use umbel_core::function::VersionId;
use umbel_core::id::{Index, JobId};
use umbel_core::job::{Counts, Usage};
use umbel_core::machine::Machine;
use umbel_core::rollout::{Compared, Rollout};
use umbel_core::route::ArmId;
use umbel_core::view::{InvocationView, JobView, PublishedView};

use crate::moves::{ALIASES, PUBLISHED};

/// The durable part of a machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Projection {
    functions: Vec<String>,
    published: Vec<PublishedView>,
    rollouts: Vec<(Rollout, Compared, (u64, u64))>,
    /// Whether the figures of rollouts are compared too.
    figures: bool,
    jobs: BTreeMap<JobId, Job>,
}

#[derive(Clone, Debug, PartialEq)]
struct Job {
    status: JobStatus,
    counts: Counts,
    usage: Usage,
    invocations: Vec<Option<Stands>>,
}

/// How an invocation stands. Of its losses only those that count are compared: a lease may cover
/// invocations that differ in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Waits {
        failed: u16,
        lost_alone: u8,
        version: Option<VersionId>,
        arm: Option<ArmId>,
    },
    Succeeded,
    Failed,
    Cancelled,
}

impl Projection {
    pub(crate) fn of(machine: &Machine, figures: bool) -> Self {
        let functions = machine.functions("", usize::MAX).into_iter();
        let mut functions: Vec<String> = functions.map(|view| view.name).collect();
        functions.sort();
        let (views, rest) = machine.jobs(None, usize::MAX, &|_| true);
        assert_eq!(rest, None, "the jobs of a cluster are one page");
        let jobs = views
            .iter()
            .map(|view| (view.record.id, job(machine, view)));
        Self {
            functions,
            published: published(machine),
            rollouts: rollouts(machine, figures),
            figures,
            jobs: jobs.collect(),
        }
    }

    /// A machine that was restored from the batches up to this one is what wrote them.
    pub(crate) fn is_of(&self, machine: &Machine) {
        let found = Self::of(machine, self.figures);
        assert_eq!(self.functions, found.functions, "functions after a restart");
        assert_eq!(
            self.published, found.published,
            "published functions after a restart"
        );
        assert_eq!(
            self.rollouts, found.rollouts,
            "rollouts and their figures after a restart"
        );
        for (id, job) in &self.jobs {
            assert_eq!(
                Some(job),
                found.jobs.get(id),
                "job {id} before and after a restart"
            );
        }
        assert_eq!(self.jobs.len(), found.jobs.len(), "jobs after a restart");
    }
}

/// Published functions but for what workers have of them.
fn published(machine: &Machine) -> Vec<PublishedView> {
    let found = PUBLISHED.map(|name| machine.function(name, None, usize::MAX));
    let found = found.into_iter().filter_map(Result::ok);
    let found = found.map(|mut view| {
        for version in &mut view.versions {
            version.workers = 0;
            version.warm_workers = 0;
            version.kept_instances = 0;
            version.ready_instances = 0;
            version.figures = None;
        }
        view
    });
    found.collect()
}

/// Rollouts, and the figures that their guards judge.
fn rollouts(machine: &Machine, figures: bool) -> Vec<(Rollout, Compared, (u64, u64))> {
    let aliases = PUBLISHED
        .into_iter()
        .flat_map(|name| ALIASES.map(|alias| (name, alias)));
    let found = aliases.filter_map(|(name, alias)| machine.rollout(name, alias).ok());
    let found = found.map(|mut view| {
        // The words of the latest failure are for people, and kept with the next step only.
        view.rollout.last_failure.clear();
        // What was sent to an arm is written some time later than what came of it.
        view.compared.candidate.routed = 0;
        view.compared.baseline.routed = 0;
        if !figures {
            (view.compared, view.ended) = (Compared::default(), (0, 0));
            view.rollout.ended = None;
        }
        (view.rollout, view.compared, view.ended)
    });
    found.collect()
}

fn job(machine: &Machine, view: &JobView) -> Job {
    let mut counts = view.counts;
    counts.waiting += counts.leased;
    counts.leased = 0;
    let total = Index::try_from(counts.total).unwrap_or(Index::MAX);
    let stands = (0..total).map(|index| {
        machine
            .invocation(view.record.id, index)
            .map(|view| match view {
                InvocationView::Waiting { history, .. } | InvocationView::Leased { history } => {
                    Stands::Waits {
                        failed: history.failed,
                        lost_alone: history.lost_alone,
                        version: history.unrun().version,
                        arm: history.unrun().arm,
                    }
                }
                InvocationView::Succeeded => Stands::Succeeded,
                InvocationView::Failed => Stands::Failed,
                InvocationView::Cancelled => Stands::Cancelled,
            })
    });
    Job {
        status: view.status.clone(),
        counts,
        usage: view.usage,
        invocations: stands.collect(),
    }
}
