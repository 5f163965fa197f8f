//! A disk that loses its power: what is on it for sure, what may be, and what is left of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use crate::random::Random;
use crate::trace::{Event, Trace};

/// What a file system writes as one.
const PAGE: u64 = 4096;
/// What a device writes as one.
const SECTOR: u64 = 512;

type FileId = usize;

/// What happened to a file since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, from: usize, len: u64 },
    Truncate(u64),
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    File(FileId),
    Dir,
}

/// A change of names; those of one directory reach the disk in their order.
#[derive(Debug, Clone)]
struct Naming {
    /// Its place among all of them.
    order: u64,
    remove: Option<String>,
    add: Option<(String, Node)>,
}

#[derive(Debug, Default)]
struct Dir {
    durable: BTreeMap<String, Node>,
    pending: Vec<Naming>,
}

/// How names reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Names {
    /// By POSIX: only when their directory is synced.
    Strict,
    /// As a journal does: in order, and with every sync of any file.
    Journal,
}

/// Which unsynced bytes are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bytes {
    None,
    All,
    /// The first ones, the last of them torn within a sector's bounds.
    Prefix,
    /// Any pages, in this many of a hundred.
    Pages(u64),
    /// Any runs of pages.
    Extents,
}

impl Bytes {
    /// One of them; what is likeliest to find something is likeliest.
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::None,
            1 => Self::All,
            2 | 3 => Self::Prefix,
            4 => Self::Pages(10),
            5 => Self::Pages(50),
            6 => Self::Pages(95),
            _ => Self::Extents,
        }
    }
}

/// The disk after some events of a trace.
#[derive(Debug)]
pub(crate) struct Disk<'a> {
    trace: &'a Trace,
    names: Names,
    /// Whether `fdatasync` is heard: without it, this is sled as it is.
    syncs_data: bool,
    files: Vec<File>,
    dirs: BTreeMap<String, Dir>,
    /// The names as the running process sees them.
    live: BTreeMap<String, Node>,
    by_inode: HashMap<u64, FileId>,
    order: u64,
    next: usize,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(trace: &'a Trace, names: Names, syncs_data: bool) -> Self {
        Self {
            trace,
            names,
            syncs_data,
            files: Vec::new(),
            dirs: BTreeMap::from([(String::new(), Dir::default())]),
            live: BTreeMap::new(),
            by_inode: HashMap::new(),
            order: 0,
            next: 0,
        }
    }

    /// Lets the events before the one with this number happen.
    pub(crate) fn advance(&mut self, to: usize) {
        while self.next < to {
            let event = &self.trace.events[self.next];
            self.next += 1;
            self.apply(event);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Create { inode, path } => {
                let id = self.files.len();
                self.files.push(File::default());
                self.by_inode.insert(*inode, id);
                self.live.insert(path.clone(), Node::File(id));
                self.name(path, None, Some(Node::File(id)));
            }
            Event::Write { inode, at, bytes } => {
                let change = Change::Write {
                    at: *at,
                    from: bytes.start,
                    len: bytes.len() as u64,
                };
                self.file(*inode).pending.push(change);
            }
            Event::Truncate { inode, len } => {
                self.file(*inode).pending.push(Change::Truncate(*len))
            }
            Event::SyncData { .. } if !self.syncs_data => {}
            Event::Sync { inode } | Event::SyncData { inode } => {
                let trace = self.trace;
                let file = self.file(*inode);
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.durable, trace, |_, _| true);
                }
                if self.names == Names::Journal {
                    self.dirs.values_mut().for_each(Dir::sync);
                }
            }
            Event::SyncDir { path } => match self.names {
                Names::Journal => self.dirs.values_mut().for_each(Dir::sync),
                Names::Strict => self.dirs.get_mut(path).unwrap().sync(),
            },
            Event::Rename { from, to } => {
                let node = self.live.remove(from).unwrap();
                self.live.insert(to.clone(), node);
                if parent(from) == parent(to) {
                    self.name(to, Some(from), Some(node));
                } else {
                    self.name(to, None, Some(node));
                    self.name(from, Some(from), None);
                }
            }
            Event::Unlink { path } => {
                self.live.remove(path);
                self.name(path, Some(path), None);
            }
            Event::MakeDir { path } => {
                self.live.insert(path.clone(), Node::Dir);
                self.dirs.insert(path.clone(), Dir::default());
                self.name(path, None, Some(Node::Dir));
            }
            Event::SyncRange => {}
        }
    }

    fn file(&mut self, inode: u64) -> &mut File {
        &mut self.files[self.by_inode[&inode]]
    }

    fn name(&mut self, path: &str, remove: Option<&str>, add: Option<Node>) {
        self.order += 1;
        let naming = Naming {
            order: self.order,
            remove: remove.map(|path| leaf(path).to_owned()),
            add: add.map(|node| (leaf(path).to_owned(), node)),
        };
        self.dirs
            .get_mut(parent(path))
            .unwrap()
            .pending
            .push(naming);
    }

    /// Writes what a loss of power now would leave below `root`.
    pub(crate) fn cut(&self, root: &Path, bytes: Bytes, random: &mut Random) {
        let first = self
            .dirs
            .values()
            .flat_map(|dir| &dir.pending)
            .map(|naming| naming.order);
        let first = first.min().unwrap_or(self.order);
        let until = first + random.below(self.order - first + 2);
        self.cut_dir("", root, bytes, until, random);
    }

    fn cut_dir(&self, path: &str, to: &Path, bytes: Bytes, until: u64, random: &mut Random) {
        fs::create_dir_all(to).unwrap();
        let dir = &self.dirs[path];
        let mut entries = dir.durable.clone();
        let kept = match self.names {
            Names::Journal => dir
                .pending
                .iter()
                .filter(|naming| naming.order < until)
                .count(),
            Names::Strict => random.below(dir.pending.len() as u64 + 1) as usize,
        };
        dir.pending[..kept]
            .iter()
            .for_each(|naming| naming.apply(&mut entries));
        for (name, node) in entries {
            match node {
                Node::Dir => {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}/{name}")
                    };
                    self.cut_dir(&path, &to.join(name), bytes, until, random);
                }
                Node::File(id) => {
                    let content = self.files[id].cut(self.trace, bytes, random);
                    fs::write(to.join(name), content).unwrap();
                }
            }
        }
    }
}

impl Dir {
    fn sync(&mut self) {
        for naming in std::mem::take(&mut self.pending) {
            naming.apply(&mut self.durable);
        }
    }
}

impl Naming {
    fn apply(&self, entries: &mut BTreeMap<String, Node>) {
        if let Some(name) = &self.remove {
            entries.remove(name);
        }
        if let Some((name, node)) = &self.add {
            entries.insert(name.clone(), *node);
        }
    }
}

impl File {
    fn cut(&self, trace: &Trace, bytes: Bytes, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        let mut run = (false, 0);
        let whole = match bytes {
            Bytes::Prefix => random.below(self.pending.len() as u64 + 1) as usize,
            _ => self.pending.len(),
        };
        for (number, change) in self.pending.iter().enumerate() {
            let torn = number == whole;
            if number > whole {
                break;
            }
            let end = match change {
                Change::Write { at, len, .. } if torn => {
                    (at + random.below(len + 1)) / SECTOR * SECTOR
                }
                _ => u64::MAX,
            };
            change.apply(&mut content, trace, |from, to| match bytes {
                Bytes::None => false,
                Bytes::All => true,
                Bytes::Prefix => !torn || (to <= end && from < to),
                Bytes::Pages(percent) => random.below(100) < percent,
                Bytes::Extents => {
                    if run.1 == 0 {
                        run = (random.below(2) == 0, 1 + random.below(128));
                    }
                    run.1 -= 1;
                    run.0
                }
            });
        }
        content
    }
}

impl Change {
    /// Does the change, as far as `kept` says of each piece of it, from its first byte to its end.
    fn apply(&self, content: &mut Vec<u8>, trace: &Trace, mut kept: impl FnMut(u64, u64) -> bool) {
        match *self {
            Self::Truncate(len) => {
                if kept(len, len) {
                    content.resize(len as usize, 0);
                }
            }
            Self::Write { at, from, len } => {
                let mut start = at;
                while start < at + len {
                    let end = ((start / PAGE + 1) * PAGE).min(at + len);
                    if kept(start, end) {
                        if content.len() < end as usize {
                            content.resize(end as usize, 0);
                        }
                        let source = from + (start - at) as usize;
                        let piece = &trace.bytes[source..source + (end - start) as usize];
                        content[start as usize..end as usize].copy_from_slice(piece);
                    }
                    start = end;
                }
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn leaf(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, leaf)| leaf)
}
