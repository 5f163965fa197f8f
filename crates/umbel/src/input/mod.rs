//! Where a job's inputs come from: a file, stdin, a range, or the command line.

mod csv;
mod error;
mod json;
mod lines;
mod quotes;
mod reader;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use clap::{ArgGroup, ValueEnum};
use futures::stream::{self, BoxStream, StreamExt as _};
use umbel_client::SourceError;

pub(crate) use error::Error;

use crate::command::words::range;
use crate::exit::Exit;

/// The inputs, as flags. One of the three sources must be named: stdin is never read unasked.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Inputs (6 MiB each)")]
#[command(group = ArgGroup::new("source").required(true).args(["inputs", "range", "input"]))]
pub(crate) struct InputArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Decimal numbers, half open: input i is A + i
    #[arg(long, value_name = "A..B", value_parser = range, allow_hyphen_values = true, conflicts_with = "format")]
    range: Option<Range<u64>>,
    /// One input; may be repeated
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with = "format"
    )]
    input: Vec<String>,
}

/// A file of inputs, as flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// A file of inputs, or - for stdin
    #[arg(long, value_name = "FILE|-")]
    inputs: Option<PathBuf>,
    /// How the file is cut: at each newline; a JSON object for each row behind the header, blank
    /// rows skipped; or each element of an array [default: lines]
    #[arg(long, value_enum, requires = "inputs")]
    format: Option<Format>,
}

/// How a file is cut into inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line each.
    #[default]
    Lines,
    /// RFC 4180 with a header: a JSON object each row; blank rows are skipped.
    Csv,
    /// An array: an element each.
    Json,
}

/// A job's inputs, not read yet.
pub(crate) enum Inputs {
    /// Numbers, which need no sending.
    Range(Range<u64>),
    /// All others.
    Stream(BoxStream<'static, Result<Bytes, SourceError>>),
}

impl InputArgs {
    /// Opens the source; nothing is read before the inputs are asked for.
    pub(crate) fn open(&self) -> Result<Inputs, Exit> {
        if let Some(range) = &self.range {
            return Ok(Inputs::Range(range.clone()));
        }
        if let Some(inputs) = self.file.open()? {
            return Ok(inputs);
        }
        let inputs = self
            .input
            .clone()
            .into_iter()
            .map(|text| Ok(Bytes::from(text)));
        Ok(Inputs::Stream(stream::iter(inputs).boxed()))
    }
}

impl FileArgs {
    /// Whether a file was named.
    pub(crate) const fn is_given(&self) -> bool {
        self.inputs.is_some()
    }

    /// Opens the file, if one was named; nothing is read before the inputs are asked for.
    pub(crate) fn open(&self) -> Result<Option<Inputs>, Exit> {
        let Some(path) = &self.inputs else {
            return Ok(None);
        };
        let source: Box<dyn Read + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path).map_err(|error| {
                Exit::usage(format!(
                    "the input file {} cannot be opened: {error}",
                    path.display()
                ))
            })?;
            Box::new(file)
        };
        reader::stream(source, self.format.unwrap_or_default())
            .map(|inputs| Some(Inputs::Stream(inputs)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use futures::TryStreamExt as _;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        inputs: InputArgs,
    }

    fn parse(flags: &[&str]) -> Result<InputArgs, clap::Error> {
        Line::try_parse_from([&["x"], flags].concat()).map(|line| line.inputs)
    }

    #[test]
    fn exactly_one_source_must_be_named() {
        for flags in [&[][..], &["--range=0..1", "--input=a"], &["--format=csv"]] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
        assert!(parse(&["--input", "a", "--input", "-5"]).is_ok());
    }

    #[test]
    fn a_format_is_that_of_a_file() {
        assert!(parse(&["--inputs=x", "--format=csv"]).is_ok());
        for source in ["--range=0..1", "--input=a"] {
            assert!(parse(&[source]).is_ok(), "{source}");
            assert!(parse(&[source, "--format=csv"]).is_err(), "{source}");
        }
    }

    #[tokio::test]
    async fn inputs_on_the_command_line_come_in_order() {
        let inputs = parse(&["--input=b", "--input="]).unwrap().open().unwrap();
        let Inputs::Stream(inputs) = inputs else {
            panic!("a stream")
        };
        let inputs: Vec<Bytes> = inputs.try_collect().await.unwrap();
        assert_eq!(inputs, ["b", ""]);
    }

    #[test]
    fn a_file_that_is_not_there_is_bad_usage() {
        let Err(exit) = parse(&["--inputs=/no/such/file"]).unwrap().open() else {
            panic!("there is no such file")
        };
        assert_eq!(exit.code(), 2);
        assert!(exit.to_string().contains("/no/such/file"), "{exit}");
    }
}
