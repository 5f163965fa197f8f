//! What a command can reach from inside, as its input asks: a WASI p2 command for the tests.
//!
//! It is no part of the crate; `probe.wasm` was made of it, in this folder, by
//! `rustc +1.95 --edition 2024 --target wasm32-wasip2 -C opt-level=z -C lto -C panic=abort -C strip=symbols probe.rs`

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::{env, fs, process};

fn main() {
    let mut input = String::new();
    if io::stdin().read_to_string(&mut input).is_err() {
        process::exit(9);
    }
    let (word, rest) = input.split_once(' ').unwrap_or((&input, ""));
    let output = match word {
        "echo" => Ok(rest.to_owned()),
        "variables" => Ok(env::vars().map(|(name, _)| name + " ").collect()),
        "connect" => TcpStream::connect((Ipv4Addr::LOCALHOST, rest.parse().unwrap_or(0)))
            .map(|_| "connected".to_owned()),
        "read" => fs::read_to_string(rest),
        "write" => fs::write(rest, "kept").and_then(|()| fs::read_to_string(rest)),
        "exit" => {
            let _ = io::stderr().write_all(b"it ends here\n");
            process::exit(3)
        }
        _ => process::abort(),
    };
    let output = output.unwrap_or_else(|_| "refused".to_owned());
    let _ = io::stdout().write_all(output.as_bytes());
}
