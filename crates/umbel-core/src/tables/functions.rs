//! The functions that were published: their versions, aliases and artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::function::{
    Alias, Artifact, Digest, FunctionRecord, LIVE, Qualifier, UploadId, Version, VersionId,
};
use crate::job::Target;
use crate::limit;
use crate::route::{ArmId, Lead, Node, Plan, Route, RouteTally, Routing};

/// One published function.
#[derive(Debug)]
pub(crate) struct Function {
    /// What outlives its versions.
    pub(crate) record: FunctionRecord,
    /// Its versions by number, retired ones too.
    pub(crate) versions: BTreeMap<u32, VersionId>,
    /// Its aliases by name.
    pub(crate) aliases: BTreeMap<String, Alias>,
}

/// An artifact, and how many versions are made of it.
#[derive(Debug)]
struct Shared {
    artifact: Artifact,
    versions: u32,
}

/// An alias, and the route that it would have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    pub(crate) function: &'a str,
    pub(crate) alias: &'a str,
    pub(crate) route: &'a Route,
}

/// All published functions.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    functions: BTreeMap<String, Function>,
    versions: BTreeMap<VersionId, Arc<Version>>,
    /// When each retired version was.
    retired: BTreeMap<VersionId, u64>,
    artifacts: BTreeMap<Digest, Shared>,
    /// The newest id, and the function that it was given to: its record keeps the id from being
    /// given again.
    last: (u32, String),
    /// The newest arm, and the function whose alias has it: as above.
    last_arm: (u32, String),
    /// Who has each arm that an alias remembers.
    arms: BTreeMap<ArmId, Owner>,
    /// Aliases that have rules or a split, by function and alias.
    planned: BTreeSet<(String, String)>,
    /// What each alias leads to that has rules or a split, by function and alias.
    routings: BTreeMap<(String, String), Arc<Routing>>,
    /// The newest revision of any of them.
    revision: u64,
    /// What happened when inputs were routed, since the start.
    tallies: BTreeMap<(String, String), RouteTally>,
    /// Versions that ask for instances to be kept ready, and take jobs.
    warm: BTreeSet<VersionId>,
    /// Versions that are to stand ready though no alias points at them, each until when, in engine
    /// time.
    ahead: BTreeMap<VersionId, u64>,
}

/// An arm, and whose it is.
#[derive(Debug)]
pub(crate) struct Owner {
    /// The function of its alias.
    pub(crate) function: String,
    /// Its alias.
    pub(crate) alias: String,
    /// Its name.
    pub(crate) name: Arc<str>,
}

impl Owner {
    /// Whether it is of an alias.
    pub(crate) fn is_of(&self, function: &str, alias: &str) -> bool {
        self.function == function && self.alias == alias
    }
}

impl Functions {
    /// What outlives a function's versions is now this.
    pub(crate) fn record(&mut self, record: FunctionRecord) {
        if record.last_id.0 > self.last.0 {
            self.last = (record.last_id.0, record.name.clone());
        }
        if record.last_arm.0 > self.last_arm.0 {
            self.last_arm = (record.last_arm.0, record.name.clone());
        }
        if let Some(known) = self.functions.get_mut(&record.name) {
            known.record = record;
            return;
        }
        let function = Function {
            record,
            versions: BTreeMap::new(),
            aliases: BTreeMap::new(),
        };
        let name = function.record.name.clone();
        self.functions.insert(name, function);
    }

    /// Adds a version of a function that has a record.
    pub(crate) fn insert(&mut self, version: Arc<Version>) {
        let Some(function) = self.functions.get_mut(&version.function) else {
            return;
        };
        function.versions.insert(version.number, version.id);
        let artifact = version.artifact;
        let shared = self.artifacts.entry(artifact.digest).or_insert(Shared {
            artifact,
            versions: 0,
        });
        shared.versions += 1;
        if version.spec.warm > 0 {
            self.warm.insert(version.id);
        }
        self.versions.insert(version.id, version);
    }

    /// A version takes no new jobs; tells whether it did before.
    pub(crate) fn retire(&mut self, id: VersionId, at_ms: u64) -> bool {
        self.warm.remove(&id);
        self.ahead.remove(&id);
        let new = self.takes_jobs(id);
        if new {
            self.retired.insert(id, at_ms);
        }
        new
    }

    /// Forgets a version; gives the upload that no other version needs.
    pub(crate) fn remove(&mut self, id: VersionId) -> Option<UploadId> {
        let version = self.versions.remove(&id)?;
        self.retired.remove(&id);
        self.warm.remove(&id);
        self.ahead.remove(&id);
        if let Some(function) = self.functions.get_mut(&version.function) {
            function.versions.remove(&version.number);
        }
        let digest = version.artifact.digest;
        let shared = self.artifacts.get_mut(&digest)?;
        shared.versions -= 1;
        if shared.versions > 0 {
            return None;
        }
        let shared = self.artifacts.remove(&digest)?;
        Some(shared.artifact.upload)
    }

    /// An alias points somewhere else, or is new. What routes lead to follows with
    /// [`Self::reroute`].
    pub(crate) fn put_alias(&mut self, alias: Alias) {
        self.arms
            .retain(|_, owner| !owner.is_of(&alias.function, &alias.name));
        for (id, name) in &alias.arms {
            let owner = Owner {
                function: alias.function.clone(),
                alias: alias.name.clone(),
                name: Arc::from(name.as_str()),
            };
            self.arms.insert(*id, owner);
        }
        let key = (alias.function.clone(), alias.name.clone());
        if alias.route.plan.is_some() {
            self.planned.insert(key);
        } else {
            self.planned.remove(&key);
        }
        if let Some(function) = self.functions.get_mut(&alias.function) {
            function.aliases.insert(alias.name.clone(), alias);
        }
    }

    /// An alias of a function that is published.
    pub(crate) fn alias(&self, function: &str, name: &str) -> Option<&Alias> {
        self.find(function)?.aliases.get(name)
    }

    /// An alias went with its function.
    pub(crate) fn remove_alias(&mut self, function: &str, name: &str) {
        self.arms.retain(|_, owner| !owner.is_of(function, name));
        let key = (function.to_owned(), name.to_owned());
        self.planned.remove(&key);
        self.tallies.remove(&key);
        if let Some(function) = self.functions.get_mut(function) {
            function.aliases.remove(name);
        }
    }

    /// Forgets a deleted function.
    pub(crate) fn forget(&mut self, name: &str) {
        self.functions.remove(name);
    }

    /// Whether a deleted function has nothing left but its record, and that keeps no id.
    pub(crate) fn is_spent(&self, name: &str) -> bool {
        let spent = |f: &Function| f.record.deleted && f.versions.is_empty();
        self.functions.get(name).is_some_and(spent)
            && self.last.1 != name
            && self.last_arm.1 != name
    }

    /// The function that was given the newest id.
    pub(crate) fn last(&self) -> &str {
        &self.last.1
    }

    /// The function whose alias has the newest arm.
    pub(crate) fn last_armed(&self) -> &str {
        &self.last_arm.1
    }

    /// Names of deleted functions of which something is kept.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &String> {
        let deleted = self.functions.iter().filter(|(_, f)| f.record.deleted);
        deleted.map(|(name, _)| name)
    }

    /// A function that takes jobs.
    pub(crate) fn find(&self, name: &str) -> Option<&Function> {
        self.functions.get(name).filter(|f| !f.record.deleted)
    }

    /// A function, deleted or not.
    pub(crate) fn find_any(&self, name: &str) -> Option<&Function> {
        self.functions.get(name)
    }

    /// A version by its id.
    pub(crate) fn version(&self, id: VersionId) -> Option<&Arc<Version>> {
        self.versions.get(&id)
    }

    /// A version by its number, retired or not.
    pub(crate) fn numbered(&self, function: &str, number: u32) -> Option<&Arc<Version>> {
        let id = self.functions.get(function)?.versions.get(&number)?;
        self.versions.get(id)
    }

    /// Which version a target means; a retired one too, for jobs that need it.
    pub(crate) fn resolve(&self, function: &str, qualifier: &Qualifier) -> Option<VersionId> {
        let function = self.functions.get(function)?;
        let number = match qualifier {
            Qualifier::Version(number) => *number,
            Qualifier::Alias(name) => function.aliases.get(name)?.route.to,
        };
        function.versions.get(&number).copied()
    }

    /// What a function's bare name means.
    pub(crate) fn live(&self, function: &str) -> Option<&Arc<Version>> {
        let to = self.functions.get(function)?.aliases.get(LIVE)?.route.to;
        self.numbered(function, to)
    }

    /// The versions of which instances are to be kept ready, newest first: those that ask for it
    /// and that some alias means, or somebody is about to point one at.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Arc<Version>> {
        let warm = self.warm.iter().rev();
        let warm = warm.filter_map(|id| self.versions.get(id));
        warm.filter(|version| self.ahead.contains_key(&version.id) || self.is_meant(version))
    }

    /// Whether an alias leads to a version, by itself or by a rule or a split.
    fn is_meant(&self, version: &Version) -> bool {
        let function = self.functions.get(&version.function);
        let mut aliases = function.into_iter().flat_map(|f| f.aliases.values());
        let mut routed = self
            .routings
            .values()
            .flat_map(|routing| routing.versions());
        aliases.any(|alias| alias.route.to == version.number) || routed.any(|id| id == version.id)
    }

    /// A version is to stand ready until then; what would be forgotten first makes room. Says
    /// whether that is news.
    pub(crate) fn go_ahead(&mut self, id: VersionId, until_ms: u64) -> bool {
        let news = self.ahead.insert(id, until_ms).is_none();
        if self.ahead.len() > limit::VERSIONS_AHEAD_MAX {
            let first = self.ahead.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(id, _)| *id) {
                self.ahead.remove(&first);
            }
        }
        news
    }

    /// Forgets what was made ready ahead and not asked for since; says whether there was any.
    pub(crate) fn forget_ahead(&mut self, engine_ms: u64) -> bool {
        let before = self.ahead.len();
        self.ahead.retain(|_, until| *until > engine_ms);
        before > self.ahead.len()
    }

    /// When that is due next, in engine time.
    pub(crate) fn ahead_until_ms(&self) -> Option<u64> {
        self.ahead.values().min().copied()
    }

    /// Whether any version asks for instances to be kept ready.
    pub(crate) fn has_warm(&self) -> bool {
        !self.warm.is_empty()
    }

    /// Whether a version takes new jobs.
    pub(crate) fn takes_jobs(&self, id: VersionId) -> bool {
        self.versions.contains_key(&id) && !self.retired.contains_key(&id)
    }

    /// When a version was retired.
    pub(crate) fn retired_ms(&self, id: VersionId) -> Option<u64> {
        self.retired.get(&id).copied()
    }

    /// The versions that were retired.
    pub(crate) fn retired(&self) -> impl Iterator<Item = VersionId> {
        self.retired.keys().copied()
    }

    /// The version of a function that is this content and takes jobs.
    pub(crate) fn same(&self, function: &str, content: Digest) -> Option<&Arc<Version>> {
        let function = self.find(function)?;
        let ids = function.versions.values().rev();
        let mut versions = ids.filter_map(|id| self.versions.get(id));
        versions.find(|version| version.content == content && self.takes_jobs(version.id))
    }

    /// The newest version of a function that takes jobs.
    pub(crate) fn newest(&self, function: &str) -> Option<u32> {
        let function = self.functions.get(function)?;
        let mut newest = function.versions.iter().rev();
        newest
            .find(|(_, id)| self.takes_jobs(**id))
            .map(|(number, _)| *number)
    }

    /// An artifact that some version is made of.
    pub(crate) fn artifact(&self, digest: Digest) -> Option<Artifact> {
        self.artifacts.get(&digest).map(|shared| shared.artifact)
    }

    /// The id that the next version has.
    pub(crate) fn next_id(&self) -> VersionId {
        VersionId(self.last.0.saturating_add(1))
    }

    /// The number that the next arm has.
    pub(crate) fn next_arm(&self) -> ArmId {
        ArmId(self.last_arm.0.saturating_add(1))
    }

    /// Who has an arm, if it is remembered.
    pub(crate) fn arm(&self, id: ArmId) -> Option<&Owner> {
        self.arms.get(&id)
    }

    /// The arms of an alias, as far as they are remembered.
    pub(crate) fn arms_of(&self, function: &str, alias: &str) -> Vec<ArmId> {
        let known = self.functions.get(function);
        let alias = known.and_then(|function| function.aliases.get(alias));
        alias.map_or_else(Vec::new, |alias| alias.arms.keys().copied().collect())
    }

    /// Whether no alias has rules or a split, as is usual.
    pub(crate) fn are_plain(&self) -> bool {
        self.routings.is_empty()
    }

    /// What an alias leads to, if it has rules or a split.
    pub(crate) fn routing(&self, function: &str, alias: &str) -> Option<&Arc<Routing>> {
        if self.are_plain() {
            return None;
        }
        self.routings.get(&(function.to_owned(), alias.to_owned()))
    }

    /// All that have rules or a split.
    pub(crate) fn routings(&self) -> impl Iterator<Item = (&(String, String), &Arc<Routing>)> {
        self.routings.iter()
    }

    /// An alias moved: what routes lead to is found anew, and gives those that lead somewhere
    /// else another revision.
    pub(crate) fn reroute(&mut self) {
        let mut routings = BTreeMap::new();
        for key in &self.planned {
            let nodes = self.lead_from((&key.0, &key.1), None);
            if nodes.is_empty() {
                continue;
            }
            let known = self.routings.get(key).filter(|known| known.nodes == nodes);
            let routing = known.cloned().unwrap_or_else(|| {
                self.revision += 1;
                let revision = self.revision;
                Arc::new(Routing { revision, nodes })
            });
            routings.insert(key.clone(), routing);
        }
        self.routings = routings;
    }

    /// The nodes that are reached from an alias, had another one (or itself) `moved` already; the
    /// last one over the bound is not followed any more.
    pub(crate) fn lead_from(
        &self,
        (function, alias): (&str, &str),
        moved: Option<Moved<'_>>,
    ) -> Vec<Node> {
        let Some((plan, to)) = self.plan_of(function, alias, moved) else {
            return Vec::new();
        };
        let mut names = vec![(function.to_owned(), alias.to_owned())];
        let mut plans = vec![(Arc::clone(plan), to)];
        let mut nodes: Vec<Node> = Vec::new();
        while let Some((plan, to)) = plans.get(nodes.len()).cloned() {
            let (function, alias) = names.get(nodes.len()).cloned().unwrap_or_default();
            // An alias points at a version that is there.
            let otherwise = self.numbered(&function, to).map(|version| version.id);
            let otherwise = otherwise.unwrap_or(VersionId(0));
            let mut leads = Vec::new();
            for (_, _, target) in plan.targets() {
                let lead = match self.planned(target, moved) {
                    Some((name, plan, to)) => {
                        let known = names.iter().position(|known| *known == name);
                        known.or_else(|| {
                            (names.len() <= crate::limit::ROUTE_NODES_MAX).then(|| {
                                names.push(name);
                                plans.push((Arc::clone(plan), to));
                                names.len() - 1
                            })
                        })
                    }
                    None => None,
                };
                let version = self.meant_by(target).unwrap_or(otherwise);
                leads.push(lead.map_or(Lead::Version(version), Lead::Node));
            }
            nodes.push(Node {
                function,
                alias,
                plan,
                leads,
                otherwise,
            });
        }
        nodes
    }

    /// The alias that a target names, with its plan, if it has one.
    fn planned<'a>(
        &'a self,
        target: &Target,
        moved: Option<Moved<'a>>,
    ) -> Option<((String, String), &'a Arc<Plan>, u32)> {
        let (function, alias) = match target {
            Target::Function(name) => (name, LIVE),
            Target::Version(name, Qualifier::Alias(alias)) => (name, alias.as_str()),
            Target::Version(_, Qualifier::Version(_)) | Target::Program(_) => return None,
        };
        let (plan, to) = self.plan_of(function, alias, moved)?;
        Some(((function.clone(), alias.to_owned()), plan, to))
    }

    fn plan_of<'a>(
        &'a self,
        function: &str,
        alias: &str,
        moved: Option<Moved<'a>>,
    ) -> Option<(&'a Arc<Plan>, u32)> {
        let moved = moved.filter(|moved| (moved.function, moved.alias) == (function, alias));
        let route = match moved {
            Some(moved) => moved.route,
            None => &self.functions.get(function)?.aliases.get(alias)?.route,
        };
        Some((route.plan.as_ref()?, route.to))
    }

    /// The version that a target means by itself.
    fn meant_by(&self, target: &Target) -> Option<VersionId> {
        match target {
            Target::Function(name) => self.live(name).map(|version| version.id),
            Target::Version(name, qualifier) => self.resolve(name, qualifier),
            Target::Program(_) => None,
        }
    }

    /// Inputs of a job over an alias were routed.
    pub(crate) fn tally(&mut self, function: &str, alias: &str, tally: &RouteTally) {
        let key = (function.to_owned(), alias.to_owned());
        self.tallies.entry(key).or_default().add(tally);
    }

    /// What happened to inputs of an alias since the start.
    pub(crate) fn tally_of(&self, function: &str, alias: &str) -> RouteTally {
        let key = (function.to_owned(), alias.to_owned());
        self.tallies.get(&key).cloned().unwrap_or_default()
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        let mut uses: BTreeMap<Digest, u32> = BTreeMap::new();
        let mut uploads: BTreeSet<UploadId> = BTreeSet::new();
        for (id, version) in &self.versions {
            assert_eq!(*id, version.id);
            assert!(id.0 <= self.last.0, "no id is used twice");
            let function = &self.functions[&version.function];
            assert_eq!(function.versions.get(&version.number), Some(id));
            assert!(version.number <= function.record.last_number);
            *uses.entry(version.artifact.digest).or_default() += 1;
            let shared = &self.artifacts[&version.artifact.digest];
            assert_eq!(shared.artifact, version.artifact, "stored once");
        }
        for (digest, shared) in &self.artifacts {
            assert_eq!(uses.get(digest), Some(&shared.versions));
            assert!(uploads.insert(shared.artifact.upload));
        }
        let warm = self.warm.iter().chain(self.ahead.keys());
        assert!(warm.into_iter().all(|id| self.takes_jobs(*id)));
        assert!(self.retired.keys().all(|id| self.versions.contains_key(id)));
        let last = self.functions.get(&self.last.1);
        assert!(last.is_some_and(|f| f.record.last_id.0 == self.last.0) || self.last.0 == 0);
        for (name, function) in &self.functions {
            for (alias, state) in &function.aliases {
                assert_eq!((&state.function, &state.name), (name, alias));
                let to = function.versions.get(&state.route.to);
                assert!(
                    to.is_some_and(|to| self.takes_jobs(*to)),
                    "{name}@{alias} points at a version that takes jobs"
                );
                let split = state
                    .route
                    .plan
                    .as_ref()
                    .and_then(|plan| plan.split.as_ref());
                assert!(split.is_none_or(crate::route::Split::is_whole));
                assert_eq!(
                    state.route.plan.is_some(),
                    self.routings.contains_key(&(name.clone(), alias.clone())),
                );
            }
            for id in function.versions.values() {
                assert!(!function.record.deleted || !self.takes_jobs(*id));
            }
        }
    }
}
