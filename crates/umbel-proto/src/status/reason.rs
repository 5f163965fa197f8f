//! Every reason to refuse, in one table.

use tonic::Code;

macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident [$($key:literal),*] $meaning:literal $way_out:literal;)*) => {
        /// Why something was refused; scripts and clients decide by it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// All of them, in the order of `proto/ERRORS.md`.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in `ErrorInfo.reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The gRPC code of its status.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            /// The keys of its metadata.
            #[must_use]
            pub fn keys(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($key),*],)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn way_out(self) -> &'static str {
                match self { $(Self::$variant => $way_out,)* }
            }
        }
    };
}

reasons! {
    BadRequest "BAD_REQUEST" InvalidArgument ["field", "problem"]
        "A field is missing or outside its limits."
        "The message and `BadRequest` name the field and the limit.";
    UnknownFunction "UNKNOWN_FUNCTION" NotFound ["function", "nearest"]
        "No function of this name was published, and no worker ever announced one."
        "Use one of the nearest names, publish it, or start a worker that has it.";
    UnknownVersion "UNKNOWN_VERSION" NotFound ["function", "version", "newest"]
        "The function has no version of this number that takes jobs."
        "`umbel function get` shows those there are.";
    PinnedVersionGone "PINNED_VERSION_GONE" FailedPrecondition ["job", "function"]
        "A job that was submitted with `--pin` cannot run again: the version that it is pinned to was deleted."
        "`umbel job redrive ID --target FUNCTION` pins it to the version that the function has now.";
    UnknownAlias "UNKNOWN_ALIAS" NotFound ["function", "alias", "aliases"]
        "The function has no alias of this name."
        "`umbel function get` shows those there are; `umbel function point` makes one.";
    NotPublished "NOT_PUBLISHED" FailedPrecondition ["function"]
        "Workers bring this function themselves; it has no versions or aliases."
        "Name it without `@`.";
    FunctionBrought "FUNCTION_BROUGHT" AlreadyExists ["function"]
        "A function of this name cannot be published, since workers bring one now."
        "Publish under another name, or stop those workers.";
    FunctionPublished "FUNCTION_PUBLISHED" AlreadyExists ["function"]
        "A worker cannot bring a function of this name, since it is published."
        "Give the worker's function another name, or delete the published one.";
    ArtifactTooLarge "ARTIFACT_TOO_LARGE" InvalidArgument ["bytes", "limit"]
        "An artifact is longer than it may be, packed or unpacked."
        "Leave out what the function does not need.";
    ArtifactBroken "ARTIFACT_BROKEN" InvalidArgument ["problem"]
        "An artifact is not as `proto/ARTIFACT.md` says, or not what its digest says."
        "Pack it again; the message names the entry.";
    NoRuntime "NO_RUNTIME" FailedPrecondition ["function", "runtime", "workers"]
        "Workers are connected, and none since the coordinator's start could run WebAssembly, which a build has or lacks."
        "Start a worker of a build with `--features wasm`, then publish again.";
    TooManyVersions "TOO_MANY_VERSIONS" ResourceExhausted ["function", "limit"]
        "As many versions of a function are kept as there may be."
        "Delete those that are not used.";
    TooManyFunctions "TOO_MANY_FUNCTIONS" ResourceExhausted ["limit"]
        "As many functions are known as there may be."
        "Delete published ones that are not used.";
    TooManyAliases "TOO_MANY_ALIASES" ResourceExhausted ["function", "limit"]
        "A function has as many aliases as it may."
        "Point one of those there are.";
    VersionInUse "VERSION_IN_USE" FailedPrecondition ["function", "version", "alias"]
        "An alias points at the version."
        "Point the alias elsewhere, or delete the whole function.";
    NothingToRollBack "NOTHING_TO_ROLL_BACK" FailedPrecondition ["function", "alias"]
        "The alias has pointed nowhere else that is still there."
        "Point it with `umbel function point`.";
    BadRule "BAD_RULE" InvalidArgument ["rule", "line", "column", "problem"]
        "A rule's expression does not parse, names what is not there, or mixes types that do not go together."
        "The message says where; `docs/routing.md` says what an expression may have.";
    BadWeights "BAD_WEIGHTS" InvalidArgument ["sum", "expected"]
        "The weights of a split do not add up to the whole."
        "Give weights that add up to 100 %.";
    RouteLoop "ROUTE_LOOP" FailedPrecondition ["alias", "through"]
        "A route would lead back to its own alias."
        "Name a version where it should end.";
    RouteTooLong "ROUTE_TOO_LONG" FailedPrecondition ["alias", "limit"]
        "A route would lead through more aliases with routes of their own than it may."
        "Name versions where it should end.";
    RouteTooLarge "ROUTE_TOO_LARGE" InvalidArgument ["alias", "bytes", "limit"]
        "The texts of a route, or of it and those that it leads through, are longer than they may be together."
        "Write shorter rules or names, or lead to another alias that has the rest.";
    RouteInUse "ROUTE_IN_USE" FailedPrecondition ["alias", "target"]
        "Another alias's route leads to what is to be deleted."
        "Set that route to lead elsewhere first.";
    NoExperiment "NO_EXPERIMENT" FailedPrecondition ["alias"]
        "The alias has no split between two or more arms."
        "Give it one: `umbel route set ALIAS --split 7=90%,8=10%`.";
    RolloutUnderWay "ROLLOUT_UNDER_WAY" FailedPrecondition ["alias", "version"]
        "A version is being rolled out on the alias, so nothing else moves it."
        "End that first: `umbel rollout promote ALIAS`, or `umbel rollout rollback ALIAS`.";
    NoRollout "NO_ROLLOUT" NotFound ["alias"]
        "Nothing was ever rolled out on the alias."
        "`umbel rollout start ALIAS --to VERSION` begins.";
    RolloutOver "ROLLOUT_OVER" FailedPrecondition ["alias", "version", "state"]
        "The rollout has ended, so that its state does not change any more."
        "`umbel function point` or `umbel function rollback` moves the alias; another rollout may begin.";
    RolloutImpossible "ROLLOUT_IMPOSSIBLE" FailedPrecondition ["alias", "version", "problem"]
        "What the alias leads to now leaves nothing that the version could be compared with and replace."
        "The message says what is in the way.";
    NotPure "NOT_PURE" FailedPrecondition ["function", "version"]
        "The version that is to run copies of inputs is not marked pure: its effects would happen twice."
        "Publish it with `pure = true`, or insist: `--force`.";
    NoShadow "NO_SHADOW" NotFound ["alias"]
        "No copies of what is submitted over the alias are run."
        "`umbel rollout shadow ALIAS --to VERSION --sample 5%` begins.";
    UnknownJob "UNKNOWN_JOB" NotFound ["job"]
        "There is no such job, or it was deleted, or swept after its time."
        "`umbel job list` shows those there are.";
    UnknownInvocation "UNKNOWN_INVOCATION" NotFound ["job", "index", "total"]
        "The job has no input of this index."
        "Indices run from 0 to one less than the total.";
    InvocationOpen "INVOCATION_OPEN" FailedPrecondition ["job", "index"]
        "The invocation has no outcome yet."
        "Wait for its end: `umbel job watch` follows the job.";
    UnknownWorker "UNKNOWN_WORKER" NotFound ["worker"]
        "No worker of this name is connected."
        "`umbel worker list` shows those there are.";
    InputTooLarge "INPUT_TOO_LARGE" InvalidArgument ["index", "bytes", "limit"]
        "An input is over the limit."
        "Store large data elsewhere and send its address as the input.";
    TooManyInputs "TOO_MANY_INPUTS" InvalidArgument ["count", "limit"]
        "There are more inputs than a job, or a `CreateJob`, may have."
        "Append inputs instead of sending them inline; split the job.";
    BlockBroken "BLOCK_BROKEN" InvalidArgument ["first_index", "problem"]
        "An appended block is not as `proto/BLOCK.md` says."
        "Encode it again, or send plain inputs.";
    BadPageToken "BAD_PAGE_TOKEN" InvalidArgument ["field"]
        "A page token or result token was not made by this coordinator for this list."
        "Begin again without a token.";
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists ["request_id", "job"]
        "The request id belongs to a job or redrive with other content, or to a job that is gone since."
        "Use a new request id for a new job or redrive.";
    TooManyJobs "TOO_MANY_JOBS" ResourceExhausted ["limit"]
        "As many jobs are kept as there may be."
        "Delete ended jobs, or let them be swept (`keep_ms`).";
    TooManyStreams "TOO_MANY_STREAMS" ResourceExhausted ["kind", "limit"]
        "As many uploads, watches, result streams, artifacts on their way or sessions that said no hello are open as there may be."
        "End some, or try again later.";
    AppendGap "APPEND_GAP" FailedPrecondition ["job", "next_index", "first_index"]
        "Appended inputs leave a gap, or straddle what is durable."
        "Go on from `next_index`.";
    AppendSuperseded "APPEND_SUPERSEDED" Aborted ["job"]
        "A newer upload of the job was opened."
        "Let one client append to a job at a time.";
    JobSealed "JOB_SEALED" FailedPrecondition ["job", "total"]
        "The job has all its inputs and takes no others."
        "Submit another job.";
    SealMismatch "SEAL_MISMATCH" FailedPrecondition ["job", "next_index", "total"]
        "The total named is not the number of inputs that are there."
        "Append the rest, then seal.";
    JobFinished "JOB_FINISHED" FailedPrecondition ["job", "state"]
        "The job has ended."
        "Submit another job, or redrive this one.";
    JobRunning "JOB_RUNNING" FailedPrecondition ["job"]
        "The job has not ended."
        "Cancel it first, or wait for its end.";
    NotRedrivable "NOT_REDRIVABLE" FailedPrecondition ["job", "state"]
        "The job has succeeded; only a failed or cancelled job is redriven, or what ended on one arm."
        "Submit another job, or name the arm: `umbel job redrive ID --arm 8`.";
    NothingToRedrive "NOTHING_TO_REDRIVE" FailedPrecondition ["job", "failed", "cancelled"]
        "No failed or cancelled invocation of the job is what the redrive asks for, nor one that ended on its arm."
        "Widen the filter; `umbel job results ID --state failed` shows what failed.";
    RedriveTooLarge "REDRIVE_TOO_LARGE" ResourceExhausted ["job", "runs", "limit"]
        "What is to run again lies in more runs of indices than one redrive takes."
        "Redrive a part of the indices, then the rest.";
    TooManyRedrives "TOO_MANY_REDRIVES" ResourceExhausted ["job", "limit"]
        "The job was redriven as often as it may be."
        "Submit another job.";
    JobChanged "JOB_CHANGED" Aborted ["job"]
        "The job was redriven by somebody else while its records were read."
        "Look at the job and try again.";
    NoSlot "NO_SLOT" ResourceExhausted ["target", "timeout_ms"]
        "As many invokes wait or run as there may be."
        "Try again later, or submit a job.";
    NoAbleWorker "NO_ABLE_WORKER" FailedPrecondition ["target", "timeout_ms", "missing"]
        "No worker that takes work could run an invoke before its time had passed."
        "Start a worker that has what is missing; `umbel worker list` shows those there are.";
    InvokeTimeout "INVOKE_TIMEOUT" DeadlineExceeded ["target", "timeout_ms", "worker"]
        "The time of an invoke passed on a worker, in its line or while it ran, perhaps in part."
        "Allow more time, or start more workers; invoke again if running twice does no harm.";
    InvokeLost "INVOKE_LOST" Aborted ["worker"]
        "The worker was lost while it ran an invoke, which may have run in part."
        "Invoke again if running twice does no harm.";
    WorkerNameTaken "WORKER_NAME_TAKEN" AlreadyExists ["worker"]
        "A live worker bears the name."
        "Choose another name, or stop that worker.";
    TooManyWorkers "TOO_MANY_WORKERS" ResourceExhausted ["limit"]
        "As many workers are connected as there may be."
        "Give each worker more slots instead of starting more.";
    SessionSuperseded "SESSION_SUPERSEDED" Aborted ["worker"]
        "A newer session of the same worker process took over."
        "Nothing: the newer session goes on.";
    SessionSilent "SESSION_SILENT" DeadlineExceeded ["silent_ms"]
        "A worker gave no sign of life."
        "The worker connects again by itself; look at its host and network.";
    ProtocolMismatch "PROTOCOL_MISMATCH" FailedPrecondition ["theirs", "ours"]
        "Worker and coordinator speak different versions of the protocol."
        "Run the same version of umbel on both.";
    ProtocolBroken "PROTOCOL_BROKEN" InvalidArgument ["problem"]
        "A session said something that it may not say."
        "Run the same version of umbel on both; else it is a bug worth a report.";
    BackupUnderWay "BACKUP_UNDER_WAY" FailedPrecondition []
        "Another backup of the same data is being taken."
        "Wait for its end and try again.";
    BackupBehind "BACKUP_BEHIND" ResourceExhausted ["limit"]
        "More was written during a backup than is kept for one that is slow to take it."
        "Try again at a quieter time, or write the backup to a faster disk.";
    StoreFull "STORE_FULL" ResourceExhausted ["data_dir", "option", "bytes", "limit"]
        "The store is near its cap, or its disk has little room: no new jobs, inputs, redrives and versions are taken, what runs goes on."
        "Delete ended jobs, let them be swept, make room on the disk, or raise the option that is named.";
    StoreUnavailable "STORE_UNAVAILABLE" Unavailable ["problem"]
        "The store failed, for instance since its disk is full; nothing that was not acknowledged is promised."
        "Try again: a store whose disk was full is opened again by itself; the coordinator's log says what failed.";
    ShuttingDown "SHUTTING_DOWN" Unavailable []
        "The coordinator is leaving."
        "Try again once it is back.";
}

impl Reason {
    /// The reason that bears a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::*;

    fn document() -> String {
        let mut text = String::from(
            "# Errors\n\n\
             Every refusal is a `google.rpc.Status` with one `ErrorInfo`: its `reason` is one of these, its `domain` is `umbel`,\n\
             and its `metadata` holds whatever varies in the message. A bad field is named in a `BadRequest` besides.\n\
             Decide by the reason: messages are for people and may change.\n\n\
             | reason | gRPC code | metadata | meaning | way out |\n|---|---|---|---|---|\n",
        );
        for reason in Reason::ALL {
            let keys: Vec<String> = reason.keys().iter().map(|key| format!("`{key}`")).collect();
            writeln!(
                text,
                "| `{}` | `{:?}` | {} | {} | {} |",
                reason.as_str(),
                reason.code(),
                keys.join(", "),
                reason.meaning(),
                reason.way_out(),
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn the_document_beside_the_proto_is_this_table() {
        let expected = document();
        let found = include_str!("../../../../proto/ERRORS.md");
        assert!(
            found == expected,
            "proto/ERRORS.md should read:\n{expected}"
        );
    }

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for &reason in Reason::ALL {
            assert_eq!(Reason::of_name(reason.as_str()), Some(reason));
        }
    }
}
