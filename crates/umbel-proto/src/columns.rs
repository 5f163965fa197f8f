//! Results as columns: a block of outputs and one column of numbers for each
//! figure. A worker encodes them once; they are stored and read as they came.

use std::ops::Range;

use bytes::Bytes;
use umbel_core::cold_start::ColdStart;
use umbel_core::histogram::Histogram;
use umbel_core::limit::MESSAGE_BYTES_MAX;
use umbel_core::message::ColdRun;

use crate::block::{self, Block, BlockBuilder};
use crate::cold_starts::{self, ColdStarts};
use crate::logs::LogsBuilder;
use crate::v1::ResultColumns;
use crate::{packed, varint};

/// Why bytes are not columns of results.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are no `ResultColumns`.
    #[error("the result columns cannot be decoded: {0}")]
    Encoding(String),
    /// They cannot be unpacked.
    #[error("the packed result columns are broken: {0}")]
    Packed(String),
    /// They would unpack to too much.
    #[error("the result columns would unpack to {bytes} bytes, the limit is {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// To how much.
        bytes: u64,
    },
    /// The outputs are no block.
    #[error("the outputs are broken: {0}")]
    Outputs(#[from] block::Error),
    /// There is not one output for each invocation.
    #[error("there are {outputs} outputs for {count} invocations")]
    Count {
        /// The outputs.
        outputs: u32,
        /// The invocations that they should cover.
        count: u64,
    },
    /// A column of figures has not one number for each output.
    #[error("the column {column} does not hold {count} numbers")]
    Column {
        /// Its name.
        column: &'static str,
        /// How many it should hold.
        count: u32,
    },
    /// The column of cold starts names what is not there.
    #[error("the column cold_starts is broken: it is for {count} results")]
    ColdStarts {
        /// The results.
        count: u32,
    },
}

/// Encodes results, one behind the other; allocates nothing for one of them.
#[derive(Clone, Debug, Default)]
pub struct ColumnsBuilder {
    outputs: BlockBuilder,
    duration_us: Vec<u8>,
    cpu_us: Vec<u8>,
    cpu_missing: bool,
    started_at_us: Vec<u64>,
    /// By position, ascending; usually none.
    cold: Vec<(u32, ColdStart)>,
    logs: LogsBuilder,
}

impl ColumnsBuilder {
    /// No results.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a result. `started_at_us` counts from 1970; 0: not known.
    ///
    /// Processor times are kept when every result has one.
    pub fn push(
        &mut self,
        output: &[u8],
        duration_us: u64,
        cpu_us: Option<u64>,
        started_at_us: u64,
    ) {
        self.outputs.push(output);
        varint::write(&mut self.duration_us, duration_us);
        match cpu_us {
            Some(cpu_us) => varint::write(&mut self.cpu_us, cpu_us),
            None => self.cpu_missing = true,
        }
        self.started_at_us.push(started_at_us);
    }

    /// The result that was added last was a cold start.
    pub fn mark_cold(&mut self, cold_start: ColdStart) {
        if let Some(position) = self.count().checked_sub(1) {
            self.cold.push((position, cold_start));
        }
    }

    /// The result that was added last has printed this; of a long text the end is kept.
    pub fn log(&mut self, text: &str) {
        if let Some(position) = self.count().checked_sub(1) {
            self.logs.push(position, text);
        }
    }

    /// Encodes the logs, which lie beside the results, and begins them anew.
    #[must_use]
    pub fn finish_logs(&mut self) -> Bytes {
        self.logs.finish()
    }

    /// How long the results took that were no cold starts.
    #[must_use]
    pub fn warm(&self) -> Histogram {
        let mut cold = self.cold.iter().map(|(position, _)| *position).peekable();
        let (mut warm, mut at) = (Histogram::new(), 0);
        for position in 0..self.count() {
            let Some(duration_us) = varint::read_u64(&self.duration_us, &mut at) else {
                break;
            };
            if cold.next_if_eq(&position).is_none() {
                warm.add(duration_us);
            }
        }
        warm
    }

    /// Gives each result an equal share of processor time that was measured for
    /// all of them together, in place of what it had.
    pub fn spread_cpu(&mut self, total_us: u64) {
        self.cpu_us.clear();
        self.cpu_missing = false;
        let count = u64::from(self.count()).max(1);
        for position in 0..u64::from(self.count()) {
            let share = total_us / count + u64::from(position < total_us % count);
            varint::write(&mut self.cpu_us, share);
        }
    }

    /// Adds the results of another, in their order.
    pub fn append(&mut self, other: &Self) {
        let before = self.count();
        let cold = other.cold.iter();
        self.cold
            .extend(cold.map(|(position, parts)| (before + position, *parts)));
        self.logs.append(before, &other.logs);
        self.outputs.append(&other.outputs);
        self.duration_us.extend_from_slice(&other.duration_us);
        self.cpu_us.extend_from_slice(&other.cpu_us);
        self.cpu_missing |= other.cpu_missing;
        self.started_at_us.extend_from_slice(&other.started_at_us);
    }

    /// How many results.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.outputs.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// About how many bytes they will have, encoded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.outputs.bytes()
            + self.logs.bytes()
            + self.duration_us.len()
            + self.cpu_us.len()
            + self.count() as usize
    }

    /// Encodes what was added and begins anew; no bytes when there are no results.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        let begin = self.started_at_us.iter().copied().min().unwrap_or(0);
        let mut offsets = Vec::new();
        if self.started_at_us.iter().any(|&at| at != begin) {
            offsets.reserve(self.started_at_us.len());
            for at in &self.started_at_us {
                varint::write(&mut offsets, at - begin);
            }
        }
        let cpu_us = if self.cpu_missing {
            Vec::new()
        } else {
            std::mem::take(&mut self.cpu_us)
        };
        let (mut cold_starts, mut next) = (Vec::new(), 0);
        for (position, cold_start) in std::mem::take(&mut self.cold) {
            cold_starts::write(&mut cold_starts, next, position, cold_start);
            next = position + 1;
        }
        let columns = ResultColumns {
            outputs: self.outputs.finish(),
            duration_us: std::mem::take(&mut self.duration_us).into(),
            cpu_us: cpu_us.into(),
            started_at_us: begin,
            start_offset_us: offsets.into(),
            cold_starts: cold_starts.into(),
            ..ResultColumns::default()
        };
        self.cpu_us.clear();
        self.cpu_missing = false;
        self.started_at_us.clear();
        packed::encode(&columns)
    }
}

/// Results as columns, known to fit each other.
#[derive(Clone, Debug)]
pub struct Columns {
    outputs: Block,
    duration_us: Bytes,
    cpu_us: Bytes,
    started_at_us: u64,
    start_offset_us: Bytes,
    cold_starts: Bytes,
}

/// One result out of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The output; shares the columns' bytes.
    pub output: Bytes,
    /// How long the attempt ran, if that is known.
    pub duration_us: Option<u64>,
    /// Its processor time, if that was measured.
    pub cpu_us: Option<u64>,
    /// When it began, in microseconds since 1970; 0: not known.
    pub started_at_us: u64,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
}

/// Where one result lies in its columns.
#[derive(Clone, Debug)]
pub struct Place {
    output: Range<usize>,
    duration_us: Option<u64>,
    cpu_us: Option<u64>,
    started_at_us: u64,
    /// Boxed: few have one, and very many places are kept.
    cold_start: Option<Box<ColdStart>>,
}

impl Place {
    pub(crate) fn started_at_us(&self) -> u64 {
        self.started_at_us
    }

    pub(crate) fn duration_us(&self) -> Option<u64> {
        self.duration_us
    }

    pub(crate) fn cpu_us(&self) -> Option<u64> {
        self.cpu_us
    }

    pub(crate) fn cold_start(&self) -> Option<ColdStart> {
        self.cold_start.as_deref().copied()
    }
}

impl Columns {
    /// Takes in columns from outside that must cover `count` invocations; copies
    /// nothing, unless they are packed.
    ///
    /// # Errors
    /// When a column has another length, an output is over `output_bytes_max` or
    /// the block of outputs is broken.
    pub fn parse(bytes: Bytes, count: u64, output_bytes_max: usize) -> Result<Self, Error> {
        let columns = packed::decode(bytes)?;
        let outputs = Block::parse(columns.outputs.clone(), output_bytes_max)?;
        if u64::from(outputs.count()) != count {
            return Err(Error::Count {
                outputs: outputs.count(),
                count,
            });
        }
        let count = outputs.count();
        for (column, values) in [
            ("duration_us", &columns.duration_us),
            ("cpu_us", &columns.cpu_us),
            ("start_offset_us", &columns.start_offset_us),
        ] {
            if !values.is_empty() && !varint::holds(values, count) {
                return Err(Error::Column { column, count });
            }
        }
        if !cold_starts::is_sound(&columns.cold_starts, count) {
            return Err(Error::ColdStarts { count });
        }
        Ok(Self::of(outputs, columns))
    }

    /// Takes in columns that were parsed before they were stored: only what a
    /// damaged store would break is looked at.
    ///
    /// # Errors
    /// When they were damaged since.
    pub fn parse_stored(bytes: Bytes) -> Result<Self, Error> {
        let columns = packed::decode(bytes)?;
        let outputs = Block::parse_stored(columns.outputs.clone())?;
        Ok(Self::of(outputs, columns))
    }

    fn of(outputs: Block, columns: ResultColumns) -> Self {
        Self {
            outputs,
            duration_us: columns.duration_us,
            cpu_us: columns.cpu_us,
            started_at_us: columns.started_at_us,
            start_offset_us: columns.start_offset_us,
            cold_starts: columns.cold_starts,
        }
    }

    /// How many results.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.outputs.count()
    }

    /// The cold starts among the results; costs nothing when there are none.
    #[must_use]
    pub fn cold(&self) -> Vec<ColdRun> {
        if self.cold_starts.is_empty() {
            return Vec::new();
        }
        let cold = self.rows().filter_map(|row| {
            Some(ColdRun {
                duration_us: row.duration_us.unwrap_or(0),
                parts: row.cold_start?,
            })
        });
        cold.collect()
    }

    /// What they take in memory unpacked, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.outputs.bytes().len()
            + self.duration_us.len()
            + self.cpu_us.len()
            + self.start_offset_us.len()
            + self.cold_starts.len()
    }

    /// The results, in the order of the indices that the columns cover.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.places().map(|place| self.row(&place))
    }

    /// The result at a place of these columns.
    #[must_use]
    pub fn row(&self, place: &Place) -> Row {
        Row {
            output: self.outputs.entries().body().slice(place.output.clone()),
            duration_us: place.duration_us,
            cpu_us: place.cpu_us,
            started_at_us: place.started_at_us,
            cold_start: place.cold_start.as_deref().copied(),
        }
    }

    /// The output at a place of these columns, where it lies.
    #[must_use]
    pub fn output(&self, place: &Place) -> &[u8] {
        let body = self.outputs.entries().body();
        body.get(place.output.clone()).unwrap_or_default()
    }

    /// Where the results lie, in the same order: what is to be read in any order keeps these, and
    /// holds on to the bytes once for all of them.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let (mut duration_at, mut cpu_at, mut offset_at) = (0, 0, 0);
        let mut cold = ColdStarts::of(&self.cold_starts).flatten().peekable();
        (0..)
            .zip(self.outputs.entries().places())
            .map(move |(position, output)| {
                let offset = varint::read_u64(&self.start_offset_us, &mut offset_at).unwrap_or(0);
                Place {
                    output,
                    duration_us: varint::read_u64(&self.duration_us, &mut duration_at),
                    cpu_us: varint::read_u64(&self.cpu_us, &mut cpu_at),
                    started_at_us: self.started_at_us.saturating_add(offset),
                    cold_start: cold
                        .next_if(|(at, _)| *at == position)
                        .map(|(_, parts)| Box::new(parts)),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn row() -> impl Strategy<Value = Row> {
        let output = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let cold = proptest::option::weighted(0.2, any::<[u64; 4]>());
        (output, any::<u64>(), any::<u64>(), any::<u64>(), cold).prop_map(
            |(output, duration, cpu, at, cold)| Row {
                output,
                duration_us: Some(duration),
                cpu_us: Some(cpu),
                started_at_us: at,
                cold_start: cold.map(ColdStart::of_parts),
            },
        )
    }

    fn build(rows: &[Row]) -> ColumnsBuilder {
        let mut builder = ColumnsBuilder::new();
        for row in rows {
            builder.push(
                &row.output,
                row.duration_us.unwrap_or_default(),
                row.cpu_us,
                row.started_at_us,
            );
            if let Some(cold_start) = row.cold_start {
                builder.mark_cold(cold_start);
            }
        }
        builder
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in vec(row(), 1..40), cut in 0usize..40) {
            let (head, tail) = rows.split_at(cut.min(rows.len()));
            let mut builder = build(head);
            builder.append(&build(tail));
            let warm = builder.warm();
            let bytes = builder.finish();
            prop_assert!(builder.is_empty());
            let cold = rows.iter().filter(|row| row.cold_start.is_some()).count();
            prop_assert_eq!(warm.count() as usize, rows.len() - cold);
            let columns = Columns::parse(bytes.clone(), rows.len() as u64, 40).unwrap();
            prop_assert_eq!(columns.rows().collect::<Vec<_>>(), rows.clone());
            prop_assert_eq!(columns.cold().len(), cold);
            let stored = Columns::parse_stored(bytes).unwrap();
            prop_assert_eq!(stored.rows().collect::<Vec<_>>(), rows);
        }

        #[test]
        fn garbage_never_panics(rows in vec(row(), 1..9), at: usize, byte: u8, noise: Vec<u8>) {
            let mut bytes = build(&rows).finish().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            for bytes in [bytes, noise] {
                let bytes = Bytes::from(bytes);
                if let Ok(columns) = Columns::parse(bytes.clone(), rows.len() as u64, 40) {
                    prop_assert_eq!(columns.rows().count(), rows.len());
                }
                if let Ok(columns) = Columns::parse_stored(bytes) {
                    let _ = columns.rows().count();
                }
            }
        }
    }

    #[test]
    fn a_figure_that_was_not_always_measured_is_left_out() {
        let mut builder = ColumnsBuilder::new();
        builder.push(b"a", 5, Some(3), 70);
        builder.push(b"b", 6, None, 70);
        let columns = Columns::parse(builder.finish(), 2, 9).unwrap();
        let rows: Vec<Row> = columns.rows().collect();
        assert_eq!([rows[0].cpu_us, rows[1].cpu_us], [None, None]);
        assert_eq!([rows[0].started_at_us, rows[1].started_at_us], [70, 70]);
        assert!(columns.start_offset_us.is_empty());
    }

    #[test]
    fn processor_time_that_was_measured_for_all_is_shared_out() {
        let mut builder = ColumnsBuilder::new();
        for _ in 0..3 {
            builder.push(b"", 1, None, 0);
        }
        builder.spread_cpu(8);

        let columns = Columns::parse(builder.finish(), 3, 9).unwrap();

        let shares: Vec<_> = columns.rows().map(|row| row.cpu_us).collect();
        assert_eq!(shares, [Some(3), Some(3), Some(2)]);
    }

    #[test]
    fn columns_for_another_number_of_invocations_are_refused() {
        let mut builder = ColumnsBuilder::new();
        builder.push(b"a", 5, None, 0);
        assert_eq!(
            Columns::parse(builder.finish(), 2, 9).unwrap_err(),
            Error::Count {
                outputs: 1,
                count: 2
            }
        );
    }

    #[test]
    fn a_cold_start_of_a_result_that_is_not_there_is_refused() {
        let mut outputs = BlockBuilder::new();
        outputs.push(b"a");
        let bytes = ResultColumns {
            outputs: outputs.finish(),
            cold_starts: Bytes::from_static(&[1, 0, 2, 3, 4]),
            ..ResultColumns::default()
        };
        let bytes = Bytes::from(bytes.encode_to_vec());
        let error = Columns::parse(bytes.clone(), 1, 9).unwrap_err();
        assert_eq!(error, Error::ColdStarts { count: 1 });
        let stored = Columns::parse_stored(bytes).unwrap();
        assert_eq!(stored.rows().next().unwrap().cold_start, None);
    }

    #[test]
    fn a_short_column_is_named() {
        let mut outputs = BlockBuilder::new();
        outputs.push(b"a");
        outputs.push(b"b");
        let bytes = ResultColumns {
            outputs: outputs.finish(),
            cpu_us: Bytes::from_static(&[1]),
            ..ResultColumns::default()
        };
        let error = Columns::parse(bytes.encode_to_vec().into(), 2, 9).unwrap_err();
        assert_eq!(
            error,
            Error::Column {
                column: "cpu_us",
                count: 2
            }
        );
    }
}
