//! What the coordinator says of itself: the histograms of its `/metrics`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exit::Exit;

/// How long the coordinator may take to tell its figures.
const PATIENCE: Duration = Duration::from_secs(60);

/// A histogram, as Prometheus knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    /// How many were at most so long, by upper bound in seconds, ascending.
    pub(super) buckets: Vec<Bucket>,
    /// How many there were.
    pub(super) count: u64,
    /// All of them together, in seconds.
    pub(super) sum_seconds: f64,
}

/// What was at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub(super) up_to_seconds: f64,
    pub(super) count: u64,
}

/// The histograms of a coordinator.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) turns: Histogram,
    pub(super) commits: Histogram,
}

impl Metrics {
    /// Asks the coordinator at `url`.
    pub(super) async fn read(url: &str) -> Result<Self, Exit> {
        let text = tokio::time::timeout(PATIENCE, get(url))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|error| Exit::internal(format!("cannot read {url}/metrics: {error}")))?;
        Ok(Self {
            turns: Histogram::find(&text, "umbel_turn_seconds"),
            commits: Histogram::find(&text, "umbel_commit_seconds"),
        })
    }

    /// What came since an earlier reading.
    pub(super) fn since(self, earlier: &Self) -> Self {
        Self {
            turns: self.turns.since(&earlier.turns),
            commits: self.commits.since(&earlier.commits),
        }
    }
}

/// A plain HTTP/1.0 request: the answer ends with the connection.
async fn get(url: &str) -> std::io::Result<String> {
    let address = url.strip_prefix("http://").unwrap_or(url);
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

impl Histogram {
    fn find(text: &str, name: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.strip_prefix(name).and_then(|l| l.split_once(' ')) else {
                continue;
            };
            let bound = key
                .strip_prefix("_bucket{le=\"")
                .and_then(|bound| bound.strip_suffix("\"}"));
            if let Some(Ok(up_to_seconds)) = bound.map(str::parse::<f64>) {
                let count = value.parse().unwrap_or(0);
                // The last is that of all: it is `count`.
                if up_to_seconds.is_finite() {
                    found.buckets.push(Bucket {
                        up_to_seconds,
                        count,
                    });
                }
            } else if key == "_sum" {
                found.sum_seconds = value.parse().unwrap_or(0.0);
            } else if key == "_count" {
                found.count = value.parse().unwrap_or(0);
            }
        }
        found
    }

    fn since(mut self, earlier: &Self) -> Self {
        for (bucket, before) in self.buckets.iter_mut().zip(&earlier.buckets) {
            bucket.count = bucket.count.saturating_sub(before.count);
        }
        self.count = self.count.saturating_sub(earlier.count);
        self.sum_seconds -= earlier.sum_seconds;
        self
    }

    /// The bound below which so many hundredths lie; none when they lie above all bounds.
    pub(super) fn percentile_seconds(&self, hundredths: u64) -> Option<f64> {
        let wanted = (self.count * hundredths).div_ceil(100);
        let bucket = self.buckets.iter().find(|bucket| bucket.count >= wanted)?;
        Some(bucket.up_to_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP umbel_turn_seconds How long a turn of the engine took.
umbel_turn_seconds_bucket{le=\"0.001\"} 3
umbel_turn_seconds_bucket{le=\"0.1\"} 9
umbel_turn_seconds_bucket{le=\"+Inf\"} 10
umbel_turn_seconds_sum 1.5
umbel_turn_seconds_count 10
umbel_turns 4
";

    #[test]
    fn a_histogram_is_found_by_its_name() {
        let turns = Histogram::find(TEXT, "umbel_turn_seconds");
        assert_eq!((turns.count, turns.sum_seconds), (10, 1.5));
        assert_eq!(turns.buckets.len(), 2);
        assert_eq!(turns.percentile_seconds(30), Some(0.001));
        assert_eq!(turns.percentile_seconds(90), Some(0.1));
        assert_eq!(turns.percentile_seconds(99), None);
        let none = turns.clone().since(&turns);
        assert_eq!((none.count, none.buckets[1].count), (0, 0));
    }
}
