//! What is done with published functions while jobs run them, drawn before anything runs.

use umbel_core::function::Qualifier;
use umbel_core::job::Target;

use crate::dice::Dice;
use crate::plan::{Fault, FaultKind, Plan};

/// The functions that are published now and then, and now and then brought by a worker.
pub(crate) const PUBLISHED: [&str; 2] = ["pub-a", "pub-b"];
const ALIASES: [&str; 2] = ["live", "canary"];
/// What a function is made of, from 1.
const CONTENTS: u64 = 4;
/// Beside the other dice, so that a cluster without published functions stays what it was.
const PUBLISHED_SALT: u64 = 0xfeed;

/// What somebody does with a published function.
#[derive(Clone, Debug)]
pub(crate) struct MovePlan {
    pub(crate) at_ms: u64,
    pub(crate) function: &'static str,
    pub(crate) kind: MoveKind,
    /// Whether it must be done, so that what needs it ends.
    pub(crate) last: bool,
}

/// What is done. A version is named by how many are newer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MoveKind {
    Publish {
        content: u8,
        node: bool,
    },
    Point {
        alias: &'static str,
        back: usize,
    },
    RollBack {
        alias: &'static str,
    },
    /// One version, or the function.
    Retire {
        back: Option<usize>,
    },
}

/// Half of all clusters have published functions.
pub(crate) fn draw(plan: &mut Plan, span_ms: u64) {
    let mut dice = Dice::new(plan.seed ^ PUBLISHED_SALT);
    if dice.chance(50) {
        return;
    }
    for (seat, worker) in plan.workers.iter_mut().enumerate() {
        worker.node = seat == 0 || dice.chance(40);
        let brings = seat > 0 && dice.chance(25);
        worker.brings = brings.then(|| *dice.pick(&PUBLISHED));
        worker.fetch_ms = dice.below(300);
        worker.fetch_fails = if dice.chance(15) {
            dice.between(5..=50)
        } else {
            0
        };
    }
    for job in &mut plan.jobs {
        if dice.chance(60) {
            job.spec.target = published(&mut dice);
            job.spec.policy.pin = dice.chance(30);
            // What waits for a retry keeps its version, and a restart has to know it.
            if dice.chance(60) {
                job.mix.fails_first = dice.between(30..=80);
                job.spec.policy.max_attempts = job.spec.policy.max_attempts.max(3);
            }
        }
        for redrive in &mut job.redrives {
            if dice.chance(20) {
                redrive.target = Some(published(&mut dice));
            }
        }
    }
    for invoke in &mut plan.invokes {
        if dice.chance(60) {
            invoke.function = *dice.pick(&PUBLISHED);
        }
    }
    if !plan.faults.is_empty() {
        for _ in 0..dice.below(4) {
            let down_ms = dice.between(1..=2_000);
            plan.faults.push(Fault {
                at_ms: 1_000 + dice.below(span_ms),
                kind: FaultKind::CoordinatorDies { down_ms },
            });
        }
    }
    for function in PUBLISHED {
        plan.moves.push(MovePlan {
            at_ms: 300 + dice.below(1_000),
            function,
            kind: publish(&mut dice),
            last: false,
        });
    }
    for _ in 0..dice.between(2..=14) {
        let function = *dice.pick(&PUBLISHED);
        plan.moves.push(MovePlan {
            at_ms: 800 + dice.below(span_ms),
            function,
            kind: movement(&mut dice),
            last: false,
        });
    }
    for function in PUBLISHED {
        plan.moves.push(MovePlan {
            at_ms: plan.faults_end_ms + 100,
            function,
            kind: publish(&mut dice),
            last: true,
        });
    }
}

fn published(dice: &mut Dice) -> Target {
    let name = (*dice.pick(&PUBLISHED)).to_owned();
    match dice.below(10) {
        0..=4 => Target::Function(name),
        5..=7 => Target::Version(name, Qualifier::Alias((*dice.pick(&ALIASES)).to_owned())),
        _ => {
            let number = u32::try_from(dice.between(1..=4)).unwrap_or(1);
            Target::Version(name, Qualifier::Version(number))
        }
    }
}

fn publish(dice: &mut Dice) -> MoveKind {
    MoveKind::Publish {
        content: u8::try_from(dice.between(1..=CONTENTS)).unwrap_or(1),
        node: dice.chance(20),
    }
}

fn movement(dice: &mut Dice) -> MoveKind {
    let alias = *dice.pick(&ALIASES);
    let back = usize::try_from(dice.below(3)).unwrap_or(0);
    match dice.below(12) {
        0..=4 => publish(dice),
        5..=7 => MoveKind::Point { alias, back },
        8 => MoveKind::RollBack { alias },
        9 => MoveKind::Retire { back: Some(back) },
        _ => MoveKind::Retire { back: None },
    }
}
