//! Runs a job and holds each of its results against what it should be, for demo and benches.

use bytes::Bytes;
use futures::stream::{self, Stream};
use futures::{StreamExt as _, TryStreamExt as _};
use umbel_client::{Client, Error, ResultRow, ResultsOptions, SourceError, Upload, v1};

use crate::exit::Exit;
use crate::tally::Tally;

/// A job that has ended, and what its results were.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The job.
    pub(crate) job: v1::Job,
    /// Its results, counted.
    pub(crate) tally: Tally,
}

/// Inputs made by index, as a stream that is sent while results already arrive.
pub(crate) fn inputs<'a>(
    total: u32,
    input: impl Fn(u32) -> String + Send + 'a,
) -> impl Stream<Item = Result<Bytes, SourceError>> + Send + 'a {
    stream::iter(0..total).map(move |index| Ok(input(index).into()))
}

/// Sends the rest of the inputs and reads the results, in the order in which they were recorded,
/// at the same time. `wrong` says what is wrong with a result, `done` hears how many were read.
pub(crate) async fn fan_out(
    client: &Client,
    upload: Upload<'_>,
    total: u32,
    wrong: impl Fn(&ResultRow<'_>) -> Option<String>,
    mut done: impl FnMut(u64),
) -> Result<Ended, Exit> {
    let id = upload.job().id.clone();
    let read = async {
        let mut tally = Tally::new(total);
        // In the order of recording each record is read where it lies: an index that was recorded
        // twice would come twice.
        let options = ResultsOptions::default().as_completed().follow();
        let mut pages = client.results_pages(&id, options);
        let mut count = 0;
        while let Some(page) = pages.try_next().await? {
            for row in page.rows() {
                tally.record(row.index, wrong(&row));
            }
            count += page.len();
            done(count);
        }
        Ok::<_, Error>(tally)
    };
    let (_, tally) = futures::try_join!(upload.finish(), read)?;
    let job = client.get(&id).await?;
    Ok(Ended { job, tally })
}

/// What is wrong with a result that should be this output.
pub(crate) fn differs(result: &ResultRow<'_>, expected: impl AsRef<[u8]>) -> Option<String> {
    let expected = expected.as_ref();
    if result.state == v1::InvocationState::Succeeded && result.output == expected {
        return None;
    }
    let expected = String::from_utf8_lossy(expected);
    Some(match &result.failure {
        Some(failure) => format!("{}: {}, not {expected}", failure.r#type, failure.message),
        None => format!("{}, not {expected}", String::from_utf8_lossy(result.output)),
    })
}
