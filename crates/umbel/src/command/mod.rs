//! The commands, one module each: its arguments and what it does.

pub(crate) mod admin;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod coordinator;
pub(crate) mod demo;
pub(crate) mod experiment;
pub(crate) mod function;
pub(crate) mod invoke;
pub(crate) mod job;
pub(crate) mod map;
mod policy;
pub(crate) mod replay;
pub(crate) mod rollout;
pub(crate) mod route;
mod submission;
pub(crate) mod supervisor;
pub(crate) mod up;
pub(crate) mod words;
pub(crate) mod worker_list;
pub(crate) mod worker_start;
