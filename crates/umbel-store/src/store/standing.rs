//! How the invocations of an ended job stand: what a redrive has to know, since the machine keeps
//! only figures of an ended job.

use std::sync::Arc;

use umbel_core::id::JobId;
use umbel_core::redrive::{Filter, Standing};
use umbel_proto::disk;

use super::Store;
use super::scan::{Item, Items};
use crate::Error;
use crate::key::{self, Key, Kind, Whole};

impl Store {
    /// Reads the blocks and records of a job that has ended, under its redrive number `redrives`;
    /// it finds apart what `filter` asks for, failures of some types or what ended on an arm. `function`
    /// is what the job was accepted to run, which its records do not repeat until it is redriven.
    /// Outputs are not read. It keeps some bits for
    /// each invocation, and waits for the disk.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn standing(
        &self,
        job: JobId,
        function: &str,
        redrives: u32,
        filter: &Filter,
    ) -> Result<Standing, Error> {
        let function: Arc<str> = Arc::from(function);
        let mut standing = Standing {
            redrives,
            ..Standing::default()
        };
        for kind in [Kind::Appended, Kind::Record] {
            for item in Items::new(self.engine(), key::under(kind, job)) {
                match item? {
                    Item::Short(Key::Appended(_, block), value) => {
                        let block = disk::decode_appended(block.first, block.appender, value)?;
                        standing.blocks.push(block);
                    }
                    Item::Whole(Whole::Record(..), value) => {
                        let stored = disk::decode_record(job, Arc::clone(&function), value)?;
                        standing.take(&stored.record, filter);
                    }
                    Item::Short(..) | Item::Whole(..) => {}
                }
            }
        }
        Ok(standing)
    }
}
