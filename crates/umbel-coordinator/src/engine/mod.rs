//! The engine: one thread that owns the machine, and the handle by which all others reach it.

mod changes;
mod gate;
mod mailbox;
mod note;
mod outboxes;
mod signals;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;
use umbel_core::command::Reply;
use umbel_core::event::Event;
use umbel_core::id::{InvokeId, ReplyId, SessionId};
use umbel_core::machine::Machine;
use umbel_core::message::{FromWorker, Hello};
use umbel_core::route::Column;
use umbel_core::time::Now;

use crate::session::outbox::Outbox;

pub(crate) use changes::{Changes, Watched};
pub(crate) use mailbox::Closed;
pub(crate) use signals::Signals;
use turn::Mail;
pub(crate) use turn::Start;
pub use turn::Turns;

/// The way to the engine. A clone is the same way.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    signals: Arc<Signals>,
    changes: Changes,
    /// Numbers what waits for a reply, and sessions.
    numbers: Arc<AtomicU64>,
}

/// A reply that is on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    reply: oneshot::Receiver<Reply>,
}

impl Pending {
    pub(crate) async fn reply(self) -> Result<Reply, Closed> {
        self.reply.await.map_err(|_| Closed)
    }
}

impl Engine {
    /// The way to an engine, and the engine itself, which somebody has to turn.
    pub(crate) fn new(start: Start) -> (Self, Turns) {
        let engine = Self {
            signals: Arc::clone(&start.signals),
            changes: Changes::default(),
            numbers: Arc::default(),
        };
        let turns = Turns::new(start, engine.changes.clone());
        (engine, turns)
    }

    pub(crate) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hands in what a client asks for and waits for the reply.
    pub(crate) async fn ask(&self, event: impl FnOnce(ReplyId) -> Event) -> Result<Reply, Closed> {
        let (id, to, pending) = self.pending();
        self.signals
            .mailbox
            .sign(Mail::Ask {
                event: event(id),
                id,
                to,
            })
            .await?;
        pending.reply().await
    }

    /// Hands in an upload of so many bytes; the reply comes later, those of one caller in order.
    pub(crate) async fn upload(
        &self,
        bytes: usize,
        event: impl FnOnce(ReplyId) -> Event,
    ) -> Result<Pending, Closed> {
        let (id, to, pending) = self.pending();
        self.signals
            .mailbox
            .bulk(
                bytes,
                Mail::Ask {
                    event: event(id),
                    id,
                    to,
                },
            )
            .await?;
        Ok(pending)
    }

    /// Asks for one invocation at once. Dropping what is returned abandons it.
    pub(crate) async fn invoke(
        &self,
        event: impl FnOnce(ReplyId, InvokeId) -> Event,
    ) -> Result<Reply, Closed> {
        let (id, to, pending) = self.pending();
        let invoke = InvokeId(id.0);
        self.signals
            .mailbox
            .sign(Mail::Ask {
                event: event(id, invoke),
                id,
                to,
            })
            .await?;
        let mut abandon = Abandon {
            engine: self,
            invoke: Some(invoke),
        };
        let reply = pending.reply().await;
        abandon.invoke = None;
        reply
    }

    fn pending(&self) -> (ReplyId, oneshot::Sender<Reply>, Pending) {
        let (to, reply) = oneshot::channel();
        (ReplyId(self.number()), to, Pending { reply })
    }

    /// Looks at the machine between two events. The answer comes once all that it may show is
    /// durable.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine, Now) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        let (to, seen) = oneshot::channel();
        let look = Box::new(move |machine: &Machine, now: Now| {
            let view = look(machine, now);
            // Who asked may be gone.
            Box::new(move || drop(to.send(view))) as turn::Release
        });
        self.signals.mailbox.sign(Mail::Look(look)).await?;
        seen.await.map_err(|_| Closed)
    }

    /// From now on changes of the job are seen.
    pub(crate) fn watch(&self, job: umbel_core::id::JobId) -> Watched {
        self.changes.watch(job)
    }

    /// A number for a new session.
    pub(crate) fn session(&self) -> SessionId {
        SessionId(self.number())
    }

    /// A worker introduces itself; what the machine says to it goes to `outbox`.
    pub(crate) async fn join(
        &self,
        session: SessionId,
        hello: Box<Hello>,
        outbox: Outbox,
    ) -> Result<(), Closed> {
        self.signals
            .mailbox
            .sign(Mail::Join {
                session,
                hello,
                outbox,
            })
            .await
    }

    /// A worker says something of so many bytes. The messages of a session stay in order.
    pub(crate) async fn say(
        &self,
        session: SessionId,
        bytes: usize,
        message: FromWorker,
    ) -> Result<(), Closed> {
        self.signals
            .mailbox
            .bulk(bytes, Mail::Event(Event::Worker { session, message }))
            .await
    }

    /// So much is in the store, and nothing of deleted jobs.
    pub(crate) async fn stored(&self, live_bytes: u64) -> Result<(), Closed> {
        self.signals
            .mailbox
            .sign(Mail::Event(Event::Stored { live_bytes }))
            .await
    }

    /// A worker was heard of.
    pub(crate) async fn heard(&self, session: SessionId) -> Result<(), Closed> {
        self.signals
            .mailbox
            .sign(Mail::Event(Event::Heard(session)))
            .await
    }

    /// A session's stream has ended; this goes behind all that it said.
    pub(crate) fn ended(&self, session: SessionId) {
        // An engine that has ended knows no sessions.
        let _ = self
            .signals
            .mailbox
            .farewell_behind_bulk(Mail::Leave(session));
    }

    /// Inputs were sorted by what a route says of them.
    pub(crate) async fn sorted(&self, column: Column) -> Result<(), Closed> {
        let event = Event::Sorted(Box::new(column));
        self.signals.mailbox.sign(Mail::Event(event)).await
    }

    /// The inputs of a grant could not be loaded.
    pub(crate) fn unreadable(
        &self,
        session: SessionId,
        lease: umbel_core::id::LeaseId,
        reason: String,
    ) {
        let event = Event::GrantUnreadable {
            session,
            lease,
            reason,
        };
        // As above: there is nobody left who would grant it again.
        let _ = self.signals.mailbox.farewell(Mail::Event(event));
    }
}

/// Tells the engine when the client of an invoke goes away.
struct Abandon<'a> {
    engine: &'a Engine,
    invoke: Option<InvokeId>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(invoke) = self.invoke {
            let mail = Mail::Event(Event::InvokeAbandoned(invoke));
            // An engine that has ended runs no invokes.
            let _ = self.engine.signals.mailbox.farewell(mail);
        }
    }
}

#[cfg(test)]
mod tests;
