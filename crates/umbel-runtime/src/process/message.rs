//! What a worker and a supervisor say to each other, over a socket that the two alone hold.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::bounds::Bounds;
use super::confine::Reach;

/// A request begins with its letter and the length of what follows.
const HEAD_BYTES: usize = 5;
/// Above what Linux takes as arguments and environment (6 MiB at most, by a quarter of the stack).
const ORDER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most descriptors with a request: the three streams.
const STREAMS_MAX: usize = 3;
const REPORT_BYTES: usize = 13;

/// What is asked of a supervisor.
#[derive(Debug)]
pub(super) enum Request {
    /// Start a program; none runs.
    Start(Box<Order>, Streams),
    /// Kill what runs, if it does.
    Kill,
    /// Kill what runs, and end.
    Leave,
}

/// A program's ends of its streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// None for an empty one.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// A program with all that belongs to its start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) working_dir: Option<PathBuf>,
    pub(super) bounds: Bounds,
    /// None: whatever the worker's user can reach.
    pub(super) reach: Option<Reach>,
}

/// What a supervisor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The program runs, as this process.
    Started(i32),
    /// It could not be started.
    Failed(Errno),
    /// The program has ended, and nothing that it started is left.
    Ended {
        /// As wait(2) has it.
        status: i32,
        cpu_us: Option<u64>,
        /// Whether it was killed because it had too many processes.
        overgrown: bool,
    },
}

impl Order {
    pub(super) fn new(command: &Command, bounds: Bounds, reach: Option<Reach>) -> Self {
        Self {
            program: command.get_program().to_owned(),
            arguments: command.get_args().map(OsStr::to_owned).collect(),
            variables: command
                .get_envs()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect(),
            working_dir: command.get_current_dir().map(PathBuf::from),
            bounds,
            reach,
        }
    }

    /// All of it in words that end with NUL, which no word of a program can hold.
    fn encode(&self) -> Vec<u8> {
        let bounds = [
            self.bounds.memory_bytes_max,
            self.bounds.files_max,
            self.bounds.processes_max,
        ];
        let mut bytes = Vec::new();
        let mut push = |parts: &[&[u8]]| {
            for part in parts {
                bytes.extend_from_slice(part);
            }
            bytes.push(0);
        };
        for bound in bounds {
            push(&[bound
                .map(|it| it.to_string())
                .unwrap_or_default()
                .as_bytes()]);
        }
        push(&[self
            .working_dir
            .as_ref()
            .map_or(&b""[..], |it| it.as_os_str().as_bytes())]);
        push(&[self.program.as_bytes()]);
        let paths = |paths: &[PathBuf]| paths.iter().map(|it| it.clone().into()).collect();
        let reach = self.reach.as_ref();
        let lists: [Option<Vec<OsString>>; 3] = [
            Some(self.arguments.clone()),
            reach.map(|it| paths(&it.readable)),
            reach.map(|it| paths(&it.writable)),
        ];
        for list in lists {
            // No list is another thing than one that is empty.
            let count = list.as_ref().map(|it| it.len().to_string());
            push(&[count.unwrap_or_default().as_bytes()]);
            for word in list.unwrap_or_default() {
                push(&[word.as_bytes()]);
            }
        }
        for (name, value) in &self.variables {
            push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
        let mut text = || std::str::from_utf8(words.next()?).ok();
        let bounds = [text()?, text()?, text()?];
        let [memory_bytes_max, files_max, processes_max] = bounds.map(|it| it.parse().ok());
        let mut word = || words.next().map(|it| OsString::from_vec(it.to_vec()));
        let working_dir = Some(word()?).filter(|it| !it.is_empty()).map(PathBuf::from);
        let program = word()?;
        let mut list = || -> Option<Option<Vec<OsString>>> {
            let count = word()?;
            if count.is_empty() {
                return Some(None);
            }
            let count: usize = count.to_str()?.parse().ok()?;
            (0..count).map(|_| word()).collect::<Option<_>>().map(Some)
        };
        let arguments = list()??;
        let paths = |list: Vec<OsString>| list.into_iter().map(PathBuf::from).collect();
        let reach = match (list()?, list()?) {
            (Some(readable), Some(writable)) => Some(Reach {
                readable: paths(readable),
                writable: paths(writable),
            }),
            (None, None) => None,
            _ => return None,
        };
        let variables = words
            .map(|variable| {
                let at = variable.iter().position(|byte| *byte == b'=')?;
                let (name, value) = (&variable[..at], &variable[at + 1..]);
                Some((
                    OsStr::from_bytes(name).to_owned(),
                    OsStr::from_bytes(value).to_owned(),
                ))
            })
            .collect::<Option<_>>()?;
        Some(Self {
            program,
            arguments,
            variables,
            working_dir,
            bounds: Bounds {
                memory_bytes_max,
                files_max,
                processes_max,
            },
            reach,
        })
    }
}

impl Request {
    pub(super) fn send(&self, socket: &UnixStream) -> io::Result<()> {
        let (letter, body) = match self {
            Self::Start(order, _) => (b'S', order.encode()),
            Self::Kill => (b'K', Vec::new()),
            Self::Leave => (b'L', Vec::new()),
        };
        if body.len() > ORDER_BYTES_MAX {
            return Err(Errno::TOOBIG.into());
        }
        let length = u32::try_from(body.len()).map_err(|_| Errno::TOOBIG)?;
        let mut head = [letter; HEAD_BYTES];
        head[1..].copy_from_slice(&length.to_le_bytes());
        let mut fds = Vec::new();
        if let Self::Start(_, streams) = self {
            fds.extend([streams.stdout.as_fd(), streams.stderr.as_fd()]);
            fds.extend(streams.stdin.as_ref().map(|it| it.as_fd()));
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(STREAMS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [IoSlice::new(&head), IoSlice::new(&body)];
        let sent = sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
        let in_body = sent.checked_sub(HEAD_BYTES).ok_or(Errno::IO)?;
        let mut socket = socket;
        socket.write_all(&body[in_body..])
    }

    /// The next request; none when the other side is gone.
    pub(super) fn receive(socket: &UnixStream) -> io::Result<Option<Self>> {
        let mut head = [0; HEAD_BYTES];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(STREAMS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let mut parts = [IoSliceMut::new(&mut head)];
            match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                got => break got?.bytes,
            }
        };
        if got == 0 {
            return Ok(None);
        }
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let mut reader = socket;
        reader.read_exact(&mut head[got..])?;
        let [letter, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if length > ORDER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut fds = fds.into_iter();
        let request = match (letter, fds.next(), fds.next()) {
            (b'S', Some(stdout), Some(stderr)) => Order::decode(&body).map(|order| {
                let streams = Streams {
                    stdin: fds.next(),
                    stdout,
                    stderr,
                };
                Self::Start(Box::new(order), streams)
            }),
            (b'K', ..) => Some(Self::Kill),
            (b'L', ..) => Some(Self::Leave),
            _ => None,
        };
        request
            .map(Some)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Report {
    pub(super) fn send(self, mut socket: &UnixStream) -> io::Result<()> {
        let (letter, number, cpu_us) = match self {
            Self::Started(pid) => (b'S', pid, None),
            Self::Failed(errno) => (b'F', errno.raw_os_error(), None),
            Self::Ended {
                status,
                cpu_us,
                overgrown,
            } => (if overgrown { b'O' } else { b'E' }, status, cpu_us),
        };
        let mut bytes = [letter; REPORT_BYTES];
        bytes[1..5].copy_from_slice(&number.to_le_bytes());
        bytes[5..].copy_from_slice(&cpu_us.unwrap_or(u64::MAX).to_le_bytes());
        socket.write_all(&bytes)
    }

    pub(super) fn receive(mut socket: &UnixStream) -> io::Result<Self> {
        let mut bytes = [0; REPORT_BYTES];
        socket.read_exact(&mut bytes)?;
        let [letter, a, b, c, d, cpu @ ..] = bytes;
        let number = i32::from_le_bytes([a, b, c, d]);
        let cpu_us = Some(u64::from_le_bytes(cpu)).filter(|us| *us != u64::MAX);
        match letter {
            b'S' => Ok(Self::Started(number)),
            b'F' => Ok(Self::Failed(Errno::from_raw_os_error(number))),
            b'E' | b'O' => Ok(Self::Ended {
                status: number,
                cpu_us,
                overgrown: letter == b'O',
            }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given_with_streams_that_work() {
        let (worker, supervisor) = UnixStream::pair().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["", "a\nb", "\u{fc}"])
            .env("A", "b=c")
            .env("EMPTY", "")
            .current_dir("/usr");
        let bounds = Bounds {
            files_max: Some(7),
            ..Bounds::default()
        };
        let reach = Reach {
            readable: vec!["/a b".into(), "/c".into()],
            writable: Vec::new(),
        };
        let order = || Order::new(&command, bounds, Some(reach.clone()));
        let (mut out, stdout) = io::pipe().unwrap();
        let (_, stderr) = io::pipe().unwrap();
        let streams = Streams {
            stdin: None,
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        Request::Start(Box::new(order()), streams)
            .send(&worker)
            .unwrap();
        Request::Kill.send(&worker).unwrap();

        let Ok(Some(Request::Start(arrived, streams))) = Request::receive(&supervisor) else {
            panic!("no order");
        };
        assert_eq!(*arrived, order());
        let free = Order::new(&command, bounds, None);
        assert_eq!(Order::decode(&free.encode()), Some(free));
        assert!(streams.stdin.is_none());
        std::fs::File::from(streams.stdout).write_all(b"x").unwrap();
        let mut heard = String::new();
        out.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "x");
        assert!(matches!(
            Request::receive(&supervisor),
            Ok(Some(Request::Kill))
        ));
        drop(worker);
        assert!(matches!(Request::receive(&supervisor), Ok(None)));
    }

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let (worker, supervisor) = UnixStream::pair().unwrap();
        for report in [
            Report::Started(4_194_304),
            Report::Failed(Errno::NOEXEC),
            Report::Ended {
                status: 9,
                cpu_us: Some(12),
                overgrown: false,
            },
            Report::Ended {
                status: 256,
                cpu_us: None,
                overgrown: true,
            },
        ] {
            report.send(&supervisor).unwrap();
            assert_eq!(Report::receive(&worker).unwrap(), report);
        }
    }
}
