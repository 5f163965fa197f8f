//! One simulated network, from one seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::client;
use crate::coordinator::Machine;
use crate::dice::Dice;
use crate::faults::{self, CLIENTS, Fault, Step, WORKERS};
use crate::trace::Trace;
use crate::worker::Seat;

/// A job that has not ended in this simulated time never will.
const PATIENCE: Duration = Duration::from_secs(900);
const TICK: Duration = Duration::from_millis(40);

/// How often something was done to the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) simulated_ms: u128,
    pub(crate) partitions: u64,
    pub(crate) half_open: u64,
    pub(crate) held: u64,
    pub(crate) workers: u64,
    pub(crate) coordinators: u64,
    pub(crate) jobs: u64,
    /// Attempts beyond one for each invocation.
    pub(crate) reruns: u64,
}

impl Figures {
    fn count(&mut self, fault: Fault) {
        let count = match fault {
            Fault::Partition(_) => &mut self.partitions,
            Fault::Mute(_) | Fault::Deaf(_) => &mut self.half_open,
            Fault::Hold(_) => &mut self.held,
            Fault::Worker(_) => &mut self.workers,
            Fault::Coordinator => &mut self.coordinators,
        };
        *count += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.simulated_ms += other.simulated_ms;
        self.partitions += other.partitions;
        self.half_open += other.half_open;
        self.held += other.held;
        self.workers += other.workers;
        self.coordinators += other.coordinators;
        self.jobs += other.jobs;
        self.reruns += other.reruns;
    }
}

/// What is to be played.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) lease_timeout_ms: u64,
}

/// What came of a run: its figures, or what was wrong; and its trace.
pub(crate) type Run = (Result<Figures, String>, Vec<String>);

/// Runs faults that are drawn from the seed.
pub(crate) fn run(seed: u64) -> Run {
    play(&Scene {
        seed,
        steps: faults::draw(&mut Dice::new(seed)),
        lease_timeout_ms: umbel_core::config::Config::default().lease_timeout_ms,
    })
}

/// Plays a scene, with two clients.
pub(crate) fn play(scene: &Scene) -> Run {
    let (mut dice, trace) = (Dice::new(!scene.seed), Trace::default());
    let mut sim = turmoil::Builder::new()
        .rng_seed(scene.seed)
        .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .simulation_duration(PATIENCE)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(1 + dice.below(60)))
        .tcp_capacity(1 << 16)
        .build();
    let machine = Machine::new(dice.fork(), trace.clone(), scene.lease_timeout_ms);
    sim.host("coordinator", move || machine.clone().run());
    for name in WORKERS {
        let seat = Seat::new(name, dice.fork(), trace.clone());
        sim.host(name, move || seat.clone().run());
    }
    let mut figures = Figures::default();
    let reruns = Arc::<AtomicU64>::default();
    for name in CLIENTS {
        let (mut dice, trace, reruns) = (dice.fork(), trace.clone(), Arc::clone(&reruns));
        let jobs = 1 + dice.below(3);
        figures.jobs += jobs;
        sim.client(name, client::run(name, dice, jobs, trace, reruns));
    }
    let mut steps = scene.steps.iter().peekable();
    let ended = loop {
        let now_ms = sim.elapsed().as_millis();
        while let Some(step) = steps.next_if(|step| u128::from(step.at_ms) <= now_ms) {
            let verb = if step.begins { "begins" } else { "is over" };
            trace.note_at(now_ms, &format!("{:?} {verb}", step.fault));
            if step.begins {
                figures.count(step.fault);
            }
            faults::carry_out(&mut sim, *step);
        }
        match sim.step() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(error) => break Err(error.to_string()),
        }
    };
    figures.reruns = reruns.load(Ordering::Relaxed);
    figures.simulated_ms = sim.elapsed().as_millis();
    (ended.map(|()| figures), trace.lines())
}
