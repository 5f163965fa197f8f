//! Functions are published, pointed, rolled back, retired and deleted while jobs run them, and workers
//! fetch what they have not.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::{Event, Publication};
use umbel_core::function::{
    Artifact, Digest, Holdings, Runtime, UploadId, Version, VersionId, VersionSpec,
};
use umbel_core::job::Target;
use umbel_core::message::FromWorker;
use umbel_proto::convert;
use umbel_store::Refused;

use crate::agenda::What;
use crate::client::Ask;
use crate::moves::{MoveKind, MovePlan, PUBLISHED};
use crate::seat::{Held, Process};
use crate::world::World;

/// How often a worker asks for an artifact while nobody answers.
const FETCHES_MAX: u32 = 6;
/// Bytes of an artifact.
const ARTIFACT_BYTES: usize = 200;

/// Whether a target names a function that is published now and then.
pub(crate) fn is_published_name(target: &Target) -> bool {
    target
        .function()
        .is_some_and(|name| PUBLISHED.contains(&name))
}

/// What a version's code is called in its outputs.
pub(crate) fn runs_as(version: &Version) -> String {
    format!("{}#{}", version.function, version.artifact.digest.0[0])
}

/// The bytes of an artifact: each says which one it is.
fn artifact_bytes(content: u8) -> Bytes {
    Bytes::from(vec![content; ARTIFACT_BYTES])
}

fn publication(name: &str, content: u8, node: bool, upload: UploadId) -> Publication {
    let runtime = if node { Runtime::Node } else { Runtime::Python };
    let mut digest = [0; 32];
    digest[0] = content;
    let mut whole = digest;
    whole[1] = 1 + u8::from(node);
    Publication {
        function: name.to_owned(),
        spec: VersionSpec {
            runtime,
            handler: String::new(),
            command: Vec::new(),
            environment: BTreeMap::new(),
            memory_bytes: None,
            files_max: None,
            processes_max: None,
            timeout_ms: None,
            init_timeout_ms: None,
            idle_timeout_ms: None,
            warm: 0,
            pure: false,
        },
        artifact: Artifact {
            digest: Digest(digest),
            upload,
            packed_bytes: ARTIFACT_BYTES as u64,
            unpacked_bytes: ARTIFACT_BYTES as u64,
            file_count: 1,
        },
        staged: false,
        content: Digest(whole),
        by: "the plan".to_owned(),
        refusal: None,
    }
}

impl World {
    /// Somebody does what the plan says with a published function.
    pub(crate) fn moves(&mut self, number: usize) {
        let Some(plan) = self.plan.moves.get(number).cloned() else {
            return;
        };
        if self.shell.is_none() {
            return self.move_was_lost(number);
        }
        let function = plan.function.to_owned();
        let by = "the plan".to_owned();
        match plan.kind {
            MoveKind::Publish { .. } => self.publishes(number, false),
            MoveKind::Point { alias, back } => {
                let (alias, to) = (alias.to_owned(), self.number_of(&function, back));
                self.ask_by(None, Ask::Move(number), |reply| Event::Point {
                    reply,
                    function,
                    alias,
                    to,
                    by,
                });
            }
            MoveKind::RollBack { alias } => {
                let alias = alias.to_owned();
                self.ask_by(None, Ask::Move(number), |reply| Event::RollBack {
                    reply,
                    function,
                    alias,
                    by,
                });
            }
            MoveKind::Retire { back } => {
                let retired = back.map(|back| self.number_of(&function, back));
                self.ask_by(None, Ask::Move(number), |reply| Event::Retire {
                    reply,
                    function,
                    number: retired,
                });
            }
            kind => self.routes(number, plan.function, kind),
        }
    }

    /// The last move must be made; the others may be lost with their coordinator.
    pub(crate) fn move_was_lost(&mut self, number: usize) {
        if self.plan.moves.get(number).is_some_and(|plan| plan.last) {
            self.later(150, What::Moves(number));
        }
    }

    /// The number of a function's newest version but for some.
    pub(crate) fn number_of(&self, function: &str, back: usize) -> u32 {
        let machine = self.shell.as_ref().map(|shell| &shell.machine);
        let view = machine.and_then(|machine| machine.function(function, None, usize::MAX).ok());
        let at = view.as_ref().and_then(|view| view.versions.get(back));
        at.map_or(1, |at| at.version.number)
    }

    /// Asks for a version; what its artifact is made of is staged when it is not there.
    fn publishes(&mut self, number: usize, stages: bool) {
        let Some(MovePlan { function, kind, .. }) = self.plan.moves.get(number).cloned() else {
            return;
        };
        let MoveKind::Publish { content, node } = kind else {
            return;
        };
        self.asked += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.asked.to_be_bytes());
        let upload = UploadId(id);
        let mut publication = Box::new(publication(function, content, node, upload));
        if stages {
            let Some(shell) = &self.shell else { return };
            match shell
                .store
                .stage_artifact(upload, 0, &artifact_bytes(content))
            {
                Ok(()) => publication.staged = true,
                Err(Refused::Full(_)) => return self.later(30, What::Moves(number)),
                Err(Refused::Failed(error)) => {
                    assert!(
                        shell.broken.is_some(),
                        "an artifact cannot be staged: {error}"
                    );
                    return self.move_was_lost(number);
                }
            }
            self.disk_has_work();
        }
        let ask = Ask::Publish {
            number,
            upload: stages.then_some(upload),
        };
        self.ask_by(None, ask, |reply| Event::Publish { reply, publication });
    }

    /// What became of a publication.
    pub(crate) fn hears_of_publication(
        &mut self,
        number: usize,
        upload: Option<UploadId>,
        reply: Reply,
    ) {
        if let Some(upload) = upload
            && let Some(shell) = &self.shell
        {
            if let Err(error) = shell.store.unstage_artifact(upload) {
                assert!(
                    shell.broken.is_some(),
                    "an artifact cannot be unstaged: {error}"
                );
            }
            self.turn_soon(1);
        }
        match reply {
            Reply::Published { version, .. } => self.model.promises.published(version.id),
            Reply::ArtifactMissing => {
                assert!(upload.is_none(), "an artifact that was staged is missing");
                self.publishes(number, true);
            }
            Reply::Refused(Refusal::FunctionBrought { .. }) => {}
            reply => panic!("a publication was answered by {reply:?}"),
        }
    }

    pub(crate) fn hears_of_move(reply: &Reply) {
        let expected = match reply {
            Reply::Alias(_) | Reply::Done => true,
            reply if Self::is_of_route(reply) => true,
            Reply::Refused(refusal) => matches!(
                refusal,
                Refusal::UnknownFunction { .. }
                    | Refusal::NotPublished { .. }
                    | Refusal::UnknownVersion { .. }
                    | Refusal::UnknownAlias { .. }
                    | Refusal::VersionInUse { .. }
                    | Refusal::NothingToRollBack { .. }
            ),
            _ => false,
        };
        assert!(expected, "a move was answered by {reply:?}");
    }

    /// Sees to it that work of a version gets what runs it.
    pub(crate) fn supply(&mut self, seat: usize, process: u64, version: &Arc<Version>) {
        let Some(plan) = self.plan.workers.get(seat) else {
            return;
        };
        let fetch_ms = plan.fetch_ms;
        let Some(at) = self.seats.get_mut(seat) else {
            return;
        };
        let cached = at.cache.contains(&version.artifact.digest);
        let Some(running) = at.process(process) else {
            return;
        };
        let id = version.id;
        if running.ready.contains(&version.content) {
            return running.give(version, true);
        }
        running.loading.insert(id, Arc::clone(version));
        let wait_ms = if cached { 1 } else { fetch_ms };
        let what = What::Fetches {
            seat,
            process,
            version: id,
            tries: 0,
        };
        self.later(wait_ms, what);
    }

    /// A worker asks for an artifact, or has it.
    pub(crate) fn fetches(&mut self, seat: usize, process: u64, id: VersionId, tries: u32) {
        let what = |tries| What::Fetches {
            seat,
            process,
            version: id,
            tries,
        };
        let fails = self
            .plan
            .workers
            .get(seat)
            .map_or(0, |plan| plan.fetch_fails);
        let fails = self.dice.chance(fails);
        let Some(running) = self.working(seat, process, what(tries)) else {
            return;
        };
        let Some(version) = running.loading.get(&id).cloned() else {
            return;
        };
        let digest = version.artifact.digest;
        let cached = self
            .seats
            .get(seat)
            .is_some_and(|at| at.cache.contains(&digest));
        if !cached && self.shell.is_none() && tries < FETCHES_MAX {
            return self.later(200 << tries, what(tries + 1));
        }
        let found = cached || self.finds(&version);
        let Some(at) = self.seats.get_mut(seat) else {
            return;
        };
        let good = found && !fails;
        if good {
            at.cache.insert(digest);
        }
        let cached = at.cache.iter().copied().collect();
        let Some(running) = at.process(process) else {
            return;
        };
        running.loading.remove(&id);
        if good {
            running.ready.insert(version.content);
        }
        running.give(&version, good);
        let holdings = Holdings {
            warm: running.ready.iter().copied().collect(),
            cached,
            ..Holdings::default()
        };
        if let Some(link) = running.link.filter(|_| running.welcomed) {
            self.send_up(link, &convert::from_worker(FromWorker::Holds(holdings)));
        }
        self.pump(seat);
    }

    /// Whether the coordinator has the artifact of a version, as it was published.
    fn finds(&self, version: &Version) -> bool {
        let Some(shell) = self.shell.as_ref().filter(|shell| shell.broken.is_none()) else {
            return false;
        };
        // What it was uploaded under a worker is not told.
        let Some(artifact) = shell.machine.artifact(version.artifact.digest) else {
            return false;
        };
        let part = match shell.store.artifact_part(artifact.upload, 0) {
            Ok(part) => part,
            Err(error) => panic!("an artifact cannot be read: {error}"),
        };
        let right = artifact_bytes(version.artifact.digest.0[0]);
        assert!(
            part.as_ref().is_none_or(|part| *part == right),
            "an artifact is another one"
        );
        part.is_some()
    }
}

impl Process {
    /// All work of a version runs as what it is; where it could not be had, it fails.
    fn give(&mut self, version: &Version, good: bool) {
        let runs_as = good.then(|| runs_as(version));
        for held in self.waits.remove(&version.id).unwrap_or_default() {
            held.made.set(runs_as.clone()).unwrap_or_default();
        }
        self.machine.ready(version.id);
    }

    /// Work of a version came.
    pub(crate) fn wait_for(&mut self, version: VersionId, held: &Arc<Held>) -> Arc<Version> {
        let Some(told) = self.told.get(&version).cloned() else {
            panic!("work for {version:?} came, and nobody said what it is")
        };
        self.waits
            .entry(version)
            .or_default()
            .push(Arc::clone(held));
        told
    }
}
