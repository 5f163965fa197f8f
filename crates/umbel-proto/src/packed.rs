//! Columns of results made smaller by LZ4, where that pays: numbers and text of many results
//! repeat each other, and every byte less is one less on the wire, in the log and on the disk.

use bytes::Bytes;
use prost::Message as _;
use umbel_core::limit::MESSAGE_BYTES_MAX;

use crate::columns::Error;
use crate::v1::ResultColumns;

/// Shorter columns are left as they are: their record is what costs.
const PACKED_FROM_BYTES: usize = 1_024;

/// Encodes columns, packed if they become shorter by an eighth at least.
pub(crate) fn encode(columns: &ResultColumns) -> Bytes {
    let plain = columns.encode_to_vec();
    let (length, Ok(plain_bytes)) = (plain.len(), u32::try_from(plain.len())) else {
        return plain.into();
    };
    if !(PACKED_FROM_BYTES..=MESSAGE_BYTES_MAX).contains(&length) {
        return plain.into();
    }
    let packed = lz4_flex::block::compress(&plain);
    if packed.len() > length - length / 8 {
        return plain.into();
    }
    let columns = ResultColumns {
        plain_bytes,
        packed: packed.into(),
        ..ResultColumns::default()
    };
    columns.encode_to_vec().into()
}

/// Decodes columns, packed or not. What they unpack to is bounded as a message is, and by what
/// they say themselves, before a byte of it is made.
pub(crate) fn decode(bytes: Bytes) -> Result<ResultColumns, Error> {
    let columns = plain(bytes)?;
    if columns.packed.is_empty() {
        return Ok(columns);
    }
    let length = columns.plain_bytes as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(Error::TooLong {
            bytes: length as u64,
        });
    }
    let unpacked = lz4_flex::block::decompress(&columns.packed, length);
    let unpacked = unpacked.map_err(|error| Error::Packed(error.to_string()))?;
    if unpacked.len() != length {
        return Err(Error::Packed(format!(
            "{} bytes come out, {length} were said",
            unpacked.len()
        )));
    }
    let columns = plain(unpacked.into())?;
    if !columns.packed.is_empty() {
        return Err(Error::Packed("they are packed twice".to_owned()));
    }
    Ok(columns)
}

fn plain(bytes: Bytes) -> Result<ResultColumns, Error> {
    ResultColumns::decode(bytes).map_err(|error| Error::Encoding(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(outputs: Vec<u8>) -> ResultColumns {
        ResultColumns {
            outputs: outputs.into(),
            started_at_us: 7,
            ..ResultColumns::default()
        }
    }

    fn packed(plain: &[u8], plain_bytes: u32) -> Bytes {
        let columns = ResultColumns {
            plain_bytes,
            packed: lz4_flex::block::compress(plain).into(),
            ..ResultColumns::default()
        };
        columns.encode_to_vec().into()
    }

    proptest! {
        #[test]
        fn columns_come_back(outputs: Vec<u8>, times in 1_usize..400) {
            let columns = columns(outputs.repeat(times));
            prop_assert_eq!(decode(encode(&columns)).unwrap(), columns);
        }

        #[test]
        fn garbage_is_refused_and_never_panics(noise: Vec<u8>, plain_bytes in 0_u32..100_000) {
            let columns = ResultColumns {
                plain_bytes,
                packed: noise.into(),
                ..ResultColumns::default()
            };
            let _ = decode(columns.encode_to_vec().into());
        }
    }

    #[test]
    fn what_repeats_becomes_short_and_what_does_not_stays() {
        let numbers: String = (0..4_096).map(|i| (1_000_000 + i).to_string()).collect();
        let numbers = columns(numbers.into_bytes());
        assert!(encode(&numbers).len() * 3 < numbers.encoded_len() * 2);

        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let noise = columns(noise.take(5_000).collect());
        assert_eq!(encode(&noise), noise.encode_to_vec());
    }

    #[test]
    fn what_would_unpack_to_more_than_a_message_is_refused_unmade() {
        let bomb = packed(&vec![0; 1 << 20], u32::MAX);
        assert_eq!(
            decode(bomb).unwrap_err(),
            Error::TooLong {
                bytes: u32::MAX.into()
            }
        );
    }

    #[test]
    fn what_unpacks_to_another_length_than_it_says_is_refused() {
        for said in [4_999, 5_001] {
            let error = decode(packed(&[0; 5_000], said)).unwrap_err();
            assert!(matches!(error, Error::Packed(_)), "{said}: {error}");
        }
    }

    #[test]
    fn columns_are_packed_once() {
        let once = encode(&columns(vec![7; 5_000]));
        let twice = packed(&once, once.len() as u32);
        assert!(matches!(decode(twice).unwrap_err(), Error::Packed(_)));
    }
}
