//! The three pipes of a running program, attended to by one thread.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};

use crate::context::Limits;
use crate::process::Streams;
use crate::tail::Tail;

/// How much is read at once: the capacity of a pipe.
const READ_BYTES: usize = 64 * 1024;
/// How often a pipe is read after the program's end, before what still writes is left alone. A
/// pipe of the largest capacity is empty by then.
const DRAIN_READS_MAX: usize = 32;

/// The pipes, each until it is closed from the other side.
#[derive(Debug)]
pub(super) struct Pipes<'a> {
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    /// What the program has not taken yet.
    input: &'a [u8],
    /// Where its output goes, from `begin` on.
    outputs: &'a mut Vec<u8>,
    begin: usize,
    output_bytes_max: usize,
    keep_log: bool,
    log: Tail,
}

impl<'a> Pipes<'a> {
    /// Makes a program's pipes, of which these ends never block, and those for the program do.
    pub(super) fn new(
        input: &'a [u8],
        outputs: &'a mut Vec<u8>,
        limits: Limits,
    ) -> std::io::Result<(Self, Streams)> {
        let (stdin_of_program, stdin) = if input.is_empty() {
            (None, None)
        } else {
            let (reader, writer) = pipe()?;
            ioctl_fionbio(&writer, true)?;
            (Some(OwnedFd::from(reader)), Some(writer))
        };
        let (stdout, stdout_of_program) = pipe()?;
        let (stderr, stderr_of_program) = pipe()?;
        ioctl_fionbio(&stdout, true)?;
        ioctl_fionbio(&stderr, true)?;
        let pipes = Self {
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            input,
            begin: outputs.len(),
            outputs,
            output_bytes_max: limits.output_bytes_max,
            keep_log: limits.keep_log,
            log: Tail::new(limits.stderr_bytes_max),
        };
        let streams = Streams {
            stdin: stdin_of_program,
            stdout: stdout_of_program.into(),
            stderr: stderr_of_program.into(),
        };
        Ok((pipes, streams))
    }

    /// Waits until a pipe or `program`, readable at its end, is ready or `pause` is over, and moves what can be moved.
    /// Answers whether the program has ended.
    pub(super) fn attend(
        &mut self,
        program: BorrowedFd<'_>,
        pause: Duration,
    ) -> Result<bool, Errno> {
        let [ended, stdin, stdout, stderr] = self.ready(program, pause)?;
        if stdin {
            self.feed();
        }
        if stdout {
            self.read_output();
        }
        if stderr {
            self.read_log();
        }
        Ok(ended)
    }

    /// Which of program, stdin, stdout and stderr is ready. A closed pipe is watched no more; in
    /// its place stands the program with nothing asked of it.
    fn ready(&self, program: BorrowedFd<'_>, pause: Duration) -> Result<[bool; 4], Errno> {
        fn watched<'fd>(
            pipe: Option<&'fd impl AsFd>,
            flags: PollFlags,
            program: &'fd BorrowedFd<'_>,
        ) -> PollFd<'fd> {
            match pipe {
                Some(pipe) => PollFd::new(pipe, flags),
                None => PollFd::new(program, PollFlags::empty()),
            }
        }
        let timeout = Timespec::try_from(pause).map_err(|_| Errno::INVAL)?;
        let mut all = [
            PollFd::new(&program, PollFlags::IN),
            watched(self.stdin.as_ref(), PollFlags::OUT, &program),
            watched(self.stdout.as_ref(), PollFlags::IN, &program),
            watched(self.stderr.as_ref(), PollFlags::IN, &program),
        ];
        match poll(&mut all, Some(&timeout)) {
            Ok(_) => Ok(all.map(|one| !one.revents().is_empty())),
            Err(Errno::INTR) => Ok([false; 4]),
            Err(error) => Err(error),
        }
    }

    /// Reads what an ended program left in its pipes. Never waits: whoever still holds them
    /// open is no part of the answer.
    pub(super) fn drain(&mut self) {
        for _ in 0..DRAIN_READS_MAX {
            if !self.read_output() || self.is_too_large() {
                break;
            }
        }
        for _ in 0..DRAIN_READS_MAX {
            if !self.read_log() {
                break;
            }
        }
    }

    /// Whether the output is over its limit for certain: one final newline does not count.
    pub(super) fn is_too_large(&self) -> bool {
        let output = &self.outputs[self.begin..];
        let counted = output.strip_suffix(b"\n").unwrap_or(output);
        counted.len() > self.output_bytes_max
    }

    /// Ends with an output: all of stdout but one final newline. Answers what was said on stderr,
    /// if that is to be kept.
    pub(super) fn keep_output(self) -> Option<String> {
        if self.outputs.len() > self.begin && self.outputs.ends_with(b"\n") {
            self.outputs.pop();
        }
        self.keep_log.then(|| self.log.into_text())
    }

    /// Ends without an output; answers what was said last on stderr.
    pub(super) fn drop_output(self) -> String {
        self.outputs.truncate(self.begin);
        self.log.into_text()
    }

    fn feed(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        match write(stdin, self.input) {
            Ok(written) => self.input = &self.input[written..],
            Err(Errno::AGAIN | Errno::INTR) => return,
            // The program does not read its stdin to the end, which is its own choice.
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Reads once; answers whether more may follow at once.
    fn read_output(&mut self) -> bool {
        let Some(stdout) = &self.stdout else {
            return false;
        };
        self.outputs.reserve(READ_BYTES);
        match read(stdout, spare_capacity(self.outputs)) {
            Ok(0) => self.stdout = None,
            Ok(_) | Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => self.stdout = None,
        }
        false
    }

    /// Reads once; answers whether more may follow at once.
    fn read_log(&mut self) -> bool {
        let Some(stderr) = &self.stderr else {
            return false;
        };
        match self.log.read_from(stderr.as_fd()) {
            Ok(0) => self.stderr = None,
            Ok(_) | Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => self.stderr = None,
        }
        false
    }
}
