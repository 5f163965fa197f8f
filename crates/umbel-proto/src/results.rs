//! `StreamResultsResponse`, whose results may be encoded ahead of the message: a job has very many
//! results, and most of them differ in an index, an output and three figures.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};

use crate::columns::Row;
use crate::convert::{Provenance, succeeded_result};
use crate::v1;
use crate::varint;

/// Some results. Written by hand, since a generated one can only be made of [`v1::Result`]s, each
/// with strings of its own; on the wire it is what `proto/umbel/v1/job.proto` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamResultsResponse {
    /// Results that are encoded already, ahead of `results`. A message that was received has none.
    pub encoded: EncodedResults,
    /// The results.
    pub results: Vec<v1::Result>,
    /// Hands in to go on behind these results after a broken stream.
    pub token: String,
    /// Results in columns; they are ahead of `results`.
    pub columns: Vec<v1::ResultsInColumns>,
}

/// Results as the field of a message bears them, made by a [`ResultsEncoder`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedResults(Bytes);

const RESULTS: u32 = 1;
const TOKEN: u32 = 2;
const COLUMNS: u32 = 3;

impl prost::Message for StreamResultsResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.encoded.0);
        encoding::message::encode_repeated(RESULTS, &self.results, buf);
        if !self.token.is_empty() {
            encoding::string::encode(TOKEN, &self.token, buf);
        }
        encoding::message::encode_repeated(COLUMNS, &self.columns, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            RESULTS => encoding::message::merge_repeated(wire_type, &mut self.results, buf, ctx),
            TOKEN => encoding::string::merge(wire_type, &mut self.token, buf, ctx),
            COLUMNS => encoding::message::merge_repeated(wire_type, &mut self.columns, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let token = if self.token.is_empty() {
            0
        } else {
            encoding::string::encoded_len(TOKEN, &self.token)
        };
        let results = encoding::message::encoded_len_repeated(RESULTS, &self.results);
        let columns = encoding::message::encoded_len_repeated(COLUMNS, &self.columns);
        self.encoded.0.len() + results + token + columns
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Encodes results of one job, one behind the other; allocates nothing for one of them.
#[derive(Debug, Default)]
pub struct ResultsEncoder {
    bytes: Vec<u8>,
    count: usize,
    /// One result, before its length is known.
    one: Vec<u8>,
    /// What all results of one record share, as fields.
    shared: Vec<u8>,
    shared_of: (String, String),
}

/// Fields of `Result`, by number and kind.
mod field {
    const VARINT: u8 = 0;
    const BYTES: u8 = 2;
    pub(super) const INDEX: u8 = 1 << 3 | VARINT;
    pub(super) const STATE: u8 = 2 << 3 | VARINT;
    pub(super) const OUTPUT: u8 = 3 << 3 | BYTES;
    pub(super) const ATTEMPTS: u8 = 5 << 3 | VARINT;
    pub(super) const FUNCTION: u8 = 6 << 3 | BYTES;
    pub(super) const WORKER: u8 = 7 << 3 | BYTES;
    pub(super) const STARTED_AT_US: u8 = 8 << 3 | VARINT;
    pub(super) const DURATION_US: u8 = 9 << 3 | VARINT;
    pub(super) const CPU_US: u8 = 10 << 3 | VARINT;
    pub(super) const VERSION: u8 = 14 << 3 | VARINT;
    pub(super) const ARM: u8 = 15 << 3 | BYTES;
    /// `results` of `StreamResultsResponse`.
    pub(super) const RESULTS: u8 = 1 << 3 | BYTES;
}

impl ResultsEncoder {
    /// No results.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many results.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds an invocation that succeeded.
    pub fn succeeded(&mut self, index: u32, row: Row, attempts: u32, from: Provenance<'_>) {
        if row.cold_start.is_some() {
            return self.push(&succeeded_result(index, row, attempts, from));
        }
        // Named one by one, so that a new one cannot be forgotten here.
        let Row {
            output,
            duration_us,
            cpu_us,
            started_at_us,
            cold_start: _,
        } = row;
        if (self.shared_of.0.as_str(), self.shared_of.1.as_str()) != (from.function, from.worker)
            || self.shared.is_empty()
        {
            self.share(from);
        }
        let one = &mut self.one;
        one.clear();
        number(one, field::INDEX, index.into());
        one.push(field::STATE);
        one.push(v1::InvocationState::Succeeded as u8);
        bytes(one, field::OUTPUT, &output);
        number(one, field::ATTEMPTS, attempts.into());
        one.extend_from_slice(&self.shared);
        number(one, field::STARTED_AT_US, started_at_us);
        let version = from.version.map(u64::from);
        for (field, value) in [
            (field::DURATION_US, duration_us),
            (field::CPU_US, cpu_us),
            (field::VERSION, version),
        ] {
            // These are optional: a 0 is a value of theirs.
            if let Some(value) = value {
                one.push(field);
                varint::write(one, value);
            }
        }
        bytes(one, field::ARM, from.arm.as_bytes());
        self.bytes.push(field::RESULTS);
        varint::write(&mut self.bytes, self.one.len() as u64);
        self.bytes.extend_from_slice(&self.one);
        self.count += 1;
    }

    /// Adds any result.
    pub fn push(&mut self, result: &v1::Result) {
        encoding::message::encode(RESULTS, result, &mut self.bytes);
        self.count += 1;
    }

    /// Gives what was added and begins anew.
    #[must_use]
    pub fn finish(&mut self) -> EncodedResults {
        self.count = 0;
        let next = Vec::with_capacity(self.bytes.len());
        EncodedResults(std::mem::replace(&mut self.bytes, next).into())
    }

    fn share(&mut self, from: Provenance<'_>) {
        // Version and arm are written with each: they come behind what they do not share.
        let Provenance {
            function,
            worker,
            version: _,
            arm: _,
        } = from;
        self.shared.clear();
        bytes(&mut self.shared, field::FUNCTION, function.as_bytes());
        bytes(&mut self.shared, field::WORKER, worker.as_bytes());
        self.shared_of = (function.to_owned(), worker.to_owned());
    }
}

/// A number, unless it is 0, which says the same by its absence.
#[inline]
fn number(to: &mut Vec<u8>, field: u8, value: u64) {
    if value > 0 {
        to.push(field);
        varint::write(to, value);
    }
}

#[inline]
fn bytes(to: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        to.push(field);
        varint::write(to, value.len() as u64);
        to.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use umbel_core::cold_start::ColdStart;

    use super::*;
    use crate::convert::cancelled_result;

    proptest! {
        #[test]
        fn what_is_encoded_ahead_is_what_the_generated_code_writes(
            index: u32,
            output: Vec<u8>,
            figures: (u64, Option<u64>, Option<u64>),
            attempts: u32,
            function in ".{0,9}",
            worker in ".{0,9}",
        ) {
            let (started_at_us, duration_us, cpu_us) = figures;
            let cold_start = attempts.is_multiple_of(2).then(|| ColdStart {
                first_call_us: 7,
                ..ColdStart::default()
            });
            let row = Row { output: output.into(), duration_us, cpu_us, started_at_us, cold_start };
            let version = Some(attempts % 5).filter(|version| *version > 0);
            let arm = if attempts % 3 == 0 { "8" } else { "" };
            let from = Provenance { function: &function, worker: &worker, version, arm };
            let other = cancelled_result(index, &function);
            let columns = v1::ResultsInColumns {
                attempts,
                worker: worker.clone(),
                ..v1::ResultsInColumns::default()
            };
            let mut encoder = ResultsEncoder::new();
            encoder.succeeded(index, row.clone(), attempts, from);
            encoder.push(&other);
            encoder.succeeded(index, row.clone(), attempts, Provenance { worker: "other", ..from });
            prop_assert_eq!(encoder.count(), 3);
            let ahead = StreamResultsResponse {
                encoded: encoder.finish(),
                results: vec![other.clone()],
                token: function.clone(),
                columns: vec![columns.clone()],
            };
            let plain = StreamResultsResponse {
                encoded: EncodedResults::default(),
                results: vec![
                    succeeded_result(index, row.clone(), attempts, from),
                    other.clone(),
                    succeeded_result(index, row, attempts, Provenance { worker: "other", ..from }),
                    other,
                ],
                token: function.clone(),
                columns: vec![columns],
            };

            let bytes = ahead.encode_to_vec();

            prop_assert_eq!(&bytes, &plain.encode_to_vec());
            prop_assert_eq!(StreamResultsResponse::decode(&bytes[..]).unwrap(), plain);
        }

        #[test]
        fn garbage_never_panics(noise: Vec<u8>) {
            let _ = StreamResultsResponse::decode(&noise[..]);
        }
    }

    #[test]
    fn an_encoder_begins_anew() {
        let mut encoder = ResultsEncoder::new();
        encoder.push(&v1::Result::default());
        assert_ne!(encoder.finish(), EncodedResults::default());
        assert_eq!(
            (encoder.count(), encoder.finish()),
            (0, EncodedResults::default())
        );
    }
}
