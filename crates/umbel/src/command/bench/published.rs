//! Functions that a bench publishes: those of WebAssembly, and one that somebody wants to know of.

use std::ops::Range;
use std::path::{Path, PathBuf};

use umbel_client::{Client, v1};

use super::invoke::TIMEOUT_MS;
use crate::command::function::publish;
use crate::exit::Exit;
use crate::manifest::OptionArgs;

/// What the figures of a function that was named are called.
pub(super) const OWN: &str = "own";

/// Tells one version from another.
const VARIABLE: &str = "UMBEL_BENCH";

/// A function to be measured in place of those that give their input back.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct OwnArgs {
    /// Measure this function in place of umbel's own: a folder, a file or a zip
    #[arg(long, value_name = "PATH", conflicts_with = "runtimes")]
    pub(super) function: Option<PathBuf>,
    /// What it is given; what it answers first, it has to answer each time
    #[arg(long, value_name = "TEXT", requires = "function")]
    input: Option<String>,
}

impl OwnArgs {
    /// What is measured, for a title.
    pub(super) fn what(&self) -> &'static str {
        if self.function.is_some() {
            "one function"
        } else {
            "each runtime"
        }
    }

    /// What it is given.
    pub(super) fn input(&self) -> String {
        self.input.clone().unwrap_or_default()
    }

    /// What it answers.
    pub(super) async fn answer(&self, client: &Client, function: &str) -> Result<String, Exit> {
        let answer = client.invoke(function, self.input(), TIMEOUT_MS).await?;
        match answer.outcome {
            Some(v1::invoke_response::Outcome::Output(output)) => String::from_utf8(output.into())
                .map_err(|_| {
                    Exit::failed("its output is no text, and a bench compares texts".to_owned())
                }),
            other => Err(Exit::failed(format!("it did not succeed: {other:?}"))),
        }
    }
}

/// The name of one of a bench's functions.
pub(super) fn name(word: &str, number: u32) -> String {
    format!("bench.{word}-{number}")
}

/// Publishes the same code under so many names. Each is a version of its own by a variable: what is
/// alike in all but its name shares its instances, and would be warm for all once it is for one.
pub(super) async fn publish_each(
    client: &Client,
    word: &str,
    numbers: Range<u32>,
    path: &Path,
) -> Result<(), Exit> {
    for number in numbers {
        let options = OptionArgs::of_variable(VARIABLE, number.to_string());
        publish::publish(client, name(word, number), path.to_owned(), options).await?;
    }
    Ok(())
}
