//! The umbel binary: commands, output and wiring.

mod capsule;
mod cli;
mod command;
mod config;
mod desk;
mod exit;
mod fan_out;
mod global;
mod input;
mod local;
mod log;
mod manifest;
mod output;
mod process;
mod signal;
mod tally;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Bad usage ends here, with 2.
    let asked = cli::Asked::parse();
    log::mute_backtraces();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return exit::Exit::internal(format!("cannot start threads: {error}")).report();
        }
    };
    let ended = runtime.block_on(Box::pin(asked.run()));
    // A thread that still reads a terminal's stdin would hold up the exit for ever.
    runtime.shutdown_background();
    ended.map_or_else(exit::Exit::report, |()| ExitCode::SUCCESS)
}
