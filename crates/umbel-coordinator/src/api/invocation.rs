//! Single invocations: what waits or runs is known to the machine, what is final to the store.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use tonic::Status;
use umbel_core::id::{Index, JobId};
use umbel_core::view::{InvocationView, JobView};
use umbel_proto::convert::{self, Invalid};
use umbel_proto::status::{self, Metadata, Reason};
use umbel_proto::v1;
use umbel_store::{Gaps, Outcome, Reached, ResultRow, Store, Wanted};

use super::token::{self, List};
use super::{Api, list, result};

/// Invocations that one page looks at, so that it ends though none is in the state asked for.
const LOOKED_AT_MAX: u32 = 4_096;

impl Api {
    pub(super) async fn invocation(
        &self,
        view: &JobView,
        index: u64,
    ) -> Result<v1::Invocation, Status> {
        let (job, total) = (view.record.id, view.counts.total);
        let known = Index::try_from(index).ok().filter(|_| index < total);
        let index = known.ok_or_else(|| unknown(job, index, total))?;
        let range = index..index.saturating_add(1);
        let found = self.within(view, range, Outputs::Keep).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| unknown(job, index.into(), total))
    }

    pub(super) async fn invocations(
        &self,
        request: v1::ListInvocationsRequest,
    ) -> Result<v1::ListInvocationsResponse, Status> {
        let limit = list::page_size(request.page_size)?;
        let state = request.state();
        if state == v1::InvocationState::Unspecified && request.state != 0 {
            let words = format!("invocation state {} is not known", request.state);
            return Err(status::invalid(Invalid::bad("state", words)));
        }
        let view = self.view(&request.job_id).await?;
        let mut scope = view.record.id.0.to_vec();
        scope.push(u8::try_from(request.state).unwrap_or(0));
        let place = token::decode(List::Invocations, &scope, "page_token", &request.page_token)?;
        let begin = place.map_or(Ok(0), |place| {
            place
                .try_into()
                .map(Index::from_be_bytes)
                .map_err(|_| token::bad("page_token"))
        })?;
        let total = Index::try_from(view.counts.total).unwrap_or(Index::MAX);
        let filtered = state != v1::InvocationState::Unspecified;
        let look_at = if filtered {
            LOOKED_AT_MAX
        } else {
            u32::try_from(limit).unwrap_or(1)
        };
        let end = begin.saturating_add(look_at).min(total);
        let range = begin..end.max(begin);
        let mut invocations = self.within(&view, range, Outputs::Drop).await?;
        // Long failures end a page early.
        let mut next = begin.saturating_add(u32::try_from(invocations.len()).unwrap_or(0));
        invocations.retain(|invocation| !filtered || invocation.state() == state);
        if let Some(first_left) = invocations.get(limit) {
            next = Index::try_from(first_left.index).unwrap_or(end);
            invocations.truncate(limit);
        }
        let next =
            (next < total).then(|| token::encode(List::Invocations, &scope, &next.to_be_bytes()));
        Ok(v1::ListInvocationsResponse {
            invocations,
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// The invocations of a range that lies within the job, from its begin; all of them, unless
    /// their failures are long.
    async fn within(
        &self,
        view: &JobView,
        range: Range<Index>,
        outputs: Outputs,
    ) -> Result<Vec<v1::Invocation>, Status> {
        let (job, indices) = (view.record.id, range.clone());
        // First the machine, then the store: what became final in between is found there.
        let known = self.engine.look(move |machine, _| {
            let indices = indices.map(|index| machine.invocation(job, index));
            indices.collect::<Vec<Option<InvocationView>>>()
        });
        let known = known.await.map_err(|closed| self.gone(closed))?;
        let begin = range.start;
        let function = view.record.spec.target.name();
        let each = function.len();
        let read = self.read(move |store| rows(store, job, range, (outputs, each)));
        let (mut rows, end) = read.await?;
        let invocations = (begin..end).zip(known).map(|(index, known)| {
            if let Some(row) = rows.remove(&index) {
                return convert::invocation_of_result(result::shown(row, &function));
            }
            // The machine keeps nothing of each invocation once a job has ended; what then has no
            // result was cancelled.
            convert::invocation(index, known.unwrap_or(InvocationView::Cancelled))
        });
        Ok(invocations.collect())
    }
}

/// Whether outputs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outputs {
    Keep,
    Drop,
}

/// The results of a range, and where it was left when they are large: each has so many bytes
/// beside its failure.
fn rows(
    store: &Store,
    job: JobId,
    range: Range<Index>,
    (outputs, each): (Outputs, usize),
) -> Result<(BTreeMap<Index, ResultRow>, Index), umbel_store::Error> {
    let (mut rows, mut bytes) = (BTreeMap::new(), 0);
    let mut reader = store.in_order(job, range.clone(), Wanted::ALL, Gaps::Skip);
    loop {
        let page = reader.page(store.durable())?;
        for mut row in page.rows {
            match &mut row.outcome {
                Outcome::Succeeded(output) if outputs == Outputs::Drop => *output = Bytes::new(),
                Outcome::Succeeded(_) | Outcome::Cancelled => {}
                Outcome::Failed(failure) => bytes += failure.message.len() + failure.stderr.len(),
            }
            bytes += each;
            let index = row.index;
            rows.insert(index, row);
            if bytes > list::PAGE_BYTES_MAX / 2 {
                return Ok((rows, index.saturating_add(1)));
            }
        }
        if page.reached != Reached::Limit {
            return Ok((rows, range.end));
        }
    }
}

pub(super) fn unknown(job: JobId, index: u64, total: u64) -> Status {
    let words = format!("job {job} has {total} invocations, counted from 0; there is no {index}");
    let metadata = [("job", job.to_string()), ("index", index.to_string())];
    let metadata = metadata.into_iter().chain([("total", total.to_string())]);
    let metadata: Metadata = metadata
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    status::status(Reason::UnknownInvocation, &words, metadata)
}
