//! `umbel rollout`: a version replaces another in steps, as long as guards hold.

mod shadow;
mod show;
mod start;
mod watch;

use umbel_client::{Client, v1};

use crate::command::function::alias::parts;
use crate::command::function::who;
use crate::exit::Exit;
use crate::global::Global;

const EXAMPLES: &str = "\
While a version is rolled out, an invocation that fails on it for good runs on the old version
before it is final: so a bad version leaves no failed results behind. It is taken back by itself the
moment a guard does not hold, in the middle of a job. See docs/routing.md.

Examples:
  umbel rollout start resize@live --to 8 --key /user/id
  umbel rollout watch resize
  umbel rollout rollback resize
  umbel rollout shadow resize@live --to 8 --sample 5%";

/// The arguments of `rollout`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Begin to roll a version out
    Start(start::Args),
    /// Show where a rollout stands, and what its guards say
    #[command(after_help = "\
Example:
  umbel rollout get resize@live --output json")]
    Get(Alias),
    /// Follow a rollout to its end; exit code 1 when it is rolled back
    #[command(after_help = "\
Ctrl-C leaves it going.

Example:
  umbel rollout watch resize@live")]
    Watch(Alias),
    /// Stay at the step; guards take the version back still
    #[command(after_help = "\
Example:
  umbel rollout pause resize@live")]
    Pause(Alias),
    /// Go on after a pause
    #[command(after_help = "\
Example:
  umbel rollout resume resize@live")]
    Resume(Alias),
    /// Replace the old version now, whatever the guards say
    #[command(after_help = "\
Example:
  umbel rollout promote resize@live")]
    Promote(Alias),
    /// Give the old version back what it had
    #[command(after_help = "\
What has not begun on the new version is taken back and runs on the old one; what has begun ends as it
will. Successes of the new version stay.

Example:
  umbel rollout rollback resize@live")]
    Rollback(Alias),
    /// Run copies of inputs on another version too, and hold what comes of them against the rest
    Shadow(shadow::Args),
    /// List what came out otherwise of the copies, by index
    Differences(shadow::Differences),
}

/// Whose rollout.
#[derive(Debug, clap::Args)]
struct Alias {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
}

/// Carries the verb out.
pub(crate) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let alias = match args.verb {
        Verb::Start(args) => return start::run(args, global).await,
        Verb::Shadow(args) => return shadow::run(args, global).await,
        Verb::Differences(args) => return shadow::differences(args, global).await,
        Verb::Watch(args) => return watch::run(&args.alias, global).await,
        Verb::Get(ref args)
        | Verb::Pause(ref args)
        | Verb::Resume(ref args)
        | Verb::Promote(ref args)
        | Verb::Rollback(ref args) => args.alias.clone(),
    };
    let (function, alias) = parts(&alias);
    let (function, alias, by) = (function.to_owned(), alias.to_owned(), who());
    let client = Client::connect(&global.coordinator)?;
    let rollout = match args.verb {
        Verb::Pause(_) => {
            let request = v1::PauseRolloutRequest {
                function,
                alias,
                by,
            };
            client.pause_rollout(request).await
        }
        Verb::Resume(_) => {
            let request = v1::ResumeRolloutRequest {
                function,
                alias,
                by,
            };
            client.resume_rollout(request).await
        }
        Verb::Promote(_) => {
            let request = v1::PromoteRolloutRequest {
                function,
                alias,
                by,
            };
            client.promote_rollout(request).await
        }
        Verb::Rollback(_) => {
            let request = v1::RollBackRolloutRequest {
                function,
                alias,
                by,
            };
            client.roll_back_rollout(request).await
        }
        _ => client.rollout(&function, &alias).await,
    };
    show::print(&rollout?, global)
}
