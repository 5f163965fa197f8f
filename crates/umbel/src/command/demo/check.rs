//! The demo's two jobs, and what every output should be.

use tokio::sync::watch;
use umbel_client::{Client, JobSpec};

use super::primes;
use crate::exit::Exit;
use crate::fan_out::{Ended, differs, fan_out, inputs};

/// Inputs that are each given to a program of their own.
pub(super) const PROGRAMS: u32 = 200;

/// Counts primes with the workers' native function, and tells `done` how far it is.
pub(super) async fn primes(client: &Client, done: watch::Sender<u64>) -> Result<Ended, Exit> {
    let expected = primes::expected();
    let spec = JobSpec::function(primes::FUNCTION)
        .name("primes")
        .start_as_appended();
    let upload = client
        .submit(spec)
        .begin(inputs(primes::WINDOWS, primes::window))
        .await?;
    let wrong = |result: &umbel_client::ResultRow<'_>| {
        let count = usize::try_from(result.index)
            .ok()
            .and_then(|index| expected.get(index))?;
        differs(result, count.to_string())
    };
    let told = |count| {
        done.send_replace(count);
    };
    fan_out(client, upload, primes::WINDOWS, wrong, told).await
}

/// Squares numbers with a program that is started for each.
pub(super) async fn programs(client: &Client) -> Result<Ended, Exit> {
    let spec = JobSpec::program(["/bin/sh", "-c", "read n; echo $((n * n))"])
        .name("squares")
        .start_as_appended();
    let upload = client
        .submit(spec)
        .begin(inputs(PROGRAMS, |index| index.to_string()))
        .await?;
    let wrong = |result: &umbel_client::ResultRow<'_>| {
        differs(result, (result.index * result.index).to_string())
    };
    fan_out(client, upload, PROGRAMS, wrong, |_| {}).await
}
