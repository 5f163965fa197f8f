//! What clients send and read: proposals, blocks, results and invokes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::command::Reply;
use umbel_core::event::{Event, INLINE, Proposal};
use umbel_core::id::{Appender, Index, InvokeId, JobId};
use umbel_core::job::{BlockRef, JobState, Source, Target};
use umbel_core::outcome::{FailureKind, WORKER_LOST};
use umbel_core::route::{Decision, Routing};
use umbel_proto::block::BlockBuilder;
use umbel_store::{Cursor, Gaps, Outcome, Reached, Refused, ResultRow, Wanted};

use crate::client::{Ask, Client, Stage};
use crate::function::{Behaviour, FLAKY, NOT_FETCHED, output};
use crate::plan::Inputs;
use crate::publish::runs_as;
use crate::shell::Mail;
use crate::world::World;

impl World {
    /// A client asks for its job, for the first time or again.
    pub(crate) fn creates(&mut self, at: usize, aside: bool) {
        self.asked += 1;
        let Some(client) = self.clients.get(at) else {
            return;
        };
        let (plan, id) = (client.plan().clone(), client.propose(self.asked));
        let request_id = client.request_id();
        let (source, seal) = match plan.inputs {
            Inputs::Range { begin } => (
                Source::Range {
                    begin,
                    count: plan.count,
                },
                true,
            ),
            Inputs::Inline => (Source::Blocks, true),
            Inputs::Appended { .. } => (Source::Blocks, false),
        };
        let mut blocks = Vec::new();
        if plan.inputs == Inputs::Inline && plan.count > 0 {
            let (block, bytes) = block(client, INLINE, 0..plan.count);
            if !self.stages(id, block, &bytes) {
                if !aside {
                    self.tries_again(at);
                }
                return;
            }
            blocks.push(block);
        }
        let ask = Ask::Create {
            id,
            blocks: blocks.clone(),
            aside,
        };
        let mut content_digest = [0; 32];
        content_digest[0] = u8::try_from(plan.number).unwrap_or(u8::MAX);
        let spec = crate::mutate::proposed(self.bug, plan.spec);
        let proposal = Proposal {
            id,
            spec,
            source,
            blocks,
            seal,
            request_id,
            content_digest,
            refusal: None,
        };
        let proposal = Box::new(proposal);
        self.ask_by(Some(at), ask, |reply| Event::CreateJob { reply, proposal });
    }

    /// Stages a block; false when there is no room now.
    fn stages(&mut self, job: JobId, block: BlockRef, bytes: &Bytes) -> bool {
        let Some(shell) = &self.shell else {
            return false;
        };
        let staged = match shell.store.stage(job, &block, bytes) {
            Ok(()) => true,
            Err(Refused::Full(_)) => false,
            Err(Refused::Failed(error)) => {
                assert!(shell.broken.is_some(), "a block cannot be staged: {error}");
                false
            }
        };
        self.disk_has_work();
        staged
    }

    /// Removes what was staged and is not used.
    pub(crate) fn unstage(&mut self, job: JobId, blocks: &[BlockRef]) {
        let Some(shell) = &self.shell else { return };
        for block in blocks {
            if let Err(error) = shell.store.unstage(job, block) {
                assert!(
                    shell.broken.is_some(),
                    "a block cannot be unstaged: {error}"
                );
            }
        }
        // To be sure of what lies in line it waited for the disk, and the next turn will
        // find it so.
        self.turn_soon(1);
    }

    /// A client sends as many blocks as its window allows.
    pub(crate) fn appends(&mut self, at: usize, job: JobId) {
        loop {
            let Some(client) = self.clients.get_mut(at) else {
                return;
            };
            let count = client.plan().count;
            if client.next_index >= count && client.in_flight == 0 {
                return self.goes_to(at, Stage::Seal, 1);
            }
            let Inputs::Appended { block: most } = client.plan().inputs else {
                return;
            };
            if !Self::has_window(client) {
                return;
            }
            let first = client.next_index;
            let len = client.dice.between(1..=u64::from(most));
            let end = (first + u32::try_from(len).unwrap_or(1)).min(count);
            let (block, bytes) = block(client, client.appender, first..end);
            if !self.stages(job, block, &bytes) {
                return self.tries_again(at);
            }
            if let Some(client) = self.clients.get_mut(at) {
                client.next_index = end;
                client.in_flight += 1;
            }
            self.ask_by(Some(at), Ask::Append(block), |reply| Event::Append {
                reply,
                job,
                block,
            });
        }
    }

    /// A client reads what results there are.
    pub(crate) fn reads_some(&mut self, at: usize, job: JobId) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let count = client.plan().count;
        let begin = u32::try_from(client.dice.below(u64::from(count) + 1)).unwrap_or(0);
        let rows = self.rows(job, begin..count);
        for row in rows.unwrap_or_default() {
            self.judge_row(at, &row);
            self.model.promises.row(job, row);
        }
    }

    fn rows(&self, job: JobId, range: std::ops::Range<Index>) -> Option<Vec<ResultRow>> {
        let shell = self.shell.as_ref()?;
        let mut reader = shell.store.in_order(job, range, Wanted::ALL, Gaps::Skip);
        let mut rows = Vec::new();
        loop {
            let page = match reader.page(shell.store.durable()) {
                Ok(page) => page,
                Err(error) => panic!("results cannot be read: {error}"),
            };
            rows.extend(page.rows);
            if page.reached == Reached::End {
                return Some(rows);
            }
        }
    }

    /// A client reads all results of its ended job.
    pub(crate) fn reads_the_end(&mut self, at: usize, job: JobId) {
        let Some(client) = self.clients.get(at) else {
            return;
        };
        let (count, may_be_gone, deletes) = (
            client.plan().count,
            client.may_be_gone,
            client.plan().deletes,
        );
        // By the plan, and not by what the coordinator made of it.
        let planned_enough = client.plan().spec.policy.enough;
        let Some(view) = client.last_view.clone() else {
            return;
        };
        let now = self
            .shell
            .as_ref()
            .and_then(|shell| shell.machine.job_view(job));
        if now.is_some_and(|now| now.status != view.status) {
            // Somebody redrove it meanwhile.
            return self.goes_to(at, Stage::Watch, 0);
        }
        let Some(rows) = self.rows(job, 0..count) else {
            return self.tries_again(at);
        };
        if !may_be_gone {
            let of = |wanted: fn(&Outcome) -> bool| {
                rows.iter().filter(|row| wanted(&row.outcome)).count() as u64
            };
            let found = (
                rows.len() as u64,
                of(|outcome| matches!(outcome, Outcome::Succeeded(_))),
                of(|outcome| matches!(outcome, Outcome::Failed(_))),
                of(|outcome| matches!(outcome, Outcome::Cancelled)),
            );
            let counts = view.counts;
            let shown = (
                counts.total,
                counts.succeeded,
                counts.failed,
                counts.cancelled,
            );
            assert_eq!(found, shown, "results of job {job}");
            let cancelled = counts.cancelled > 0;
            let succeeded = view.status.state == JobState::Succeeded;
            let enough = planned_enough;
            assert!(
                !(succeeded && cancelled) || enough.is_some_and(|most| counts.succeeded >= most),
                "job {job} succeeded in part"
            );
            self.same_as_completed(job, view.status.redrives, &rows);
        }
        for row in rows {
            self.judge_row(at, &row);
            self.model.promises.row(job, row);
        }
        let redriven = view.status.state != JobState::Succeeded && self.has_redrives(at);
        let stage = match (redriven, deletes) {
            (true, _) => Stage::Redrive,
            (false, true) => Stage::Delete,
            (false, false) => Stage::Done,
        };
        self.goes_to(at, stage, 1);
    }

    /// What is read in the order of completion is the same.
    fn same_as_completed(&self, job: JobId, redrives: u32, rows: &[ResultRow]) {
        let Some(shell) = &self.shell else { return };
        let mut reader = shell
            .store
            .as_completed(job, redrives, Cursor::default(), Wanted::ALL);
        let mut found = BTreeMap::new();
        loop {
            let page = match reader.page(shell.store.durable()) {
                Ok(page) => page,
                Err(error) => panic!("results cannot be read: {error}"),
            };
            for (row, _) in page.rows {
                let index = row.index;
                let before = found.insert(index, row);
                assert!(before.is_none(), "{index} of job {job} is read twice");
            }
            if !page.more {
                break;
            }
        }
        let found: Vec<ResultRow> = found.into_values().collect();
        assert_eq!(found, rows, "job {job} in both orders");
    }

    /// A result is what the plan says that it must be.
    fn judge_row(&self, at: usize, row: &ResultRow) {
        let Some(client) = self.clients.get(at) else {
            return;
        };
        let (plan, index) = (client.plan(), row.index);
        let policy = &plan.spec.policy;
        let behaviour = plan.mix.behaviour(index);
        let right = match &row.outcome {
            Outcome::Succeeded(found) => {
                let runs = matches!(behaviour, Behaviour::Succeeds | Behaviour::FailsFirst(_));
                runs && self.is_output(
                    plan.spec.target.function(),
                    row,
                    found,
                    &client.input(index),
                )
            }
            Outcome::Failed(failure) => match failure.kind {
                FailureKind::Function => match behaviour {
                    Behaviour::Fails | Behaviour::Refuses => true,
                    Behaviour::FailsFirst(failures) => {
                        let retries = policy.retries(FailureKind::Function, FLAKY);
                        !retries || failures >= policy.max_attempts || policy.timeout_ms.is_some()
                    }
                    Behaviour::Succeeds | Behaviour::Crashes => false,
                },
                FailureKind::Timeout => policy.timeout_ms.is_some(),
                FailureKind::Crashed => true,
                FailureKind::Rejected => {
                    let fetched = self.plan.workers.iter().all(|at| at.fetch_fails == 0);
                    (policy.place_timeout_ms.is_some() && failure.error_type == "NoAbleWorker")
                        || (row.version.is_some() && failure.error_type == NOT_FETCHED)
                            && (!fetched || self.incarnations > 1)
                }
                FailureKind::Lost => !policy.retries(FailureKind::Lost, WORKER_LOST),
            },
            Outcome::Cancelled => true,
        };
        assert!(
            right,
            "{index} of job {}, which {behaviour:?}, came to {row:?}",
            plan.number
        );
    }

    /// Whether an output is one of the function, or of the version, that a row names.
    fn is_output(
        &self,
        accepted: Option<&str>,
        row: &ResultRow,
        found: &[u8],
        input: &[u8],
    ) -> bool {
        let name = row.function.split('@').next();
        let name = name.filter(|name| !name.is_empty()).or(accepted);
        let name = name.unwrap_or_default();
        match row.version {
            None => found == output(name, input),
            Some(number) => {
                let mut versions = self.model.live.published.ever(name, number).iter();
                versions.any(|version| found == output(&runs_as(version), input))
            }
        }
    }

    /// One invocation is wanted at once.
    pub(crate) fn invokes(&mut self, number: usize) {
        let Some(id) = self.asks_to_invoke(number, None) else {
            return;
        };
        if self.dice.chance(20) {
            // Its client goes away at once; then nobody answers, or to nobody.
            self.post(Mail::Event(Event::InvokeAbandoned(id)));
        } else {
            self.invokes_open.insert(number, self.model.live.changes);
        }
    }

    /// The route of an alias is asked about an input; the client waits on.
    pub(crate) fn invokes_decided(&mut self, number: usize, routing: &Arc<Routing>) {
        if !self.invokes_open.contains_key(&number) {
            return;
        }
        let decided = Some(crate::route::decide(routing, number));
        if self.asks_to_invoke(number, decided).is_none() {
            self.invokes_open.remove(&number);
        }
    }

    fn asks_to_invoke(
        &mut self,
        number: usize,
        decided: Option<(u64, Decision)>,
    ) -> Option<InvokeId> {
        let plan = self.plan.invokes.get(number).copied()?;
        let timeout_ms = plan.timeout_ms;
        let id = InvokeId(self.asked + 1);
        let asked = self.ask_by(None, Ask::Invoke(number), |reply| Event::Invoke {
            reply,
            id,
            target: Target::Function(plan.function.to_owned()),
            input: number.to_string().into(),
            timeout_ms,
            decided,
        });
        asked.then_some(id)
    }

    pub(crate) fn judge_invoke(&self, number: usize, asked: u64, reply: &Reply) {
        let function = self.plan.invokes.get(number).map(|plan| plan.function);
        let (function, input) = (function.unwrap_or_default(), number.to_string());
        match reply {
            Reply::Invoked {
                outcome: Ok(found),
                version: None,
                ..
            } => assert_eq!(
                *found,
                output(function, input.as_bytes()),
                "an invoke's output"
            ),
            Reply::Invoked {
                outcome: Ok(found),
                version: Some(number),
                ..
            } => {
                let published = &self.model.live.published;
                let mut versions = published.ever(function, *number).iter();
                let right = versions.any(|version| {
                    *found == output(&runs_as(version), input.as_bytes())
                        && !published.was_retired_before(version.id, asked)
                });
                assert!(
                    right,
                    "an invoke of {function} ran version {number}: {found:?}"
                );
            }
            Reply::Invoked {
                outcome: Err(_), ..
            }
            | Reply::Refused(_) => {}
            reply => panic!("an invoke was answered by {reply:?}"),
        }
    }
}

/// A block of inputs, and where it will lie.
fn block(client: &Client, appender: Appender, range: std::ops::Range<Index>) -> (BlockRef, Bytes) {
    let mut builder = BlockBuilder::new();
    for index in range.clone() {
        builder.push(&client.input(index));
    }
    let bytes = builder.finish();
    let block = BlockRef {
        first: range.start,
        count: range.end - range.start,
        bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        appender,
    };
    (block, bytes)
}
