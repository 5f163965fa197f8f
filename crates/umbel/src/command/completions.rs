//! `umbel completions`.

use clap_complete::Shell;

use crate::cli;
use crate::exit::Exit;
use crate::output::Out;

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  umbel completions bash > ~/.local/share/bash-completion/completions/umbel")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> Result<(), Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::definition(), "umbel", &mut script);
    let mut out = Out::new();
    out.bytes(&script)?;
    out.flush()
}
