//! A whole cluster: what there is, and the loop in which it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use umbel_core::id::JobId;
use umbel_core::time::Now;

use crate::agenda::{Agenda, What};
use crate::bug::Bug;
use crate::client::Client;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::model::Model;
use crate::net::Links;
use crate::plan::Plan;
use crate::seat::Seat;
use crate::shell::Shell;
use crate::trace::Trace;

/// How long everything may take to end once nothing goes wrong any more.
const LIVENESS_MS: u64 = 30 * 60_000;
/// How many things may happen in one cluster: a machine that wakes for nothing for
/// ever would hang the simulation otherwise.
const HAPPENINGS_MAX: u64 = 2_000_000;
/// Every so many turns all of it is compared.
const TURNS_CHECKED: u64 = 7;
/// By how many of the longest runs on every slot a job may be ahead of another: what is under way of
/// both, and what is on its way before anything was measured.
const FAIR_RUNS: u64 = 4;
/// And by how much for what is known late.
const FAIR_MS: u64 = 200;
/// The wall clock at the start, milliseconds since 1970.
const WALL_START_MS: u64 = 1_790_000_000_000;

/// A cluster.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bug: Option<Bug>,
    pub(crate) now_ms: u64,
    pub(crate) dice: Dice,
    pub(crate) agenda: Agenda,
    pub(crate) trace: Trace,
    pub(crate) model: Model,
    pub(crate) disk: Arc<Disk>,
    /// How long a commit takes at most, until when.
    pub(crate) disk_slow: (u64, u64),
    pub(crate) shell: Option<Shell>,
    /// Coordinators that were started.
    pub(crate) incarnations: u32,
    /// Until when a restart has to wait.
    pub(crate) down_until_ms: u64,
    pub(crate) links: Links,
    pub(crate) seats: Vec<Seat>,
    pub(crate) clients: Vec<Client>,
    /// Replies that nobody has seen yet, numbered.
    pub(crate) asked: u64,
    /// Invokes that wait for their answer, and when they were asked for, in changes.
    pub(crate) invokes_open: BTreeMap<usize, u64>,
    pub(crate) mono_ahead_ms: u64,
    pub(crate) wall_off_ms: i64,
    pub(crate) turns: u64,
    pub(crate) figures: Figures,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) hash: u64,
    pub(crate) happenings: u64,
    pub(crate) turns: u64,
    pub(crate) executions: u64,
    pub(crate) crashes: u64,
    pub(crate) messages: u64,
    pub(crate) ended_ms: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Self) {
        self.happenings += other.happenings;
        self.turns += other.turns;
        self.executions += other.executions;
        self.crashes += other.crashes;
        self.messages += other.messages;
        self.ended_ms += other.ended_ms;
    }
}

impl World {
    pub(crate) fn new(plan: Plan, bug: Option<Bug>, verbose: bool) -> Self {
        let mut dice = Dice::new(plan.seed ^ 0x5eed);
        let seats = plan
            .workers
            .iter()
            .map(|_| Seat::new(dice.fork()))
            .collect();
        let clients = plan
            .jobs
            .iter()
            .map(|job| Client::new(job.clone(), dice.fork()))
            .collect();
        let mut world = Self {
            bug,
            now_ms: 0,
            agenda: Agenda::default(),
            trace: Trace::new(verbose),
            model: Model::default(),
            disk: Arc::new(Disk::empty()),
            disk_slow: (0, 0),
            shell: None,
            incarnations: 0,
            down_until_ms: 0,
            links: Links::new(dice.fork()),
            seats,
            clients,
            asked: 0,
            invokes_open: BTreeMap::new(),
            mono_ahead_ms: 0,
            wall_off_ms: 0,
            turns: 0,
            figures: Figures::default(),
            dice,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.agenda.add(0, What::CoordinatorStarts);
        for (seat, worker) in self.plan.workers.iter().enumerate() {
            self.agenda.add(worker.starts_ms, What::SeatStarts(seat));
        }
        for (client, job) in self.plan.jobs.iter().enumerate() {
            self.agenda.add(job.at_ms, What::Client { client, step: 0 });
        }
        for (number, invoke) in self.plan.invokes.iter().enumerate() {
            self.agenda.add(invoke.at_ms, What::Invokes(number));
        }
        for (number, made) in self.plan.moves.iter().enumerate() {
            self.agenda.add(made.at_ms, What::Moves(number));
        }
        let pins = self.plan.jobs.iter().filter(|job| job.spec.policy.pin);
        let pins = pins.map(|job| u8::try_from(job.number).unwrap_or(u8::MAX));
        self.model.pins(pins.collect());
        for (number, fault) in self.plan.faults.iter().enumerate() {
            self.agenda.add(fault.at_ms, What::Fault(number));
        }
    }

    /// What time it is for the coordinator.
    pub(crate) fn clock(&self) -> Now {
        let wall_ms = WALL_START_MS + self.now_ms;
        Now {
            mono_ms: 1_000 + self.now_ms + self.mono_ahead_ms,
            wall_ms: wall_ms.saturating_add_signed(self.wall_off_ms),
        }
    }

    /// A worker's clock in microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        (WALL_START_MS + self.now_ms) * 1_000
    }

    pub(crate) fn later(&mut self, wait_ms: u64, what: What) {
        self.agenda.add(self.now_ms + wait_ms, what);
    }

    pub(crate) fn faults_are_over(&self) -> bool {
        self.now_ms >= self.plan.faults_end_ms
    }

    /// Runs until everything has ended.
    pub(crate) fn run(&mut self) -> Figures {
        while let Some((at_ms, what)) = self.agenda.next() {
            self.now_ms = at_ms;
            self.figures.happenings += 1;
            self.happens(what);
            if self.faults_are_over() && self.is_done() {
                break;
            }
            let late = self.now_ms > self.plan.faults_end_ms + LIVENESS_MS;
            if late || self.figures.happenings > HAPPENINGS_MAX {
                self.complain_of_standstill();
            }
        }
        assert!(self.is_done(), "nothing happens any more");
        self.last_look();
        self.figures.hash = self.trace.hash();
        self.figures.turns = self.turns;
        self.figures.executions = self.model.grants.executions();
        self.figures.ended_ms = self.now_ms;
        self.figures
    }

    fn happens(&mut self, what: What) {
        self.trace.happens(self.now_ms, &what);
        match what {
            What::Turn(incarnation) => self.turn(incarnation),
            What::Commit(incarnation) => self.disk_commits(incarnation),
            What::Sweep(incarnation) => self.sweep(incarnation),
            What::CoordinatorStarts => self.coordinator_starts(),
            What::Up(link) => self.message_up(link),
            What::Down(link) => self.message_down(link),
            What::EndsAbove(link) => self.ends_above(link),
            What::EndsBelow(link) => self.ends_below(link),
            What::SeatStarts(seat) => self.seat_starts(seat),
            What::Connects { seat, process } => self.connects(seat, process),
            What::Steps {
                seat,
                process,
                slot,
                run,
            } => self.steps(seat, process, slot, run),
            What::Freed {
                seat,
                process,
                slot,
                run,
            } => self.freed(seat, process, slot, run),
            What::Beats {
                seat,
                process,
                link,
            } => self.beats(seat, process, link),
            What::Pump { seat, process } => self.pump_due(seat, process),
            What::Client { client, step } => self.client_goes_on(client, step),
            What::Aside { client, aside } => self.client_aside(client, aside),
            What::Invokes(number) => self.invokes(number),
            What::Sorts(incarnation) => self.sorts(incarnation),
            What::Moves(number) => self.moves(number),
            What::Fetches {
                seat,
                process,
                version,
                tries,
            } => self.fetches(seat, process, version, tries),
            What::Fault(number) => self.fault(number),
            What::StoreNoticed {
                incarnation,
                down_ms,
            } => {
                self.store_is_noticed(incarnation, down_ms);
            }
        }
    }

    /// After a turn: now and then everything is compared.
    pub(crate) fn check_now_and_then(&mut self) {
        self.turns += 1;
        self.judge_fairness();
        if self.turns.is_multiple_of(TURNS_CHECKED) {
            self.check();
        }
    }

    /// Where shares can be told from chance, nobody gets more of the slots than is fair.
    fn judge_fairness(&mut self) {
        if !crate::calm::is_calm(self.plan.seed) {
            return;
        }
        let slots: u64 = self.plan.workers.iter().map(|at| u64::from(at.slots)).sum();
        let longest = self.plan.jobs.iter().map(|job| job.mix.run_ms_max).max();
        let slack_ms = FAIR_MS + FAIR_RUNS * slots * longest.unwrap_or(0);
        let eager = self.model.eager(&|job| self.priority(job));
        self.model.fairness.judge(&eager, slack_ms);
    }

    /// Whether nothing goes wrong but by what the inputs do in their slots.
    pub(crate) fn is_faultless(&self) -> bool {
        let mut jobs = self.plan.jobs.iter();
        self.plan.faults.is_empty() && jobs.all(|job| job.mix.crashes_permille == 0)
    }

    /// The priority that a job was planned with.
    pub(crate) fn priority(&self, job: JobId) -> i32 {
        let client = self.clients.iter().find(|client| client.owns(job));
        client.map_or(0, |client| client.plan().spec.policy.priority)
    }

    pub(crate) fn check(&self) {
        if let Some(shell) = &self.shell {
            shell.machine.check();
            self.model.same_machine(&shell.machine);
        }
        for seat in &self.seats {
            seat.check();
        }
    }

    /// A last crash, of a cluster in which everything has ended.
    fn last_look(&mut self) {
        self.check();
        self.model.promises.kept_by(&self.model.live);
        self.coordinator_dies(0);
        self.coordinator_starts();
        self.check();
    }

    fn is_done(&self) -> bool {
        self.invokes_open.is_empty() && self.clients.iter().all(Client::is_done)
    }

    fn complain_of_standstill(&self) {
        let mut open: Vec<String> = Vec::new();
        for client in self.clients.iter().filter(|client| !client.is_done()) {
            let mut words = client.describe();
            if let (Some(shell), Some(job)) = (&self.shell, client.job()) {
                let view = shell.machine.job_view(job);
                words += &format!("; {:?}", view.map(|view| (view.status.state, view.counts)));
                words += &format!("; {:?}", shell.machine.explain(self.clock(), job));
            }
            open.push(words);
        }
        panic!("not everything ends: {}", open.join("\n"));
    }
}
