//! Clusters in which nothing goes wrong, there is far more to run than there are slots, and what a
//! job has run tells how long the rest runs: only there shares can be told from chance.

use umbel_core::job::{JobSpec, StartMode, Target};
use umbel_core::policy::{Labels, Policy};

use crate::dice::Dice;
use crate::function::Mix;
use crate::plan::{FUNCTIONS, Inputs, JobPlan, Plan, WorkerPlan, config};

/// Of so many seeds one is calm.
const CALM: u64 = 16;
const WORKERS_MAX: u64 = 2;
const SLOTS_MAX: u64 = 2;
/// Invocations of one job; three jobs are as many as a cluster has.
const INVOCATIONS_MAX: u64 = 100;

/// Whether a seed means such a cluster.
pub(crate) fn is_calm(seed: u64) -> bool {
    seed % CALM == CALM - 1
}

pub(crate) fn draw(seed: u64) -> Plan {
    let mut dice = Dice::new(seed);
    let config = config(&mut dice);
    let workers = (0..dice.between(1..=WORKERS_MAX)).map(|_| WorkerPlan {
        slots: u32::try_from(dice.between(1..=SLOTS_MAX)).unwrap_or(1),
        functions: vec![FUNCTIONS[0].to_owned()],
        labels: Labels::new(),
        starts_ms: dice.below(500),
        node: false,
        brings: None,
        fetch_ms: 0,
        fetch_fails: 0,
    });
    let workers = workers.collect();
    let jobs = (0..3).map(|number| job(&mut dice, number)).collect();
    Plan {
        seed,
        config,
        workers,
        jobs,
        invokes: Vec::new(),
        moves: Vec::new(),
        faults: Vec::new(),
        faults_end_ms: 2_000,
    }
}

/// One of the last kind may be less urgent than the others.
fn job(dice: &mut Dice, number: usize) -> JobPlan {
    let later = number == 2 && dice.chance(50);
    let count = u32::try_from(dice.between(INVOCATIONS_MAX / 2..=INVOCATIONS_MAX)).unwrap_or(1);
    let spec = JobSpec {
        name: format!("job {number}"),
        target: Target::Function(FUNCTIONS[0].to_owned()),
        policy: Policy {
            priority: if later { -1 } else { 0 },
            ..Policy::default()
        },
        labels: Labels::new(),
        start: StartMode::AsAppended,
    };
    let mix = Mix {
        seed: dice.roll(),
        run_ms_max: dice.between(40..=200),
        steady: true,
        ..Mix::default()
    };
    JobPlan {
        at_ms: 600 + dice.below(1_000),
        number,
        spec,
        inputs: if dice.chance(50) {
            Inputs::Range { begin: 0 }
        } else {
            Inputs::Inline
        },
        count,
        mix,
        asides: Vec::new(),
        redrives: Vec::new(),
        deletes: false,
    }
}
