//! `umbel bench sessions`: a fan-out while very many workers hold sessions.

use umbel_core::limit;

use super::bed::{Bed, INCREMENT};
use super::fanout::fan_out_jobs;
use super::from_1_to;
use super::meter::Run;
use crate::exit::Exit;
use crate::output::count;

pub(super) const HELP: &str = "\
All workers live in one process, each with a session, a stream and a slot of its own, as if on as
many hosts. The same fan-out is run before with two of them, in a cluster of its own: the slowdown
is the rate of two by the rate of all, and the same of the CPU of one invocation.

Example:
  umbel bench sessions --sessions 1000 --n 1000000";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Sessions
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = from_1_to(10_000))]
    pub(super) sessions: u32,
    /// Invocations
    #[arg(long, default_value_t = 1_000_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    pub(super) n: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "fan-out of {} while {} workers hold sessions",
            count(self.n.into()),
            count(self.sessions.into())
        )
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let mut few = Bed::start().await?;
        let with_few = self.fan_out(&mut few, 2).await;
        few.cluster.stop(false).await?;
        let with_few = with_few?;
        let mut run = self.fan_out(bed, self.sessions).await?;
        let value = |run: &Run, name: &str| {
            let mut figures = run.figures.iter();
            figures
                .find(|figure| figure.name == name)
                .map(|figure| figure.value)
        };
        for (name, figure, inverted) in [
            ("cpu_slowdown", "invocation_cpu_us", false),
            ("slowdown", "invocations_per_second", true),
        ] {
            if let (Some(few), Some(many)) = (value(&with_few, figure), value(&run, figure)) {
                run.lead(name, if inverted { few / many } else { many / few });
            }
        }
        run.wrong = run.wrong.or(with_few.wrong);
        Ok(run)
    }

    async fn fan_out(&self, bed: &mut Bed, sessions: u32) -> Result<Run, Exit> {
        let sessions = sessions.to_string();
        let command = ["bench-swarm", "--sessions", &sessions];
        bed.cluster.add_worker(&command).await?;
        bed.warm_up().await?;
        fan_out_jobs(bed, self.n, 1, false).await
    }
}

/// The process with the many workers.
pub(crate) mod swarm {
    use futures::future::try_join_all;
    use umbel_runtime::Catalog;
    use umbel_worker::Config;

    use super::INCREMENT;
    use crate::exit::Exit;
    use crate::global::Global;
    use crate::output;
    use crate::signal::{self, Signals};

    /// What the process takes.
    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        /// How many workers
        #[arg(long)]
        sessions: u32,
        /// What their names begin with
        #[arg(long, default_value = "swarm")]
        name: String,
        /// The process to end with
        #[arg(long, hide = true)]
        die_with: Option<i32>,
    }

    /// Runs until it is told to leave.
    pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
        signal::die_with(args.die_with)?;
        let mut signals = Signals::listen()?;
        let failed = |error: umbel_worker::Error| Exit::internal(error.to_string());
        let mut workers = Vec::new();
        for number in 1..=args.sessions {
            let config = Config {
                coordinator: global.coordinator.clone(),
                name: format!("{}-{number}", args.name),
                slots: 1,
                catalog: Catalog::with_builtins(false),
                runs_programs: false,
                ..Config::default()
            };
            workers.push(config.start().map_err(failed)?);
        }
        try_join_all(workers.iter().map(umbel_worker::Handle::ready))
            .await
            .map_err(failed)?;
        output::line(&format!("{} workers ready for {INCREMENT}", args.sessions))?;
        signals.next().await;
        Ok(())
    }
}
