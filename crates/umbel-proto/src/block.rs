//! Blocks: runs of inputs or of outputs, encoded once and moved without being
//! opened. The format stands in `proto/BLOCK.md`.

use std::ops::Range;

use bytes::{Buf, Bytes};
use umbel_core::limit::{BLOCK_BYTES_TARGET, BLOCK_INPUTS_MAX};

use crate::varint;

/// Entries of one block.
pub const ENTRIES_MAX: u32 = 65_536;

const VERSION: u8 = 1;
const UNCOMPRESSED: u8 = 0;
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
const LENGTH_BYTES_MAX: usize = 4;

/// Why bytes are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no room for header and checksum.
    #[error("a block has at least {} bytes, these are {bytes}", HEADER_BYTES + CHECKSUM_BYTES)]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// Another version of the format.
    #[error("the block has format version {version}; this program reads version {VERSION}")]
    Version {
        /// The version it bears.
        version: u8,
    },
    /// A compression that this program does not know, or bytes set that must be 0.
    #[error("the block's compression {compression} is not known; only 0 (none) is")]
    Compression {
        /// The compression it bears.
        compression: u8,
    },
    /// No entries, or too many.
    #[error("a block has 1 to {ENTRIES_MAX} entries, this one claims {count}")]
    Count {
        /// The number it claims.
        count: u32,
    },
    /// The parts that the header names do not add up to the block.
    #[error("the block's header names {named} bytes in all, there are {bytes}")]
    Parts {
        /// What the header adds up to.
        named: u64,
        /// How many there are.
        bytes: u64,
    },
    /// The lengths column does not hold a length for each entry, and no more.
    #[error("the block's lengths column is broken at entry {position} of {count}")]
    Lengths {
        /// The entry, from 0, whose length is missing; `count` when bytes are left over.
        position: u32,
        /// The number of entries.
        count: u32,
    },
    /// An entry is over the limit.
    #[error("entry {position} of the block has {length} bytes, the limit is {limit}")]
    EntryTooLong {
        /// The entry, from 0.
        position: u32,
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The lengths do not add up to the body.
    #[error("the block's lengths add up to {sum} bytes, its body has {body}")]
    Sum {
        /// What the lengths add up to.
        sum: u64,
        /// The body's bytes.
        body: usize,
    },
    /// The checksum is wrong: the bytes were damaged on their way.
    #[error("the block's checksum is {found:08x}, its content has {computed:08x}; send it again")]
    Checksum {
        /// What the block bears.
        found: u32,
        /// What its content has.
        computed: u32,
    },
}

/// Encodes a block, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct BlockBuilder {
    count: u32,
    lengths: Vec<u8>,
    body: Vec<u8>,
}

impl BlockBuilder {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. Who takes the block in refuses more than [`ENTRIES_MAX`]
    /// entries and entries over its limit.
    pub fn push(&mut self, entry: &[u8]) {
        self.count = self.count.saturating_add(1);
        varint::write(&mut self.lengths, entry.len() as u64);
        self.body.extend_from_slice(entry);
    }

    /// Adds the entries of another, in their order.
    pub fn append(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.lengths.extend_from_slice(&other.lengths);
        self.body.extend_from_slice(&other.body);
    }

    /// How many entries it has.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes it will have, encoded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.lengths.len() + self.body.len() + CHECKSUM_BYTES
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a block of inputs should be finished before an input of this
    /// length is added. An input longer than a block travels alone.
    #[must_use]
    pub fn would_overflow(&self, length: usize) -> bool {
        !self.is_empty()
            && (self.count >= BLOCK_INPUTS_MAX
                || self.bytes() + LENGTH_BYTES_MAX + length > BLOCK_BYTES_TARGET)
    }

    /// Encodes what was added and begins anew.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let mut block = Vec::with_capacity(self.bytes());
        block.extend_from_slice(&[VERSION, UNCOMPRESSED, 0, 0]);
        block.extend_from_slice(&self.count.to_le_bytes());
        block.extend_from_slice(&word(self.lengths.len()).to_le_bytes());
        block.extend_from_slice(&word(self.body.len()).to_le_bytes());
        block.extend_from_slice(&self.lengths);
        block.extend_from_slice(&self.body);
        let checksum = crc32fast::hash(&block);
        block.extend_from_slice(&checksum.to_le_bytes());
        self.count = 0;
        self.lengths.clear();
        self.body.clear();
        block.into()
    }
}

/// A length as the header bears it. A part of 4 GiB is far above every limit;
/// one that came about is refused where the block is taken in.
fn word(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A block whose parts are known to fit.
#[derive(Clone, Debug)]
pub struct Block {
    bytes: Bytes,
    entries: Entries,
}

impl Block {
    /// Takes in a block from outside; copies nothing.
    ///
    /// # Errors
    /// When the parts do not add up, an entry is longer than `entry_bytes_max`,
    /// or the checksum is wrong.
    pub fn parse(bytes: Bytes, entry_bytes_max: usize) -> Result<Self, Error> {
        let block = Self::parse_stored(bytes)?;
        block.entries.check(entry_bytes_max)?;
        Ok(block)
    }

    /// Takes in a block that was parsed before it was stored: only the header and
    /// the checksum are looked at.
    ///
    /// # Errors
    /// When it was damaged since.
    pub fn parse_stored(bytes: Bytes) -> Result<Self, Error> {
        let header = Header::read(&bytes)?;
        let end = bytes.len() - CHECKSUM_BYTES;
        let found = bytes.slice(end..).get_u32_le();
        let computed = crc32fast::hash(bytes.get(..end).unwrap_or_default());
        if found != computed {
            return Err(Error::Checksum { found, computed });
        }
        let body_at = HEADER_BYTES + header.lengths_bytes;
        let entries = Entries {
            count: header.count,
            lengths: bytes.slice(HEADER_BYTES..body_at),
            body: bytes.slice(body_at..end),
        };
        Ok(Self { bytes, entries })
    }

    /// The block as it came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many entries, at least 1.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.entries.count
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The columns of some consecutive entries: lengths and body. Nothing is
    /// copied. What lies behind the last entry is not in them.
    #[must_use]
    pub fn slice(&self, positions: Range<u32>) -> (Bytes, Bytes) {
        self.slices(std::iter::once(positions))
            .next()
            .unwrap_or_default()
    }

    /// The columns of some ascending runs of entries, in one walk over the lengths.
    pub fn slices(
        &self,
        runs: impl IntoIterator<Item = Range<u32>>,
    ) -> impl Iterator<Item = (Bytes, Bytes)> {
        let mut mark = Mark::default();
        runs.into_iter().map(move |run| {
            mark.advance(&self.entries, run.start);
            let begin = mark;
            mark.advance(&self.entries, run.end);
            (
                self.entries.lengths.slice(begin.length..mark.length),
                self.entries.body.slice(begin.body..mark.body),
            )
        })
    }
}

struct Header {
    count: u32,
    lengths_bytes: usize,
}

impl Header {
    /// Reads the header of a whole block and checks that its parts add up.
    fn read(block: &[u8]) -> Result<Self, Error> {
        let bytes = block.len();
        let Some(mut header) = block
            .get(..HEADER_BYTES)
            .filter(|_| bytes >= HEADER_BYTES + CHECKSUM_BYTES)
        else {
            return Err(Error::TooShort { bytes });
        };
        let version = header.get_u8();
        if version != VERSION {
            return Err(Error::Version { version });
        }
        let compression = header.get_u8();
        if compression != UNCOMPRESSED || header.get_u16_le() != 0 {
            return Err(Error::Compression { compression });
        }
        let count = header.get_u32_le();
        if count == 0 || count > ENTRIES_MAX {
            return Err(Error::Count { count });
        }
        let (lengths_bytes, body_bytes) = (header.get_u32_le(), header.get_u32_le());
        let named = (HEADER_BYTES + CHECKSUM_BYTES) as u64
            + u64::from(lengths_bytes)
            + u64::from(body_bytes);
        if named != bytes as u64 {
            return Err(Error::Parts {
                named,
                bytes: bytes as u64,
            });
        }
        Ok(Self {
            count,
            lengths_bytes: lengths_bytes as usize,
        })
    }
}

/// Entries as two columns: their lengths, and their bytes one behind the other.
#[derive(Clone, Debug)]
pub struct Entries {
    count: u32,
    lengths: Bytes,
    body: Bytes,
}

impl Entries {
    /// Takes in the columns of a slice.
    ///
    /// # Errors
    /// When there are not `count` lengths, or their sum is not the body's.
    pub fn new(count: u32, lengths: Bytes, body: Bytes) -> Result<Self, Error> {
        let entries = Self {
            count,
            lengths,
            body,
        };
        entries.check(usize::MAX)?;
        Ok(entries)
    }

    fn check(&self, entry_bytes_max: usize) -> Result<(), Error> {
        let count = self.count;
        let (mut at, mut sum) = (0, 0);
        for position in 0..count {
            let length = varint::read(&self.lengths, &mut at, LENGTH_BYTES_MAX)
                .ok_or(Error::Lengths { position, count })?;
            if length > entry_bytes_max as u64 {
                return Err(Error::EntryTooLong {
                    position,
                    length,
                    limit: entry_bytes_max,
                });
            }
            sum += length;
        }
        if at != self.lengths.len() {
            return Err(Error::Lengths {
                position: count,
                count,
            });
        }
        if sum != self.body.len() as u64 {
            let body = self.body.len();
            return Err(Error::Sum { sum, body });
        }
        Ok(())
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Walks them in place.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            entries: self,
            mark: Mark::default(),
        }
    }

    /// Walks them as [`Bytes`] that share the body.
    pub fn shared(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.places().map(|place| self.body.slice(place))
    }

    /// Walks the places of them in the body.
    pub(crate) fn places(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut mark = Mark::default();
        std::iter::from_fn(move || mark.next(self))
    }

    /// Their bytes, one behind the other.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Walks entries in place.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    entries: &'a Entries,
    mark: Mark,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let entry = self.mark.next(self.entries)?;
        self.entries.body.get(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.entries.count - self.mark.position) as usize;
        (0, Some(left))
    }
}

/// A place between two entries.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    position: u32,
    length: usize,
    body: usize,
}

impl Mark {
    /// Moves behind the next entry; tells where it lies in the body. Ends early
    /// where columns do not fit, as those of a damaged store would not.
    #[inline]
    fn next(&mut self, entries: &Entries) -> Option<Range<usize>> {
        if self.position == entries.count {
            return None;
        }
        let mut at = self.length;
        let length = varint::read(&entries.lengths, &mut at, LENGTH_BYTES_MAX)?;
        let begin = self.body;
        let end = begin + usize::try_from(length).ok()?;
        if end > entries.body.len() {
            return None;
        }
        *self = Self {
            position: self.position + 1,
            length: at,
            body: end,
        };
        Some(begin..end)
    }

    fn advance(&mut self, entries: &Entries, position: u32) {
        while self.position < position && self.next(entries).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn encode(entries: &[Vec<u8>]) -> Bytes {
        let mut builder = BlockBuilder::new();
        for entry in entries {
            builder.push(entry);
        }
        let bytes = builder.bytes();
        let block = builder.finish();
        assert_eq!(block.len(), bytes, "bytes() tells the encoded length");
        block
    }

    fn resealed(mut block: Vec<u8>) -> Bytes {
        let end = block.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&block[..end]);
        block[end..].copy_from_slice(&checksum.to_le_bytes());
        block.into()
    }

    proptest! {
        #[test]
        fn entries_come_back(entries in vec(vec(any::<u8>(), 0..300), 1..60)) {
            let block = Block::parse(encode(&entries), 300).unwrap();
            prop_assert_eq!(block.count() as usize, entries.len());
            prop_assert!(block.entries().iter().eq(entries.iter().map(Vec::as_slice)));
            prop_assert!(block.entries().shared().eq(entries.iter().cloned().map(Bytes::from)));
        }

        #[test]
        fn a_slice_is_its_entries(
            entries in vec(vec(any::<u8>(), 0..200), 1..40),
            a in 0u32..44,
            b in 0u32..44,
        ) {
            let block = Block::parse(encode(&entries), 200).unwrap();
            let (begin, end) = (a.min(b), a.max(b));
            let (lengths, body) = block.slice(begin..end);
            let last = entries.len().min(end as usize);
            let expected = &entries[last.min(begin as usize)..last];
            let slice = Entries::new(expected.len() as u32, lengths, body).unwrap();
            prop_assert!(slice.iter().eq(expected.iter().map(Vec::as_slice)));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = Block::parse(bytes.clone(), 100);
            if let Ok(entries) = Entries::new(3, bytes.clone(), bytes) {
                prop_assert!(entries.iter().count() <= 3);
            }
        }

        #[test]
        fn a_block_that_lies_is_refused_or_read(
            entries in vec(vec(any::<u8>(), 0..20), 1..20),
            at in 0usize..60,
            byte: u8,
        ) {
            let mut bytes = encode(&entries).to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            // With its checksum made right the lie reaches the checks behind it.
            if let Ok(block) = Block::parse(resealed(bytes), 20) {
                prop_assert_eq!(block.entries().iter().count(), block.count() as usize);
            }
        }

        #[test]
        fn one_flipped_bit_is_seen(entries in vec(vec(any::<u8>(), 0..20), 1..20), bit: usize) {
            let mut bytes = encode(&entries).to_vec();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Block::parse_stored(bytes.into()).is_err());
        }
    }

    #[test]
    fn an_entry_over_the_limit_is_named() {
        let block = encode(&[vec![0; 3], vec![0; 8], vec![0; 9]]);
        assert_eq!(
            Block::parse(block, 7).unwrap_err(),
            Error::EntryTooLong {
                position: 1,
                length: 8,
                limit: 7
            }
        );
    }

    #[test]
    fn lengths_that_lie_about_the_body_are_refused() {
        let mut bytes = encode(&[vec![0; 3], vec![0; 8]]).to_vec();
        bytes[HEADER_BYTES] = 4;
        assert_eq!(
            Block::parse(resealed(bytes), 100).unwrap_err(),
            Error::Sum { sum: 12, body: 11 }
        );
    }

    #[test]
    fn a_full_block_asks_to_be_finished() {
        let mut builder = BlockBuilder::new();
        assert!(
            !builder.would_overflow(BLOCK_BYTES_TARGET * 2),
            "a long input travels alone"
        );
        builder.push(&[]);
        assert!(builder.would_overflow(BLOCK_BYTES_TARGET));
        for _ in 1..BLOCK_INPUTS_MAX {
            assert!(!builder.would_overflow(1));
            builder.push(&[]);
        }
        assert!(builder.would_overflow(0));
    }
}
