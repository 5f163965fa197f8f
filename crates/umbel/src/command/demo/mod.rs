//! `umbel demo`: the main job on this machine, with a worker killed halfway.

mod check;
mod primes;
mod story;
mod worker;

use std::time::{Duration, Instant};

use tokio::sync::watch;
use umbel_client::Client;

use crate::exit::Exit;
use crate::fan_out::Ended;
use crate::global::Global;
use crate::local::LocalCluster;
use crate::output::count;
use crate::process::Process;
use crate::signal::Signals;

use self::story::Story;
pub(crate) use self::worker::run as run_worker;

/// What to try next.
const NEXT: &str = "
Try next:
  umbel up --workers 2                        a coordinator and two workers, until Ctrl-C
  umbel map umbel.increment --range 0..5      in another terminal: outputs in input order
  seq 100 | umbel map --inputs - -- sh -c 'read n; echo $((n * n))'
                                              a program for each input
  umbel bench fanout --n 1000000 --workers 2  how fast it is on this machine";

/// How long the whole may take before something must be wrong.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts a coordinator and two workers as processes of their own, counts primes in 100,000
invocations, kills one worker halfway with -9, and checks every output. Needs nothing but this
binary.

Example:
  umbel demo")]
pub(crate) struct Args {
    /// Keep the directory with data and logs
    #[arg(long)]
    keep: bool,
    /// Slots of each worker
    #[arg(long, value_name = "N", default_value_t = 1)]
    slots: u32,
}

/// Plays the demo and ends what it started, whatever happens.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let story = Story::new(global.output, primes::WINDOWS.into());
    let mut cluster = tokio::select! {
        cluster = LocalCluster::start() => cluster?,
        () = signals.next() => return Err(Exit::interrupted("")),
    };
    let played = tokio::select! {
        played = tokio::time::timeout(TIMEOUT, play(&mut cluster, &args, &story)) => {
            played.unwrap_or_else(|_| Err(Exit::failed(format!("the demo was not over within {TIMEOUT:?}"))))
        }
        () = signals.next() => Err(Exit::interrupted("interrupted; every process it started is gone")),
    };
    story.end_progress();
    // The logs of what went wrong are worth keeping.
    let keep = args.keep
        || !matches!(
            played,
            Ok(()) | Err(Exit::Interrupted(_) | Exit::StdoutClosed)
        );
    if let Some(directory) = cluster.stop(keep).await? {
        story.say(&format!(
            "data and logs are kept in {}",
            directory.display()
        ))?;
    }
    played
}

async fn play(cluster: &mut LocalCluster, args: &Args, story: &Story) -> Result<(), Exit> {
    let slots = args.slots.to_string();
    let worker = ["demo-worker", "--slots", &slots];
    for _ in 0..2 {
        cluster.add_worker(&worker).await?;
    }
    story.say(&format!(
        "a coordinator on {} and two worker processes, data in {}",
        cluster.url,
        cluster.directory().display()
    ))?;
    let client = Client::connect(&cluster.url)?;
    let numbers = count(u64::from(primes::WINDOWS) * u64::from(primes::WIDTH));
    story.say(&format!(
        "how many primes are there below {numbers}? {} invocations count {} numbers each",
        count(primes::WINDOWS.into()),
        primes::WIDTH
    ))?;

    let begun = Instant::now();
    let (done, watched) = watch::channel(0);
    let counted = check::primes(&client, done);
    let lost = lose_a_worker(cluster, &worker, watched.clone(), story);
    let shown = async {
        story.progress(watched).await;
        Ok(())
    };
    let (primes, (), ()) = tokio::try_join!(counted, lost, shown)?;
    let seconds = begun.elapsed().as_secs_f64();
    story.end_progress();
    let squares = check::programs(&client).await?;

    tell(story, &primes, &squares, seconds)?;
    for ended in [&primes, &squares] {
        if !ended.tally.is_perfect() {
            let wrong = ended.tally.first_wrong.as_deref();
            let wrong = wrong.unwrap_or("a result is missing or came twice");
            return Err(Exit::failed(format!("the check failed: {wrong}")));
        }
    }
    story.print(NEXT)
}

/// Kills a worker when half of the job is done, and starts another.
async fn lose_a_worker(
    cluster: &mut LocalCluster,
    worker: &[&str],
    mut done: watch::Receiver<u64>,
    story: &Story,
) -> Result<(), Exit> {
    let half = u64::from(primes::WINDOWS / 2);
    // An error means that the job has ended, and then there is an error to be told about it.
    let Ok(at) = done.wait_for(|done| *done >= half).await.map(|done| *done) else {
        return Ok(());
    };
    let victim = &mut cluster.workers[1];
    let process = victim.id().unwrap_or_default();
    victim.kill().await;
    story.say(&format!(
        "{} are done: kill -9 {process}, that was worker-2",
        count(at)
    ))?;
    cluster.add_worker(worker).await?;
    let process = cluster
        .workers
        .last()
        .and_then(Process::id)
        .unwrap_or_default();
    story.say(&format!(
        "worker-3 has joined, process {process}; worker-2's work runs again"
    ))
}

fn tell(story: &Story, primes: &Ended, squares: &Ended, seconds: f64) -> Result<(), Exit> {
    let total = u64::from(primes::WINDOWS);
    // Each invocation needs one attempt; what is beyond was lost with the worker.
    let lost = primes.job.attempts.saturating_sub(total);
    let rate = total as f64 / seconds;
    story.say(&format!(
        "{} invocations a second, {seconds:.1} s in all; then a program for each of {} inputs: {}",
        count(rate.round() as u64),
        check::PROGRAMS,
        squares.tally.sentence()
    ))?;
    let sentence = format!(
        "{}, {} attempts lost and run again",
        primes.tally.sentence(),
        count(lost)
    );
    story.print(&sentence)?;
    story.document(&serde_json::json!({
        "right": primes.tally.right,
        "total": total,
        "twice": primes.tally.twice,
        "attempts_lost": lost,
        "programs_right": squares.tally.right,
        "programs_total": check::PROGRAMS,
        "seconds": seconds,
        "invocations_per_second": rate,
    }))
}
