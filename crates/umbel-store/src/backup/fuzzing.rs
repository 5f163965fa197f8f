//! The frames of a backup, for fuzzers.

use umbel_proto::disk::Format;

use super::frame::{Decoder, Encoder};

/// Reads a backup that comes in pieces; tells how many frames it has, if it is whole.
pub(crate) fn frames(bytes: &[u8], piece: usize) -> Option<usize> {
    let (mut decoder, mut count) = (Decoder::default(), 0);
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        while decoder.next().ok()?.is_some() {
            count += 1;
        }
    }
    decoder.ended().then_some(count)
}

/// A small backup that is whole.
pub(crate) fn small(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let format = Format {
        version: 1,
        epoch: 3,
    };
    let mut bytes = encoder.begin(format).to_vec();
    for (key, value) in entries {
        encoder.put(key, value);
    }
    for frame in encoder.take() {
        bytes.extend_from_slice(&frame);
    }
    bytes.extend_from_slice(&encoder.end(7));
    bytes
}
