//! What a coordinator measures of itself, for Prometheus.

use std::fmt;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use umbel_core::change::{Change, Record};
use umbel_core::cold_start::ColdStart;
use umbel_core::command::{Ignored, Swept};
use umbel_core::function::Runtime;
use umbel_core::job::JobState;
use umbel_core::rollout::RolloutState;
use umbel_core::route::RouteTally;
use umbel_core::view::ClusterView;
use umbel_proto::status::Reason;
use umbel_store::Commit;

use crate::room::Bounds;

/// Bounds of the buckets of all histograms, in seconds: from a turn of a few events to a disk that
/// stalls.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

/// Every name, with what it means. All of them are shown from the start.
const TABLE: &[(Kind, &str, &str)] = &[
    (
        Kind::Gauge,
        "umbel_jobs",
        "Jobs that are kept, by state: running or ended.",
    ),
    (
        Kind::Counter,
        "umbel_jobs_ended_total",
        "Jobs that ended, by their final state.",
    ),
    (
        Kind::Gauge,
        "umbel_backlog",
        "Invocations that are accepted and not leased.",
    ),
    (
        Kind::Gauge,
        "umbel_invocations_leased",
        "Invocations that workers have.",
    ),
    (
        Kind::Counter,
        "umbel_invocations_total",
        "Invocations that became final, by outcome.",
    ),
    (
        Kind::Counter,
        "umbel_attempts_total",
        "Attempts that ended, by outcome.",
    ),
    (Kind::Gauge, "umbel_workers", "Workers with a live session."),
    (
        Kind::Gauge,
        "umbel_slots",
        "Slots of the workers with a live session.",
    ),
    (
        Kind::Gauge,
        "umbel_slots_used",
        "Slots' worth of work that is leased.",
    ),
    (Kind::Gauge, "umbel_leases", "Live leases."),
    (
        Kind::Gauge,
        "umbel_instances_kept",
        "Instances that workers are to keep ready.",
    ),
    (
        Kind::Gauge,
        "umbel_instances_ready",
        "How many of the instances that are kept ready stand so.",
    ),
    (
        Kind::Counter,
        "umbel_workers_lost_total",
        "Workers that were lost with work.",
    ),
    (
        Kind::Counter,
        "umbel_ignored_total",
        "Messages that had no effect, by reason.",
    ),
    (
        Kind::Counter,
        "umbel_route_inputs_total",
        "Inputs that rules or splits of aliases were asked about.",
    ),
    (
        Kind::Counter,
        "umbel_route_rule_failures_total",
        "Rules that could not be evaluated on an input, and so did not match it.",
    ),
    (
        Kind::Counter,
        "umbel_route_not_sticky_total",
        "Inputs without the routing key, which went by their index.",
    ),
    (
        Kind::Counter,
        "umbel_events_total",
        "Events that the engine handled.",
    ),
    (
        Kind::Histogram,
        "umbel_turn_seconds",
        "How long a turn of the engine took.",
    ),
    (
        Kind::Histogram,
        "umbel_cold_start_seconds",
        "How long cold starts took, by runtime; own: of what workers bring themselves.",
    ),
    (
        Kind::Histogram,
        "umbel_cold_start_part_seconds",
        "How long the parts of cold starts took, by runtime and part: fetch, load, init or first_call.",
    ),
    (
        Kind::Histogram,
        "umbel_commit_seconds",
        "How long a commit took to write and sync.",
    ),
    (
        Kind::Counter,
        "umbel_commit_bytes_total",
        "Bytes that were committed.",
    ),
    (
        Kind::Gauge,
        "umbel_undurable_bytes",
        "Bytes that were submitted and are not durable yet.",
    ),
    (
        Kind::Gauge,
        "umbel_disk_bytes",
        "What the data take on the disk.",
    ),
    (
        Kind::Gauge,
        "umbel_disk_free_bytes",
        "What is free on the disk of the data.",
    ),
    (
        Kind::Gauge,
        "umbel_store_bytes",
        "Live bytes: keys and values that are stored.",
    ),
    (
        Kind::Gauge,
        "umbel_store_bytes_max",
        "The cap of the live bytes; 0: there is none.",
    ),
    (
        Kind::Counter,
        "umbel_refusals_total",
        "Requests and streams that ended with an error, by reason; other: not one of umbel's.",
    ),
    (
        Kind::Counter,
        "umbel_store_failures_total",
        "How often the store failed for want of room, and was opened again.",
    ),
    (
        Kind::Counter,
        "umbel_jobs_swept_total",
        "Ended jobs that were swept, by why: age or size.",
    ),
    (
        Kind::Counter,
        "umbel_rollouts_ended_total",
        "Rollouts that have ended, by how: promoted or rolled_back.",
    ),
];

/// What happens to inputs that are routed.
const ROUTED: [&str; 3] = [
    "umbel_route_inputs_total",
    "umbel_route_rule_failures_total",
    "umbel_route_not_sticky_total",
];

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The figures of one coordinator. They are its own, not the process's, so that two coordinators
/// in one process do not mix.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    jobs: [Gauge; 2],
    jobs_ended: [Counter; 3],
    invocations: [Counter; 3],
    attempts: [Counter; 2],
    cluster: [Gauge; 8],
    workers_lost: Counter,
    ignored: Vec<(Ignored, Counter)>,
    /// Inputs, failures of rules, not sticky.
    routed: [Counter; 3],
    cold_starts: Vec<ColdStarts>,
    events: Counter,
    turn: Histogram,
    commit: Histogram,
    commit_bytes: Counter,
    undurable_bytes: Gauge,
    /// Disk, free on it, live, and its cap.
    bytes: [Gauge; 4],
    swept: [Counter; 2],
    rollouts: [Counter; 2],
    store_failures: Counter,
    /// By reason, and those without one.
    refusals: (Vec<(Reason, Counter)>, Counter),
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // It refuses only an empty list of buckets.
        let builder = builder.set_buckets(SECONDS).unwrap_or_default();
        let recorder = builder.build_recorder();
        describe(&recorder);
        let states = [JobState::Succeeded, JobState::Failed, JobState::Cancelled];
        let outcomes = states.map(JobState::as_str);
        let figures = [
            "umbel_backlog",
            "umbel_invocations_leased",
            "umbel_workers",
            "umbel_slots",
            "umbel_slots_used",
            "umbel_leases",
            "umbel_instances_kept",
            "umbel_instances_ready",
        ];
        let outcome = |name, outcome| counter(&recorder, name, Some(("outcome", outcome)));
        Self {
            handle: recorder.handle(),
            jobs: ["running", "ended"]
                .map(|state| gauge(&recorder, "umbel_jobs", Some(("state", state)))),
            jobs_ended: outcomes
                .map(|state| counter(&recorder, "umbel_jobs_ended_total", Some(("state", state)))),
            invocations: outcomes.map(|name| outcome("umbel_invocations_total", name)),
            attempts: ["succeeded", "failed"].map(|name| outcome("umbel_attempts_total", name)),
            cluster: figures.map(|name| gauge(&recorder, name, None)),
            workers_lost: counter(&recorder, "umbel_workers_lost_total", None),
            ignored: ignored(&recorder),
            routed: ROUTED.map(|name| counter(&recorder, name, None)),
            cold_starts: cold_starts(&recorder),
            events: counter(&recorder, "umbel_events_total", None),
            turn: histogram(&recorder, "umbel_turn_seconds", None),
            commit: histogram(&recorder, "umbel_commit_seconds", None),
            commit_bytes: counter(&recorder, "umbel_commit_bytes_total", None),
            undurable_bytes: gauge(&recorder, "umbel_undurable_bytes", None),
            bytes: [
                "umbel_disk_bytes",
                "umbel_disk_free_bytes",
                "umbel_store_bytes",
                "umbel_store_bytes_max",
            ]
            .map(|name| gauge(&recorder, name, None)),
            refusals: refusals(&recorder),
            store_failures: counter(&recorder, "umbel_store_failures_total", None),
            swept: [Swept::Age, Swept::Size].map(|why| {
                let why = ("why", why.as_str());
                counter(&recorder, "umbel_jobs_swept_total", Some(why))
            }),
            rollouts: [RolloutState::Promoted, RolloutState::RolledBack].map(|how| {
                let how = ("how", how.as_str());
                counter(&recorder, "umbel_rollouts_ended_total", Some(how))
            }),
        }
    }

    /// A turn has ended.
    pub(crate) fn turn(&self, events: usize, took: std::time::Duration) {
        self.events.increment(events as u64);
        self.turn.record(took.as_secs_f64());
    }

    /// Inputs were routed.
    pub(crate) fn routed(&self, tally: &RouteTally) {
        let figures = [tally.inputs, tally.rule_failures, tally.not_sticky];
        for (counter, figure) in self.routed.iter().zip(figures) {
            counter.increment(figure);
        }
    }

    /// A change goes to the disk.
    pub(crate) fn change(&self, change: &Change) {
        if let Change::Recorded(record) = change {
            self.record(record);
        }
    }

    fn record(&self, record: &Record) {
        let succeeded = record.succeeded.len();
        let [all_succeeded, all_failed, all_cancelled] = &self.invocations;
        all_succeeded.increment(succeeded);
        all_failed.increment(record.failed.len() as u64);
        all_cancelled.increment(record.cancelled.len());
        let [attempts_succeeded, attempts_failed] = &self.attempts;
        attempts_succeeded.increment(succeeded);
        attempts_failed.increment(record.usage.attempts.saturating_sub(succeeded));
    }

    /// A commit is done.
    pub(crate) fn commit(&self, commit: &Commit) {
        self.commit
            .record((commit.write + commit.sync).as_secs_f64());
        self.commit_bytes.increment(commit.bytes as u64);
    }

    /// A message had no effect.
    pub(crate) fn ignored(&self, reason: Ignored) {
        if let Some((_, counter)) = self.ignored.iter().find(|(known, _)| *known == reason) {
            counter.increment(1);
        }
    }

    /// A job has ended.
    pub(crate) fn job_ended(&self, state: JobState) {
        let [succeeded, failed, cancelled] = &self.jobs_ended;
        match state {
            JobState::Succeeded => succeeded.increment(1),
            JobState::Failed => failed.increment(1),
            JobState::Cancelled => cancelled.increment(1),
            JobState::Running => {}
        }
    }

    /// An invocation had to wait for an instance.
    pub(crate) fn cold_start(&self, runtime: Option<Runtime>, cold_start: ColdStart) {
        let seconds = |us| std::time::Duration::from_micros(us).as_secs_f64();
        let mut known = self.cold_starts.iter();
        if let Some(known) = known.find(|known| known.runtime == runtime) {
            known.whole.record(seconds(cold_start.total_us()));
            for (histogram, part_us) in known.parts.iter().zip(cold_start.parts()) {
                histogram.record(seconds(part_us));
            }
        }
    }

    /// A worker was lost with work.
    pub(crate) fn worker_lost(&self) {
        self.workers_lost.increment(1);
    }

    /// Something was refused.
    pub(crate) fn refused(&self, reason: Option<Reason>) {
        let (known, other) = &self.refusals;
        let known = known.iter().find(|(known, _)| Some(*known) == reason);
        known.map_or(other, |(_, counter)| counter).increment(1);
    }

    /// The store failed for want of room.
    pub(crate) fn store_failed(&self) {
        self.store_failures.increment(1);
    }

    /// An ended job was swept.
    pub(crate) fn job_swept(&self, why: Swept) {
        let [age, size] = &self.swept;
        match why {
            Swept::Age => age.increment(1),
            Swept::Size => size.increment(1),
        }
    }

    /// A rollout is in another state, or at another step.
    pub(crate) fn rollout_moved(&self, state: RolloutState) {
        let [promoted, rolled_back] = &self.rollouts;
        match state {
            RolloutState::Promoted => promoted.increment(1),
            RolloutState::RolledBack => rolled_back.increment(1),
            RolloutState::Advancing | RolloutState::Paused => {}
        }
    }

    /// All of it as text, with how things stand now.
    pub(crate) fn render(
        &self,
        cluster: &ClusterView,
        stats: &umbel_store::Stats,
        bounds: Bounds,
    ) -> String {
        let [running, ended] = &self.jobs;
        running.set(cluster.jobs_running as f64);
        ended.set(cluster.jobs_kept.saturating_sub(cluster.jobs_running) as f64);
        let figures = [
            cluster.invocations_waiting as f64,
            cluster.invocations_leased as f64,
            f64::from(cluster.workers),
            f64::from(cluster.slots),
            f64::from(cluster.slots_used),
            cluster.leases as f64,
            cluster.instances_kept as f64,
            cluster.instances_ready as f64,
        ];
        for (gauge, figure) in self.cluster.iter().zip(figures) {
            gauge.set(figure);
        }
        self.undurable_bytes.set(stats.undurable_bytes as f64);
        let [disk, free, live, live_max] = &self.bytes;
        for (gauge, bytes) in [(disk, stats.disk_bytes), (free, stats.free_bytes)] {
            if let Some(bytes) = bytes {
                gauge.set(bytes as f64);
            }
        }
        live.set(stats.live_bytes as f64);
        live_max.set(bounds.store_bytes_max as f64);
        self.handle.render()
    }

    /// Folds what the histograms have gathered; without it they would grow until somebody reads.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The cold starts of one runtime.
struct ColdStarts {
    /// None: what workers bring themselves.
    runtime: Option<Runtime>,
    whole: Histogram,
    parts: [Histogram; ColdStart::PARTS.len()],
}

/// What is ignored, by reason.
fn ignored(recorder: &PrometheusRecorder) -> Vec<(Ignored, Counter)> {
    let reasons = [
        Ignored::UnknownSession,
        Ignored::OutdatedColumn,
        Ignored::StaleLease,
        Ignored::MaskedIndices,
        Ignored::RepeatedReport,
        Ignored::UnknownInvoke,
        Ignored::UnaskedTakenBack,
    ];
    let counted = reasons.map(|reason| {
        let label = Some(("reason", reason.as_str()));
        (reason, counter(recorder, "umbel_ignored_total", label))
    });
    counted.into()
}

/// Of each runtime, so that there are as many series as are listed here.
fn cold_starts(recorder: &PrometheusRecorder) -> Vec<ColdStarts> {
    let runtimes = Runtime::ALL.into_iter().map(Some).chain([None]);
    let of = |runtime: Option<Runtime>| {
        let label = Label::from_static_parts("runtime", runtime.map_or("own", Runtime::as_str));
        let of_part = |name, part: Option<&'static str>| {
            let part = part.map(|part| Label::from_static_parts("part", part));
            let labels: Vec<Label> = [label.clone()].into_iter().chain(part).collect();
            recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
        };
        ColdStarts {
            runtime,
            whole: of_part("umbel_cold_start_seconds", None),
            parts: ColdStart::PARTS
                .map(|part| of_part("umbel_cold_start_part_seconds", Some(part))),
        }
    };
    runtimes.map(of).collect()
}

/// A counter for each reason, and one for what has none.
fn refusals(recorder: &PrometheusRecorder) -> (Vec<(Reason, Counter)>, Counter) {
    let of = |reason| counter(recorder, "umbel_refusals_total", Some(("reason", reason)));
    let reasons = Reason::ALL.iter();
    let reasons = reasons.map(|reason| (*reason, of(reason.as_str())));
    (reasons.collect(), of("other"))
}

const METADATA: Metadata<'static> = Metadata::new("umbel", Level::INFO, None);

fn describe(recorder: &PrometheusRecorder) {
    for (kind, name, meaning) in TABLE {
        let (name, meaning) = (KeyName::from_const_str(name), (*meaning).into());
        match kind {
            Kind::Counter => recorder.describe_counter(name, None, meaning),
            Kind::Gauge => recorder.describe_gauge(name, None, meaning),
            Kind::Histogram => recorder.describe_histogram(name, None, meaning),
        }
    }
}

fn key(name: &'static str, label: Option<(&'static str, &'static str)>) -> Key {
    let labels = label.map(|(key, value)| Label::from_static_parts(key, value));
    Key::from_parts(name, labels.into_iter().collect::<Vec<_>>())
}

fn counter(
    recorder: &PrometheusRecorder,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
) -> Counter {
    recorder.register_counter(&key(name, label), &METADATA)
}

fn gauge(
    recorder: &PrometheusRecorder,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
) -> Gauge {
    recorder.register_gauge(&key(name, label), &METADATA)
}

fn histogram(
    recorder: &PrometheusRecorder,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
) -> Histogram {
    recorder.register_histogram(&key(name, label), &METADATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_table_is_shown_with_its_meaning() {
        let metrics = Metrics::new();
        metrics.turn(3, std::time::Duration::from_micros(80));
        metrics.commit(&Commit::default());
        let cold_start = ColdStart::of_parts([0, 90, 700, 4]);
        metrics.cold_start(Some(Runtime::Python), cold_start);
        metrics.cold_start(None, cold_start);
        let stats = umbel_store::Stats {
            disk_bytes: Some(7),
            ..umbel_store::Stats::default()
        };
        let text = metrics.render(
            &ClusterView {
                workers: 2,
                ..ClusterView::default()
            },
            &stats,
            Bounds::default(),
        );
        for (_, name, meaning) in TABLE {
            assert!(
                text.contains(&format!("# HELP {name} {meaning}")),
                "{name} in\n{text}"
            );
        }
        assert!(text.contains("umbel_workers 2"), "{text}");
        for line in [
            "umbel_cold_start_part_seconds_bucket{runtime=\"python\",part=\"init\",le=\"0.0005\"} 0",
            "umbel_cold_start_part_seconds_bucket{runtime=\"python\",part=\"init\",le=\"0.001\"} 1",
            "umbel_cold_start_seconds_count{runtime=\"own\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(
            text.contains("umbel_turn_seconds_bucket{le=\"0.0001\"} 1"),
            "{text}"
        );
    }
}
