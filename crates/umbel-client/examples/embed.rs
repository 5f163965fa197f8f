//! Submits a thousand inputs and prints the outputs: `cargo run -p umbel-client --example embed`
//! beside a running `umbel up`.

use std::io::{self, Write as _};

use futures::TryStreamExt as _;
use umbel_client::{Client, JobSpec, ResultsOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("http://127.0.0.1:7600")?;
    let inputs = (0..1_000).map(|i| i.to_string());
    let job = client
        .submit(JobSpec::function("umbel.increment"))
        .inputs(inputs)
        .await?;

    let mut stdout = io::stdout().lock();
    let mut results = client.results(&job.id, ResultsOptions::default().follow());
    while let Some(result) = results.try_next().await? {
        stdout.write_all(&result.output)?;
        stdout.write_all(b"\n")?;
    }
    Ok(())
}
