//! The nouns that both machines speak in. Plain data, no behaviour that decides.

pub mod arm;
pub mod change;
pub mod cold_start;
pub mod command;
pub mod event;
pub mod function;
pub mod guard;
pub mod histogram;
pub mod history;
pub mod id;
pub mod index_set;
pub mod job;
pub mod limit;
pub mod message;
pub mod outcome;
pub mod policy;
pub mod ranges;
pub mod redrive;
pub(crate) mod refusal;
pub mod rollout;
pub mod route;
pub mod shadow;
pub mod size;
pub mod time;
pub mod view;
