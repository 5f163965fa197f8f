//! The bytes of a backup: frames, each with a checksum that knows its place.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use umbel_proto::disk::Format;

use crate::{VALUE_BYTES_MAX, Write, WriteBatch};

/// What every backup begins with.
pub(super) const MAGIC: &[u8; 8] = b"umbelbk1";

const BEGIN: u8 = 1;
const WRITES: u8 = 2;
const END: u8 = 3;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Kind and length before a frame's body, and the checksum behind it.
const HEAD_BYTES: usize = 5;
const CHECKSUM_BYTES: usize = 4;

/// At how many bytes of writes a frame is closed; the last write is added whole.
const BODY_BYTES_TARGET: usize = 1 << 20;

/// The longest body that a reader takes: a full one, and the longest key and value behind it.
const BODY_BYTES_MAX: usize = BODY_BYTES_TARGET + VALUE_BYTES_MAX + (u16::MAX as usize) + 16;

/// Makes the frames of a backup.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    frames: u64,
    writes: u64,
    body: Vec<u8>,
    full: Vec<Bytes>,
}

impl Encoder {
    /// The beginning of the stream.
    pub(super) fn begin(&mut self, format: Format) -> Bytes {
        let mut body = Vec::new();
        body.put_u32_le(format.version);
        body.put_u32_le(format.epoch);
        let frame = self.frame(BEGIN, &body);
        [&MAGIC[..], &frame].concat().into()
    }

    /// A key has this value.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.body.put_u8(PUT);
        self.key(key);
        // A value is at most VALUE_BYTES_MAX long.
        self.body.put_u32_le(value.len() as u32);
        self.body.put_slice(value);
        self.wrote();
    }

    fn delete(&mut self, key: &[u8]) {
        self.body.put_u8(DELETE);
        self.key(key);
        self.wrote();
    }

    fn key(&mut self, key: &[u8]) {
        // The longest key is a function's name of at most 255 bytes and its kind.
        self.body.put_u16_le(key.len() as u16);
        self.body.put_slice(key);
    }

    fn wrote(&mut self) {
        self.writes += 1;
        if self.body.len() >= BODY_BYTES_TARGET {
            self.close();
        }
    }

    /// All that a batch wrote.
    pub(super) fn batch(&mut self, batch: &WriteBatch) {
        for write in batch.writes() {
            match write {
                Write::Put { key, value } => self.put(key, value),
                Write::Delete { key } => self.delete(key),
            }
        }
    }

    /// The frames of all writes so far.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.close();
        std::mem::take(&mut self.full)
    }

    /// The end of the stream: the data are those of the commit with the number `durable`.
    pub(super) fn end(&mut self, durable: u64) -> Bytes {
        let mut body = Vec::new();
        body.put_u64_le(durable);
        body.put_u64_le(self.writes);
        self.frame(END, &body)
    }

    fn close(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            let frame = self.frame(WRITES, &body);
            self.full.push(frame);
        }
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::with_capacity(HEAD_BYTES + body.len() + CHECKSUM_BYTES);
        frame.put_u8(kind);
        // A body is at most BODY_BYTES_MAX long.
        frame.put_u32_le(body.len() as u32);
        frame.put_slice(body);
        let checksum = checksum(self.frames, &frame);
        frame.put_u32_le(checksum);
        self.frames += 1;
        frame.freeze()
    }
}

/// The place goes in, so that frames which are left out, doubled or swapped do not pass.
fn checksum(place: u64, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.to_le_bytes());
    hasher.update(frame);
    hasher.finalize()
}

/// One frame as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Begin(Format),
    Writes(Vec<Write>),
    End { durable: u64, writes: u64 },
}

/// Reads frames from bytes as they come, and takes nothing that is not as it was written.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// Where the next frame begins in the stream.
    at: u64,
    frames: u64,
    writes: u64,
    ended: bool,
}

impl Decoder {
    /// Adds bytes behind those that came before.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, once all of it came. The error says what is wrong and where.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, String> {
        self.read()
            .map_err(|what| format!("{what}, at byte {}", self.at))
    }

    /// Whether the end was read.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn read(&mut self) -> Result<Option<Frame>, String> {
        if self.at == 0 {
            if self.buffer.len() < MAGIC.len() {
                return Ok(None);
            }
            if &self.buffer[..MAGIC.len()] != MAGIC {
                return Err("it does not begin as a backup of umbel does".to_owned());
            }
            self.skip(MAGIC.len());
        }
        if self.ended && !self.buffer.is_empty() {
            return Err("something follows its end".to_owned());
        }
        if self.buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let kind = self.buffer[0];
        let body = (&self.buffer[1..HEAD_BYTES]).get_u32_le() as usize;
        if body > BODY_BYTES_MAX {
            return Err(format!(
                "a frame of {body} bytes, over the limit of {BODY_BYTES_MAX}"
            ));
        }
        let end = HEAD_BYTES + body;
        if self.buffer.len() < end + CHECKSUM_BYTES {
            return Ok(None);
        }
        let found = (&self.buffer[end..end + CHECKSUM_BYTES]).get_u32_le();
        let computed = checksum(self.frames, &self.buffer[..end]);
        if found != computed {
            return Err(format!(
                "a checksum is {found:08x}, its frame has {computed:08x}"
            ));
        }
        let body = Bytes::copy_from_slice(&self.buffer[HEAD_BYTES..end]);
        let frame = self.parse(kind, body)?;
        self.skip(end + CHECKSUM_BYTES);
        self.frames += 1;
        Ok(Some(frame))
    }

    fn skip(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.at += bytes as u64;
    }

    fn parse(&mut self, kind: u8, mut body: Bytes) -> Result<Frame, String> {
        let short = |_| "a frame ends too early".to_owned();
        let frame = match (kind, self.frames) {
            (BEGIN, 0) => Frame::Begin(Format {
                version: body.try_get_u32_le().map_err(short)?,
                epoch: body.try_get_u32_le().map_err(short)?,
            }),
            (WRITES, 1..) => {
                let mut writes = Vec::new();
                while !body.is_empty() {
                    writes.push(write(&mut body).ok_or("a write that cannot be read")?);
                }
                self.writes += writes.len() as u64;
                Frame::Writes(writes)
            }
            (END, 1..) => {
                let durable = body.try_get_u64_le().map_err(short)?;
                let writes = body.try_get_u64_le().map_err(short)?;
                if writes != self.writes {
                    return Err(format!("its end counts {writes} writes of {}", self.writes));
                }
                self.ended = true;
                Frame::End { durable, writes }
            }
            _ => return Err(format!("a frame of kind {kind} where none belongs")),
        };
        if body.is_empty() {
            Ok(frame)
        } else {
            Err("a frame is longer than what it holds".to_owned())
        }
    }
}

fn write(body: &mut Bytes) -> Option<Write> {
    let kind = body.try_get_u8().ok()?;
    let key = usize::from(body.try_get_u16_le().ok()?);
    if body.len() < key {
        return None;
    }
    let key = body.split_to(key);
    match kind {
        PUT => {
            let value = body.try_get_u32_le().ok()? as usize;
            if value > VALUE_BYTES_MAX || body.len() < value {
                return None;
            }
            let value = body.split_to(value);
            Some(Write::Put { key, value })
        }
        DELETE => Some(Write::Delete { key }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let mut encoder = Encoder::default();
        let mut stream = encoder
            .begin(Format {
                version: 1,
                epoch: 7,
            })
            .to_vec();
        let mut batch = WriteBatch::numbered(1);
        for key in 0..40_u8 {
            batch.put(vec![3, key], vec![key; VALUE_BYTES_MAX]).unwrap();
        }
        batch.delete(vec![3, 5]);
        encoder.batch(&batch);
        encoder
            .take()
            .iter()
            .for_each(|frame| stream.extend_from_slice(frame));
        stream.extend_from_slice(&encoder.end(9));
        stream
    }

    fn decode(stream: &[u8], piece: usize) -> Result<(Vec<Frame>, bool), String> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in stream.chunks(piece) {
            decoder.push(piece);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok((frames, decoder.ended()))
    }

    #[test]
    fn a_stream_comes_back_however_it_is_cut_into_pieces() {
        let stream = stream();
        let (frames, ended) = decode(&stream, usize::MAX >> 1).unwrap();
        assert!(ended);
        assert_eq!(
            frames[0],
            Frame::Begin(Format {
                version: 1,
                epoch: 7
            })
        );
        assert!(frames.len() > 3, "large writes take many frames");
        assert_eq!(
            frames.last(),
            Some(&Frame::End {
                durable: 9,
                writes: 41
            })
        );
        assert_eq!(decode(&stream, 100_003).unwrap().0, frames);
    }

    #[test]
    fn a_stream_that_was_cut_has_no_end() {
        let stream = stream();
        let (_, ended) = decode(&stream[..stream.len() - 1], 1 << 20).unwrap();
        assert!(!ended);
        let mut longer = stream;
        longer.push(0);
        assert!(
            decode(&longer, 1 << 20)
                .unwrap_err()
                .contains("follows its end")
        );
    }

    #[test]
    fn frames_that_are_left_out_are_missed() {
        let mut encoder = Encoder::default();
        let begin = encoder.begin(Format {
            version: 1,
            epoch: 1,
        });
        encoder.put(b"\x03a", b"1");
        let _lost = encoder.take();
        encoder.put(b"\x03b", b"2");
        let second = encoder.take().remove(0);
        let error = decode(&[&begin[..], &second].concat(), 1 << 20).unwrap_err();
        assert!(
            error.contains("checksum") && error.contains("at byte 25"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_found(at in 0usize..2_600_000, bit in 0u8..8) {
            let mut stream = stream();
            let at = at % stream.len();
            stream[at] ^= 1 << bit;
            let ended = decode(&stream, 1 << 20).is_ok_and(|(_, ended)| ended);
            prop_assert!(!ended, "byte {}", at);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = decode(&[&MAGIC[..], &bytes].concat(), 7);
        }
    }
}
