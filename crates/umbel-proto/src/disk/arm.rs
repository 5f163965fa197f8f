//! Figures of arms.

use bytes::Bytes;
use prost::Message;
use umbel_core::arm::ArmFigures;
use umbel_core::job::Usage;

use super::{Error, parse, wire};
use crate::histogram;

const KIND: &str = "ArmFiguresRecord";

/// Encodes what came of an arm in a cell of time; arm and cell are its key.
#[must_use]
pub fn encode_arm_cell(figures: &ArmFigures) -> Bytes {
    encode(0, figures)
}

/// Decodes what came of an arm in a cell of time.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_arm_cell(bytes: Bytes) -> Result<ArmFigures, Error> {
    decode_arm_mark(bytes).map(|(_, figures)| figures)
}

/// Encodes when an arm's alias moved, and what had come of the arm before; the arm is its key.
#[must_use]
pub fn encode_arm_mark(moved_ms: u64, figures: &ArmFigures) -> Bytes {
    encode(moved_ms, figures)
}

/// Decodes when an arm's alias moved, and what had come of the arm before.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_arm_mark(bytes: Bytes) -> Result<(u64, ArmFigures), Error> {
    let record: wire::ArmFiguresRecord = parse(KIND, bytes)?;
    Ok((record.moved_ms, figures(&record)?))
}

/// What a record says of an arm.
pub(super) fn figures(record: &wire::ArmFiguresRecord) -> Result<ArmFigures, Error> {
    let times = |column: &[u8]| {
        let decoded = histogram::decode(column, u64::MAX);
        decoded.ok_or_else(|| Error::new(KIND, "its run times are no histogram"))
    };
    let mut figures = ArmFigures {
        routed: record.routed,
        succeeded: record.succeeded,
        usage: Usage {
            duration_us: record.duration_us,
            cpu_us: record.cpu_us,
            attempts: record.attempts,
        },
        warm: times(&record.warm)?,
        cold: times(&record.cold)?,
        ..ArmFigures::default()
    };
    if record.failed.len() > figures.failed.len() {
        let kinds = record.failed.len();
        return Err(Error::new(
            KIND,
            format!("it has {kinds} kinds of failures"),
        ));
    }
    for (failed, count) in figures.failed.iter_mut().zip(&record.failed) {
        *failed = *count;
    }
    Ok(figures)
}

fn encode(moved_ms: u64, figures: &ArmFigures) -> Bytes {
    wire_figures(moved_ms, figures).encode_to_vec().into()
}

/// The record of an arm.
pub(super) fn wire_figures(moved_ms: u64, figures: &ArmFigures) -> wire::ArmFiguresRecord {
    wire::ArmFiguresRecord {
        moved_ms,
        routed: figures.routed,
        succeeded: figures.succeeded,
        failed: figures.failed.to_vec(),
        duration_us: figures.usage.duration_us,
        cpu_us: figures.usage.cpu_us,
        attempts: figures.usage.attempts,
        warm: histogram::encode(&figures.warm).into(),
        cold: histogram::encode(&figures.cold).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use umbel_core::histogram::Histogram;

    use super::*;

    fn times() -> impl Strategy<Value = Histogram> {
        vec(any::<u64>(), 0..20).prop_map(|times| {
            let mut histogram = Histogram::new();
            times
                .iter()
                .for_each(|&time| histogram.add(time >> (time % 64)));
            histogram
        })
    }

    proptest! {
        #[test]
        fn figures_come_back(
            moved_ms: u64, counts: [u64; 5], failed: [u64; 5], warm in times(), cold in times(),
        ) {
            let [routed, succeeded, duration_us, cpu_us, attempts] = counts;
            let usage = Usage { duration_us, cpu_us, attempts };
            let figures = ArmFigures { routed, succeeded, failed, usage, warm, cold };
            let back = decode_arm_mark(encode_arm_mark(moved_ms, &figures)).unwrap();
            prop_assert_eq!(&back, &(moved_ms, figures.clone()));
            prop_assert_eq!(decode_arm_cell(encode_arm_cell(&figures)).unwrap(), figures);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = decode_arm_mark(Bytes::from(bytes));
        }
    }

    #[test]
    fn what_is_no_record_is_named() {
        let record = wire::ArmFiguresRecord {
            failed: vec![0; 6],
            ..wire::ArmFiguresRecord::default()
        };
        let error = decode_arm_cell(record.encode_to_vec().into()).unwrap_err();
        assert!(error.to_string().contains("6 kinds"), "{error}");
        let record = wire::ArmFiguresRecord {
            warm: Bytes::from_static(&[200, 200]),
            ..wire::ArmFiguresRecord::default()
        };
        assert!(decode_arm_cell(record.encode_to_vec().into()).is_err());
    }
}
