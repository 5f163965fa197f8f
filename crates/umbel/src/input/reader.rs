//! Reads a source on a thread of its own, since reading a file or a terminal blocks.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Read};
use std::rc::Rc;
use std::thread;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use umbel_client::SourceError;

use super::{Error, Format, csv, json, lines};
use crate::exit::Exit;

/// Inputs that travel between the threads together.
const GROUP_INPUTS: usize = 4_096;
/// Bytes at which a group is closed.
const GROUP_BYTES: usize = 64 << 10;
/// Groups on their way: with the group being read, the memory that reading takes.
const GROUPS: usize = 4;
const BUFFER_BYTES: usize = 256 << 10;

type Group = Result<Vec<Bytes>, Error>;

/// The inputs of a source, read as they are asked for.
pub(super) fn stream(
    source: Box<dyn Read + Send>,
    format: Format,
) -> Result<BoxStream<'static, Result<Bytes, SourceError>>, Exit> {
    let (sender, receiver) = mpsc::channel(GROUPS);
    // Not a thread of the runtime: one that waits for a terminal may never come back.
    thread::Builder::new()
        .name("inputs".to_owned())
        .spawn(move || read(source, format, sender))
        .map_err(|error| Exit::internal(format!("no thread can be started to read: {error}")))?;
    let groups = ReceiverStream::new(receiver).map(|group| match group {
        Ok(inputs) => stream::iter(inputs.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(SourceError::from(error))]),
    });
    Ok(groups.flatten().boxed())
}

fn read(source: Box<dyn Read + Send>, format: Format, sender: mpsc::Sender<Group>) {
    let outgoing = Rc::new(Outgoing::new(sender));
    let source = SendFirst {
        inner: source,
        outgoing: Rc::clone(&outgoing),
    };
    let buffered = |source| BufReader::with_capacity(BUFFER_BYTES, source);
    let inputs: Box<dyn Iterator<Item = Result<Vec<u8>, Error>>> = match format {
        Format::Lines => Box::new(lines::Lines::new(buffered(source))),
        Format::Csv => Box::new(csv::Rows::new(source)),
        Format::Json => Box::new(json::Elements::new(buffered(source))),
    };
    for input in inputs {
        match input {
            Ok(input) => outgoing.push(input.into()),
            Err(error) => {
                outgoing.send();
                // Whoever asked may have left, and needs no reason then.
                drop(outgoing.sender.blocking_send(Err(error)));
                return;
            }
        }
        if outgoing.sender.is_closed() {
            return;
        }
    }
    outgoing.send();
}

/// The group that is being read.
struct Outgoing {
    group: RefCell<Vec<Bytes>>,
    bytes: Cell<usize>,
    sender: mpsc::Sender<Group>,
}

impl Outgoing {
    const fn new(sender: mpsc::Sender<Group>) -> Self {
        Self {
            group: RefCell::new(Vec::new()),
            bytes: Cell::new(0),
            sender,
        }
    }

    fn push(&self, input: Bytes) {
        let bytes = self.bytes.get() + input.len();
        self.bytes.set(bytes);
        let mut group = self.group.borrow_mut();
        group.push(input);
        if group.len() >= GROUP_INPUTS || bytes >= GROUP_BYTES {
            drop(group);
            self.send();
        }
    }

    fn send(&self) {
        let group = self.group.take();
        self.bytes.set(0);
        if !group.is_empty() {
            // A receiver that has left is noticed by the loop.
            drop(self.sender.blocking_send(Ok(group)));
        }
    }
}

/// Lets go of what was read before each read that may wait: a line typed at a terminal is an
/// input at once.
struct SendFirst {
    inner: Box<dyn Read + Send>,
    outgoing: Rc<Outgoing>,
}

impl Read for SendFirst {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.outgoing.send();
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_long_source_arrives_whole_and_in_order() {
        let text: String = (0..100_000).map(|i| format!("{i}\n")).collect();
        let inputs = stream(Box::new(io::Cursor::new(text)), Format::Lines).unwrap();
        let inputs: Vec<Bytes> = inputs.try_collect().await.unwrap();
        assert_eq!(inputs.len(), 100_000);
        assert!(
            inputs
                .iter()
                .enumerate()
                .all(|(i, input)| *input == i.to_string())
        );
    }

    #[tokio::test]
    async fn an_input_is_given_while_its_source_waits_for_the_next() {
        let (read, write) = io::pipe().unwrap();
        io::Write::write_all(&mut &write, b"first\n").unwrap();
        let mut inputs = stream(Box::new(read), Format::Lines).unwrap();
        assert_eq!(inputs.next().await.unwrap().unwrap(), "first");
        drop(write);
        assert!(inputs.next().await.is_none());
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_given_first() {
        let text = io::Cursor::new("a\n1\n2,3\n");
        let mut inputs = stream(Box::new(text), Format::Csv).unwrap();
        assert!(inputs.next().await.unwrap().is_ok());
        let error = inputs.next().await.unwrap().unwrap_err();
        assert!(error.downcast_ref::<Error>().is_some(), "{error}");
        assert!(inputs.next().await.is_none());
    }
}
