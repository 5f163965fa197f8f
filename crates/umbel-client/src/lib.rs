//! The client library: what a Rust program embeds to submit work to a coordinator of umbel,
//! follow it and read its results.
//!
//! ```no_run
//! use futures::TryStreamExt as _;
//! use umbel_client::{Client, JobSpec, ResultsOptions};
//!
//! # async fn embed() -> Result<(), umbel_client::Error> {
//! let client = Client::connect("http://127.0.0.1:7600")?;
//! let inputs = (0..1_000).map(|i| i.to_string());
//! let job = client.submit(JobSpec::function("umbel.increment")).inputs(inputs).await?;
//! let mut results = client.results(&job.id, ResultsOptions::default().follow());
//! while let Some(result) = results.try_next().await? {
//!     println!("{}: {}", result.index, String::from_utf8_lossy(&result.output));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A job is accepted once the coordinator has it on disk. From then on a broken link is no
//! error: uploads, [`Client::watch`] and [`Client::results`] connect again for
//! [`PATIENCE_DEFAULT`] and go on from where they were.

mod backup;
mod blocks;
mod capsule;
mod client;
mod error;
mod follow;
mod functions;
mod logs;
mod patience;
mod read;
mod redrive;
mod results;
mod rollouts;
mod routes;
mod spec;
mod submit;
mod upload;
mod window;

pub use capsule::Capsule;
pub use client::{Client, PATIENCE_DEFAULT};
pub use error::{Error, Refusal, SourceError};
pub use logs::LogsOptions;
pub use read::ListOptions;
pub use redrive::Redrive;
pub use results::{ResultRow, ResultsOptions, ResultsPage};
pub use spec::JobSpec;
pub use submit::{Submission, Upload};
/// The messages of the wire, which are also what this library answers with.
pub use umbel_proto::v1;
