//! Ranges of keys read page by page, with the parts of long values put together.

use std::ops::Range;
use std::sync::Arc;
use std::vec;

use bytes::{Bytes, BytesMut};

use crate::key::{Key, Whole};
use crate::{Direction, Engine, Entry, Error, Scan, VALUE_BYTES_MAX, WriteBatch};

/// How much of a range is read at once.
const PAGE_ENTRIES_MAX: usize = 512;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The entries of a range of keys, ascending.
#[derive(Debug)]
pub(crate) struct Entries {
    engine: Arc<dyn Engine>,
    page: vec::IntoIter<Entry>,
    next: Option<Scan>,
}

impl Entries {
    pub(crate) fn new(engine: &Arc<dyn Engine>, keys: Range<Bytes>) -> Self {
        let next = Scan {
            keys,
            direction: Direction::Forward,
            entries_max: PAGE_ENTRIES_MAX,
            bytes_max: PAGE_BYTES_MAX,
        };
        Self {
            engine: Arc::clone(engine),
            page: Vec::new().into_iter(),
            next: Some(next),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<(Key, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                let key = Key::decode(&entry.key).map_err(Error::from);
                return Some(key.map(|key| (key, entry.value)));
            }
            let scan = self.next.take()?;
            match self.engine.scan(&scan) {
                Ok(page) => {
                    self.page = page.entries.into_iter();
                    self.next = page.next;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What was stored under a key, with its parts put together.
#[derive(Debug)]
pub(crate) enum Item {
    /// A value of one part or more.
    Whole(Whole, Bytes),
    /// A value that is always short.
    Short(Key, Bytes),
}

/// [`Entries`] with their parts put together.
#[derive(Debug)]
pub(crate) struct Items(std::iter::Peekable<Entries>);

impl Items {
    pub(crate) fn new(engine: &Arc<dyn Engine>, keys: Range<Bytes>) -> Self {
        Self(Entries::new(engine, keys).peekable())
    }

    /// Puts the parts of `whole` together, of which `value` is the first.
    fn join(&mut self, whole: Whole, part: u16, value: Bytes) -> Result<Bytes, Error> {
        let mut parts = Parts::new(whole, value);
        if part != 0 {
            return Err(parts.damaged("its beginning"));
        }
        while let Some(Ok((Key::Part(next, _), _))) = self.0.peek()
            && *next == whole
        {
            let Some(Ok((Key::Part(_, part), value))) = self.0.next() else {
                break;
            };
            if u32::from(part) != parts.count {
                return Err(parts.damaged("a part in its middle"));
            }
            parts.push(&value);
        }
        Ok(parts.joined())
    }
}

impl Iterator for Items {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.0.next()? {
            Ok((Key::Part(whole, part), value)) => self
                .join(whole, part, value)
                .map(|value| Item::Whole(whole, value)),
            Ok((key, value)) => Ok(Item::Short(key, value)),
            Err(error) => Err(error),
        })
    }
}

/// A long value as it is put together. One part is not copied.
struct Parts {
    whole: Whole,
    first: Bytes,
    more: BytesMut,
    count: u32,
}

impl Parts {
    fn new(whole: Whole, first: Bytes) -> Self {
        Self {
            whole,
            first,
            more: BytesMut::new(),
            count: 1,
        }
    }

    fn push(&mut self, part: &[u8]) {
        if self.count == 1 {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(part);
        self.count += 1;
    }

    fn joined(self) -> Bytes {
        if self.count == 1 {
            self.first
        } else {
            self.more.freeze()
        }
    }

    fn damaged(&self, missing: &str) -> Error {
        Error::Damaged {
            what: format!("{:?} lacks {missing}", self.whole),
        }
    }
}

/// Puts a value that may be long. All parts but the last have the full size, so that whoever reads
/// them knows the last one.
pub(crate) fn put(batch: &mut WriteBatch, whole: Whole, value: &Bytes) -> Result<(), Error> {
    let mut rest = value.clone();
    let mut part = 0_u16;
    loop {
        let head = rest.split_to(rest.len().min(VALUE_BYTES_MAX));
        batch.put(Key::Part(whole, part).encode(), head)?;
        if rest.is_empty() {
            return Ok(());
        }
        part = part.checked_add(1).ok_or(Error::ValueTooLarge {
            bytes: value.len(),
            bytes_max: VALUE_BYTES_MAX << u16::BITS,
        })?;
    }
}

/// How many parts a value of `bytes` bytes has.
pub(crate) fn count(bytes: usize) -> u32 {
    // A value is at most a few messages long.
    u32::try_from(bytes.div_ceil(VALUE_BYTES_MAX).max(1)).unwrap_or(u32::MAX)
}

/// Reads a value that may be long.
pub(crate) fn load(engine: &dyn Engine, whole: Whole) -> Result<Option<Bytes>, Error> {
    let Some(first) = engine.get(&Key::Part(whole, 0).encode())? else {
        return Ok(None);
    };
    let mut last_len = first.len();
    let mut parts = Parts::new(whole, first);
    while last_len == VALUE_BYTES_MAX {
        let Ok(part) = u16::try_from(parts.count) else {
            break;
        };
        let Some(value) = engine.get(&Key::Part(whole, part).encode())? else {
            break;
        };
        last_len = value.len();
        parts.push(&value);
    }
    Ok(Some(parts.joined()))
}
