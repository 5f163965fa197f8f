//! What a fan-out bench found.

use std::time::Duration;

use serde::Serialize;

use crate::output::{count, size};

/// The figures of one run. `Option`s are absent where the kernel did not tell.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Invocations, over all jobs.
    pub(super) invocations: u64,
    /// Jobs that they were split over.
    pub(super) jobs: u32,
    /// Worker processes.
    pub(super) workers: u32,
    /// Slots of each worker.
    pub(super) slots: u32,
    /// `client` or `range`: where the inputs came from.
    pub(super) inputs: &'static str,
    /// From the first input sent to the last result verified.
    pub(super) seconds: f64,
    /// Invocations by those seconds.
    pub(super) invocations_per_second: f64,
    /// CPU, user and system, of coordinator, workers and client.
    pub(super) cpu_seconds_per_million: f64,
    /// The coordinator's part of it.
    pub(super) coordinator_cpu_seconds_per_million: f64,
    /// The workers' part of it.
    pub(super) worker_cpu_seconds_per_million: f64,
    /// The part of the client, which sends, reads back and verifies.
    pub(super) client_cpu_seconds_per_million: f64,
    /// The coordinator's peak of resident memory.
    pub(super) coordinator_memory_peak_bytes: Option<u64>,
    /// The data directory at the end, by invocation.
    pub(super) disk_bytes_per_result: f64,
    /// Attempts beyond one for each invocation.
    pub(super) attempts_repeated: u64,
    /// Results that were the expected ones.
    pub(super) right: u64,
    /// Results beyond one for each index.
    pub(super) twice: u64,
}

/// CPU time of the three parts of a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    pub(super) coordinator: Duration,
    pub(super) workers: Duration,
    pub(super) client: Duration,
}

impl Cpu {
    /// What was used since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            coordinator: self.coordinator.saturating_sub(earlier.coordinator),
            workers: self.workers.saturating_sub(earlier.workers),
            client: self.client.saturating_sub(earlier.client),
        }
    }

    /// All three together.
    pub(super) fn total(self) -> Duration {
        self.coordinator + self.workers + self.client
    }
}

impl Report {
    /// The figures as lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let memory = self
            .coordinator_memory_peak_bytes
            .map_or_else(|| "not known".to_owned(), size);
        let rows = [
            (
                "invocations",
                format!(
                    "{} in {}",
                    count(self.invocations),
                    plural(self.jobs, "job")
                ),
            ),
            (
                "workers",
                format!("{} of {}", self.workers, plural(self.slots, "slot")),
            ),
            ("inputs from", self.inputs.to_owned()),
            (
                "wall time",
                format!("{:.3} s, to the last result verified", self.seconds),
            ),
            (
                "invocations/s",
                count(self.invocations_per_second.round() as u64),
            ),
            (
                "CPU s/million",
                format!(
                    "{:.2} (coordinator {:.2}, workers {:.2}, client {:.2})",
                    self.cpu_seconds_per_million,
                    self.coordinator_cpu_seconds_per_million,
                    self.worker_cpu_seconds_per_million,
                    self.client_cpu_seconds_per_million
                ),
            ),
            ("coordinator peak", memory),
            (
                "disk",
                format!("{:.1} B/result", self.disk_bytes_per_result),
            ),
            (
                "results",
                format!(
                    "{} of {} right, {} twice, {} attempts repeated",
                    count(self.right),
                    count(self.invocations),
                    count(self.twice),
                    count(self.attempts_repeated)
                ),
            ),
        ];
        rows.iter()
            .map(|(name, value)| format!("{name:<17} {value}"))
            .collect()
    }
}

fn plural(number: u32, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_before_does_not_count() {
        let second = Duration::from_secs;
        let before = Cpu {
            coordinator: second(1),
            workers: second(2),
            client: second(9),
        };
        let after = Cpu {
            coordinator: second(2),
            workers: second(4),
            client: second(9),
        };
        assert_eq!(after.since(before).total(), second(3));
    }

    #[test]
    fn one_of_a_kind_is_singular() {
        assert_eq!(plural(1, "job"), "1 job");
        assert_eq!(plural(1_000, "job"), "1,000 jobs");
    }
}
