//! The way from workers and clients to the coordinator, which can be cut.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Passes on every connection to one address.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    links: Links,
}

/// The two ends of each connection, by its number. They are let go of at its end: a drill of an
/// hour has more connections than a process may have files.
#[derive(Clone, Debug, Default)]
struct Links(Arc<Mutex<BTreeMap<u64, [TcpStream; 2]>>>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, [TcpStream; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("a port"));
        let links = Links::default();
        let kept = links.clone();
        thread::spawn(move || {
            let accepted = listener.incoming().map_while(Result::ok);
            for (number, near) in (0..).zip(accepted) {
                // While the coordinator is away its port refuses, and so does this.
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                let both = || [&near, &far].map(|half| half.try_clone().expect("a handle"));
                let [near_too, far_too] = both();
                kept.lock().insert(number, both());
                let ended = kept.clone();
                thread::spawn(move || {
                    pass(near, far);
                    ended.lock().remove(&number);
                });
                thread::spawn(move || pass(far_too, near_too));
            }
        });
        Self { url, links }
    }

    /// Cuts all connections that there are; tells how many.
    pub(crate) fn cut(&self) -> u64 {
        let cut = std::mem::take(&mut *self.links.lock());
        for half in cut.values().flatten() {
            // It may have ended by itself.
            drop(half.shutdown(Shutdown::Both));
        }
        cut.len() as u64
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The end of one direction is the end of both: who died says nothing more.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
