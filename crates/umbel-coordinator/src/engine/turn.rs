//! The engine's turn: drain, handle, commit, carry out.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use umbel_core::change::Change;
use umbel_core::command::{Command, Reply};
use umbel_core::event::Event;
use umbel_core::id::{JobId, ReplyId, SessionId};
use umbel_core::limit::{TURN_EVENTS_MAX, UNDURABLE_BYTES_MAX};
use umbel_core::machine::Machine;
use umbel_core::message::{Hello, ToWorker};
use umbel_core::route::Sorting;
use umbel_core::time::Now;
use umbel_store::Store;

use super::changes::Changes;
use super::gate::Gate;
use super::note;
use super::outboxes::Outboxes;
use super::signals::Signals;
use crate::Error;
use crate::clock::Clock;
use crate::session::outbox::Outbox;

/// Looks at the machine; what it returns shows what was seen to who asked.
pub(super) type Look = Box<dyn FnOnce(&Machine, Now) -> Release + Send>;

/// Shows what was seen.
pub(super) type Release = Box<dyn FnOnce() + Send>;

/// What comes to the engine.
pub(super) enum Mail {
    /// A fact that nobody waits for.
    Event(Event),
    /// A fact, and who waits for the reply to it.
    Ask {
        event: Event,
        id: ReplyId,
        to: oneshot::Sender<Reply>,
    },
    /// A worker's first message, and the way to it.
    Join {
        session: SessionId,
        hello: Box<Hello>,
        outbox: Outbox,
    },
    /// A session's stream has ended.
    Leave(SessionId),
    /// A question.
    Look(Look),
}

/// What must wait until it is durable.
enum Gated {
    Reply(oneshot::Sender<Reply>, Reply),
    Message(SessionId, ToWorker),
    Changed(JobId),
    Look(Release),
}

/// What the engine starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) next_number: u64,
    pub(crate) clock: Clock,
    pub(crate) signals: Arc<Signals>,
    /// Where what is to be sorted goes.
    pub(crate) sortings: UnboundedSender<Box<Sorting>>,
    /// Where jobs of copies go whose inputs are to come.
    pub(crate) feeds: UnboundedSender<JobId>,
}

/// Whether a pass waits for mail or the time.
#[derive(Clone, Copy, Debug)]
enum Wait {
    ForMail,
    Never,
}

/// The engine, turn by turn.
pub struct Turns {
    machine: Machine,
    store: Store,
    clock: Clock,
    signals: Arc<Signals>,
    sortings: UnboundedSender<Box<Sorting>>,
    feeds: UnboundedSender<JobId>,
    changed: Changes,
    next_number: u64,
    replies: HashMap<ReplyId, oneshot::Sender<Reply>>,
    outboxes: Outboxes,
    gate: Gate<Gated>,
    // Kept between turns for their memory.
    mail: Vec<Mail>,
    commands: Vec<Command>,
    changes: Vec<Change>,
    gated: Vec<Gated>,
}

impl Turns {
    pub(super) fn new(start: Start, changed: Changes) -> Self {
        Self {
            machine: start.machine,
            store: start.store,
            clock: start.clock,
            signals: start.signals,
            sortings: start.sortings,
            feeds: start.feeds,
            changed,
            next_number: start.next_number,
            replies: HashMap::new(),
            outboxes: Outboxes::default(),
            gate: Gate::new(),
            mail: Vec::with_capacity(TURN_EVENTS_MAX),
            commands: Vec::new(),
            changes: Vec::new(),
            gated: Vec::new(),
        }
    }

    /// Turns on a thread of its own until the coordinator drains or something breaks.
    pub(crate) fn spawn(mut self) -> Result<JoinHandle<()>, Error> {
        let run = move || while self.guarded(|turns| turns.pass(Wait::ForMail)) {};
        std::thread::Builder::new()
            .name("umbel-engine".to_owned())
            .spawn(run)
            .map_err(Error::Thread)
    }

    /// One turn over what has come by now, without waiting for anything; false once the engine has
    /// ended. For those that are the engine's thread themselves, such as a simulation of the
    /// network.
    pub fn step(&mut self) -> bool {
        self.guarded(|turns| turns.pass(Wait::Never))
    }

    /// Runs a pass; when it was the last one, everybody is told.
    fn guarded(&mut self, pass: impl FnOnce(&mut Self) -> Result<bool, Error>) -> bool {
        let signals = Arc::clone(&self.signals);
        // Nothing that was acknowledged hangs on the state that a panic leaves behind: it is
        // dropped unseen, and the process ends with words.
        match catch_unwind(AssertUnwindSafe(|| pass(self))) {
            Ok(Ok(true)) => return true,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => signals.fail(error),
            Err(panic) => signals.fail(Error::Engine {
                what: words_of(&*panic),
            }),
        }
        signals.mailbox.close();
        // However it came to its end: what is still open would wait for ever.
        signals.draining.cancel();
        signals.ended.cancel();
        false
    }

    /// Lets out what is durable, takes mail and turns; false when this was the end.
    fn pass(&mut self, wait: Wait) -> Result<bool, Error> {
        self.release();
        if self.signals.failure().is_some() {
            self.outboxes.stop();
            return Ok(false);
        }
        if self.signals.draining.is_cancelled() {
            self.finish()?;
            return Ok(false);
        }
        let until = match wait {
            Wait::ForMail => (self.machine.next_wake()).and_then(|wake| self.clock.at(wake)),
            Wait::Never => Some(Instant::now()),
        };
        let (mailbox, store) = (&self.signals.mailbox, &self.store);
        mailbox.take(
            until,
            || store.undurable_bytes() > UNDURABLE_BYTES_MAX,
            &mut self.mail,
        );
        self.turn()?;
        Ok(true)
    }

    /// One turn over the mail that was taken.
    fn turn(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        let now = self.clock.now();
        let mut mail = std::mem::take(&mut self.mail);
        let mail_count = mail.len();
        for mail in mail.drain(..) {
            self.open(now, mail);
        }
        self.mail = mail;
        self.machine.advance(now, &mut self.commands);
        let mut commands = std::mem::take(&mut self.commands);
        for command in commands.drain(..) {
            self.carry_out(command);
        }
        self.commands = commands;
        self.commit()?;
        if mail_count > 0 {
            self.signals.metrics.turn(mail_count, began.elapsed());
        }
        Ok(())
    }

    fn open(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Event(event) => {
                if let Event::InvokeAbandoned(id) = &event {
                    self.replies.remove(&ReplyId(id.0));
                }
                self.machine.handle(now, event, &mut self.commands);
            }
            Mail::Ask { event, id, to } => {
                self.replies.insert(id, to);
                self.machine.handle(now, event, &mut self.commands);
            }
            Mail::Join {
                session,
                hello,
                outbox,
            } => {
                self.outboxes.open(session, outbox);
                self.machine
                    .handle(now, Event::Hello { session, hello }, &mut self.commands);
            }
            Mail::Leave(session) => {
                self.outboxes.remove(session);
                self.machine
                    .handle(now, Event::SessionEnded(session), &mut self.commands);
            }
            Mail::Look(look) => self.gated.push(Gated::Look(look(&self.machine, now))),
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Persist(change) => {
                self.signals.metrics.change(&change);
                self.changes.push(change);
            }
            Command::Reply { to, reply } => {
                let Some(to) = self.replies.remove(&to) else {
                    return;
                };
                if matches!(reply, Reply::Invoked { .. }) {
                    // Nothing durable depends on it, and it must not wait for the disk.
                    drop(to.send(reply));
                } else {
                    self.gated.push(Gated::Reply(to, reply));
                }
            }
            // What a welcome does not keep it acknowledges.
            Command::Send {
                session,
                message: ToWorker::Welcome(welcome),
            } if !welcome.answers.is_empty() => {
                let message = ToWorker::Welcome(welcome);
                self.gated.push(Gated::Message(session, message));
            }
            Command::Send { session, message } => self.outboxes.send(session, message),
            Command::SendDurable { session, message } => {
                self.gated.push(Gated::Message(session, message));
            }
            Command::Close { session, refusal } => self.outboxes.close(session, refusal),
            Command::JobChanged(job) => {
                if self.changed.is_watched(job) {
                    self.gated.push(Gated::Changed(job));
                }
            }
            // Without who sorts there is no coordinator any more.
            Command::Sort(sorting) => drop(self.sortings.send(sorting)),
            Command::Feed(job) => drop(self.feeds.send(job)),
            Command::Ignored(reason) => self.signals.metrics.ignored(reason),
            Command::Note(note) => note::write(&note, &self.signals.metrics),
        }
    }

    /// Hands the turn's changes to the commit thread, and holds back what shows or promises them.
    fn commit(&mut self) -> Result<(), Error> {
        if !self.changes.is_empty() {
            self.store.commit(self.next_number, &self.changes)?;
            self.next_number += 1;
            self.changes.clear();
        }
        // A turn without changes may still show what an earlier one did.
        let number = self.next_number - 1;
        for gated in self.gated.drain(..) {
            self.gate.hold(number, gated);
        }
        Ok(())
    }

    fn release(&mut self) {
        let durable = self.store.durable().max(self.signals.durable());
        while let Some(gated) = self.gate.release(durable) {
            match gated {
                // Who waited may be gone.
                Gated::Reply(to, reply) => drop(to.send(reply)),
                Gated::Message(session, message) => self.outboxes.send(session, message),
                Gated::Changed(job) => self.changed.tell(job),
                Gated::Look(release) => release(),
            }
        }
    }

    /// Takes nothing new, says what is owed once it is durable, and ends.
    fn finish(&mut self) -> Result<(), Error> {
        self.signals.mailbox.close();
        if !self.gate.is_empty() {
            self.store.settle()?;
            self.release();
        }
        self.outboxes.stop();
        Ok(())
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("it panicked without words").to_owned()
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("next_number", &self.next_number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Event(event) => return write!(f, "{event:?}"),
            Self::Ask { event, .. } => return write!(f, "{event:?}"),
            Self::Join { .. } => "Join",
            Self::Leave(_) => "Leave",
            Self::Look(_) => "Look",
        };
        f.write_str(name)
    }
}
