//! Who has the other end of a loopback connection.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use rustix::process::geteuid;

/// Connections of IPv4 in this network namespace, a line each (proc_pid_net(5)).
const CONNECTIONS: &str = "/proc/net/tcp";

/// Whether the process at the other end runs as the same user as this one: a port of the loopback
/// is open to all of them. Asked once for a connection.
pub(super) fn is_of_this_user(peer: SocketAddr, local: SocketAddr) -> bool {
    let (SocketAddr::V4(peer), SocketAddr::V4(local)) = (peer, local) else {
        return false;
    };
    let connections = fs::read_to_string(CONNECTIONS).unwrap_or_default();
    owner(&connections, peer, local) == Some(geteuid().as_raw())
}

/// The user who has the end `from` of the connection to `to`.
fn owner(connections: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    let (from, to) = (written(from), written(to));
    connections.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_it = words.next()? == from && words.next()? == to;
        // State, queues, timer and retransmissions stand before it.
        words.nth(4).filter(|_| is_it)?.parse().ok()
    })
}

/// An address as the kernel writes it: its four bytes as a number of this machine's order.
fn written(address: SocketAddrV4) -> String {
    let number = |ip: &Ipv4Addr| u32::from_ne_bytes(ip.octets());
    format!("{:08X}:{:04X}", number(address.ip()), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_other_end_of_ones_own_connection_is_ones_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = listener.local_addr().unwrap();
        let stream = TcpStream::connect(local).unwrap();
        assert!(is_of_this_user(stream.local_addr().unwrap(), local));
        drop(stream);
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert!(!is_of_this_user(nobody, local));
    }

    #[test]
    fn the_user_of_the_right_end_is_found() {
        let addresses = |ports: (u16, u16)| {
            let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            (at(ports.0), at(ports.1))
        };
        let line = |from, to, user: u32| {
            let (from, to) = (written(from), written(to));
            format!(
                "   1: {from} {to} 01 00000000:00000000 00:00000000 00000000 {user:>5} 0 4711 1\n"
            )
        };
        let ((theirs, ours), (_, other)) = (addresses((40_000, 80)), addresses((1, 81)));
        let table = [
            "head\n".to_owned(),
            line(ours, theirs, 1),
            line(theirs, other, 2),
            line(theirs, ours, 3),
        ];
        assert_eq!(owner(&table.concat(), theirs, ours), Some(3));
        assert_eq!(owner(&table.concat(), other, ours), None);
        assert_eq!(owner("head\n garbled\n", theirs, ours), None);
    }
}
