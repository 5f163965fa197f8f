//! Who can run what, and who is next. Jobs that need the same of a worker are a
//! group; each group has its line of jobs and its hungry workers, so that a grant
//! costs a few steps in trees however many jobs and workers there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use crate::function::{Runtime, Runtimes};
use crate::id::{JobId, WorkerId};
use crate::job::Target;
use crate::policy::Labels;

/// Jobs that need the same of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(u64);

/// What a worker must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A function that it brings itself.
    Function(String),
    /// Leave to run programs that a job brings.
    Programs,
    /// One of these runtimes, for versions of a published function.
    Runtimes(Runtimes),
}

/// What a job needs of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    /// What it must have.
    need: Need,
    /// The labels it must bear.
    require: Labels,
}

impl Demand {
    /// What a job's target needs by itself, were it not published.
    pub(crate) fn of(job: &Job) -> Self {
        let require = job.record.spec.policy.require.clone();
        Self::of_target(job.target(), require)
    }

    /// What versions with these runtimes need: a worker that has any of them can run some.
    pub(crate) fn of_runtimes(runtimes: Runtimes, require: Labels) -> Self {
        Self {
            need: Need::Runtimes(runtimes),
            require,
        }
    }

    /// What some of its versions need, with the same labels.
    pub(crate) fn narrowed(&self, runtimes: Runtimes) -> Self {
        Self::of_runtimes(runtimes, self.require.clone())
    }

    /// What a target that was not published and labels need.
    pub(crate) fn of_target(target: &Target, require: Labels) -> Self {
        Self {
            need: match target.function() {
                Some(name) => Need::Function(name.to_owned()),
                None => Need::Programs,
            },
            require,
        }
    }

    /// Whether a worker could run it, were it not for the labels.
    pub(crate) fn has_target(&self, able: &Ability) -> bool {
        match &self.need {
            Need::Function(name) => able.functions.contains(name),
            Need::Programs => able.runs_programs,
            Need::Runtimes(runtimes) => able.runtimes.meets(*runtimes),
        }
    }

    /// Whether it is for versions of a published function.
    pub(crate) fn is_of_runtimes(&self) -> bool {
        matches!(self.need, Need::Runtimes(_))
    }

    /// Whether a worker can run it.
    pub(crate) fn is_met(&self, able: &Ability) -> bool {
        let bears = |(key, value)| able.labels.get(key) == Some(value);
        self.has_target(able) && self.require.iter().all(bears)
    }

    /// That so many workers, which are all that take work, do not have it, in words.
    pub(crate) fn lacked_by(&self, workers: usize) -> String {
        let needs = self.in_words();
        match workers {
            0 => "no worker takes work now".to_owned(),
            1 => format!("the only worker does not have {needs}"),
            _ => format!("none of the {workers} workers has {needs}"),
        }
    }

    /// What is needed, in words.
    pub(crate) fn in_words(&self) -> String {
        let mut words = match &self.need {
            Need::Function(name) => format!("function {name:?}"),
            Need::Programs => "leave to run programs".to_owned(),
            Need::Runtimes(runtimes) if runtimes.is_empty() => {
                "a version that is not there any more".to_owned()
            }
            Need::Runtimes(runtimes) => format!("runtime {}", runtimes.in_words()),
        };
        for (key, value) in &self.require {
            words.push_str(&format!(", label {key}={value}"));
        }
        words
    }
}

/// What a worker can run.
#[derive(Clone, Debug)]
pub(crate) struct Ability {
    /// Its slots.
    pub(crate) slots: u32,
    /// The functions it has.
    pub(crate) functions: BTreeSet<String>,
    /// Whether it runs programs that a job brings.
    pub(crate) runs_programs: bool,
    /// What it can run of published functions.
    pub(crate) runtimes: Runtimes,
    /// Its labels.
    pub(crate) labels: Labels,
}

/// A job's place in line: priority, then the slot time it has had.
pub(crate) type Place = (Reverse<i32>, u64, JobId);

#[derive(Debug)]
struct Group {
    demand: Demand,
    jobs: u64,
    able: BTreeSet<WorkerId>,
    able_slots: u64,
    /// How many of the able have each runtime.
    with: BTreeMap<Runtime, usize>,
    line: BTreeSet<Place>,
    hungry: BTreeSet<(u64, WorkerId)>,
    lone: BTreeSet<JobId>,
    watching: BTreeSet<JobId>,
    front: Option<Place>,
}

#[derive(Debug)]
struct Seat {
    ability: Ability,
    groups: Vec<GroupId>,
    load: Option<u64>,
}

/// All groups and the workers that are ready.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    made: u64,
    groups: BTreeMap<GroupId, Group>,
    by_demand: BTreeMap<Demand, GroupId>,
    seats: BTreeMap<WorkerId, Seat>,
    places: BTreeMap<JobId, (GroupId, Place)>,
    had: BTreeSet<(u64, JobId)>,
    fronts: BTreeSet<(Place, GroupId)>,
    lone: BTreeSet<GroupId>,
}

impl Demands {
    /// A job needs this; it belongs to the group until [`Self::part`].
    pub(crate) fn join(&mut self, demand: Demand) -> GroupId {
        if let Some(&id) = self.by_demand.get(&demand) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.jobs += 1;
            }
            return id;
        }
        self.made += 1;
        let id = GroupId(self.made);
        let mut group = Group {
            demand: demand.clone(),
            jobs: 1,
            able: BTreeSet::new(),
            able_slots: 0,
            with: BTreeMap::new(),
            line: BTreeSet::new(),
            hungry: BTreeSet::new(),
            lone: BTreeSet::new(),
            watching: BTreeSet::new(),
            front: None,
        };
        for (worker, seat) in &mut self.seats {
            if demand.is_met(&seat.ability) {
                seat.groups.push(id);
                group.enter(*worker, &seat.ability);
                group.hungry.extend(seat.load.map(|load| (load, *worker)));
            }
        }
        self.by_demand.insert(demand, id);
        self.groups.insert(id, group);
        id
    }

    /// What the jobs of a group need.
    pub(crate) fn demand(&self, id: GroupId) -> Option<&Demand> {
        self.groups.get(&id).map(|group| &group.demand)
    }

    /// A job has ended.
    pub(crate) fn part(&mut self, id: GroupId, job: JobId) {
        self.line_up(id, job, None);
        self.set_lone(id, job, false);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.watching.remove(&job);
        group.jobs -= 1;
        if group.jobs > 0 {
            return;
        }
        for worker in &group.able {
            if let Some(seat) = self.seats.get_mut(worker) {
                seat.groups.retain(|other| *other != id);
            }
        }
        self.by_demand.remove(&group.demand);
        self.groups.remove(&id);
    }

    /// A worker can take work. Gives the watching jobs of groups that nobody
    /// could run until now, or nobody some of.
    pub(crate) fn enter(&mut self, worker: WorkerId, ability: Ability) -> Vec<JobId> {
        let mut watching = self.leave(worker);
        let mut groups = Vec::new();
        for (id, group) in &mut self.groups {
            if group.demand.is_met(&ability) {
                if group.enter(worker, &ability) {
                    watching.extend(&group.watching);
                }
                groups.push(*id);
            }
        }
        let seat = Seat {
            ability,
            groups,
            load: None,
        };
        self.seats.insert(worker, seat);
        watching
    }

    /// A worker takes no work. Gives the watching jobs of groups that nobody can
    /// run any more, or nobody some of.
    pub(crate) fn leave(&mut self, worker: WorkerId) -> Vec<JobId> {
        self.feed(worker, None);
        let mut watching = Vec::new();
        let Some(seat) = self.seats.remove(&worker) else {
            return watching;
        };
        for id in seat.groups {
            if let Some(group) = self.groups.get_mut(&id)
                && group.leave(worker, &seat.ability)
            {
                watching.extend(&group.watching);
            }
        }
        watching
    }

    /// A worker's load, if it wants more.
    pub(crate) fn feed(&mut self, worker: WorkerId, load: Option<u64>) {
        let Some(seat) = self.seats.get_mut(&worker) else {
            return;
        };
        if seat.load == load {
            return;
        }
        let old = std::mem::replace(&mut seat.load, load);
        for id in &seat.groups {
            let Some(group) = self.groups.get_mut(id) else {
                continue;
            };
            if let Some(old) = old {
                group.hungry.remove(&(old, worker));
            }
            if let Some(load) = load {
                group.hungry.insert((load, worker));
            }
            refresh_front(*id, group, &mut self.fronts);
        }
    }

    /// A job's place in line; none: it has nothing that could be granted.
    pub(crate) fn line_up(&mut self, id: GroupId, job: JobId, place: Option<Place>) {
        if self.places.get(&job).map(|(_, place)| *place) == place {
            return;
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if let Some((_, old)) = self.places.remove(&job) {
            group.line.remove(&old);
            self.had.remove(&(old.1, job));
        }
        if let Some(place) = place {
            group.line.insert(place);
            self.had.insert((place.1, job));
            self.places.insert(job, (id, place));
        }
        refresh_front(id, group, &mut self.fronts);
    }

    /// Whether a job has suspects that must travel alone.
    pub(crate) fn set_lone(&mut self, id: GroupId, job: JobId, lone: bool) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if lone {
            group.lone.insert(job);
        } else {
            group.lone.remove(&job);
        }
        if group.lone.is_empty() {
            self.lone.remove(&id);
        } else {
            self.lone.insert(id);
        }
    }

    /// The runtimes that those have who can run something of a group.
    pub(crate) fn runtimes(&self, id: GroupId) -> Runtimes {
        let group = self.groups.get(&id);
        group.map_or(Runtimes::NONE, |group| group.with.keys().copied().collect())
    }

    /// A job wants to know when nobody can run it, or some of it.
    pub(crate) fn watch(&mut self, id: GroupId, job: JobId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.watching.insert(job);
        }
    }

    /// The job that is next, of those that a hungry worker can run.
    pub(crate) fn front(&self) -> Option<(GroupId, JobId)> {
        let (place, id) = self.fronts.first()?;
        Some((*id, place.2))
    }

    /// The least slot time that a job in line has had.
    pub(crate) fn least_had(&self) -> Option<u64> {
        self.had.first().map(|(had, _)| *had)
    }

    /// A group's hungry workers, the least loaded first.
    pub(crate) fn hungry(&self, id: GroupId) -> impl Iterator<Item = WorkerId> {
        let hungry = self.groups.get(&id).map(|group| group.hungry.iter());
        hungry.into_iter().flatten().map(|(_, worker)| *worker)
    }

    /// The workers that can run a group.
    pub(crate) fn able(&self, id: GroupId) -> impl Iterator<Item = WorkerId> {
        let able = self.groups.get(&id).map(|group| group.able.iter());
        able.into_iter().flatten().copied()
    }

    /// How many there are, and their slots.
    pub(crate) fn able_len(&self, id: GroupId) -> (usize, u64) {
        let group = self.groups.get(&id);
        group.map_or((0, 0), |group| (group.able.len(), group.able_slots))
    }

    /// The jobs of a group that are in line, the next first.
    pub(crate) fn line(&self, id: GroupId) -> impl Iterator<Item = Place> {
        let line = self.groups.get(&id).map(|group| group.line.iter());
        line.into_iter().flatten().copied()
    }

    /// The groups with suspects that must travel alone.
    pub(crate) fn lone_groups(&self) -> Vec<GroupId> {
        self.lone.iter().copied().collect()
    }

    /// The jobs of a group with suspects that must travel alone.
    pub(crate) fn lone_jobs(&self, id: GroupId) -> Vec<JobId> {
        let group = self.groups.get(&id);
        group.map_or_else(Vec::new, |group| group.lone.iter().copied().collect())
    }

    /// The workers that are ready, with what they can run.
    pub(crate) fn abilities(&self) -> impl Iterator<Item = (WorkerId, &Ability)> {
        self.seats.iter().map(|(id, seat)| (*id, &seat.ability))
    }

    /// What a worker can run, if it is ready.
    pub(crate) fn ability(&self, worker: WorkerId) -> Option<&Ability> {
        self.seats.get(&worker).map(|seat| &seat.ability)
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        assert_eq!(self.groups.len(), self.by_demand.len());
        assert_eq!(self.places.len(), self.had.len());
        for (id, group) in &self.groups {
            assert_eq!(self.by_demand.get(&group.demand), Some(id));
            let able = |(_, seat): &(&WorkerId, &Seat)| group.demand.is_met(&seat.ability);
            let seats: Vec<_> = self.seats.iter().filter(able).collect();
            assert!(
                group
                    .able
                    .iter()
                    .eq(seats.iter().map(|(worker, _)| *worker))
            );
            let slots = seats.iter().map(|(_, seat)| u64::from(seat.ability.slots));
            assert_eq!(group.able_slots, slots.sum::<u64>());
            let with = seats
                .iter()
                .flat_map(|(_, seat)| seat.ability.runtimes.iter());
            let with: Runtimes = with.collect();
            assert_eq!(self.runtimes(*id), with);
            let hungry = seats.iter().filter(|(_, seat)| seat.load.is_some());
            assert_eq!(group.hungry.len(), hungry.count());
            let front = (!group.hungry.is_empty())
                .then(|| group.line.first())
                .flatten();
            assert_eq!(group.front.as_ref(), front);
            assert!(front.is_none_or(|place| self.fronts.contains(&(*place, *id))));
            assert_eq!(self.lone.contains(id), !group.lone.is_empty());
        }
        let fronts = self.groups.values().filter(|group| group.front.is_some());
        assert_eq!(self.fronts.len(), fronts.count());
    }
}

impl Group {
    /// A worker can run some of it; tells whether that could be run by nobody, as far as runtimes go.
    fn enter(&mut self, worker: WorkerId, ability: &Ability) -> bool {
        let mut is_news = self.able.is_empty();
        self.able.insert(worker);
        self.able_slots += u64::from(ability.slots);
        for runtime in ability.runtimes.iter() {
            let count = self.with.entry(runtime).or_default();
            *count += 1;
            is_news |= *count == 1;
        }
        is_news
    }

    /// It can no longer; tells whether now nobody can, as far as runtimes go.
    fn leave(&mut self, worker: WorkerId, ability: &Ability) -> bool {
        self.able.remove(&worker);
        self.able_slots -= u64::from(ability.slots);
        for runtime in ability.runtimes.iter() {
            if let Some(count) = self.with.get_mut(&runtime) {
                *count -= 1;
            }
        }
        let before = self.with.len();
        self.with.retain(|_, count| *count > 0);
        self.able.is_empty() || self.with.len() < before
    }
}

fn refresh_front(id: GroupId, group: &mut Group, fronts: &mut BTreeSet<(Place, GroupId)>) {
    let front = if group.hungry.is_empty() {
        None
    } else {
        group.line.first().copied()
    };
    if front == group.front {
        return;
    }
    if let Some(old) = group.front {
        fronts.remove(&(old, id));
    }
    if let Some(front) = front {
        fronts.insert((front, id));
    }
    group.front = front;
}
