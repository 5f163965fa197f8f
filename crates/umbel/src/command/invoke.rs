//! `umbel invoke`: one invocation, answered from memory.

use std::io::{self, Read as _};

use umbel_client::Client;
use umbel_client::v1::invoke_response::Outcome;
use umbel_core::limit::INPUT_BYTES_MAX;

use super::words::run_time_ms;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Invoked, Out};
use crate::signal::Signals;

const EXAMPLES: &str = "\
Nothing is stored, and a failure is not tried again.

Examples:
  umbel invoke umbel.increment 41
  echo -n hello | umbel invoke umbel.echo -";

/// The arguments of `invoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function
    target: String,
    /// The input (6 MiB at most), or - to read it from stdin [default: empty]
    #[arg(allow_hyphen_values = true)]
    input: Option<String>,
    /// How long it may wait for a slot and run
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = run_time_ms)]
    timeout: u64,
}

/// Invokes it, and prints the output.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    let invoked = async {
        let input = input(args.input).await?;
        Ok::<_, Exit>(client.invoke(&args.target, input, args.timeout).await?)
    };
    let response = tokio::select! {
        response = invoked => response?,
        () = signals.next() => return Err(Exit::interrupted("")),
    };
    if global.output == OutputForm::Json {
        output::document(&Invoked::new(&args.target, &response))?;
    }
    match &response.outcome {
        Some(Outcome::Output(bytes)) if global.output == OutputForm::Table => {
            let mut out = Out::new();
            out.output(bytes)?;
            out.flush()
        }
        Some(Outcome::Output(_)) => Ok(()),
        Some(Outcome::Failure(failure)) => {
            let why = output::failure_text(failure);
            Err(Exit::failed(format!("{} failed: {why}", args.target)))
        }
        None => Err(Exit::refused("the coordinator answered without an outcome")),
    }
}

/// The input as it was given, or stdin for `-`.
pub(super) async fn input(given: Option<String>) -> Result<Vec<u8>, Exit> {
    let input = match given {
        Some(text) if text == "-" => tokio::task::spawn_blocking(read_stdin)
            .await
            .map_err(|error| Exit::internal(format!("stdin could not be read: {error}")))?
            .map_err(|error| Exit::usage(format!("stdin cannot be read: {error}")))?,
        text => text.unwrap_or_default().into_bytes(),
    };
    if input.len() > INPUT_BYTES_MAX {
        return Err(Exit::usage(format!(
            "the input is longer than {INPUT_BYTES_MAX} bytes (6 MiB), the limit"
        )));
    }
    Ok(input)
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut input)?;
    Ok(input)
}
