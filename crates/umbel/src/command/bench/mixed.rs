//! `umbel bench mixed`: run times with a heavy tail, and how well the slots are kept at work.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::bed::{Bed, verified, wrong};
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

const FUNCTION: &str = "umbel.sleep";
/// The shortest and the longest run time in milliseconds.
const SHORTEST_MS: f64 = 1.0;
const LONGEST_MS: f64 = 2_000.0;
/// How heavy the tail is: at 1 each doubling of the run time halves how many run so long.
const TAIL: f64 = 1.0;

pub(super) const HELP: &str = "\
Run times follow a Pareto law between 1 ms and 2 s, in no order, the same in every run: most of
them are a few milliseconds, most of the work is in the long ones. The ideal time is all of it by
the number of slots, or the longest invocation if that is more.

Example:
  umbel bench mixed --n 2000 --workers 2";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Invocations
    #[arg(long, default_value_t = 2_000, value_parser = from_1_to(1_000_000))]
    pub(super) n: u32,
    /// Worker processes of one slot
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    pub(super) workers: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "1 ms to 2 s with a heavy tail, {} times, {} slots",
            count(self.n.into()),
            self.workers
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(self.workers, 1).await?;
        let meter = Meter::start(&bed.cluster).await?;
        let input = |index: u32| run_time_ms(index).to_string();
        let ended = verified(&bed.client, FUNCTION, self.n, input, input).await?;
        let (elapsed, mut run) = meter
            .stop(&bed.cluster, self.n.into(), "invocation")
            .await?;
        let times = (0..self.n).map(run_time_ms);
        let (sum, longest) = times.fold((0, 0), |(sum, longest), ms| (sum + ms, longest.max(ms)));
        let ideal = (sum as f64 / f64::from(self.workers)).max(longest as f64) / 1e3;
        run.lead("ideal_seconds", ideal);
        run.lead("elapsed_seconds", elapsed.as_secs_f64());
        run.lead("wall_efficiency", ideal / elapsed.as_secs_f64());
        run.wrong = wrong(&ended);
        Ok(run)
    }
}

/// How long an invocation runs: a Pareto law, cut off at both ends.
fn run_time_ms(index: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    index.hash(&mut hasher);
    let chance = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    let cut = 1.0 - (SHORTEST_MS / LONGEST_MS).powf(TAIL);
    let ms = SHORTEST_MS / (1.0 - chance * cut).powf(1.0 / TAIL);
    ms.clamp(SHORTEST_MS, LONGEST_MS).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_are_short_and_most_of_the_work_is_in_the_long_ones() {
        let mut times: Vec<u64> = (0..10_000).map(run_time_ms).collect();
        times.sort_unstable();
        assert!(times[0] >= 1 && times[9_999] <= 2_000);
        assert!(times[5_000] <= 3, "the median is {} ms", times[5_000]);
        let all: u64 = times.iter().sum();
        let longest: u64 = times[9_000..].iter().sum();
        assert!(2 * longest > all, "{longest} of {all} ms");
    }
}
