//! The cold starts among results, as a column that is empty when there are none.

use umbel_core::cold_start::ColdStart;

use crate::varint;

/// Adds the cold start of the result at `position`; `next` is one behind the one before.
pub(crate) fn write(column: &mut Vec<u8>, next: u32, position: u32, cold_start: ColdStart) {
    varint::write(column, u64::from(position - next));
    for part in cold_start.parts() {
        varint::write(column, part);
    }
}

/// Reads a column, position by position. `None` as an item says that it is broken.
#[derive(Clone, Debug)]
pub(crate) struct ColdStarts<'a> {
    column: &'a [u8],
    at: usize,
    next: u32,
}

impl<'a> ColdStarts<'a> {
    pub(crate) const fn of(column: &'a [u8]) -> Self {
        Self {
            column,
            at: 0,
            next: 0,
        }
    }

    fn read(&mut self) -> Option<(u32, ColdStart)> {
        let skipped = u32::try_from(varint::read_u64(self.column, &mut self.at)?).ok()?;
        let position = self.next.checked_add(skipped)?;
        self.next = position.checked_add(1)?;
        let mut parts = [0; 4];
        for part in &mut parts {
            *part = varint::read_u64(self.column, &mut self.at)?;
        }
        Some((position, ColdStart::of_parts(parts)))
    }
}

impl Iterator for ColdStarts<'_> {
    type Item = Option<(u32, ColdStart)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.column.len() {
            return None;
        }
        let read = self.read();
        if read.is_none() {
            self.at = self.column.len();
        }
        Some(read)
    }
}

/// Whether a column is one, of so many results.
pub(crate) fn is_sound(column: &[u8], count: u32) -> bool {
    ColdStarts::of(column).all(|one| one.is_some_and(|(position, _)| position < count))
}
