//! What one seed means: workers, jobs and faults, drawn before anything runs, so that
//! a failing plan can be made smaller entry by entry.

use umbel_core::config::Config;
use umbel_core::job::{JobSpec, StartMode, Target};
use umbel_core::policy::{Labels, Policy, Tolerance};
use umbel_core::ranges::Ranges;
use umbel_core::redrive::Filter;

use crate::dice::Dice;
use crate::function::{BROKEN, FLAKY, Mix, TIMED_OUT};
use crate::moves::MovePlan;

/// Invocations of all jobs of a cluster.
const INVOCATIONS_MAX: u64 = 300;
const JOBS_MAX: u64 = 20;
const WORKERS_MAX: u64 = 5;
/// Numbers among which the kinds of faults are spread.
const FAULT_KINDS: u64 = 22;
/// The functions that workers have; every worker has the first.
pub(crate) const FUNCTIONS: [&str; 3] = ["every", "some", "few"];
/// Another function that every worker has, to redrive to.
pub(crate) const MENDED: &str = "mended";
/// What a cluster has more of than others: few things at a time, often, find more than
/// all things at a time, seldom.
#[derive(Clone, Copy, Debug)]
struct Bent {
    /// Percent of jobs that are bounded in slots, that have crashing inputs, and that
    /// run long.
    bounded: u64,
    crashing: u64,
    long: u64,
    /// Kinds of faults, as in [`fault`]; none: all of them.
    faults: Option<[u64; 2]>,
}

impl Bent {
    fn draw(dice: &mut Dice) -> Self {
        let kinds = [dice.below(FAULT_KINDS), dice.below(FAULT_KINDS)];
        Self {
            bounded: if dice.chance(20) { 90 } else { 30 },
            crashing: if dice.chance(10) { 60 } else { 10 },
            long: if dice.chance(20) { 95 } else { 45 },
            faults: dice.chance(40).then_some(kinds),
        }
    }
}

/// A cluster, its load and what befalls it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) workers: Vec<WorkerPlan>,
    pub(crate) jobs: Vec<JobPlan>,
    pub(crate) invokes: Vec<InvokePlan>,
    pub(crate) moves: Vec<MovePlan>,
    pub(crate) faults: Vec<Fault>,
    /// From here on nothing goes wrong any more.
    pub(crate) faults_end_ms: u64,
}

/// A seat on which worker processes of one name start.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) slots: u32,
    pub(crate) functions: Vec<String>,
    pub(crate) labels: Labels,
    pub(crate) starts_ms: u64,
    /// Whether it has a second runtime.
    pub(crate) node: bool,
    /// A name of [`crate::moves::PUBLISHED`] that it brings itself while it may.
    pub(crate) brings: Option<&'static str>,
    /// How long an artifact takes, and of a hundred how many cannot be had.
    pub(crate) fetch_ms: u64,
    pub(crate) fetch_fails: u64,
}

/// Where a job's inputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    Range {
        begin: u64,
    },
    /// With the request itself.
    Inline,
    /// In blocks of at most so many.
    Appended {
        block: u32,
    },
}

/// A job and what its client does.
#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    pub(crate) at_ms: u64,
    pub(crate) number: usize,
    pub(crate) spec: JobSpec,
    pub(crate) inputs: Inputs,
    pub(crate) count: u32,
    pub(crate) mix: Mix,
    /// What the client does beside waiting, and when, counted from the acceptance.
    pub(crate) asides: Vec<(u64, Aside)>,
    /// How the client redrives its job, each time that it has ended badly.
    pub(crate) redrives: Vec<RedrivePlan>,
    pub(crate) deletes: bool,
}

/// A redrive.
#[derive(Clone, Debug)]
pub(crate) struct RedrivePlan {
    pub(crate) filter: Filter,
    /// What runs it from then on, if not what did.
    pub(crate) target: Option<Target>,
}

/// What a client does beside waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    Cancel,
    /// Asks for the same job again.
    Resubmit,
    /// Looks at the job.
    Look,
    /// Reads what results there are.
    Read,
    /// Begins its upload anew.
    Reopen,
    /// Redrives the job if it was seen to end, whatever its client does meanwhile.
    Redrive,
    /// Asks to delete it, though it may run.
    Delete,
}

/// One invocation that is wanted at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InvokePlan {
    pub(crate) at_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) run_ms: u64,
    pub(crate) function: &'static str,
}

/// Something goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at_ms: u64,
    pub(crate) kind: FaultKind,
}

/// What goes wrong. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultKind {
    /// The coordinator's machine loses power.
    CoordinatorDies { down_ms: u64 },
    /// Its process is stopped for a while.
    CoordinatorStalls { for_ms: u64 },
    /// Its disk refuses, or another coordinator took the data.
    StoreFails { down_ms: u64, fenced: bool },
    /// Its disk is slow.
    DiskSlow { for_ms: u64, commit_ms: u64 },
    /// The clock that never goes back leaps.
    MonoJumps { by_ms: u64 },
    /// The wall clock leaps either way.
    WallJumps { by_ms: i64 },
    /// A worker process is killed; its end is noticed, or it is not.
    WorkerDies {
        worker: usize,
        down_ms: u64,
        silent: bool,
    },
    /// A worker process is stopped for a while.
    WorkerStalls { worker: usize, for_ms: u64 },
    /// A worker's stream breaks.
    LinkBreaks { worker: usize },
    /// Nothing passes between a worker and the coordinator, in one or both directions.
    Silence {
        worker: usize,
        for_ms: u64,
        up: bool,
        down: bool,
    },
    /// Somebody drains a worker.
    Drain { worker: usize },
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        Self::with(seed, true)
    }

    /// What a seed meant before there were routes.
    pub(crate) fn plain(seed: u64) -> Self {
        Self::with(seed, false)
    }

    fn with(seed: u64, routed: bool) -> Self {
        if crate::calm::is_calm(seed) {
            return crate::calm::draw(seed);
        }
        let mut dice = Dice::new(seed);
        let config = config(&mut dice);
        let bent = Bent::draw(&mut dice);
        let workers: Vec<WorkerPlan> = (0..dice.between(1..=WORKERS_MAX))
            .map(|_| worker(&mut dice))
            .collect();
        let span_ms = dice.between(500..=20_000);
        let jobs = jobs(&mut dice, bent, span_ms);
        let invokes = (0..dice.below(4)).map(|_| InvokePlan {
            at_ms: dice.between(200..=span_ms),
            timeout_ms: dice.between(50..=5_000),
            run_ms: dice.below(200),
            function: FUNCTIONS[0],
        });
        let invokes = invokes.collect();
        // One cluster in ten has a quiet life.
        let count = if dice.chance(10) {
            0
        } else {
            dice.between(1..=12)
        };
        let faults_end_ms = span_ms + dice.between(1_000..=20_000);
        let faults = (0..count).map(|_| Fault {
            at_ms: dice.between(100..=faults_end_ms - 1),
            kind: fault(&mut dice, bent, workers.len(), &config),
        });
        let mut faults: Vec<Fault> = faults.collect();
        faults.sort_by_key(|fault| fault.at_ms);
        let mut plan = Self {
            seed,
            config,
            workers,
            jobs,
            invokes,
            moves: Vec::new(),
            faults,
            faults_end_ms,
        };
        crate::moves::draw(&mut plan, span_ms);
        if routed {
            crate::moves::draw_routes(&mut plan, span_ms);
        }
        plan
    }
}

pub(crate) fn config(dice: &mut Dice) -> Config {
    Config {
        lease_timeout_ms: dice.between(3_000..=10_000),
        reconnect_grace_ms: dice.between(300..=1_500),
        reclaim_ms: dice.between(1_000..=5_000),
        heartbeat_ms: dice.between(300..=1_000),
        upload_idle_timeout_ms: 3_600_000,
        keep_ms: if dice.chance(10) {
            dice.between(1_000..=30_000)
        } else {
            0
        },
        keep_bytes: if dice.chance(10) {
            dice.between(1_000..=50_000)
        } else {
            0
        },
        ..Config::default()
    }
}

fn worker(dice: &mut Dice) -> WorkerPlan {
    let mut functions = vec![FUNCTIONS[0].to_owned(), MENDED.to_owned()];
    if dice.chance(60) {
        functions.push(FUNCTIONS[1].to_owned());
    }
    if dice.chance(30) {
        functions.push(FUNCTIONS[2].to_owned());
    }
    let mut labels = Labels::new();
    if dice.chance(40) {
        labels.insert("zone".to_owned(), "a".to_owned());
    }
    WorkerPlan {
        slots: u32::try_from(dice.between(1..=4)).unwrap_or(1),
        functions,
        labels,
        starts_ms: dice.below(500),
        node: false,
        brings: None,
        fetch_ms: 0,
        fetch_fails: 0,
    }
}

fn jobs(dice: &mut Dice, bent: Bent, span_ms: u64) -> Vec<JobPlan> {
    let mut left = dice.between(1..=INVOCATIONS_MAX);
    let wanted = dice.between(1..=JOBS_MAX);
    let mut jobs = Vec::new();
    for number in 0..usize::try_from(wanted).unwrap_or(1) {
        let at_ms = 600 + dice.below(span_ms);
        let most = if dice.chance(70) { left.min(30) } else { left };
        let count = if dice.chance(3) {
            0
        } else {
            dice.below(most + 1)
        };
        left -= count;
        jobs.push(job(
            dice,
            bent,
            number,
            at_ms,
            u32::try_from(count).unwrap_or(0),
        ));
    }
    jobs
}

fn job(dice: &mut Dice, bent: Bent, number: usize, at_ms: u64, count: u32) -> JobPlan {
    let policy = policy(dice, bent);
    let unplaceable = policy.place_timeout_ms.is_some();
    // Without a bound on its placing a job asks only for what every worker has.
    let function = if unplaceable {
        *dice.pick(&FUNCTIONS)
    } else {
        FUNCTIONS[0]
    };
    let inputs = match dice.below(3) {
        0 => Inputs::Range {
            begin: dice.below(1_000),
        },
        1 => Inputs::Inline,
        _ => Inputs::Appended {
            block: u32::try_from(dice.between(1..=40)).unwrap_or(1),
        },
    };
    let start = if dice.chance(60) {
        StartMode::AsAppended
    } else {
        StartMode::AsSealed
    };
    let spec = JobSpec {
        name: format!("job {number}"),
        target: Target::Function(function.to_owned()),
        policy,
        labels: Labels::new(),
        start,
    };
    let asides = (0..dice.below(5))
        .map(|_| (dice.below(8_000), aside(dice)))
        .collect();
    JobPlan {
        at_ms,
        number,
        spec,
        inputs,
        count,
        mix: mix(dice, bent),
        asides,
        redrives: redrives(dice, count),
        deletes: dice.chance(30),
    }
}

fn redrives(dice: &mut Dice, count: u32) -> Vec<RedrivePlan> {
    let times = if dice.chance(60) { dice.below(4) } else { 0 };
    let redrives = (0..times).map(|_| RedrivePlan {
        filter: filter(dice, count),
        target: dice.chance(30).then(|| Target::Function(MENDED.to_owned())),
    });
    redrives.collect()
}

fn filter(dice: &mut Dice, count: u32) -> Filter {
    let mut filter = Filter {
        failed: dice.chance(50),
        cancelled: dice.chance(50),
        ..Filter::default()
    };
    if dice.chance(30) {
        filter
            .types
            .insert(dice.pick(&[FLAKY, BROKEN, TIMED_OUT]).to_string());
    }
    if dice.chance(30) || filter.is_empty() {
        let begin = u32::try_from(dice.below(u64::from(count) + 1)).unwrap_or(0);
        let len = u32::try_from(dice.between(1..=u64::from(count) + 1)).unwrap_or(1);
        filter.indices = Some(Ranges::one(begin..begin + len));
    }
    filter
}

fn mix(dice: &mut Dice, bent: Bent) -> Mix {
    let mut mix = Mix {
        seed: dice.roll(),
        run_ms_max: 3,
        ..Mix::default()
    };
    if dice.chance(bent.long) {
        mix.run_ms_max = dice.between(5..=400);
    }
    if dice.chance(40) {
        mix.fails_first = dice.below(50);
    }
    if dice.chance(30) {
        mix.fails = dice.below(30);
        mix.refuses = dice.below(10);
    }
    if dice.chance(bent.crashing) {
        mix.crashes_permille = dice.between(10..=60);
    }
    if dice.chance(20) {
        mix.slow = dice.below(10);
    }
    mix
}

fn policy(dice: &mut Dice, bent: Bent) -> Policy {
    let mut policy = Policy {
        max_attempts: u32::try_from(dice.between(1..=5)).unwrap_or(1),
        backoff_initial_ms: dice.below(300),
        backoff_max_ms: dice.between(300..=2_000),
        timeout_ms: None,
        priority: i32::try_from(dice.below(3)).unwrap_or(0) - 1,
        ..Policy::default()
    };
    if dice.chance(20) {
        policy.timeout_ms = Some(dice.between(20..=2_000));
    }
    if dice.chance(15) {
        policy.deadline_ms = Some(dice.between(200..=20_000));
    }
    if dice.chance(bent.bounded) {
        policy.max_concurrency = u32::try_from(dice.between(1..=4)).ok();
    }
    if dice.chance(30) {
        let count = Tolerance::Count(dice.below(5));
        let points = Tolerance::BasisPoints(u32::try_from(dice.below(5_000)).unwrap_or(0));
        policy.tolerate = Some(if dice.chance(50) { count } else { points });
    }
    if dice.chance(15) {
        policy.enough = Some(dice.between(1..=40));
    }
    if dice.chance(30) {
        let words = ["function", "timeout", "crashed", "lost", FLAKY, BROKEN];
        for _ in 0..dice.between(1..=3) {
            let word = (*dice.pick(&words)).to_owned();
            if dice.chance(60) {
                policy.no_retry_on.insert(word);
            } else {
                policy.retry_on.insert(word);
            }
        }
    }
    if dice.chance(25) {
        policy.place_timeout_ms = Some(dice.between(500..=10_000));
        if dice.chance(50) {
            let zone = if dice.chance(60) { "a" } else { "nowhere" };
            policy.require.insert("zone".to_owned(), zone.to_owned());
        }
    }
    policy
}

fn aside(dice: &mut Dice) -> Aside {
    match dice.below(14) {
        0 | 1 => Aside::Cancel,
        2 | 3 => Aside::Resubmit,
        4..=6 => Aside::Look,
        7..=9 => Aside::Read,
        10 => Aside::Reopen,
        11 | 12 => Aside::Redrive,
        _ => Aside::Delete,
    }
}

fn fault(dice: &mut Dice, bent: Bent, workers: usize, config: &Config) -> FaultKind {
    let worker = usize::try_from(dice.below(workers as u64)).unwrap_or(0);
    // Now just within a lease's patience, now beyond it.
    let lease_ms = config.lease_timeout_ms;
    let for_ms = match dice.below(3) {
        0 => dice.between(10..=1_000),
        1 => dice.between(lease_ms / 4..=lease_ms),
        _ => dice.between(lease_ms..=2 * lease_ms),
    };
    let any = dice.below(FAULT_KINDS);
    match bent.faults.map_or(any, |kinds| *dice.pick(&kinds)) {
        0..=4 => FaultKind::CoordinatorDies {
            down_ms: dice.between(1..=8_000),
        },
        5 => FaultKind::CoordinatorStalls { for_ms },
        6 => {
            let fenced = dice.chance(30);
            FaultKind::StoreFails {
                down_ms: dice.between(1..=4_000),
                fenced,
            }
        }
        7 | 8 => FaultKind::DiskSlow {
            for_ms,
            commit_ms: dice.between(20..=3_000),
        },
        9 => FaultKind::MonoJumps {
            by_ms: dice.between(1_000..=3_600_000),
        },
        10 => {
            let by_ms = i64::try_from(dice.between(1_000..=60_000)).unwrap_or(0);
            FaultKind::WallJumps {
                by_ms: if dice.chance(50) { by_ms } else { -by_ms },
            }
        }
        11..=13 => {
            let (down_ms, silent) = (dice.between(1..=5_000), dice.chance(40));
            FaultKind::WorkerDies {
                worker,
                down_ms,
                silent,
            }
        }
        14 | 15 => FaultKind::WorkerStalls { worker, for_ms },
        16 | 17 => FaultKind::LinkBreaks { worker },
        18..=20 => {
            let (up, down) = *dice.pick(&[(true, true), (true, false), (false, true)]);
            FaultKind::Silence {
                worker,
                for_ms,
                up,
                down,
            }
        }
        _ => FaultKind::Drain { worker },
    }
}
