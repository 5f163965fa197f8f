//! The worker's end of the sessions.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;
use umbel_core::function::{Holdings, Runtime, VersionId};
use umbel_core::job::Usage;
use umbel_core::limit::PROTOCOL;
use umbel_core::message::{ChunkReport, FromWorker, Hello, Report};
use umbel_core::outcome::FailedAttempt;
use umbel_core::ranges::Ranges;
use umbel_core::worker::InvokeHead;
use umbel_core::worker::{ChunkPlan, Outgoing, ReportPlan};
use umbel_proto::columns::ColumnsBuilder;
use umbel_proto::convert::{self, FromCoordinator};
use umbel_proto::v1;

use crate::agenda::{LinkId, What};
use crate::model::Loss;
use crate::net::{Item, Way};
use crate::seat::{Ended, Held, HeldInputs, name};
use crate::world::World;

impl World {
    /// A process tries to connect.
    pub(crate) fn connects(&mut self, seat: usize, process: u64) {
        let what = What::Connects { seat, process };
        if self
            .working(seat, process, what)
            .is_none_or(|process| process.link.is_some())
        {
            return;
        }
        let now_ms = self.now_ms;
        let Some(at) = self.seats.get_mut(seat) else {
            return;
        };
        let cut_off = at.silent_up_until_ms > now_ms || at.silent_down_until_ms > now_ms;
        let wait_ms = at.dice.between(50..=500);
        let Some(shell) = self.shell.as_ref().filter(|_| !cut_off) else {
            return self.later(wait_ms, what);
        };
        let link = self.links.open(seat, process, shell.incarnation);
        let Some(plan) = self.plan.workers.get(seat) else {
            return;
        };
        let cached = at.cache.iter().copied().collect();
        let Some(process) = at.process(process) else {
            return;
        };
        process.link = Some(link);
        process.welcomed = false;
        process.told.clear();
        let mut functions = plan.functions.clone();
        functions.extend(process.brings.map(str::to_owned));
        let mut runtimes = vec![Runtime::Python];
        runtimes.extend(plan.node.then_some(Runtime::Node));
        let hello = Hello {
            protocol: PROTOCOL,
            worker: process.id,
            name: name(seat),
            slots: plan.slots,
            labels: plan.labels.clone(),
            functions,
            runs_programs: false,
            runtimes: runtimes.into_iter().collect(),
            holdings: Holdings {
                warm: process.ready.iter().copied().collect(),
                cached,
                ..Holdings::default()
            },
            version: umbel_proto::VERSION.to_owned(),
            offers: process.machine.offers(),
        };
        self.send_up(link, &convert::hello(hello));
    }

    pub(crate) fn send_up(&mut self, link: LinkId, wire: &v1::ConnectRequest) {
        let bytes = Bytes::from(wire.encode_to_vec());
        self.put(link, Way::Up, Item::Message(bytes));
    }

    /// A worker notices the end of its link.
    pub(crate) fn ends_below(&mut self, id: LinkId) {
        let Some(link) = self.links.find(id) else {
            return;
        };
        let (seat, number) = (link.seat, link.process);
        if link.deaf_below {
            return;
        }
        if let Some(process) = self.working(seat, number, What::EndsBelow(id)) {
            if process.link == Some(id) {
                process.link = None;
                process.welcomed = false;
                let stopped = process.machine.disconnected();
                self.stop_slots(seat, &stopped);
                let wait_ms = self.dice.between(20..=400);
                self.later(
                    wait_ms,
                    What::Connects {
                        seat,
                        process: number,
                    },
                );
                self.pump(seat);
            }
        } else if self
            .seats
            .get_mut(seat)
            .is_some_and(|seat| seat.process(number).is_some())
        {
            // It is stalled, and will notice later.
            return;
        }
        self.links.cut(id);
        if let Some(link) = self.links.find(id) {
            link.deaf_below = true;
        }
        self.links.forget_deaf(id);
    }

    /// A message of the coordinator arrives.
    pub(crate) fn message_down(&mut self, id: LinkId) {
        let Some(link) = self.links.find(id) else {
            return;
        };
        let (seat, number) = (link.seat, link.process);
        let deaf = link.deaf_below;
        let Some(at) = self.seats.get(seat) else {
            return;
        };
        let silent_ms = at.silent_down_until_ms.max(at.stalled_until_ms);
        let arrived = self
            .links
            .arrive(&mut self.agenda, self.now_ms, (id, Way::Down), silent_ms);
        let Some(item) = arrived.filter(|_| !deaf) else {
            return;
        };
        let bytes = match item {
            Item::Message(bytes) => bytes,
            Item::Close(words) => {
                self.trace
                    .say(&|| format!("  link {id} was closed: {words}"));
                if words.contains("cannot bring one of that name") {
                    self.brings_no_more(seat, number);
                }
                return self.ends_below(id);
            }
        };
        let wire = match v1::ConnectResponse::decode(bytes) {
            Ok(wire) => wire,
            Err(error) => panic!("a coordinator's message cannot be decoded: {error}"),
        };
        match convert::from_coordinator(wire) {
            Ok(message) => self.worker_hears(seat, number, id, message),
            Err(invalid) => panic!("a coordinator's message is refused at the door: {invalid}"),
        }
    }

    fn worker_hears(&mut self, seat: usize, number: u64, id: LinkId, message: FromCoordinator) {
        let at = self.seats.get_mut(seat);
        let process = at
            .and_then(|at| at.process(number))
            .filter(|p| p.link == Some(id));
        let Some(process) = process else { return };
        let mut stopped = Vec::new();
        match message {
            FromCoordinator::Welcome { welcome, .. } => {
                process.heartbeat_ms = welcome.heartbeat_ms;
                process.welcomed = true;
                stopped = process.machine.welcome(&welcome);
                let wait_ms = welcome.heartbeat_ms;
                self.later(
                    wait_ms,
                    What::Beats {
                        seat,
                        process: number,
                        link: id,
                    },
                );
            }
            FromCoordinator::Grant { head, inputs } => {
                let held = held(HeldInputs::Chunk(inputs), head.version);
                let version = head.version.map(|id| process.wait_for(id, &held));
                process.machine.grant(*head, held);
                if let Some(version) = version {
                    self.supply(seat, number, &version);
                }
            }
            FromCoordinator::Version(version) => {
                let before = process.told.insert(version.id, Arc::clone(&version));
                assert!(before.is_none(), "{version:?} is told once in a session");
            }
            // Its instances are no processes, so there is nothing to keep ready.
            FromCoordinator::Keep(_) => {}
            FromCoordinator::Ack(number) => process.machine.acknowledged(number),
            FromCoordinator::TakeBack { lease, keep } => process.machine.take_back(lease, keep),
            FromCoordinator::Revoke(leases) => stopped = process.machine.revoke(&leases),
            FromCoordinator::Drain => process.machine.drain(),
            FromCoordinator::Invoke(invoke) => {
                let inputs = held(HeldInputs::Invoke(invoke.input), invoke.version);
                let version = invoke.version.map(|id| process.wait_for(id, &inputs));
                let head = InvokeHead {
                    id: invoke.id,
                    target: invoke.target,
                    version: invoke.version,
                    timeout_ms: invoke.timeout_ms,
                };
                process.machine.invoke(head, inputs);
                if let Some(version) = version {
                    self.supply(seat, number, &version);
                }
            }
            FromCoordinator::InvokeCancel(id) => {
                stopped.extend(process.machine.invoke_cancelled(id));
            }
        }
        self.stop_slots(seat, &stopped);
        self.pump(seat);
    }

    /// A function of the name that a process brought is published: it comes without.
    fn brings_no_more(&mut self, seat: usize, process: u64) {
        let at = self.seats.get_mut(seat);
        if let Some(process) = at.and_then(|at| at.process(process)) {
            process.brings = None;
        }
    }

    pub(crate) fn beats(&mut self, seat: usize, process: u64, link: LinkId) {
        let what = What::Beats {
            seat,
            process,
            link,
        };
        let Some(running) = self.working(seat, process, what) else {
            return;
        };
        if running.link != Some(link) || !running.welcomed {
            return;
        }
        let message = FromWorker::Heartbeat(running.machine.begun());
        let wait_ms = running.heartbeat_ms;
        self.send_up(link, &convert::from_worker(message));
        self.later(wait_ms, what);
    }

    pub(crate) fn pump_due(&mut self, seat: usize, process: u64) {
        if self
            .working(seat, process, What::Pump { seat, process })
            .is_some()
        {
            self.pump(seat);
        }
    }

    /// Free slots pull, and what is to be said is said.
    pub(crate) fn pump(&mut self, seat: usize) {
        self.fill_slots(seat);
        let now_us = self.now_us();
        loop {
            let at = self.seats.get_mut(seat);
            let Some(process) = at.and_then(|at| at.running.as_mut()) else {
                return;
            };
            let Some(link) = process.link else { return };
            let Some(outgoing) = process.machine.next_message(now_us) else {
                break;
            };
            let message = match outgoing {
                Outgoing::Message(message) => message,
                Outgoing::Report(plan) => FromWorker::Report(report(plan)),
            };
            self.send_up(link, &convert::from_worker(message));
        }
        let at = self.seats.get_mut(seat);
        let Some(process) = at.and_then(|at| at.running.as_mut()) else {
            return;
        };
        if process.machine.is_draining() && process.machine.is_settled() {
            self.process_dies(seat, Loss::Fault, false);
            let wait_ms = self.dice.between(200..=2_000);
            self.later(wait_ms, What::SeatStarts(seat));
        }
    }
}

/// Work as a slot takes it.
fn held(inputs: HeldInputs, version: Option<VersionId>) -> Arc<Held> {
    Arc::new(Held {
        inputs,
        made: OnceLock::new(),
        is_versioned: version.is_some(),
    })
}

/// Merges the parts of a report, as the real shell does.
fn report(plan: ReportPlan<Vec<Ended>>) -> Report {
    let chunks = plan.chunks.into_iter().map(chunk);
    Report {
        number: plan.number,
        chunks: chunks.collect(),
    }
}

fn chunk(plan: ChunkPlan<Vec<Ended>>) -> ChunkReport {
    let mut columns = ColumnsBuilder::new();
    let mut succeeded = Ranges::new();
    let mut failed: Vec<FailedAttempt> = Vec::new();
    let mut usage = Usage::default();
    for part in &plan.parts {
        for row in &part.columns {
            columns.push(&row.output, row.duration_us, None, row.started_at_us);
        }
        for run in part.succeeded.runs() {
            succeeded.push(run);
        }
        failed.extend(part.failed.iter().cloned());
        usage.add(part.usage);
    }
    let warm = columns.warm();
    ChunkReport {
        begun: plan.begun,
        succeeded,
        logs: columns.finish_logs(),
        columns: columns.finish(),
        failed,
        usage,
        handed_back: plan.handed_back,
        warm,
        cold: Vec::new(),
    }
}
