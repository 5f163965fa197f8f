//! What every command takes besides its own arguments.

use clap::{Args, ValueEnum};

use crate::log;

/// Where a coordinator is looked for when nothing says otherwise.
pub(crate) const COORDINATOR_DEFAULT: &str = "http://127.0.0.1:7600";

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct GlobalArgs {
    /// The coordinator [default: http://127.0.0.1:7600]
    #[arg(
        long,
        global = true,
        env = "UMBEL_COORDINATOR",
        value_name = "URL",
        hide_env = true
    )]
    coordinator: Option<String>,
    /// The form of what is printed on stdout
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    output: OutputForm,
    /// What is logged on stderr, such as `info` or `warn,umbel_worker=debug`
    #[arg(
        long,
        global = true,
        env = "UMBEL_LOG",
        value_name = "FILTER",
        hide_env = true
    )]
    log: Option<String>,
    /// The form of the log
    #[arg(
        long,
        global = true,
        env = "UMBEL_LOG_FORMAT",
        value_enum,
        hide_env = true
    )]
    log_format: Option<log::Format>,
}

/// The form of what is printed. `Json` prints one document, or one object a line for streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people.
    #[default]
    Table,
    /// For scripts.
    Json,
}

/// What every command is told besides its own arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Global {
    /// The coordinator's URL: the flag, the environment, or the default.
    pub(crate) coordinator: String,
    /// The URL only if a flag or the environment gave it, for commands with a config file.
    pub(crate) coordinator_given: Option<String>,
    /// The form of what is printed on stdout.
    pub(crate) output: OutputForm,
    /// The log's filter and form only if a flag or the environment gave them.
    pub(crate) log: Option<String>,
    pub(crate) log_format: Option<log::Format>,
}

impl From<GlobalArgs> for Global {
    fn from(args: GlobalArgs) -> Self {
        let url = args.coordinator.clone();
        Self {
            coordinator: url.unwrap_or_else(|| COORDINATOR_DEFAULT.to_owned()),
            coordinator_given: args.coordinator,
            output: args.output,
            log: args.log,
            log_format: args.log_format,
        }
    }
}
