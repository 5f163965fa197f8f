//! What the build generates from `proto/`.

/// The package `umbel.v1`: what clients, workers and the coordinator say.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::or_fun_call,
    clippy::too_many_lines,
    clippy::large_futures,
    reason = "generated code keeps the generator's style; its comments come from the proto"
)]
pub mod v1 {
    pub use crate::results::StreamResultsResponse;

    include!(concat!(env!("OUT_DIR"), "/umbel.v1.rs"));
}

/// The package `umbel.disk.v1`: what is written to disk.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::or_fun_call,
    reason = "generated code keeps the generator's style; its comments come from the proto"
)]
pub(crate) mod disk {
    include!(concat!(env!("OUT_DIR"), "/umbel.disk.v1.rs"));
}
