//! Results that travel in the columns in which they lie: from the store to a client that opens them.

use bytes::Bytes;
use umbel_core::cold_start::ColdStart;
use umbel_core::id::Index;
use umbel_core::limit::{OUTPUT_BYTES_MAX, REPORT_INVOCATIONS_MAX};
use umbel_core::ranges::Ranges;

use super::Invalid;
use super::ranges::{ranges, wire_ranges};
use super::result::{Provenance, succeeded_result};
use crate::columns::{Columns, Place};
use crate::v1;

/// Puts on the wire what of a record is meant, in columns of all that was reported.
#[must_use]
pub fn results_in_columns(
    (reported, meant): (&Ranges, &Ranges),
    columns: Bytes,
    attempts: u32,
    from: Provenance<'_>,
) -> v1::ResultsInColumns {
    v1::ResultsInColumns {
        reported: wire_ranges(reported),
        succeeded: if meant == reported {
            Vec::new()
        } else {
            wire_ranges(meant)
        },
        columns,
        attempts,
        function: from.function.to_owned(),
        worker: from.worker.to_owned(),
        version: from.version,
        arm: from.arm.to_owned(),
    }
}

/// Results in columns, opened and known to fit each other.
#[derive(Clone, Debug)]
pub struct OpenedResults {
    reported: Ranges,
    meant: Ranges,
    columns: Columns,
    /// Attempts that were made.
    pub attempts: u32,
    /// The function that ran.
    pub function: String,
    /// The worker that ran the final attempts.
    pub worker: String,
    /// The number of the version that ran, of a published function.
    pub version: Option<u32>,
    /// The arm that they ran for; empty: none.
    pub arm: String,
}

/// One result out of columns, without a copy of anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRow<'a> {
    /// Which input.
    pub index: Index,
    /// What the function gave back.
    pub output: &'a [u8],
    /// When the final attempt began, in microseconds since 1970; 0: not known.
    pub started_at_us: u64,
    /// How long it ran.
    pub duration_us: Option<u64>,
    /// Its processor time.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
}

impl OpenedResults {
    /// Takes in results from a coordinator.
    ///
    /// # Errors
    /// When the columns are broken, or do not fit the invocations that they are said to hold.
    pub fn open(wire: v1::ResultsInColumns) -> Result<Self, Invalid> {
        let count_max = REPORT_INVOCATIONS_MAX;
        let reported = ranges("reported", &wire.reported, count_max)?;
        let meant = if wire.succeeded.is_empty() {
            reported.clone()
        } else {
            ranges("succeeded", &wire.succeeded, count_max)?
        };
        if !meant.minus(&reported).is_empty() {
            let words = "it names invocations that the columns do not hold";
            return Err(Invalid::broken("succeeded", words));
        }
        let columns = Columns::parse(wire.columns, reported.len(), OUTPUT_BYTES_MAX);
        let columns = columns.map_err(|error| Invalid::broken("columns", error.to_string()))?;
        Ok(Self {
            reported,
            meant,
            columns,
            attempts: wire.attempts,
            function: wire.function,
            worker: wire.worker,
            version: wire.version,
            arm: wire.arm,
        })
    }

    /// How many results.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.meant.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.meant.is_empty()
    }

    /// The results, by index.
    pub fn rows(&self) -> impl Iterator<Item = OpenedRow<'_>> {
        self.places().map(|(index, place)| OpenedRow {
            index,
            output: self.columns.output(&place),
            started_at_us: place.started_at_us(),
            duration_us: place.duration_us(),
            cpu_us: place.cpu_us(),
            cold_start: place.cold_start(),
        })
    }

    /// The same, each as it would have come by itself.
    pub fn results(&self) -> impl Iterator<Item = v1::Result> {
        let from = Provenance {
            function: &self.function,
            version: self.version,
            worker: &self.worker,
            arm: &self.arm,
        };
        let places = self.places();
        places.map(move |(index, place)| {
            succeeded_result(index, self.columns.row(&place), self.attempts, from)
        })
    }

    fn places(&self) -> impl Iterator<Item = (Index, Place)> {
        let mut meant = self.meant.indices().peekable();
        let all = self.reported.indices().zip(self.columns.places());
        all.filter(move |(index, _)| meant.next_if_eq(index).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::columns::ColumnsBuilder;

    const FROM: Provenance<'static> = Provenance {
        function: "f",
        version: Some(7),
        worker: "w",
        arm: "8",
    };

    fn columns(reported: &Ranges) -> Bytes {
        let mut columns = ColumnsBuilder::new();
        for index in reported.indices() {
            columns.push(index.to_string().as_bytes(), index.into(), None, 70);
            if index % 5 == 0 {
                columns.mark_cold(ColdStart {
                    init_us: 3,
                    ..ColdStart::default()
                });
            }
        }
        columns.finish()
    }

    fn among(picked: &[bool]) -> Ranges {
        let picked = (0..).zip(picked).filter(|(_, picked)| **picked);
        picked.map(|(index, _)| index..index + 1).collect()
    }

    fn wire(reported: &Ranges, meant: &Ranges) -> v1::ResultsInColumns {
        results_in_columns((reported, meant), columns(reported), 2, FROM)
    }

    proptest! {
        #[test]
        fn what_is_meant_comes_out_as_if_each_had_come_by_itself(
            picked in vec((any::<bool>(), any::<bool>()), 1..200),
        ) {
            let reported = among(&picked.iter().map(|(held, _)| *held).collect::<Vec<_>>());
            let meant = among(&picked.iter().map(|(held, meant)| *held && *meant).collect::<Vec<_>>());
            prop_assume!(!meant.is_empty());
            let bytes = wire(&reported, &meant).encode_to_vec();
            let wire = v1::ResultsInColumns::decode(&bytes[..]).unwrap();
            let opened = OpenedResults::open(wire).unwrap();

            prop_assert_eq!(opened.len(), meant.len());
            let results: Vec<v1::Result> = opened.results().collect();
            let indices: Vec<u64> = results.iter().map(|result| result.index).collect();
            prop_assert_eq!(indices, meant.indices().map(u64::from).collect::<Vec<_>>());
            for (row, result) in opened.rows().zip(&results) {
                let output = row.index.to_string();
                prop_assert_eq!(row.output, output.as_bytes());
                prop_assert_eq!(row.duration_us, Some(row.index.into()));
                prop_assert_eq!(row.cold_start.is_some(), row.index % 5 == 0);
                let alone = crate::columns::Row {
                    output: Bytes::copy_from_slice(row.output),
                    duration_us: row.duration_us,
                    cpu_us: row.cpu_us,
                    started_at_us: row.started_at_us,
                    cold_start: row.cold_start,
                };
                prop_assert_eq!(result, &succeeded_result(row.index, alone, 2, FROM));
            }
        }

        #[test]
        fn garbage_never_panics(noise: Vec<u8>, at: usize, byte: u8) {
            let mut bytes = wire(&Ranges::one(0..9), &Ranges::one(2..4)).encode_to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            for bytes in [bytes, noise] {
                let wire = v1::ResultsInColumns::decode(&bytes[..]);
                if let Ok(opened) = wire.map(OpenedResults::open)
                    && let Ok(opened) = opened
                {
                    prop_assert_eq!(opened.rows().count() as u64, opened.len());
                }
            }
        }
    }

    #[test]
    fn columns_that_do_not_hold_what_is_meant_are_refused() {
        let (some, more) = (Ranges::one(0..9), Ranges::one(0..10));
        let refused = |wire| OpenedResults::open(wire).unwrap_err().to_string();
        let words = refused(wire(&some, &Ranges::one(8..10)));
        assert!(words.contains("do not hold"), "{words}");
        let short = v1::ResultsInColumns {
            columns: columns(&some),
            ..wire(&more, &more)
        };
        let words = refused(short);
        assert!(words.contains("columns"), "{words}");
    }
}
