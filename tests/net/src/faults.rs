//! What goes wrong, drawn from the seed before the simulation begins.

use turmoil::Sim;

use crate::dice::Dice;

/// Hosts whose way to the coordinator can break.
const PEERS: [&str; 5] = ["w0", "w1", "w2", "alice", "bob"];
/// Hosts that run a worker.
pub(crate) const WORKERS: [&str; 3] = ["w0", "w1", "w2"];

/// Hosts that run a client.
pub(crate) const CLIENTS: [&str; 2] = ["alice", "bob"];

/// How long a fault lasts: shorter than anything notices, than a session's reconnect grace, about
/// the lease's timeout, longer than all timeouts.
const SPANS_MS: [u64; 6] = [300, 1_500, 6_000, 10_500, 13_000, 25_000];

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing passes between a host and the coordinator, and what was under way is lost.
    Partition(&'static str),
    /// Nothing passes from a host to the coordinator.
    Mute(&'static str),
    /// Nothing passes from the coordinator to a host.
    Deaf(&'static str),
    /// What is sent arrives only later, all at once.
    Hold(&'static str),
    /// A worker's host dies, and another process starts there.
    Worker(&'static str),
    /// The coordinator's host dies, and starts again from its disk.
    Coordinator,
}

/// A fault's beginning, or its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    pub(crate) fault: Fault,
    pub(crate) begins: bool,
}

/// Faults in the order of their steps; all are over in the end.
pub(crate) fn draw(dice: &mut Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..3 + dice.below(8) {
        let peer = dice.pick(&PEERS);
        let fault = match dice.below(8) {
            0 | 1 => Fault::Partition(peer),
            2 => Fault::Mute(peer),
            3 => Fault::Deaf(peer),
            4 | 5 => Fault::Hold(peer),
            6 => Fault::Worker(dice.pick(&WORKERS)),
            _ => Fault::Coordinator,
        };
        let at_ms = 1_000 + dice.below(25_000);
        steps.push(Step {
            at_ms,
            fault,
            begins: true,
        });
        steps.push(Step {
            at_ms: at_ms + dice.pick(&SPANS_MS),
            fault,
            begins: false,
        });
    }
    steps.sort_by_key(|step| step.at_ms);
    steps
}

/// Carries a step out.
pub(crate) fn carry_out(sim: &mut Sim<'_>, step: Step) {
    const C: &str = "coordinator";
    match (step.fault, step.begins) {
        (Fault::Partition(peer), true) => sim.partition(peer, C),
        (Fault::Mute(peer), true) => sim.partition_oneway(peer, C),
        (Fault::Deaf(peer), true) => sim.partition_oneway(C, peer),
        (Fault::Partition(peer) | Fault::Mute(peer) | Fault::Deaf(peer), false) => {
            sim.repair(peer, C);
        }
        (Fault::Hold(peer), true) => sim.hold(peer, C),
        (Fault::Hold(peer), false) => sim.release(peer, C),
        (Fault::Worker(peer), true) => sim.crash(peer),
        (Fault::Worker(peer), false) => sim.bounce(peer),
        (Fault::Coordinator, true) => sim.crash(C),
        (Fault::Coordinator, false) => sim.bounce(C),
    }
}
