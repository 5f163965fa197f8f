//! The network: links that delay, break, and fall silent without a word.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::agenda::{Agenda, LinkId, What};
use crate::dice::Dice;

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// An encoded message.
    Message(Bytes),
    /// The coordinator ends the session, with these words.
    Close(String),
}

/// One direction of a link. What arrives, arrives in order.
#[derive(Debug, Default)]
struct Pipe {
    line: VecDeque<Item>,
    last_ms: u64,
}

/// A stream between a worker process and a coordinator.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) seat: usize,
    pub(crate) process: u64,
    pub(crate) incarnation: u32,
    up: Pipe,
    down: Pipe,
    /// Nothing more gets into it.
    broken: bool,
    /// The coordinator, or the worker, does not listen any more.
    pub(crate) deaf_above: bool,
    pub(crate) deaf_below: bool,
    /// Whether the hello has arrived.
    pub(crate) said_hello: bool,
}

/// All links there ever were in a cluster, save those that both ends have forgotten.
#[derive(Debug)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, Link>,
    last: LinkId,
    dice: Dice,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Links {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            links: BTreeMap::new(),
            last: 0,
            dice,
        }
    }

    pub(crate) fn open(&mut self, seat: usize, process: u64, incarnation: u32) -> LinkId {
        self.last += 1;
        let link = Link {
            seat,
            process,
            incarnation,
            up: Pipe::default(),
            down: Pipe::default(),
            broken: false,
            deaf_above: false,
            deaf_below: false,
            said_hello: false,
        };
        self.links.insert(self.last, link);
        self.last
    }

    pub(crate) fn find(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// The links of a coordinator.
    pub(crate) fn of_coordinator(&self, incarnation: u32) -> Vec<LinkId> {
        let of = self
            .links
            .iter()
            .filter(|(_, link)| link.incarnation == incarnation);
        of.map(|(id, _)| *id).collect()
    }

    /// Puts something into a link.
    pub(crate) fn send(&mut self, agenda: &mut Agenda, now_ms: u64, at: (LinkId, Way), item: Item) {
        let (id, way) = at;
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.broken) else {
            return;
        };
        let wait_ms = if self.dice.chance(90) {
            self.dice.below(3)
        } else {
            self.dice.below(60)
        };
        let pipe = link.pipe(way);
        pipe.last_ms = pipe.last_ms.max(now_ms + wait_ms);
        pipe.line.push_back(item);
        agenda.add(pipe.last_ms, way.arrives(id));
    }

    /// Takes what arrives now; while the way is silent, it is put off.
    pub(crate) fn arrive(
        &mut self,
        agenda: &mut Agenda,
        now_ms: u64,
        at: (LinkId, Way),
        silent_until_ms: u64,
    ) -> Option<Item> {
        let (id, way) = at;
        let link = self.links.get_mut(&id)?;
        let pipe = link.pipe(way);
        if silent_until_ms > now_ms {
            pipe.last_ms = pipe.last_ms.max(silent_until_ms);
            agenda.add(silent_until_ms, way.arrives(id));
            return None;
        }
        pipe.line.pop_front()
    }

    /// Breaks a link: of what is on its way the last part is lost.
    pub(crate) fn cut(&mut self, id: LinkId) {
        let dice = &mut self.dice;
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.broken) else {
            return;
        };
        link.broken = true;
        for pipe in [&mut link.up, &mut link.down] {
            let left = dice.below(pipe.line.len() as u64 + 1);
            pipe.line.truncate(usize::try_from(left).unwrap_or(0));
        }
    }

    /// Forgets a link that nobody listens to.
    pub(crate) fn forget_deaf(&mut self, id: LinkId) {
        if self
            .links
            .get(&id)
            .is_some_and(|link| link.deaf_above && link.deaf_below)
        {
            self.links.remove(&id);
        }
    }
}

impl Link {
    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Way {
    fn arrives(self, id: LinkId) -> What {
        match self {
            Self::Up => What::Up(id),
            Self::Down => What::Down(id),
        }
    }
}
