//! Runs plans, catches what they violate, and makes a failing plan smaller.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::bug::Bug;
use crate::plan::Plan;
use crate::world::{Figures, World};

/// Runs that a plan may take to become smaller.
const SHRINK_RUNS_MAX: u32 = 400;

thread_local! {
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the words of a panic instead of printing them.
pub(crate) fn hush_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        let panic = info.payload();
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        let what = words.unwrap_or("it panicked without words");
        WORDS.with(|words| *words.borrow_mut() = format!("{what}\n    at {place}"));
    }));
}

/// Runs a plan to its end; tells what was violated otherwise.
pub(crate) fn run(plan: &Plan, bug: Option<Bug>, verbose: bool) -> Result<Figures, String> {
    let plan = plan.clone();
    let run = || World::new(plan, bug, verbose).run();
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| WORDS.with(|words| words.borrow().clone()))
}

/// Runs a plan, twice now and then: it must come to the same.
pub(crate) fn run_twice(plan: &Plan, twice: bool) -> Result<Figures, String> {
    let figures = run(plan, None, false)?;
    if twice {
        let again = run(plan, None, false)?;
        if again.hash != figures.hash {
            return Err("the same seed gave two different stories".to_owned());
        }
    }
    Ok(figures)
}

/// Drops faults, jobs, invokes and workers as long as the plan still fails.
pub(crate) fn shrink(plan: Plan, bug: Option<Bug>) -> Plan {
    let mut runs = 0;
    let mut plan = plan;
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= SHRINK_RUNS_MAX && run(plan, bug, false).is_err()
    };
    loop {
        let before = size(&plan);
        for part in [Part::Jobs, Part::Faults, Part::Invokes, Part::Asides] {
            let mut at = 0;
            while let Some(smaller) = without(&plan, part, at) {
                if fails(&smaller) {
                    plan = smaller;
                } else {
                    at += 1;
                }
            }
        }
        while plan.workers.len() > 1 {
            let mut smaller = plan.clone();
            smaller.workers.pop();
            if !fails(&smaller) {
                break;
            }
            plan = smaller;
        }
        if size(&plan) == before {
            return plan;
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Jobs,
    Faults,
    Invokes,
    Asides,
}

fn size(plan: &Plan) -> usize {
    let asides: usize = plan.jobs.iter().map(|job| job.asides.len()).sum();
    plan.jobs.len() + plan.faults.len() + plan.invokes.len() + plan.workers.len() + asides
}

fn without(plan: &Plan, part: Part, at: usize) -> Option<Plan> {
    let mut plan = plan.clone();
    match part {
        Part::Jobs if at < plan.jobs.len() => drop(plan.jobs.remove(at)),
        Part::Faults if at < plan.faults.len() => drop(plan.faults.remove(at)),
        Part::Invokes if at < plan.invokes.len() => drop(plan.invokes.remove(at)),
        Part::Asides => {
            let mut left = at;
            let job = plan.jobs.iter_mut().find(|job| {
                let here = left < job.asides.len();
                left -= if here { 0 } else { job.asides.len() };
                here
            })?;
            job.asides.remove(left);
        }
        Part::Jobs | Part::Faults | Part::Invokes => return None,
    }
    Some(plan)
}

/// A plan in words, for whoever looks for the cause.
pub(crate) fn describe(plan: &Plan) -> String {
    let mut words = format!("{:?}\n", plan.config);
    for worker in &plan.workers {
        words += &format!("{worker:?}\n");
    }
    for job in &plan.jobs {
        words += &format!("{job:?}\n");
    }
    for invoke in &plan.invokes {
        words += &format!("{invoke:?}\n");
    }
    for fault in &plan.faults {
        words += &format!("{fault:?}\n");
    }
    words
}
