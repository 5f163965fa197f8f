//! The inputs of a job: what was accepted lies there whole, without gaps, and nothing else does.

use std::iter::Peekable;

use umbel_core::id::{Index, JobId};
use umbel_core::job::{BlockRef, Source};
use umbel_core::limit::INPUT_BYTES_MAX;
use umbel_proto::{block, disk};

use super::Checker;
use crate::Error;
use crate::key::{self, Block, Key, Kind, Whole};
use crate::store::scan::{Item, Items};

impl Checker<'_> {
    /// Walks accepted, staged and stored blocks side by side, all in the order of their first
    /// index; tells how many inputs were accepted. `source` is none for a job without a record:
    /// uploads may be under way for one that is not accepted yet.
    pub(super) fn blocks(&mut self, job: JobId, source: Option<Source>) -> Result<Index, Error> {
        let mut accepted = self.walk(key::under(Kind::Appended, job)).peekable();
        let mut staged = self.walk(key::under(Kind::Staged, job)).peekable();
        let mut next = 0;
        for item in self.walk(key::under(Kind::Input, job)) {
            let Some(Item::Whole(Whole::Input(_, at), bytes)) = self.note(Some(job), item)? else {
                continue;
            };
            let mut marked = false;
            while let Some(mark) = self.until(job, &mut staged, at)? {
                marked |= mark.0 == at;
            }
            let mut found = None;
            while let Some((block, value)) = self.until(job, &mut accepted, at)? {
                let Some(block) = self.accepted(job, block, value, &mut next) else {
                    continue;
                };
                if (block.first, block.appender) == (at.first, at.appender) {
                    found = Some(block);
                } else {
                    self.report
                        .problem(Some(job), name(block.first), "it is not stored");
                }
            }
            match found {
                Some(block) => {
                    if marked {
                        let what = "it is accepted and still marked as staged: \
                                    the next start would remove it";
                        self.report.problem(Some(job), name(at.first), what);
                    }
                    self.content(job, block, bytes);
                }
                None if marked => {}
                None => {
                    let what = "it is stored, and was neither accepted nor staged";
                    self.report.problem(Some(job), name(at.first), what);
                }
            }
        }
        let end = Block {
            first: Index::MAX,
            appender: umbel_core::id::Appender(u32::MAX),
        };
        while self.until(job, &mut staged, end)?.is_some() {}
        while let Some((block, value)) = self.until(job, &mut accepted, end)? {
            if let Some(block) = self.accepted(job, block, value, &mut next) {
                self.report
                    .problem(Some(job), name(block.first), "it is not stored");
            }
        }
        if matches!(source, Some(Source::Range { .. })) && next > 0 {
            let what = "blocks were accepted of a job over a range";
            self.report.problem(Some(job), "inputs", what);
        }
        Ok(next)
    }

    /// The next mark or acceptance, unless it lies behind `at`.
    fn until(
        &mut self,
        job: JobId,
        items: &mut Peekable<Items>,
        at: Block,
    ) -> Result<Option<(Block, bytes::Bytes)>, Error> {
        let order = |block: &Block| (block.first, block.appender);
        loop {
            if let Some(Ok(Item::Short(Key::Appended(_, block) | Key::Staged(_, block), _))) =
                items.peek()
                && order(block) > order(&at)
            {
                return Ok(None);
            }
            let Some(item) = items.next() else {
                return Ok(None);
            };
            if let Some(Item::Short(Key::Appended(_, block) | Key::Staged(_, block), value)) =
                self.note(Some(job), item)?
            {
                return Ok(Some((block, value)));
            }
        }
    }

    /// Reads an acceptance; `next` is where the one before ended.
    fn accepted(
        &mut self,
        job: JobId,
        block: Block,
        value: bytes::Bytes,
        next: &mut Index,
    ) -> Option<BlockRef> {
        match disk::decode_appended(block.first, block.appender, value) {
            Ok(block) => {
                if block.first != *next {
                    let what = format!(
                        "it begins at {}, the one before ends at {next}",
                        block.first
                    );
                    self.report.problem(Some(job), name(block.first), what);
                }
                *next = block.first.saturating_add(block.count);
                Some(block)
            }
            Err(error) => {
                self.report
                    .problem(Some(job), name(block.first), error.to_string());
                None
            }
        }
    }

    /// Holds the bytes of a block against its acceptance and its checksum.
    fn content(&mut self, job: JobId, accepted: BlockRef, bytes: bytes::Bytes) {
        let length = bytes.len();
        if length != accepted.bytes as usize {
            let what = format!("it has {length} bytes of {}", accepted.bytes);
            return self.report.problem(Some(job), name(accepted.first), what);
        }
        match block::Block::parse(bytes, INPUT_BYTES_MAX) {
            Ok(block) if block.count() == accepted.count => {}
            Ok(block) => {
                let what = format!("it has {} inputs of {}", block.count(), accepted.count);
                self.report.problem(Some(job), name(accepted.first), what);
            }
            Err(error) => self
                .report
                .problem(Some(job), name(accepted.first), error.to_string()),
        }
    }
}

fn name(first: Index) -> String {
    format!("block of inputs at {first}")
}
