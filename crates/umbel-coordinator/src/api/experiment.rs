//! `GetExperiment`: figures come from the engine, numbers in outputs and all of a single job from
//! the store, and what they say of each other is computed aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::Status;
use umbel_core::arm::ArmFigures;
use umbel_core::command::Refusal;
use umbel_core::function::{LIVE, Qualifier};
use umbel_core::id::JobId;
use umbel_core::job::{JobState, Target};
use umbel_core::outcome::FailureKind;
use umbel_core::view::{ExperimentView, JobView};
use umbel_proto::convert::{self, Experiment, Invalid};
use umbel_proto::{status, v1};
use umbel_route::Pointer;
use umbel_stats::Wish;
use umbel_store::{Cursor, Outcome, ResultRow, Store, Wanted};

use super::Api;
use crate::experiment::{self, Arm, Found, Metric, Question};

/// Experiments that are read and computed at a time.
pub(super) const AT_ONCE_MAX: usize = 2;
/// Results of one job that are read.
const JOB_RESULTS_MAX: u64 = 1_000_000;
/// Results of all jobs together that are read for metrics.
const METRIC_RESULTS_MAX: u64 = 200_000;
/// Results that are looked at, those too that ended before.
const LOOKED_MAX: u64 = 4_000_000;
/// Jobs in whose results metrics are looked for.
const METRIC_JOBS_MAX: usize = 1_000;

/// Numbers that are looked for in outputs.
#[derive(Clone, Debug)]
struct Pointers(Vec<Pointer>);

/// Whose results are read, and what of them counts.
#[derive(Clone, Debug)]
struct Reading {
    /// The jobs, with their redrive numbers.
    jobs: Vec<(JobId, u32)>,
    wanted: Wanted,
    /// What ended before does not count, in microseconds since 1970.
    since_us: u64,
    results_max: u64,
}

/// What results said, by the name of the arm.
#[derive(Debug, Default)]
struct Read {
    arms: BTreeMap<Arc<str>, (ArmFigures, Vec<Found>)>,
    results: u64,
    is_cut: bool,
}

impl Api {
    pub(super) async fn experiment(
        &self,
        request: v1::GetExperimentRequest,
    ) -> Result<v1::GetExperimentResponse, Status> {
        let asked = convert::experiment(request).map_err(status::invalid)?;
        let pointers = pointers(&asked).map_err(status::invalid)?;
        let view = self.arms_of(&asked).await?;
        let baseline = baseline(&view, asked.baseline.as_deref()).map_err(status::invalid)?;
        let room = self.experiments.acquire().await;
        // Nobody closes it.
        let _room = room.map_err(|_| Status::internal("no experiment is compared any more"))?;
        let job = match &asked.job {
            Some(job) => Some(self.job_of(job, &view).await?),
            None => None,
        };
        let reading = match &job {
            Some(job) => Some(of_job(job)),
            None if pointers.0.is_empty() => None,
            None => Some(self.of_alias(&view).await?),
        };
        let read = match reading {
            Some(reading) => {
                let wanted = pointers.clone();
                self.read(move |store| read(store, &reading, &wanted))
                    .await?
            }
            None => Read::default(),
        };
        let question = Question {
            baseline,
            within_rate: asked.within_rate,
            within_part: asked.within_part,
            metrics: metrics(&asked),
        };
        let compared =
            tokio::task::spawn_blocking(move || answer(&view, job.as_ref(), read, &question));
        compared
            .await
            .map_err(|error| Status::internal(error.to_string()))
    }

    async fn arms_of(&self, asked: &Experiment) -> Result<ExperimentView, Status> {
        let (function, alias) = (asked.function.clone(), asked.alias.clone());
        let since_ms = asked.since_ms;
        let view = self
            .engine
            .look(move |machine, now| machine.experiment(now, (&function, &alias), since_ms));
        let view = view.await.map_err(|closed| self.gone(closed))?;
        view.map_err(|refusal: Refusal| status::refused(&refusal))
    }

    /// A job that the alias has sent to its arms.
    async fn job_of(&self, job: &str, view: &ExperimentView) -> Result<JobView, Status> {
        let found = self.view(job).await?;
        let targets = [&found.record.spec.target, found.target()];
        if targets.into_iter().any(|target| names(target, view)) {
            return Ok(found);
        }
        let (runs, alias) = (found.target().display(), shown_alias(view));
        let message = format!("job {} runs {runs}, and not {alias}", found.record.id);
        // Whoever named the job knows which field that was.
        Err(status::invalid(Invalid {
            message: message.clone(),
            ..Invalid::bad("job_id", message)
        }))
    }

    /// The jobs over an alias that may have results since the beginning of the figures, the oldest
    /// first: what was read once is read again the next time, and more behind it.
    async fn of_alias(&self, view: &ExperimentView) -> Result<Reading, Status> {
        let mut jobs = Vec::new();
        let (mut before, since_ms) = (None, view.since_ms);
        loop {
            let wanted = view.clone();
            let page = self.engine.look(move |machine, _| {
                let accept = |job: &JobView| {
                    let finished_ms = job.status.finished_ms;
                    let ended_before = finished_ms.is_some_and(|at_ms| at_ms < since_ms);
                    names(job.target(), &wanted) && !ended_before
                };
                machine.jobs(before, METRIC_JOBS_MAX, &accept)
            });
            let (page, next) = page.await.map_err(|closed| self.gone(closed))?;
            jobs.extend(page.iter().map(|job| (job.record.id, job.status.redrives)));
            before = next;
            if before.is_none() || jobs.len() >= METRIC_JOBS_MAX {
                break;
            }
        }
        jobs.truncate(METRIC_JOBS_MAX);
        jobs.reverse();
        Ok(Reading {
            jobs,
            wanted: Wanted {
                succeeded: true,
                failed: false,
                cancelled: false,
            },
            since_us: since_ms.saturating_mul(1_000),
            results_max: METRIC_RESULTS_MAX,
        })
    }
}

fn of_job(job: &JobView) -> Reading {
    Reading {
        jobs: vec![(job.record.id, job.status.redrives)],
        wanted: Wanted {
            cancelled: false,
            ..Wanted::ALL
        },
        since_us: 0,
        results_max: JOB_RESULTS_MAX,
    }
}

fn shown_alias(view: &ExperimentView) -> String {
    format!("{}@{}", view.function, view.alias)
}

/// Whether a target is the alias.
fn names(target: &Target, view: &ExperimentView) -> bool {
    match target {
        Target::Function(name) => *name == view.function && view.alias == LIVE,
        Target::Version(name, Qualifier::Alias(alias)) => {
            *name == view.function && *alias == view.alias
        }
        Target::Version(_, Qualifier::Version(_)) | Target::Program(_) => false,
    }
}

fn pointers(asked: &Experiment) -> Result<Pointers, Invalid> {
    let pointers = asked.metrics.iter().enumerate().map(|(at, metric)| {
        let parsed = Pointer::parse(&metric.pointer);
        parsed.map_err(|problem| Invalid::bad(format!("metrics[{at}].pointer"), problem))
    });
    pointers.collect::<Result<_, _>>().map(Pointers)
}

fn metrics(asked: &Experiment) -> Vec<Metric> {
    let metrics = asked.metrics.iter().map(|metric| Metric {
        pointer: metric.pointer.clone(),
        wish: if metric.less_is_better {
            Wish::Less
        } else {
            Wish::More
        },
    });
    metrics.collect()
}

/// The place of the arm that others are held against.
fn baseline(view: &ExperimentView, asked: Option<&str>) -> Result<usize, Invalid> {
    let split = view.arms.iter().filter(|arm| arm.weight.is_some());
    let Some(asked) = asked else {
        // Of equal ones the first.
        let most = view
            .arms
            .iter()
            .enumerate()
            .rev()
            .max_by_key(|(_, arm)| arm.weight);
        return Ok(most.map_or(0, |(at, _)| at));
    };
    let mut arms = view.arms.iter();
    let found = arms.position(|arm| arm.weight.is_some() && arm.name == asked);
    found.ok_or_else(|| {
        let known: Vec<&str> = split.map(|arm| arm.name.as_str()).collect();
        let alias = shown_alias(view);
        let words = format!(
            "{alias} has no arm {asked:?} in its split; it has {}",
            known.join(", ")
        );
        Invalid::bad("baseline", words)
    })
}

/// Reads results in the order in which they ended, as many as there may be.
fn read(store: &Store, reading: &Reading, pointers: &Pointers) -> Result<Read, umbel_store::Error> {
    let (mut read, mut looked) = (Read::default(), 0);
    for (job, redrives) in &reading.jobs {
        let mut reader = store.as_completed(*job, *redrives, Cursor::default(), reading.wanted);
        let mut more = true;
        while more {
            let page = reader.page(store.durable())?;
            more = page.more;
            for (row, _) in page.rows {
                if read.results >= reading.results_max || looked >= LOOKED_MAX {
                    read.is_cut = true;
                    return Ok(read);
                }
                looked += 1;
                if ended_us(&row).is_some_and(|at| at < reading.since_us) {
                    continue;
                }
                take(&mut read, &row, pointers);
            }
        }
    }
    Ok(read)
}

fn ended_us(row: &ResultRow) -> Option<u64> {
    let timing = row.timing;
    let began_us = timing.started_at_us?;
    Some(began_us.saturating_add(timing.duration_us.unwrap_or(0)))
}

/// Counts one result.
fn take(read: &mut Read, row: &ResultRow, pointers: &Pointers) {
    let Some(arm) = &row.arm else { return };
    read.results += 1;
    if !read.arms.contains_key(arm) {
        let found = vec![Found::default(); pointers.0.len()];
        read.arms
            .insert(Arc::clone(arm), (ArmFigures::default(), found));
    }
    let Some((figures, found)) = read.arms.get_mut(arm) else {
        return;
    };
    let timing = row.timing;
    let mut never_ran = false;
    match &row.outcome {
        Outcome::Succeeded(output) => {
            figures.succeeded += 1;
            for (found, pointer) in found.iter_mut().zip(&pointers.0) {
                match pointer.number(output) {
                    Some(number) => found.numbers.add(number),
                    None => found.without += 1,
                }
            }
        }
        Outcome::Failed(failure) => {
            figures.fail(failure.kind, 1);
            never_ran = failure.kind == FailureKind::Rejected;
        }
        Outcome::Cancelled => return,
    }
    figures.usage.attempts += u64::from(!never_ran);
    figures.usage.cpu_us += timing.cpu_us.unwrap_or(0);
    let Some(duration_us) = timing.duration_us.filter(|_| !never_ran) else {
        return;
    };
    figures.usage.duration_us += duration_us;
    if timing.cold_start.is_some() {
        figures.cold.add(duration_us);
    } else {
        figures.warm.add(duration_us);
    }
}

/// The arms with their figures: those that the engine counted, or those of a job's results.
fn arms(view: &ExperimentView, of_job: bool, read: Read, metrics: usize) -> Vec<Arm> {
    let mut found = read.arms;
    let none = || vec![Found::default(); metrics];
    let known = view.arms.iter().map(|arm| {
        let read = found.remove(arm.name.as_str());
        let (read, metrics) = read.unwrap_or_else(|| (ArmFigures::default(), none()));
        Arm {
            name: arm.name.clone(),
            target: convert::lead_text(&view.function, &arm.target),
            weight: arm.weight,
            figures: if of_job { read } else { arm.figures.clone() },
            metrics,
        }
    });
    let mut arms: Vec<Arm> = known.collect();
    if of_job {
        arms.extend(found.into_iter().map(|(name, (figures, metrics))| Arm {
            name: name.to_string(),
            figures,
            metrics,
            ..Arm::default()
        }));
    }
    arms
}

fn answer(
    view: &ExperimentView,
    job: Option<&JobView>,
    read: Read,
    question: &Question,
) -> v1::GetExperimentResponse {
    let (results_read, results_cut) = (read.results, read.is_cut);
    let arms = arms(view, job.is_some(), read, question.metrics.len());
    let (since_ms, until_ms) = match job {
        None => (view.since_ms, view.until_ms),
        Some(job) => (
            job.status.started_ms.unwrap_or(job.record.created_ms),
            job.status.finished_ms.unwrap_or(view.until_ms),
        ),
    };
    let steady = since_ms >= view.moved_ms;
    let whole = job.is_none_or(|job| is_whole(job) && !results_cut);
    let ratio = if view.key.is_some() || !steady || !whole {
        v1::SampleRatio::NotJudged
    } else if job.is_some() {
        experiment::ratio(&arms, |arm| arm.figures.finished())
    } else {
        experiment::ratio(&arms, |arm| arm.figures.routed)
    };
    v1::GetExperimentResponse {
        since: Some(convert::timestamp(since_ms)),
        until: Some(convert::timestamp(until_ms)),
        route_set_at: Some(convert::timestamp(view.moved_ms)),
        key: convert::key_text(view.key.as_ref()),
        baseline: arms
            .get(question.baseline)
            .map(|arm| arm.name.clone())
            .unwrap_or_default(),
        comparisons: experiment::compare(&arms, question),
        ratio: ratio.into(),
        results_read,
        results_cut,
        warnings: warnings(view, steady, ratio),
        arms: arms.iter().map(experiment::shown).collect(),
    }
}

/// Whether all that a job sent to its arms has ended there.
fn is_whole(job: &JobView) -> bool {
    let ended = match job.status.state {
        JobState::Succeeded | JobState::Failed => true,
        JobState::Running | JobState::Cancelled => false,
    };
    ended && job.counts.cancelled == 0
}

fn warnings(view: &ExperimentView, steady: bool, ratio: v1::SampleRatio) -> Vec<String> {
    let mut warnings = Vec::new();
    if ratio == v1::SampleRatio::Off {
        warnings.push(
            "the arms did not get their shares of the inputs: find out why before you believe \
             anything else here"
                .to_owned(),
        );
    }
    if let Some(key) = &view.key {
        let key = convert::key_text(Some(key));
        warnings.push(format!(
            "inputs are dealt out by {key}: those of one owner go together and may be alike, which \
             the intervals do not know, so take them as too narrow where owners have many inputs"
        ));
    }
    if !steady {
        warnings.push(
            "the route was set anew within this time, so some figures are of other weights"
                .to_owned(),
        );
    }
    warnings
}
