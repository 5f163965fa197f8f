//! The coordinator's end of the sessions: every message goes through the door, as bytes.

use bytes::Bytes;
use prost::Message as _;
use umbel_core::command::Refusal;
use umbel_core::event::Event;
use umbel_core::function::VersionId;
use umbel_core::id::{JobId, SessionId};
use umbel_core::job::BlockRef;
use umbel_core::message::{FromWorker, GrantHead, Report, ToWorker};
use umbel_proto::block::Block;
use umbel_proto::convert::{self, Incoming, Outgoing};
use umbel_proto::v1;

use crate::agenda::{LinkId, What};
use crate::bug::Bug;
use crate::model::Arrival;
use crate::net::{Item, Way};
use crate::shell::{Mail, Shell};
use crate::world::World;

impl World {
    /// Says something to a worker.
    pub(crate) fn send_down(&mut self, shell: &mut Shell, to: SessionId, message: ToWorker) {
        let message = match message {
            ToWorker::Grant(mut grant) => {
                if self.bug == Some(Bug::IgnoreConcurrency) {
                    grant.head.slots = 64;
                }
                if self.bug == Some(Bug::RunAnother)
                    && let Some(version) = grant.head.version
                {
                    grant.head.version = Some(self.another(to.0, version));
                }
                self.model.grants.sent(grant.head.job, &grant.head.indices);
                ToWorker::Grant(grant)
            }
            ToWorker::Welcome(mut welcome) => {
                self.model.grants.welcomed(&welcome.answers);
                if let Some(offers) = shell.offers.get(&to.0) {
                    crate::mutate::keep_all(offers, &mut welcome.answers);
                }
                ToWorker::Welcome(welcome)
            }
            ToWorker::Ack(number) => {
                self.model.acknowledged(to.0, number);
                ToWorker::Ack(number)
            }
            ToWorker::Version(version) if self.bug == Some(Bug::TellAnother) => {
                let mut version = version.as_ref().clone();
                version.artifact.digest.0[0] ^= 7;
                ToWorker::Version(version.into())
            }
            other => other,
        };
        let wire = match convert::outgoing(message) {
            Outgoing::Ready(wire) => wire,
            Outgoing::Load(head, refs) => {
                let lease = head.lease;
                match load(shell, *head, &refs) {
                    Ok(wire) => wire,
                    Err(reason) => {
                        let event = Event::GrantUnreadable {
                            session: to,
                            lease,
                            reason,
                        };
                        shell.mail.push_back(Mail::Event(event));
                        return;
                    }
                }
            }
        };
        if self.bug == Some(Bug::GrantTwice)
            && let Some(wire) = crate::mutate::granted_again(&wire)
        {
            self.put(to.0, Way::Down, Item::Message(wire.encode_to_vec().into()));
        }
        let bytes = Bytes::from(wire.encode_to_vec());
        self.put(to.0, Way::Down, Item::Message(bytes));
    }

    /// Another version of the function that the worker of a link was told of.
    fn another(&mut self, link: LinkId, version: VersionId) -> VersionId {
        let seat = self.links.find(link).map(|link| link.seat);
        let at = seat.and_then(|seat| self.seats.get(seat));
        let told = at.and_then(|at| at.running.as_ref());
        let published = &self.model.live.published;
        let function = published.version(version).map(|of| &of.function);
        let mut others = told.into_iter().flat_map(|process| process.told.values());
        let other = others.find(|other| other.id != version && Some(&other.function) == function);
        other.map_or(version, |other| other.id)
    }

    pub(crate) fn put(&mut self, link: LinkId, way: Way, item: Item) {
        if let Item::Message(bytes) = &item {
            self.trace.bytes(bytes);
            self.figures.messages += 1;
        }
        self.links
            .send(&mut self.agenda, self.now_ms, (link, way), item);
    }

    /// The coordinator ends a session.
    pub(crate) fn close_link(&mut self, link: LinkId, refusal: &Refusal) {
        self.put(link, Way::Down, Item::Close(refusal.to_string()));
        if let Some(link) = self.links.find(link) {
            link.deaf_above = true;
        }
        let wait_ms = self.dice.below(5);
        self.later(wait_ms, What::EndsAbove(link));
    }

    /// The coordinator notices the end of a link.
    pub(crate) fn ends_above(&mut self, id: LinkId) {
        let Some(link) = self.links.find(id) else {
            return;
        };
        link.deaf_above = true;
        let told = link.said_hello;
        link.said_hello = false;
        let incarnation = link.incarnation;
        self.links.forget_deaf(id);
        let current = self
            .shell
            .as_ref()
            .is_some_and(|shell| shell.incarnation == incarnation);
        if told && current {
            self.post(Mail::Leave(id));
        }
    }

    /// A worker's message arrives.
    pub(crate) fn message_up(&mut self, id: LinkId) {
        let Some(link) = self.links.find(id) else {
            return;
        };
        let (seat, incarnation) = (link.seat, link.incarnation);
        let (deaf, said_hello) = (link.deaf_above, link.said_hello);
        let silent_ms = self
            .seats
            .get(seat)
            .map_or(0, |seat| seat.silent_up_until_ms);
        let arrived = self
            .links
            .arrive(&mut self.agenda, self.now_ms, (id, Way::Up), silent_ms);
        let Some(Item::Message(bytes)) = arrived else {
            return;
        };
        if self
            .shell
            .as_ref()
            .is_none_or(|shell| shell.incarnation != incarnation)
        {
            return;
        }
        if deaf && self.bug != Some(Bug::SkipFence) {
            return;
        }
        let wire = match v1::ConnectRequest::decode(bytes) {
            Ok(wire) => wire,
            Err(error) => panic!("a worker's message cannot be decoded: {error}"),
        };
        match convert::incoming(wire) {
            Ok(Incoming::Hello(hello)) => {
                assert!(!said_hello, "a worker says hello twice");
                if let Some(link) = self.links.find(id) {
                    link.said_hello = true;
                }
                self.post(Mail::Join(id, hello));
            }
            Ok(Incoming::Message(message)) => self.said(id, message),
            Err(invalid) => panic!("a worker's message is refused at the door: {invalid}"),
        }
    }

    fn said(&mut self, link: LinkId, message: FromWorker) {
        let FromWorker::Report(report) = &message else {
            return self.post(Mail::Said {
                link,
                message,
                arrival: None,
            });
        };
        let number = report.number;
        let arrival = self.arrival(link, report);
        match self.bug {
            Some(Bug::SkipFence) => {
                if let Some((other, report)) = self.forge(link, report) {
                    let message = FromWorker::Report(report);
                    self.post(Mail::Said {
                        link: other,
                        message,
                        arrival,
                    });
                    return;
                }
                if self.links.find(link).is_none_or(|link| link.deaf_above) {
                    return;
                }
            }
            Some(Bug::RepeatReport) if self.dice.chance(5) => {
                let mut again = report.clone();
                again.number = number + 1;
                let first = Mail::Said {
                    link,
                    message,
                    arrival: arrival.clone(),
                };
                self.post(first);
                let message = FromWorker::Report(again);
                self.post(Mail::Said {
                    link,
                    message,
                    arrival,
                });
                return;
            }
            Some(Bug::LoseReport) if self.dice.chance(5) => {
                let report = Report {
                    number,
                    chunks: Vec::new(),
                };
                let message = FromWorker::Report(report);
                self.post(Mail::Said {
                    link,
                    message,
                    arrival: None,
                });
                return;
            }
            _ => {}
        }
        self.post(Mail::Said {
            link,
            message,
            arrival,
        });
    }

    /// What the model is told of a report that has come.
    fn arrival(&mut self, link: LinkId, report: &Report) -> Option<Arrival> {
        let shell = self.shell.as_ref();
        let worker = shell.and_then(|shell| shell.sessions.get(&link).copied());
        // A hello may still lie in the mail before it.
        let worker = worker.or_else(|| self.worker_of(link))?;
        Some(Arrival {
            worker,
            link,
            number: report.number,
            chunks: report.chunks.clone(),
        })
    }

    /// A report of a dead lease, made out as one of the lease that lives.
    fn forge(&self, link: LinkId, report: &Report) -> Option<(LinkId, Report)> {
        let shell = self.shell.as_ref()?;
        let mut found = report.chunks.iter().filter_map(|chunk| {
            self.model
                .grants
                .successor(chunk)
                .map(|successor| (chunk, successor))
        });
        let (chunk, (lease, worker)) = found.next()?;
        let (other, _) = shell.sessions.iter().find(|(_, known)| **known == worker)?;
        if *other == link {
            return None;
        }
        let mut chunk = chunk.clone();
        chunk.begun.lease = lease;
        let number = shell.reported.get(other).copied().unwrap_or(0) + 1;
        Some((
            *other,
            Report {
                number,
                chunks: vec![chunk],
            },
        ))
    }
}

/// A grant as it travels: with slices of the blocks that its inputs lie in.
fn load(shell: &Shell, head: GrantHead, refs: &[BlockRef]) -> Result<v1::ConnectResponse, String> {
    let mut slices = Vec::new();
    for at in refs {
        let block = block(shell, head.job, at)?;
        convert::cut(&block, at.first, &head.indices, &mut slices);
    }
    Ok(convert::grant_message(head, slices))
}

pub(crate) fn block(shell: &Shell, job: JobId, at: &BlockRef) -> Result<Block, String> {
    let bytes = shell
        .store
        .load_block(job, at)
        .map_err(|error| error.to_string())?;
    Block::parse_stored(bytes).map_err(|error| error.to_string())
}
