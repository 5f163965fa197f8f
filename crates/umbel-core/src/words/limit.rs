//! Every bound of the system, and the relations between them.

/// The longest input, in bytes.
pub const INPUT_BYTES_MAX: usize = 6 << 20;
/// The longest output, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 6 << 20;
/// The longest gRPC message either side takes, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Inputs inside `CreateJob`, by count and by bytes.
pub const INLINE_INPUTS_MAX: usize = 1_000;
/// Bytes of the inputs inside `CreateJob`.
pub const INLINE_BYTES_MAX: usize = 1 << 20;
/// Invocations of one job.
pub const JOB_INPUTS_MAX: u32 = 100_000_000;
/// Labels of a job or a worker.
pub const LABELS_MAX: usize = 32;
/// Bytes of a label's key.
pub const LABEL_KEY_BYTES_MAX: usize = 63;
/// Bytes of a label's value.
pub const LABEL_VALUE_BYTES_MAX: usize = 255;
/// Bytes of a job's, worker's or function's name.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a request id.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Bytes of a program with its arguments.
pub const PROGRAM_BYTES_MAX: usize = 64 << 10;
/// The same of a program that a job is redriven to, which is remembered with the job's state: each
/// argument counts three bytes more.
pub const REDRIVE_PROGRAM_BYTES_MAX: usize = 60 << 10;
/// Bytes of a failure's message.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a failure's type.
pub const FAILURE_TYPE_BYTES_MAX: usize = 255;
/// Bytes that are kept of what an attempt printed: the last ones.
pub const LOG_BYTES_MAX: usize = 16 << 10;
/// Functions that one worker may announce.
pub const WORKER_FUNCTIONS_MAX: usize = 1_024;
/// Functions that the coordinator remembers the names of.
pub const FUNCTIONS_MAX: usize = 65_536;
/// Versions of which figures of run times are kept; the least recently run make room.
pub const FIGURES_MAX: usize = 1_024;
/// Arms of which figures are kept; the least recently used make room. Each is some tens of
/// kilobytes when it is used all the time.
pub const ARM_FIGURES_MAX: usize = 256;
/// Bytes of an artifact as it is stored and sent.
pub const ARTIFACT_PACKED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of all files of an artifact. A function with its libraries has some tens of
/// megabytes; AWS Lambda stops at 250 MB too.
pub const ARTIFACT_UNPACKED_BYTES_MAX: u64 = 256 << 20;
/// Files of an artifact; its folders too are at most so many.
pub const ARTIFACT_FILES_MAX: u32 = 32_768;
/// Artifacts on their way to workers at a time; others wait their turn.
pub const FETCHES_MAX: usize = 64;
/// Bytes of one part of an artifact on its way and in the store.
pub const ARTIFACT_PART_BYTES: usize = 64 << 10;
/// Versions of one function that are kept.
pub const FUNCTION_VERSIONS_MAX: usize = 1_024;
/// Aliases of one function.
pub const FUNCTION_ALIASES_MAX: usize = 64;
/// Bytes of an alias's name.
pub const ALIAS_BYTES_MAX: usize = 63;
/// Moves of an alias that are remembered.
pub const ALIAS_MOVES_MAX: usize = 100;
/// Steps that an alias can be rolled back.
pub const ALIAS_TRAIL_MAX: usize = 32;
/// Rules of one route.
pub const ROUTE_RULES_MAX: usize = 64;
/// Arms of one split.
pub const ROUTE_ARMS_MAX: usize = 64;
/// Bytes of one rule's expression.
pub const RULE_BYTES_MAX: usize = 4 << 10;
/// Bytes of an arm's name.
pub const ARM_NAME_BYTES_MAX: usize = 255;
/// Bytes of a routing key's pointer.
pub const ROUTE_KEY_BYTES_MAX: usize = 255;
/// Bytes of a route, all its texts together.
pub const ROUTE_BYTES_MAX: usize = 16 << 10;
/// Aliases with a route of their own that one route may lead through.
pub const ROUTE_NODES_MAX: usize = 16;
/// Bytes of a route with those of all aliases that it leads through.
pub const ROUTE_WAY_BYTES_MAX: usize = 48 << 10;
/// Bytes of an alias with all that it remembers; the oldest routes, arms and moves make room.
pub const ALIAS_RECORD_BYTES_MAX: usize = 56 << 10;
/// Steps of one rollout.
pub const ROLLOUT_STEPS_MAX: usize = 32;
/// Guards of one rollout.
pub const ROLLOUT_GUARDS_MAX: usize = 8;
/// Arms that an alias remembers the names of; the oldest make room.
pub const ALIAS_ARMS_MAX: usize = 1_024;
/// Metrics that one experiment may be asked for.
pub const METRICS_MAX: usize = 8;
/// Inputs that are sorted ahead of what is cut, where a route looks into them: so many at
/// first, twice as many each time that they were not enough.
pub const SORT_AHEAD_LEAST: u32 = 256;
/// Inputs that are sorted at a time.
pub const SORT_INVOCATIONS_MAX: u32 = 8_192;
/// Bytes of the blocks of inputs that are sorted at a time, unless a single one is longer.
pub const SORT_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a version's spec, all its texts together.
pub const VERSION_SPEC_BYTES_MAX: usize = 32 << 10;
/// Instances that a version may ask to have kept ready on each worker.
pub const VERSION_WARM_MAX: u32 = 4_096;
/// Versions that are kept ready at a time on each worker, the newest of those that ask for it.
pub const VERSIONS_KEPT_MAX: usize = 64;
/// Versions that are made ready ahead of an alias at a time.
pub const VERSIONS_AHEAD_MAX: usize = 64;
/// Instances of warm processes that one worker may have, of all versions together.
pub const WORKER_INSTANCES_MAX: u32 = 16_384;
/// Versions that one page of a function shows: their specs fit into a message.
pub const VERSIONS_PAGE_MAX: usize = 100;
/// Bytes of who published or pointed.
pub const BY_BYTES_MAX: usize = 255;
/// Versions that a worker says it holds warm, and artifacts that it has cached.
pub const WORKER_HOLDINGS_MAX: usize = 1_024;
/// Slots of one worker.
pub const WORKER_SLOTS_MAX: u32 = 4_096;
/// Live sessions.
pub const SESSIONS_MAX: usize = 16_384;
/// Sessions that have not said hello.
pub const NEWCOMERS_MAX: usize = 1_024;
/// Uploads that are open at a time, of all jobs.
pub const UPLOADS_MAX: usize = 1_024;
/// Watches that are open at a time.
pub const WATCHES_MAX: usize = 16_384;
/// Streams of results, and of logs, that are open at a time: each may hold some messages for a client that does
/// not read.
pub const RESULT_STREAMS_MAX: usize = 256;
/// Jobs kept, ended ones too.
pub const JOBS_MAX: usize = 1_000_000;
/// How long a request id is known after its job was accepted, though the job be deleted or
/// swept before, in milliseconds.
pub const REQUEST_ID_KEPT_MS: u64 = 24 * 3_600_000;
/// Jobs swept in one turn since their time has passed; request ids too.
pub const TURN_SWEPT_MAX: usize = 256;
/// Attempts a policy may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Kinds and types of failures that a policy, or the filter of a redrive, may name in a list.
pub const FAILURE_WORDS_MAX: usize = 32;
/// Times that a job may be redriven.
pub const REDRIVES_MAX: u32 = 1_000;
/// Runs of consecutive indices in the filter of a redrive.
pub const REDRIVE_RANGES_MAX: usize = 1_000;
/// Runs of consecutive indices that one redrive may run again: they are one turn.
pub const REDRIVE_RUNS_MAX: usize = 1 << 20;
/// Runs of consecutive indices in one record of a redrive.
pub const REDRIVE_RECORD_RUNS_MAX: usize = 16_384;
/// The longest time a policy may name: ten years of milliseconds, so that no sum
/// of times can overflow.
pub const DURATION_MS_MAX: u64 = 10 * 365 * 24 * 3_600_000;

/// Inputs of one block.
pub const BLOCK_INPUTS_MAX: u32 = 4_096;
/// Bytes at which a client closes a block. One input over it travels alone.
pub const BLOCK_BYTES_TARGET: usize = 56 << 10;
/// Invocations of one chunk.
pub const CHUNK_INVOCATIONS_MAX: u32 = 4_096;
/// Input bytes of one chunk, unless a single input is longer.
pub const CHUNK_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the blocks that the inputs of one grant are cut out of, unless a single
/// input is longer: whichever inputs of them it needs, they fit into a message.
pub const GRANT_BYTES_MAX: u64 = (MESSAGE_BYTES_MAX as u64) - (1 << 20);
/// Runs of consecutive indices in one chunk.
pub const CHUNK_RUNS_MAX: usize = 256;
/// The distance between the first and the last index of a chunk, and so of a
/// result record: readers in input order look back this far.
pub const RECORD_SPAN_MAX: u32 = 65_536;
/// Invocations of one report.
pub const REPORT_INVOCATIONS_MAX: u32 = 65_536;
/// Output bytes at which a worker closes a report.
pub const REPORT_BYTES_TARGET: usize = 1 << 20;
/// Bytes of unacknowledged reports above which a worker begins nothing new.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 64 << 20;
/// Invocations that a worker may hold before it wants no more: some chunks of the
/// fastest work, so that none of its time goes to waiting for the next.
pub const WORKER_INVOCATIONS_MAX: u64 = 4 * CHUNK_INVOCATIONS_MAX as u64;
/// Leases that one worker may hold.
pub const WORKER_LEASES_MAX: usize = 1_024;

/// Work that a worker should hold for each slot, in microseconds of run time.
pub const HOLD_US: u64 = 80_000;
/// Waiting invocations with a history of their own above which a job gets
/// nothing new placed until they drain.
pub const RETRIES_WAITING_MAX: u64 = 65_536;
/// Due times of retries are rounded up to this, so that equal ones stay a range.
pub const DUE_STEP_MS: u64 = 50;
/// Losses while alone after which an invocation has crashed for good.
pub const CRASH_LIMIT: u8 = 3;

/// Events that the engine handles in one turn.
pub const TURN_EVENTS_MAX: usize = 1_024;
/// Grants made in one turn.
pub const TURN_GRANTS_MAX: usize = 1_024;
/// By how much engine time may advance in one turn for the purpose of leases, in
/// milliseconds: a coordinator that was paused expires nobody.
pub const TURN_GAP_MAX_MS: u64 = 1_000;
/// Bytes submitted and not yet durable above which the engine takes no uploads
/// and no reports.
pub const UNDURABLE_BYTES_MAX: usize = 64 << 20;
/// Invokes that wait or run at a time.
pub const INVOKES_MAX: usize = 4_096;
/// Entries of one page of a list.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// Entries of a page when the request names no size.
pub const PAGE_SIZE_DEFAULT: usize = 100;

/// The version of what workers and coordinator say to each other.
pub const PROTOCOL: u32 = 1;

const _: () = {
    // A message holds an input or output of full length and its envelope.
    assert!(MESSAGE_BYTES_MAX > INPUT_BYTES_MAX + (1 << 20));
    assert!(MESSAGE_BYTES_MAX > OUTPUT_BYTES_MAX + (1 << 20));
    // A chunk fits into one record, a block into one chunk.
    assert!(CHUNK_INVOCATIONS_MAX <= RECORD_SPAN_MAX);
    assert!(BLOCK_INPUTS_MAX <= CHUNK_INVOCATIONS_MAX);
    assert!(BLOCK_BYTES_TARGET as u64 <= CHUNK_BYTES_MAX);
    // A grant has room for any chunk of whole blocks, and for the longest input.
    assert!(3 * CHUNK_BYTES_MAX <= GRANT_BYTES_MAX);
    assert!(INPUT_BYTES_MAX as u64 + (1 << 16) <= GRANT_BYTES_MAX);
    // A report holds at least one chunk.
    assert!(CHUNK_INVOCATIONS_MAX <= REPORT_INVOCATIONS_MAX);
    assert!(INLINE_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(TURN_GRANTS_MAX <= TURN_EVENTS_MAX);
    assert!(SORT_AHEAD_LEAST <= SORT_INVOCATIONS_MAX);
    // A function's aliases, with the routes they have now, fit into a message.
    assert!(2 * FUNCTION_ALIASES_MAX * ROUTE_BYTES_MAX < MESSAGE_BYTES_MAX);
    // An alias has room for its route, the names of its arms, and a step back.
    assert!(3 * ROUTE_BYTES_MAX + BY_BYTES_MAX + 1_024 <= ALIAS_RECORD_BYTES_MAX);
    assert!(ROUTE_BYTES_MAX <= ROUTE_WAY_BYTES_MAX);
    // Every slot of the largest worker can have an instance.
    assert!(WORKER_SLOTS_MAX <= WORKER_INSTANCES_MAX);
    assert!(VERSIONS_PAGE_MAX * VERSION_SPEC_BYTES_MAX < MESSAGE_BYTES_MAX);
    // An artifact's parts are numbered in 16 bits.
    assert!(ARTIFACT_PACKED_BYTES_MAX / (ARTIFACT_PART_BYTES as u64) < 1 << 16);
};
