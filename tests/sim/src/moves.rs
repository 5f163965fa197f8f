//! What is done with published functions while jobs run them, drawn before anything runs.

use umbel_core::function::Qualifier;
use umbel_core::job::Target;
use umbel_core::rollout::RolloutMove;
use umbel_core::route::BUCKETS;

use crate::dice::Dice;
use crate::plan::{Fault, FaultKind, Plan};

/// The functions that are published now and then, and now and then brought by a worker.
pub(crate) const PUBLISHED: [&str; 2] = ["pub-a", "pub-b"];
pub(crate) const ALIASES: [&str; 2] = ["live", "canary"];
/// What a function is made of, from 1.
const CONTENTS: u64 = 4;
/// Beside the other dice, so that a cluster without published functions stays what it was.
const PUBLISHED_SALT: u64 = 0xfeed;
/// And so that one without routes stays what it was.
const ROUTED_SALT: u64 = 0xf0_4c;

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
    /// The newest versions share what an alias gets.
    Split(SplitPlan),
    /// The newest version is rolled out.
    RollOut(RollOutPlan),
    /// A rollout is paused, resumed or ended.
    Change {
        alias: &'static str,
        to: RolloutMove,
    },
}

/// A route with a split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitPlan {
    pub(crate) alias: &'static str,
    /// Of the newest version.
    pub(crate) weight: u16,
    /// Whether two others share the rest, and not one.
    pub(crate) three: bool,
    /// Whether a rule comes first.
    pub(crate) rule: bool,
}

/// A rollout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollOutPlan {
    pub(crate) alias: &'static str,
    pub(crate) steps: usize,
    pub(crate) least: u64,
    pub(crate) guards: bool,
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

/// Half of those have routes and rollouts.
pub(crate) fn draw_routes(plan: &mut Plan, span_ms: u64) {
    let mut dice = Dice::new(plan.seed ^ ROUTED_SALT);
    if plan.moves.is_empty() || dice.chance(50) {
        return;
    }
    for function in PUBLISHED {
        // There are two to choose from.
        plan.moves.push(MovePlan {
            at_ms: 400 + dice.below(1_000),
            function,
            kind: publish(&mut dice),
            last: false,
        });
    }
    for _ in 0..dice.between(2..=12) {
        let function = *dice.pick(&PUBLISHED);
        plan.moves.push(MovePlan {
            at_ms: 900 + dice.below(span_ms),
            function,
            kind: routing(&mut dice),
            last: false,
        });
    }
}

fn routing(dice: &mut Dice) -> MoveKind {
    let alias = if dice.chance(75) {
        ALIASES[0]
    } else {
        ALIASES[1]
    };
    match dice.below(10) {
        0..=3 => MoveKind::Split(SplitPlan {
            alias,
            weight: u16::try_from(dice.between(1..=u64::from(BUCKETS) - 1)).unwrap_or(1),
            three: dice.chance(30),
            rule: dice.chance(20),
        }),
        4..=6 => MoveKind::RollOut(RollOutPlan {
            alias,
            steps: usize::try_from(dice.between(1..=4)).unwrap_or(1),
            least: dice.below(12),
            guards: dice.chance(50),
        }),
        _ => MoveKind::Change {
            alias,
            to: *dice.pick(&[
                RolloutMove::Pause,
                RolloutMove::Resume,
                RolloutMove::Promote,
                RolloutMove::RollBack,
                RolloutMove::RollBack,
            ]),
        },
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
