//! Unsigned LEB128 numbers, as columns of lengths and figures hold them.

/// Bytes of the longest number.
const BYTES_MAX: usize = 10;

/// Adds a number to a column.
pub(crate) fn write(column: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits and the mark that more follow; the cut is meant.
        column.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    column.push(value as u8);
}

/// Reads the number at `at` and moves behind it. `None` when the column ends
/// first, or when the number is longer than `bytes_max` bytes or than 64 bits.
#[inline]
pub(crate) fn read(column: &[u8], at: &mut usize, bytes_max: usize) -> Option<u64> {
    // Most numbers are short: an input of a few bytes, a run of microseconds.
    let first = *column.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(u64::from(first));
    }
    read_long(column, at, bytes_max)
}

fn read_long(column: &[u8], at: &mut usize, bytes_max: usize) -> Option<u64> {
    let mut value = 0_u64;
    for (i, &byte) in column
        .get(*at..)?
        .iter()
        .take(bytes_max.min(BYTES_MAX))
        .enumerate()
    {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if i == BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            *at += i + 1;
            return Some(value);
        }
    }
    None
}

/// Reads a column of 64-bit numbers.
pub(crate) fn read_u64(column: &[u8], at: &mut usize) -> Option<u64> {
    read(column, at, BYTES_MAX)
}

/// Whether a column holds exactly `count` numbers.
pub(crate) fn holds(column: &[u8], count: u32) -> bool {
    let mut at = 0;
    (0..count).all(|_| read_u64(column, &mut at).is_some()) && at == column.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<u64>) {
            let mut column = Vec::new();
            for &value in &values {
                write(&mut column, value);
            }
            prop_assert!(holds(&column, values.len() as u32));
            let mut at = 0;
            for &value in &values {
                prop_assert_eq!(read_u64(&column, &mut at), Some(value));
            }
            prop_assert_eq!(read_u64(&column, &mut at), None);
        }

        #[test]
        fn garbage_is_read_or_refused(column: Vec<u8>, count in 0u32..40) {
            let _ = holds(&column, count);
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let mut column = vec![0xff; 9];
        column.push(0x02);
        assert_eq!(read_u64(&column, &mut 0), None);
    }
}
