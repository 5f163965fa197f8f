//! Which version of a function runs, and who can run it.

use std::sync::Arc;

use crate::command::Refusal;
use crate::function::{LIVE, Qualifier, Runtimes, VersionId};
use crate::history::History;
use crate::id::{JobId, WorkerId};
use crate::job::Target;
use crate::limit;
use crate::message::Offer;
use crate::policy::{Labels, Policy};
use crate::route::{ArmId, Lead, Node, Route, Routing};
use crate::tables::Tables;
use crate::tables::demands::Demand;
use crate::tables::functions::{Functions, Moved};
use crate::tables::job::{Job, Running};

/// Which version a target gives to what is new; none: it is not of a published function.
pub(crate) fn now(t: &Tables, target: &Target) -> Option<VersionId> {
    leads_to(t, target).filter(|id| t.functions.takes_jobs(*id))
}

/// Which version a target means; what runs already may need one that takes no jobs.
fn leads_to(t: &Tables, target: &Target) -> Option<VersionId> {
    match target {
        Target::Function(name) => t.functions.live(name).map(|version| version.id),
        Target::Version(name, qualifier) => t.functions.resolve(name, qualifier),
        Target::Program(_) => None,
    }
}

/// The version that all of a job keeps to, wherever its target comes to lead.
pub(crate) fn pinned(job: &Job) -> Option<VersionId> {
    let redriven = job.status.redriven.as_ref();
    let elsewhere = redriven.is_some_and(|redriven| redriven.target.is_some());
    let accepted = job.record.version.filter(|_| !elsewhere);
    job.status.pinned.or(accepted)
}

/// Which version what is fresh of a job would run.
pub(crate) fn meant(t: &Tables, job: &Job) -> Option<VersionId> {
    pinned(job).or_else(|| leads_to(t, job.target()))
}

/// The version that all of a new job or redrive keeps to, if its target or its policy says so.
pub(crate) fn pin(t: &Tables, target: &Target, policy: &Policy) -> Option<VersionId> {
    let by_number = matches!(target, Target::Version(_, Qualifier::Version(_)));
    now(t, target).filter(|_| by_number || policy.pin)
}

/// The rules and splits that decide what is fresh of a job; none: as most do, it runs what it
/// [`meant`].
pub(crate) fn routing<'a>(t: &'a Tables, job: &'a Job) -> Option<&'a Arc<Routing>> {
    if job.status.pinned.is_some() {
        return job.status.routing.as_ref();
    }
    if pinned(job).is_some() {
        return job.record.routing.as_ref();
    }
    routing_of(t, job.target())
}

/// The rules and splits that all of a new job or redrive keeps to, if its policy says so.
pub(crate) fn pin_routing(t: &Tables, target: &Target, policy: &Policy) -> Option<Arc<Routing>> {
    routing_of(t, target).filter(|_| policy.pin).map(frozen)
}

/// A routing that never changes, so its revision says nothing.
pub(crate) fn frozen(routing: &Arc<Routing>) -> Arc<Routing> {
    Arc::new(Routing {
        revision: 0,
        nodes: routing.nodes.clone(),
    })
}

/// The rules and splits of the alias that a target names.
pub(crate) fn routing_of<'a>(t: &'a Tables, target: &Target) -> Option<&'a Arc<Routing>> {
    match target {
        _ if t.functions.are_plain() => None,
        Target::Function(name) => t.functions.routing(name, LIVE),
        Target::Version(name, Qualifier::Alias(alias)) => t.functions.routing(name, alias),
        Target::Version(_, Qualifier::Version(_)) | Target::Program(_) => None,
    }
}

/// The arm for which a worker says that it runs a version of a job, if the route of the job's alias
/// or a rollout there leads from the one to the other: the route that did may have been lost with an
/// earlier start, and the arm's number be another's now.
pub(crate) fn arm_offered(t: &Tables, job: &Job, offer: &Offer) -> Option<ArmId> {
    let (arm, version) = (offer.arm?, offer.version?);
    let owner = t.functions.arm(arm)?;
    let is_owner = match job.target() {
        Target::Function(name) => owner.is_of(name, LIVE),
        Target::Version(name, Qualifier::Alias(alias)) => owner.is_of(name, alias),
        Target::Version(..) | Target::Program(_) => false,
    };
    let routed = || {
        let routing = routing(t, job)?;
        let node = routing.nodes.first()?;
        let place = node.plan.targets().position(|(id, ..)| id == arm)?;
        Some(match node.leads.get(place)? {
            Lead::Version(id) => *id == version,
            Lead::Node(_) => routing.versions().any(|id| id == version),
        })
    };
    let rolled_out = || {
        let (rollout, version) = (t.rollouts.of_candidate(arm)?, t.functions.version(version)?);
        Some((&rollout.function, rollout.to) == (&version.function, version.number))
    };
    let leads = routed() == Some(true) || rolled_out() == Some(true);
    (is_owner && leads).then_some(arm)
}

/// Whether an alias may have a route now: all that it names is there, and nothing leads back.
pub(crate) fn judge(t: &Tables, function: &str, alias: &str, route: &Route) -> Result<(), Refusal> {
    version(t, function, route.to)?;
    let Some(plan) = &route.plan else {
        return Ok(());
    };
    for (_, _, target) in plan.targets() {
        known(t, target)?;
        if let Some(name) = target
            .function()
            .filter(|name| t.functions.find(name).is_none())
        {
            return Err(unpublished(t, name));
        }
    }
    let moved = Moved {
        function,
        alias,
        route,
    };
    let nodes = t.functions.lead_from((function, alias), Some(moved));
    let through = || {
        let names = nodes.iter().skip(1);
        let names = names.map(|node| format!("{}@{}", node.function, node.alias));
        names.collect::<Vec<_>>()
    };
    if leads_back(&nodes, function, alias) {
        return Err(Refusal::RouteLoop {
            alias: format!("{function}@{alias}"),
            through: through(),
        });
    }
    bounded(&nodes)?;
    // Those that lead to it lead on from there.
    let outer = t.functions.routings();
    for ((name, other), _) in outer.filter(|(_, outer)| leads_back(&outer.nodes, function, alias)) {
        bounded(&t.functions.lead_from((name, other), Some(moved)))?;
    }
    Ok(())
}

/// Whether what is reached from an alias, the first of these, is as little as it must be.
fn bounded(nodes: &[Node]) -> Result<(), Refusal> {
    let alias = || {
        let first = nodes.first();
        first.map_or_else(String::new, |node| {
            format!("{}@{}", node.function, node.alias)
        })
    };
    if nodes.len() > limit::ROUTE_NODES_MAX {
        return Err(Refusal::RouteTooLong {
            alias: alias(),
            limit: limit::ROUTE_NODES_MAX as u64,
        });
    }
    let bytes: usize = nodes.iter().map(Node::bytes).sum();
    if bytes > limit::ROUTE_WAY_BYTES_MAX {
        return Err(Refusal::RouteWayTooLarge {
            alias: alias(),
            bytes: bytes as u64,
            limit: limit::ROUTE_WAY_BYTES_MAX as u64,
        });
    }
    Ok(())
}

/// Whether some node names the alias that the first one is, whatever its route was before.
fn leads_back(nodes: &[Node], function: &str, alias: &str) -> bool {
    let is_it = |target: &Target| match target {
        Target::Function(name) => name == function && alias == LIVE,
        Target::Version(name, Qualifier::Alias(other)) => name == function && other == alias,
        Target::Version(_, Qualifier::Version(_)) | Target::Program(_) => false,
    };
    let mut targets = nodes.iter().flat_map(|node| node.plan.targets());
    targets.any(|(_, _, target)| is_it(target))
}

/// The number of a version within its function.
pub(crate) fn number(t: &Tables, version: Option<VersionId>) -> Option<u32> {
    version.and_then(|id| Some(t.functions.version(id)?.number))
}

/// Whether a target may be named in a new job. A published name is the published
/// function's.
pub(crate) fn known(t: &Tables, target: &Target) -> Result<(), Refusal> {
    let Some(name) = target.function() else {
        return Ok(());
    };
    let Some(function) = t.functions.find(name) else {
        return match target {
            _ if !t.registry.knows(name) => Err(unpublished(t, name)),
            Target::Version(..) => Err(Refusal::NotPublished {
                function: name.to_owned(),
            }),
            Target::Function(_) | Target::Program(_) => Ok(()),
        };
    };
    match target {
        Target::Version(_, Qualifier::Version(number)) => version(t, name, *number).map(drop),
        Target::Version(_, Qualifier::Alias(alias)) if !function.aliases.contains_key(alias) => {
            Err(unknown_alias(t, name, alias))
        }
        _ => Ok(()),
    }
}

/// The version of a number, if it takes jobs.
pub(crate) fn version(t: &Tables, function: &str, number: u32) -> Result<VersionId, Refusal> {
    let found = t.functions.numbered(function, number);
    let found = found.map(|version| version.id);
    let found = found.filter(|id| t.functions.takes_jobs(*id));
    found.ok_or_else(|| Refusal::UnknownVersion {
        function: function.to_owned(),
        number,
        newest: t.functions.newest(function),
    })
}

/// The refusal for a function that is not published.
pub(crate) fn unpublished(t: &Tables, name: &str) -> Refusal {
    if t.registry.knows(name) {
        let function = name.to_owned();
        return Refusal::NotPublished { function };
    }
    Refusal::UnknownFunction {
        name: name.to_owned(),
        deleted: t.functions.find_any(name).is_some(),
        nearest: t.registry.nearest(name),
    }
}

/// The refusal for an alias that is not there.
pub(crate) fn unknown_alias(t: &Tables, function: &str, alias: &str) -> Refusal {
    let aliases = t.functions.find(function).map(|f| f.aliases.keys());
    let mut aliases: Vec<String> = aliases.into_iter().flatten().cloned().collect();
    if aliases.is_empty() {
        aliases.push(LIVE.to_owned());
    }
    Refusal::UnknownAlias {
        function: function.to_owned(),
        alias: alias.to_owned(),
        aliases,
    }
}

/// The runtimes that what waits of a job needs, each for some of it; none: it does not run
/// a published function.
pub(crate) fn runtimes(t: &Tables, job: &Job, running: &Running) -> Option<Runtimes> {
    let meant = meant(t, job);
    let names_version = matches!(job.target(), Target::Version(..));
    if meant.is_none() && !names_version && !running.backlog.is_pinned() {
        return None; // As most do: nothing more is looked at.
    }
    let of = |id: VersionId| t.functions.version(id).map(|version| version.spec.runtime);
    let routing = routing(t, job);
    let pinned = running.backlog.pinned().filter_map(|(id, _)| of(id));
    let mut runtimes: Runtimes = pinned.collect();
    if meant.is_none() && runtimes.is_empty() && !names_version {
        return None;
    }
    // When nothing is fresh any more, only what is pinned matters.
    if running.backlog.fresh_len() > 0 || runtimes.is_empty() {
        match routing {
            Some(routing) => runtimes.extend(routing.versions().filter_map(of)),
            None => runtimes.extend(meant.and_then(of)),
        }
    }
    Some(runtimes)
}

/// What a job needs of a worker.
pub(crate) fn demand(job: &Job, runtimes: Option<Runtimes>) -> Demand {
    match runtimes {
        Some(runtimes) => {
            let require = job.record.spec.policy.require.clone();
            Demand::of_runtimes(runtimes, require)
        }
        None => Demand::of(job),
    }
}

/// What an invoke needs of a worker.
pub(crate) fn demand_of(t: &Tables, target: &Target, version: Option<VersionId>) -> Demand {
    match version.and_then(|id| t.functions.version(id)) {
        Some(version) => {
            let runtimes = Runtimes::from_iter([version.spec.runtime]);
            Demand::of_runtimes(runtimes, Labels::new())
        }
        None => Demand::of_target(target, Labels::new()),
    }
}

/// Which of a job's waiting invocations a worker can run, by the version that they are
/// pinned to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Can {
    published: bool,
    runtimes: Runtimes,
    meant: Option<VersionId>,
}

impl Can {
    pub(crate) fn run(self, functions: &Functions, version: Option<VersionId>) -> bool {
        if !self.published && version.is_none() {
            return true;
        }
        let version = version.or(self.meant);
        let version = version.and_then(|id| functions.version(id));
        version.is_some_and(|version| self.runtimes.contains(version.spec.runtime))
    }

    /// A history as it is granted: what is pinned to nothing yet is pinned to what its job
    /// means.
    pub(crate) fn pin(self, history: History) -> History {
        History {
            version: history.version.or(self.meant),
            ..history
        }
    }
}

/// What a worker can run of a job. Only for a published function is anything looked up.
pub(crate) fn can(t: &Tables, job: &Job, worker: WorkerId) -> Can {
    let running = job.running.as_ref();
    if running.is_none_or(|running| running.runtimes.is_none()) {
        return Can {
            published: false,
            runtimes: Runtimes::NONE,
            meant: None,
        };
    }
    let able = t.roster.find(worker);
    Can {
        published: true,
        runtimes: able.map_or(Runtimes::NONE, |worker| worker.runtimes),
        meant: meant(t, job),
    }
}

/// Those versions of which something waits that no worker can run, with how many do, where the job
/// needs several runtimes and some worker has one of them.
pub(crate) fn stranded(t: &Tables, running: &Running) -> Vec<(VersionId, u64)> {
    // As most are: who can run some of it can run all.
    if running.runtimes.is_none_or(|needed| needed.len() < 2) {
        return Vec::new();
    }
    let have = t.demands.runtimes(running.group);
    let lacks = |id: VersionId| {
        let version = t.functions.version(id);
        version.is_none_or(|version| !have.contains(version.spec.runtime))
    };
    let waits = running.backlog.versions();
    waits.filter(|(id, _)| lacks(*id)).collect()
}

/// The runtimes of versions, as far as those are there.
pub(crate) fn runtimes_of(t: &Tables, versions: &[(VersionId, u64)]) -> Runtimes {
    let found = versions
        .iter()
        .filter_map(|(id, _)| t.functions.version(*id));
    found.map(|version| version.spec.runtime).collect()
}

/// Moves a job to the group of those that need the same as it does now: an alias was
/// moved to a version of another runtime, or what was pinned to another has ended.
pub(crate) fn regroup(t: &mut Tables, id: JobId) {
    let Some(job) = t.jobs.find(id) else { return };
    let Some(running) = &job.running else { return };
    let wanted = runtimes(t, job, running);
    if running.runtimes == wanted {
        return;
    }
    let demand = demand(job, wanted);
    let watches = job.record.spec.policy.place_timeout_ms.is_some();
    let old = running.group;
    let group = t.demands.join(demand);
    t.demands.part(old, id);
    if watches {
        t.demands.watch(group, id);
    }
    t.leases.regroup(id, group);
    if let Some(running) = t.jobs.find_mut(id).and_then(|job| job.running.as_mut()) {
        running.group = group;
        running.runtimes = wanted;
    }
}
