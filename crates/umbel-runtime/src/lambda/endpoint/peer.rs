//! Who has the other end of a loopback connection.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};

use rustix::process::geteuid;

/// Connections in this network namespace, a line each (proc_pid_net(5)), and how addresses stand
/// there. A socket of both families, as Java and .NET open them, is listed as one of IPv6.
const CONNECTIONS: [(&str, Written); 2] = [
    ("/proc/net/tcp", written),
    ("/proc/net/tcp6", written_mapped),
];

type Written = fn(SocketAddrV4) -> String;

/// Whether the process at the other end runs as the same user as this one: a port of the loopback
/// is open to all of them. Asked once for a connection.
pub(super) fn is_of_this_user(peer: SocketAddr, local: SocketAddr) -> bool {
    let (SocketAddr::V4(peer), SocketAddr::V4(local)) = (peer, local) else {
        return false;
    };
    let own = geteuid().as_raw();
    CONNECTIONS.iter().any(|(table, written)| {
        let connections = fs::read_to_string(table).unwrap_or_default();
        owner(&connections, &written(peer), &written(local)) == Some(own)
    })
}

/// The user who has the end `from` of the connection to `to`. One that was closed has none: the
/// kernel lists it as root's, while what was sent before can still be read.
fn owner(connections: &str, from: &str, to: &str) -> Option<u32> {
    connections.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_it = words.next()? == from && words.next()? == to;
        // State, queues, timer and retransmissions stand before it; then come timeouts and the inode.
        let user = words.nth(4).filter(|_| is_it)?;
        words.nth(1).filter(|inode| *inode != "0")?;
        user.parse().ok()
    })
}

/// An address as the kernel writes it: its four bytes as a number of this machine's order.
fn written(address: SocketAddrV4) -> String {
    let number = u32::from_ne_bytes(address.ip().octets());
    format!("{number:08X}:{:04X}", address.port())
}

/// The same as one of IPv6 (RFC 4291, 2.5.5.2), in four such numbers.
fn written_mapped(address: SocketAddrV4) -> String {
    let prefix = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    format!("{:016X}{prefix:08X}{}", 0, written(address))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_other_end_of_ones_own_connection_is_ones_own_until_it_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = listener.local_addr().unwrap();
        let stream = TcpStream::connect(local).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert!(is_of_this_user(peer, local));
        drop(stream);
        assert!(!is_of_this_user(peer, local), "nobody has it any more");
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert!(!is_of_this_user(nobody, local));
    }

    #[test]
    fn a_socket_of_both_families_is_found_too() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let local = listener.local_addr().unwrap();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let stream = match TcpStream::connect((mapped, local.port())) {
            // A machine without IPv6 has no such sockets.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) => return,
            stream => stream.unwrap(),
        };
        let (_accepted, peer) = listener.accept().unwrap();
        assert!(is_of_this_user(peer, local));
        drop(stream);
        assert!(!is_of_this_user(peer, local));
    }

    #[test]
    fn the_user_of_the_right_end_is_found() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let (theirs, ours, other) = (at(40_000), at(80), at(81));
        for written in [written, written_mapped] as [Written; 2] {
            let line = |from, to, user: u32, inode: u32| {
                let (from, to) = (written(from), written(to));
                format!(
                    "   1: {from} {to} 01 00000000:00000000 00:00000000 00000000 {user:>5} 0 {inode} 1\n"
                )
            };
            let table = [
                "head\n".to_owned(),
                line(ours, theirs, 1, 4_711),
                line(theirs, other, 2, 4_712),
                line(theirs, ours, 3, 4_713),
                line(other, ours, 0, 0),
            ]
            .concat();
            let owner = |from, to| owner(&table, &written(from), &written(to));
            assert_eq!(owner(theirs, ours), Some(3));
            assert_eq!(owner(ours, other), None);
            assert_eq!(owner(other, ours), None, "it was closed");
        }
        assert_eq!(owner("head\n garbled\n", "", ""), None);
    }
}
