//! Shadows: where copies go, and what came of them, read from the results of both jobs when somebody
//! asks.

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Status;
use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::id::Index;
use umbel_core::outcome::Failure;
use umbel_core::view::JobView;
use umbel_proto::convert::{self, Invalid};
use umbel_proto::{status, v1};
use umbel_store::{Outcome, Store};
use uuid::Uuid;

use super::route::names;
use super::{Api, unexpected};
use crate::shadow::{Copies, Pair, Pairs};

/// Jobs of an alias that are looked at, the newest.
const JOBS_MAX: usize = 100;
/// Copies whose results are read for one answer.
const COPIES_MAX: u64 = 1_000_000;
/// What is shown of an output.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

pub(super) type Answers = mpsc::Sender<Result<v1::ListShadowDifferencesResponse, Status>>;

impl Api {
    pub(super) async fn set_shadow(
        &self,
        request: v1::StartShadowRequest,
    ) -> Result<v1::StartShadowResponse, Status> {
        let salt = Uuid::new_v4().as_u64_pair().1;
        let wish = convert::start_shadow(request, salt).map_err(status::invalid)?;
        let wish = Box::new(wish);
        match self.ask(|reply| Event::SetShadow { reply, wish }).await? {
            Reply::Alias(alias) => Ok(v1::StartShadowResponse {
                shadow: convert::shadow(&alias),
            }),
            reply => Err(unexpected(&reply)),
        }
    }

    pub(super) async fn end_shadow(
        &self,
        request: v1::StopShadowRequest,
    ) -> Result<v1::StopShadowResponse, Status> {
        let v1::StopShadowRequest { function, alias } = request;
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let stopped = self.ask(|reply| Event::StopShadow {
            reply,
            function,
            alias,
        });
        stopped.await.map(|_| v1::StopShadowResponse {})
    }

    pub(super) async fn shadow(
        &self,
        request: v1::GetShadowRequest,
    ) -> Result<v1::GetShadowResponse, Status> {
        let v1::GetShadowRequest { function, alias } = request;
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let (of, name) = (function.clone(), alias.clone());
        let found = self
            .engine
            .look(move |machine, _| machine.shadow(&of, &name));
        let found = found.await.map_err(|closed| self.gone(closed))?;
        let found = found.map_err(|refusal: Refusal| status::refused(&refusal))?;
        let jobs = self.copied(function, alias).await?;
        // Both read results, a great many.
        let room = self.experiments.acquire().await;
        // Nobody closes it.
        let _room = room.map_err(|_| Status::internal("no results are compared any more"))?;
        let (jobs, cut) = self.read(move |store| counted(store, &jobs)).await?;
        Ok(v1::GetShadowResponse {
            shadow: found.as_ref().and_then(convert::shadow),
            jobs,
            cut,
        })
    }

    /// The latest jobs of copies over an alias, the newest first.
    async fn copied(&self, function: String, alias: String) -> Result<Vec<JobView>, Status> {
        let (mut jobs, mut before) = (Vec::new(), None);
        loop {
            let (function, alias) = (function.clone(), alias.clone());
            let page = self.engine.look(move |machine, _| {
                let accept = |job: &JobView| {
                    let of = job.record.shadow_of.as_ref();
                    of.is_some_and(|of| of.function == function && of.alias == alias)
                };
                machine.jobs(before, JOBS_MAX, &accept)
            });
            let (page, next) = page.await.map_err(|closed| self.gone(closed))?;
            jobs.extend(page);
            before = next;
            if before.is_none() || jobs.len() >= JOBS_MAX {
                jobs.truncate(JOBS_MAX);
                return Ok(jobs);
            }
        }
    }

    /// The jobs whose differences are asked for.
    pub(super) async fn differing(
        &self,
        request: v1::ListShadowDifferencesRequest,
    ) -> Result<Vec<JobView>, Status> {
        let v1::ListShadowDifferencesRequest {
            function,
            alias,
            job_id,
        } = request;
        let (function, alias) = names(function, alias).map_err(status::invalid)?;
        let (of, name) = (function.clone(), alias.clone());
        let known = self
            .engine
            .look(move |machine, _| machine.shadow(&of, &name).map(drop));
        let known = known.await.map_err(|closed| self.gone(closed))?;
        known.map_err(|refusal| status::refused(&refusal))?;
        let shown = format!("{function}@{alias}");
        let mut jobs = self.copied(function, alias).await?;
        if !job_id.is_empty() {
            let wanted = self.find(&job_id).await?;
            jobs.retain(|job| {
                let of = job.record.shadow_of.as_ref();
                job.record.id == wanted || of.is_some_and(|of| of.job == wanted)
            });
            if jobs.is_empty() {
                let words = format!("of job {wanted} no copies were run for {shown}");
                return Err(status::invalid(Invalid::bad("job_id", words)));
            }
        }
        Ok(jobs)
    }
}

fn copies(view: &JobView) -> Option<Copies> {
    Some(Copies {
        of: view.record.shadow_of.clone()?,
        job: view.record.id,
        count: Index::try_from(view.counts.total).unwrap_or(Index::MAX),
    })
}

/// What came of the copies of each job, and whether some were not looked at.
fn counted(
    store: &Store,
    views: &[JobView],
) -> Result<(Vec<v1::ShadowJob>, bool), umbel_store::Error> {
    let (mut jobs, mut read) = (Vec::new(), 0);
    for view in views {
        let Some(copies) = copies(view) else { continue };
        if read >= COPIES_MAX {
            return Ok((jobs, true));
        }
        read += u64::from(copies.count);
        let mut job = v1::ShadowJob {
            job_id: copies.of.job.to_string(),
            shadow_job_id: copies.job.to_string(),
            to_version: view.version.unwrap_or(0),
            copied: u64::from(copies.count),
            compared: 0,
            different: 0,
        };
        let mut pairs = Pairs::new(store, copies);
        let mut more = true;
        while more {
            let (page, rest) = pairs.page()?;
            more = rest;
            job.compared += page.len() as u64;
            let different = page.iter().filter(|pair| !pair.is_same());
            job.different += different.count() as u64;
        }
        jobs.push(job);
    }
    Ok((jobs, false))
}

/// Sends what came out otherwise until there is no more or the client is gone.
pub(super) async fn send_differences(api: Api, views: Vec<JobView>, to: Answers) {
    let signals = api.engine.signals();
    let sent = tokio::select! {
        () = to.closed() => return,
        () = signals.draining.cancelled() => Err(super::gone(signals)),
        sent = differences(&api, &views, &to) => sent,
    };
    if let Err(status) = sent {
        // Who is gone needs no words.
        let _ = to.send(Err(status)).await;
    }
}

async fn differences(api: &Api, views: &[JobView], to: &Answers) -> Result<(), Status> {
    for copies in views.iter().filter_map(copies) {
        let (job, shadow) = (copies.of.job.to_string(), copies.job.to_string());
        let mut pairs = Pairs::new(&api.store, copies);
        let mut more = true;
        while more {
            let read = api.read(move |_| {
                let (mut page, rest) = pairs.page()?;
                page.retain(|pair| !pair.is_same());
                Ok((pairs, page, rest))
            });
            let (back, page, rest) = read.await?;
            (pairs, more) = (back, rest);
            for pair in page {
                let difference = Some(shown(pair, &job, &shadow));
                let answer = v1::ListShadowDifferencesResponse { difference };
                if to.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn shown(pair: Pair, job: &str, shadow: &str) -> v1::ShadowDifference {
    let mut cut = false;
    let mut ended = |outcome| match outcome {
        Outcome::Succeeded(output) => (Some(head(output, &mut cut)), None),
        Outcome::Failed(failure) => (None, Some(failure)),
        Outcome::Cancelled => (None, None),
    };
    let (output, failure) = ended(pair.outcome);
    let (shadow_output, shadow_failure) = ended(pair.shadow);
    let failed = |failure: Option<Failure>| failure.map(convert::failure);
    v1::ShadowDifference {
        job_id: job.to_owned(),
        index: pair.index.into(),
        shadow_job_id: shadow.to_owned(),
        shadow_index: pair.copy.into(),
        output,
        failure: failed(failure),
        shadow_output,
        shadow_failure: failed(shadow_failure),
        cut,
    }
}

fn head(output: Bytes, cut: &mut bool) -> Bytes {
    *cut |= output.len() > OUTPUT_BYTES_MAX;
    output.slice(..output.len().min(OUTPUT_BYTES_MAX))
}
