//! What it costs to delete jobs that have ended, and whom it holds up.

use std::time::{Duration, Instant};

use super::bed::Bed;
use super::figure::percentile;
use super::invoke::increment;
use super::meter::{Meter, Run};
use crate::exit::Exit;

/// When the live bytes have not changed for so long, nothing more is being removed.
const STILL: Duration = Duration::from_secs(1);

/// Deletes the jobs, and invokes a function one time after another until their bytes are gone.
pub(super) async fn measure(bed: &mut Bed, ids: &[String], run: &mut Run) -> Result<(), Exit> {
    bed.workers(1, 1).await?;
    let client = &bed.client;
    let meter = Meter::start(&bed.cluster).await?;
    let begun = Instant::now();
    let before = client.status().await?.live_bytes;
    let mut deletes = Vec::with_capacity(ids.len());
    for id in ids {
        let asked = Instant::now();
        client.delete(id).await?;
        deletes.push(asked.elapsed());
    }
    let (mut invokes, mut live, mut changed) = (Vec::new(), before, Instant::now());
    while changed.elapsed() < STILL {
        invokes.push(increment(client, 1).await?);
        let now = client.status().await?.live_bytes;
        if now != live {
            (live, changed) = (now, Instant::now());
        }
    }
    let (_, deleted) = meter.stop(&bed.cluster, ids.len() as u64, "delete").await?;
    run.turn_seconds = deleted.turn_seconds;
    run.commit_seconds = deleted.commit_seconds;
    let mut push = |name: &str, mut times: Vec<Duration>| {
        times.sort_unstable();
        for (part, hundredths) in [("p50", 50), ("max", 100)] {
            let us = percentile(&times, hundredths).as_secs_f64() * 1e6;
            run.push(&format!("{name}_{part}_us"), us);
        }
    };
    push("delete", deletes);
    push("invoke_meanwhile", invokes);
    run.push("removed_seconds", (changed - begun).as_secs_f64());
    run.push("live_before_bytes", before as f64);
    run.push("live_after_bytes", live as f64);
    if before < 2 * live {
        run.wrong = Some(format!("of {before} live bytes {live} are left"));
    }
    Ok(())
}
