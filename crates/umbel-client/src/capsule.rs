//! One ended invocation, with all that it takes to run it again.

use bytes::{Bytes, BytesMut};
use umbel_core::limit::{INPUT_BYTES_MAX, OUTPUT_BYTES_MAX};
use umbel_proto::v1;
use umbel_proto::v1::get_capsule_response::Part;

use crate::{Client, Error};

/// An invocation as it was recorded.
#[derive(Clone, Debug)]
pub struct Capsule {
    /// Everything but input and output.
    pub head: v1::Capsule,
    /// The input.
    pub input: Bytes,
    /// The output; empty if it failed.
    pub output: Bytes,
}

impl Client {
    /// One ended invocation, with its input and output.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, `UNKNOWN_INVOCATION`, `INVOCATION_OPEN`, or the coordinator cannot be reached.
    pub async fn capsule(&self, job: &str, index: u64) -> Result<Capsule, Error> {
        let request = v1::GetCapsuleRequest {
            job_id: job.to_owned(),
            index,
        };
        let answer = self.jobs().get_capsule(request).await;
        let mut parts = self.answer(answer)?.into_inner();
        let mut head = None;
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        while let Some(response) = self.answer(parts.message().await)? {
            match self.present(response.part, "part")? {
                Part::Capsule(capsule) => head = Some(capsule),
                Part::Input(piece) => input.extend_from_slice(&piece),
                Part::Output(piece) => output.extend_from_slice(&piece),
            }
            if input.len() > INPUT_BYTES_MAX || output.len() > OUTPUT_BYTES_MAX {
                return Err(self.broken("its input or output is over the limit"));
            }
        }
        Ok(Capsule {
            head: self.present(head, "capsule")?,
            input: input.freeze(),
            output: output.freeze(),
        })
    }
}
