//! From the wire to core words and back, for both ends of every wire.
//!
//! Whatever comes in is parsed into core words or refused as [`Invalid`]: behind
//! these doors counts, lengths, orders and names are within their limits.

mod append;
mod experiment;
mod function;
mod grant;
mod id;
mod in_columns;
mod invalid;
mod name;
mod outcome;
mod policy;
mod ranges;
mod redrive;
mod request;
mod result;
mod rollout;
mod route;
mod session_in;
mod session_out;
mod shadow;
#[cfg(test)]
mod testing;
mod text;
mod view;
mod worker_in;
mod worker_out;

pub use append::{Append, StagedBlock, append, encode_blocks, too_many_inputs};
pub use experiment::{Experiment, MetricWish, experiment};
pub use function::{
    Publish, alias_name, artifact_too_large, check_by, digest, function, function_name,
    publication, published, runtime_word, version, version_number, version_spec, wire_version_spec,
};
pub use grant::{InputSlice, Inputs, cut};
pub use id::{JobRef, job_id, job_ref};
pub use in_columns::{OpenedResults, OpenedRow, results_in_columns};
pub use invalid::Invalid;
pub use outcome::{failure, wire_cold_start, wire_failure_kind};
pub use policy::wire_policy;
pub use redrive::{RedriveRequest, redrive};
pub use request::{Request, invoke_target, request, wire_spec};
pub use result::{Provenance, cancelled_result, failed_result, succeeded_result};
pub use rollout::{move_rollout, start_rollout};
pub use route::{
    alias, alias_history, bad_rule, figures, key_text, lead_text, set_route, target_of,
};
pub use session_in::{Incoming, incoming};
pub use session_out::{Outgoing, grant_message, outgoing};
pub use shadow::{shadow, start_shadow};
pub use view::{
    cluster_status, index_range, invocation, invocation_of_result, job, job_state, timestamp,
    wait_reason, worker,
};
pub use worker_in::{FromCoordinator, from_coordinator};
pub use worker_out::{from_worker, hello};

pub(crate) use text::head;
