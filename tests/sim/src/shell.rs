//! The coordinator's shell, after the manner of the real one: a turn drains, handles,
//! commits and carries out, and what shows or promises waits for its batch.

use std::collections::{BTreeMap, VecDeque};

use umbel_core::change::Change;
use umbel_core::command::{Command, Note, Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::{JobId, ReplyId, SessionId, WorkerId};
use umbel_core::limit::TURN_GAP_MAX_MS;
use umbel_core::machine::Machine;
use umbel_core::message::{FromWorker, Hello, Offer, ToWorker};
use umbel_core::view::JobView;
use umbel_store::Store;

use crate::agenda::{LinkId, What};
use crate::bug::Bug;
use crate::client::Asker;
use crate::disk::Disk;
use crate::function::Behaviour;
use crate::model::{Arrival, Projection};
use crate::route::Sortings;
use crate::world::World;

/// Of so many seeds one holds each restart against the machine that wrote its last batch.
const PROJECTED: u64 = 3;

/// What comes to the engine.
#[derive(Debug)]
pub(crate) enum Mail {
    Event(Event),
    Ask(Asker, Event),
    Join(LinkId, Box<Hello>),
    Leave(LinkId),
    /// What a worker says, and what it said before a bug got hold of it.
    Said {
        link: LinkId,
        message: FromWorker,
        arrival: Option<Arrival>,
    },
    /// A client looks at a job.
    Look {
        client: usize,
        job: JobId,
    },
}

/// What waits for its batch.
#[derive(Debug)]
enum Gated {
    Reply(Asker, Reply),
    Message(SessionId, ToWorker),
    Changed(JobId),
    View {
        client: usize,
        job: JobId,
        view: Option<Box<JobView>>,
    },
}

/// What one turn gathers.
#[derive(Debug, Default)]
struct Turn {
    changes: Vec<Change>,
    gated: Vec<Gated>,
}

/// A running coordinator.
pub(crate) struct Shell {
    pub(crate) incarnation: u32,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) stalled_until_ms: u64,
    /// What is found of the disk after a failure, and how many turns survived it.
    pub(crate) broken: Option<(Disk, usize)>,
    next_number: u64,
    pub(crate) mail: VecDeque<Mail>,
    gate: VecDeque<(u64, Gated)>,
    replies: BTreeMap<ReplyId, Asker>,
    pub(crate) sessions: BTreeMap<LinkId, WorkerId>,
    /// What workers offered, for a bug.
    pub(crate) offers: BTreeMap<LinkId, Vec<Offer>>,
    /// The last report of each session, for a bug.
    pub(crate) reported: BTreeMap<LinkId, u64>,
    /// What the machine wants sorted.
    pub(crate) sortings: Sortings,
    turn_at_ms: Option<u64>,
    commit_due: bool,
    mono_ms: u64,
    engine_ms: u64,
}

/// A coordinator as it starts.
pub(crate) struct Start {
    pub(crate) incarnation: u32,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) next_number: u64,
    pub(crate) mono_ms: u64,
}

impl Shell {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            incarnation: start.incarnation,
            machine: start.machine,
            store: start.store,
            stalled_until_ms: 0,
            broken: None,
            next_number: start.next_number,
            mail: VecDeque::new(),
            gate: VecDeque::new(),
            replies: BTreeMap::new(),
            sessions: BTreeMap::new(),
            offers: BTreeMap::new(),
            reported: BTreeMap::new(),
            sortings: Sortings::new(),
            turn_at_ms: None,
            commit_due: false,
            mono_ms: start.mono_ms,
            engine_ms: 0,
        }
    }

    /// Who waits for a reply.
    pub(crate) fn askers(&self) -> Vec<Asker> {
        let in_mail = self.mail.iter().filter_map(|mail| match mail {
            Mail::Ask(asker, _) => Some(asker.clone()),
            _ => None,
        });
        let at_gate = self.gate.iter().filter_map(|(_, gated)| match gated {
            Gated::Reply(asker, _) => Some(asker.clone()),
            _ => None,
        });
        in_mail
            .chain(at_gate)
            .chain(self.replies.values().cloned())
            .collect()
    }
}

impl World {
    /// Puts mail in line and sees to it that it is read.
    pub(crate) fn post(&mut self, mail: Mail) {
        let wait_ms = self.dice.below(3);
        if let Some(shell) = &mut self.shell {
            shell.mail.push_back(mail);
        }
        self.turn_soon(wait_ms);
    }

    pub(crate) fn turn_soon(&mut self, wait_ms: u64) {
        let at_ms = self.now_ms + wait_ms;
        let Some(shell) = &mut self.shell else { return };
        if shell.turn_at_ms.is_none_or(|planned| planned > at_ms) {
            shell.turn_at_ms = Some(at_ms);
            self.agenda.add(at_ms, What::Turn(shell.incarnation));
        }
    }

    /// The coordinator, if it is this one and does something now.
    pub(crate) fn awake(&mut self, incarnation: u32, what: What) -> Option<&mut Shell> {
        let shell = self
            .shell
            .as_mut()
            .filter(|shell| shell.incarnation == incarnation)?;
        if shell.stalled_until_ms > self.now_ms {
            self.agenda.add(shell.stalled_until_ms, what);
            return None;
        }
        Some(shell)
    }

    pub(crate) fn turn(&mut self, incarnation: u32) {
        let now_ms = self.now_ms;
        let Some(shell) = self.awake(incarnation, What::Turn(incarnation)) else {
            return;
        };
        if shell.turn_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        shell.turn_at_ms = None;
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        self.take_turn(&mut shell);
        let wake = shell.machine.next_wake();
        let more = !shell.mail.is_empty();
        self.shell = Some(shell);
        if let Some(wake) = wake {
            let wait_ms = wake.saturating_sub(self.clock().mono_ms);
            self.turn_soon(wait_ms.max(1));
        }
        if more {
            self.turn_soon(1);
        }
        self.disk_moves();
        self.check_now_and_then();
    }

    fn take_turn(&mut self, shell: &mut Shell) {
        let now = self.clock();
        let gap_ms = now.mono_ms.saturating_sub(shell.mono_ms);
        shell.engine_ms += gap_ms.min(TURN_GAP_MAX_MS);
        shell.mono_ms = now.mono_ms;
        let mut turn = Turn::default();
        if self.bug == Some(Bug::PauseIsSilence) {
            let mut commands = Vec::new();
            let mut step = now;
            for behind in (0..gap_ms / TURN_GAP_MAX_MS).rev() {
                step.mono_ms = now.mono_ms - behind * TURN_GAP_MAX_MS;
                shell.machine.advance(step, &mut commands);
            }
            self.carry_out(shell, &mut turn, commands, None);
        }
        let most = if self.dice.chance(80) {
            shell.mail.len() as u64
        } else {
            1
        };
        for _ in 0..most {
            let Some(mail) = shell.mail.pop_front() else {
                break;
            };
            self.open(shell, &mut turn, mail);
        }
        let mut commands = Vec::new();
        shell.machine.advance(now, &mut commands);
        self.carry_out(shell, &mut turn, commands, None);
        self.commit(shell, turn);
    }

    fn open(&mut self, shell: &mut Shell, turn: &mut Turn, mail: Mail) {
        let engine_ms = shell.engine_ms;
        let (event, arrival) = match mail {
            Mail::Event(event) => (event, None),
            Mail::Ask(asker, event) => {
                shell.replies.insert(asker.reply, asker);
                (event, None)
            }
            Mail::Join(link, mut hello) => {
                if self.bug == Some(Bug::CountTwice) {
                    crate::mutate::uncounted(&shell.machine, &mut hello.offers);
                }
                shell.sessions.retain(|_, worker| *worker != hello.worker);
                shell.sessions.insert(link, hello.worker);
                if self.bug == Some(Bug::SkipFence) {
                    shell.offers.insert(link, hello.offers.clone());
                }
                self.model.grants.heard(hello.worker, engine_ms);
                (
                    Event::Hello {
                        session: SessionId(link),
                        hello,
                    },
                    None,
                )
            }
            Mail::Leave(link) => {
                if let Some(worker) = shell.sessions.remove(&link) {
                    self.model.grants.session_ended(worker, engine_ms);
                }
                (Event::SessionEnded(SessionId(link)), None)
            }
            Mail::Said {
                link,
                mut message,
                arrival,
            } => {
                if self.bug == Some(Bug::ForgetTypes) {
                    crate::mutate::forget_types(&mut message);
                }
                if self.bug == Some(Bug::FreeRide) {
                    let job = |lease| self.model.grants.job_of(lease);
                    crate::mutate::free_ride(&mut message, &job);
                }
                if let Some(worker) = shell.sessions.get(&link) {
                    self.model.grants.heard(*worker, engine_ms);
                    if let FromWorker::TakenBack(taken) = &message {
                        self.model.grants.taken_back(*worker, taken);
                    }
                }
                if let FromWorker::Report(report) = &message {
                    shell.reported.insert(link, report.number);
                }
                let arrival = arrival.filter(|_| shell.sessions.contains_key(&link));
                (
                    Event::Worker {
                        session: SessionId(link),
                        message,
                    },
                    arrival,
                )
            }
            Mail::Look { client, job } => {
                let view = shell.machine.job_view(job).map(Box::new);
                turn.gated.push(Gated::View { client, job, view });
                return;
            }
        };
        let mut commands = Vec::new();
        shell.machine.handle(self.clock(), event, &mut commands);
        self.carry_out(shell, turn, commands, arrival.as_ref());
    }

    fn carry_out(
        &mut self,
        shell: &mut Shell,
        turn: &mut Turn,
        commands: Vec<Command>,
        arrival: Option<&Arrival>,
    ) {
        for command in &commands {
            if let Command::Persist(Change::Recorded(record)) = command {
                let published = &self.model.live.published;
                self.model.grants.judge(record, arrival, published);
                if let Some(arrival) = arrival {
                    self.model.recorded(record, arrival);
                    self.model.judge_retries(record, arrival);
                }
            }
        }
        if let Some(arrival) = arrival {
            self.model.grants.reported(arrival);
        }
        for command in commands {
            self.trace.say(&|| format!("  {command:?}"));
            match command {
                Command::Persist(change) => self.persist(turn, change),
                Command::Reply { to, reply } => {
                    let Some(asker) = shell.replies.remove(&to) else {
                        continue;
                    };
                    turn.gated.push(Gated::Reply(asker, reply));
                }
                Command::Send { session, message } => self.send_down(shell, session, message),
                Command::SendDurable { session, message } => {
                    turn.gated.push(Gated::Message(session, message));
                }
                Command::Close { session, refusal } => self.close(shell, session, &refusal),
                Command::JobChanged(job) => turn.gated.push(Gated::Changed(job)),
                Command::Sort(sorting) => self.wants_sorted(shell, sorting),
                // No alias of the simulation has a shadow.
                Command::Feed(_) | Command::Ignored(_) => {}
                Command::Note(Note::LeaseExpired { lease }) => {
                    let config = self.plan.config;
                    self.model.grants.expired(lease, shell.engine_ms, &config);
                }
                Command::Note(Note::JobSwept { job, .. }) => {
                    self.model.promises.may_go(job);
                    for client in &mut self.clients {
                        client.may_be_gone |= client.job() == Some(job);
                    }
                }
                Command::Note(_) => {}
            }
        }
    }

    fn persist(&mut self, turn: &mut Turn, change: Change) {
        self.model.live.apply(&change);
        match &change {
            Change::Granted(lease) => {
                if self.is_faultless() {
                    let priority = |job| self.priority(job);
                    self.model.judge_priority(lease, &priority);
                }
                self.model.grants.granted(lease, self.now_ms);
            }
            Change::LeaseEnded(lease) => self.model.grants.ended(*lease),
            Change::Recorded(record) => {
                for failed in &record.failed {
                    if failed.failure.error_type == "CrashLimit" {
                        let behaviour = self.behaviour(record.job, failed.index);
                        let guilty = behaviour == Some(Behaviour::Crashes);
                        self.model.grants.blamed(record.job, failed.index, guilty);
                    }
                }
            }
            _ => {}
        }
        turn.changes.push(change);
    }

    /// Ends a session behind what was said to it.
    fn close(&mut self, shell: &mut Shell, session: SessionId, refusal: &Refusal) {
        let link = session.0;
        if let Some(worker) = shell.sessions.remove(&link)
            && !matches!(refusal, Refusal::SessionSilent { .. })
        {
            self.model.grants.session_ended(worker, shell.engine_ms);
        }
        self.close_link(link, refusal);
    }

    /// Hands the turn's changes to the store, and holds back what shows or promises them.
    fn commit(&mut self, shell: &mut Shell, turn: Turn) {
        if !turn.changes.is_empty() {
            let number = shell.next_number;
            let written = crate::mutate::written(self.bug, &turn.changes);
            if let Err(error) = shell.store.commit(number, &written) {
                panic!("a turn does not fit the store: {error}");
            }
            self.trace.bytes(&number.to_le_bytes());
            // It costs a look at every invocation, so some clusters do without.
            let projected = self.plan.seed.is_multiple_of(PROJECTED);
            // What invokes come to is written later than they are answered.
            let figures = self.plan.invokes.is_empty();
            let projection = projected.then(|| Projection::of(&shell.machine, figures));
            self.model.committed(number, turn.changes, projection);
            shell.next_number += 1;
        }
        let number = shell.next_number - 1;
        for gated in turn.gated {
            let early = match (self.bug, &gated) {
                (Some(Bug::ShowBeforeFlush), Gated::Reply(..) | Gated::View { .. }) => true,
                (Some(Bug::AckBeforeFlush), Gated::Message(..)) => true,
                (Some(Bug::ForgetWatchers), Gated::Changed(_)) => continue,
                _ => false,
            };
            if early {
                // Ahead of the rest, which are held in order.
                shell.gate.push_front((0, gated));
            } else {
                shell.gate.push_back((number, gated));
            }
        }
    }

    /// Something may have become durable: what waited for it leaves.
    pub(crate) fn disk_moves(&mut self) {
        self.disk_has_work();
        // What is released may make more durable, but never releases by itself.
        while let Some(gated) = self.next_released() {
            self.release(gated);
        }
    }

    /// What lies in line for the disk will be committed some time.
    pub(crate) fn disk_has_work(&mut self) {
        let Some(shell) = &mut self.shell else { return };
        if self.disk.undurable() > 0 && !shell.commit_due {
            shell.commit_due = true;
            let incarnation = shell.incarnation;
            let (until_ms, slow_ms) = self.disk_slow;
            let most_ms = if self.now_ms < until_ms { slow_ms } else { 8 };
            let wait_ms = self.dice.below(most_ms + 1);
            self.later(wait_ms, What::Commit(incarnation));
        }
    }

    fn next_released(&mut self) -> Option<Gated> {
        let shell = self.shell.as_mut()?;
        let durable = shell.store.durable();
        self.model.became_durable(durable);
        let (number, _) = shell.gate.front()?;
        if *number > durable {
            return None;
        }
        shell.gate.pop_front().map(|(_, gated)| gated)
    }

    fn release(&mut self, gated: Gated) {
        match gated {
            Gated::Reply(asker, reply) => self.client_hears(&asker, reply),
            Gated::Message(session, message) => {
                let Some(mut shell) = self.shell.take() else {
                    return;
                };
                self.send_down(&mut shell, session, message);
                self.shell = Some(shell);
            }
            Gated::Changed(job) => self.job_changed(job),
            Gated::View { client, job, view } => self.client_sees(client, job, view.as_deref()),
        }
    }

    pub(crate) fn disk_commits(&mut self, incarnation: u32) {
        if let Some(shell) = self.awake(incarnation, What::Commit(incarnation)) {
            shell.commit_due = false;
            let undurable = self.disk.undurable() as u64;
            let some = 1 + self.dice.below(undurable);
            let count = if self.dice.chance(70) {
                undurable
            } else {
                some
            };
            self.disk
                .commit(usize::try_from(count).unwrap_or(usize::MAX));
            self.disk_moves();
        }
    }

    pub(crate) fn sweep(&mut self, incarnation: u32) {
        if let Some(shell) = self.awake(incarnation, What::Sweep(incarnation)) {
            // A store that failed sweeps nothing, and says so to its shell elsewhere.
            let more = shell.store.sweep_step();
            let live_bytes = shell.store.live_bytes();
            if matches!(more, Ok(false)) {
                self.post(Mail::Event(Event::Stored { live_bytes }));
            }
            self.disk_moves();
            self.later(700, What::Sweep(incarnation));
        }
    }
}
