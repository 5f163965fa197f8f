//! Functions of every runtime, each giving its input back.

use std::fmt::Write as _;
use std::path::Path;

use super::published;
use crate::exit::Exit;

const PYTHON: &str = "def handler(event, context):\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";
/// A WASI command, in the text form.
const WASM: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.load (i32.const 8))
        (then
          (i32.store (i32.const 4) (i32.load (i32.const 8)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (br $again))))))
"#;
/// The file of the worker's options, in the folder.
const CONFIG: &str = "worker.toml";

/// What runs a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Runtime {
    /// `cat`, a process for each invocation
    Exec,
    /// A Python handler, by the ready-made bootstrap
    Python,
    /// A Node handler, by the ready-made bootstrap
    Node,
    /// A small client of the Lambda Runtime API, compiled in
    Lambda,
    /// A WASI command, in builds with the feature `wasm`
    Wasm,
}

impl Runtime {
    pub(super) const ALL: [Self; 5] = [
        Self::Exec,
        Self::Python,
        Self::Node,
        Self::Lambda,
        Self::Wasm,
    ];
    /// Those of which a call can be cold or warm.
    pub(super) const COLD: [Self; 4] = [Self::Python, Self::Node, Self::Lambda, Self::Wasm];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Python => "python",
            Self::Node => "node",
            Self::Lambda => "lambda",
            Self::Wasm => "wasm",
        }
    }

    /// What there is not, of what it needs.
    fn lacks(self) -> Option<&'static str> {
        let program = match self {
            Self::Exec => "cat",
            Self::Python => "python3",
            Self::Node => "node",
            Self::Lambda => return None,
            Self::Wasm => {
                let built = umbel_runtime::Runtime::Wasm.is_built();
                return (!built).then_some(
                    "this umbel was built without it (cargo build --release --features wasm)",
                );
            }
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        (!here).then_some("its program is not on the PATH")
    }

    /// The chosen ones that are here, with a remark about each that is not.
    pub(super) fn present(chosen: &[Self]) -> Vec<Self> {
        let mut here = Vec::new();
        for runtime in chosen {
            match runtime.lacks() {
                Some(why) => {
                    crate::output::remark(&format!("{} is left out: {why}", runtime.word()));
                }
                None => here.push(*runtime),
            }
        }
        here
    }

    /// The name of one of its functions.
    pub(super) fn function(self, number: u32) -> String {
        published::name(self.word(), number)
    }

    fn table(self, number: u32, program: &Path) -> String {
        let mut table = String::from("[[function]]\n");
        let name = self.function(number);
        // Writing to a string cannot fail.
        let _ = writeln!(table, "name = {name:?}\nruntime = {:?}", self.word());
        let _ = match self {
            Self::Exec => writeln!(table, "command = [\"cat\"]"),
            Self::Python => writeln!(table, "path = \"python\"\nhandler = \"app.handler\""),
            Self::Node => writeln!(table, "path = \"node\"\nhandler = \"app.handler\""),
            Self::Lambda => writeln!(table, "command = [{program:?}, \"bench-function\"]"),
            Self::Wasm => writeln!(table, "path = \"wasm\""),
        };
        table
    }
}

/// Writes `each` functions of each runtime into a folder; tells the worker's config file.
pub(super) fn write(folder: &Path, runtimes: &[Runtime], each: u32) -> Result<String, Exit> {
    let cannot = |error: std::io::Error| {
        Exit::internal(format!("cannot write into {}: {error}", folder.display()))
    };
    for (name, file, text) in [
        ("python", "app.py", PYTHON),
        ("node", "app.js", NODE),
        ("wasm", "echo.wasm", WASM),
    ] {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).map_err(cannot)?;
        std::fs::write(folder.join(file), text).map_err(cannot)?;
    }
    let program = std::env::current_exe().map_err(cannot)?;
    let mut config = String::new();
    for runtime in runtimes {
        for number in 0..each {
            config.push_str(&runtime.table(number, &program));
        }
    }
    let path = folder.join(CONFIG);
    std::fs::write(&path, config).map_err(cannot)?;
    Ok(path.to_string_lossy().into_owned())
}

/// The least that is a client of the Lambda Runtime API: what is measured with it is the worker's
/// side, not a library's.
pub(crate) mod client {
    use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpStream;

    use crate::exit::Exit;

    const API: &str = "2018-06-01/runtime";
    /// An input of a bench is short; a longer answer is no input of a bench.
    const BODY_BYTES_MAX: usize = 8 << 20;

    /// Gives every input back, until the worker ends it.
    pub(crate) fn run() -> Result<(), Exit> {
        let api = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(|_| {
            Exit::usage("AWS_LAMBDA_RUNTIME_API is not set: this is started by a worker")
        })?;
        serve(&api).map_err(|error| Exit::internal(format!("{api}: {error}")))
    }

    fn serve(api: &str) -> io::Result<()> {
        let stream = TcpStream::connect(api)?;
        stream.set_nodelay(true)?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut requests = stream;
        loop {
            let next = format!("GET /{API}/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
            requests.write_all(next.as_bytes())?;
            let (id, mut body) = answer(&mut answers)?;
            let mut response = format!(
                "POST /{API}/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            response.append(&mut body);
            requests.write_all(&response)?;
            answer(&mut answers)?;
        }
    }

    /// The request id of an answer, if it bears one, and its body.
    fn answer(from: &mut BufReader<TcpStream>) -> io::Result<(String, Vec<u8>)> {
        let (mut id, mut length) = (String::new(), 0);
        let mut line = String::new();
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim_end().is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") {
                value.trim().clone_into(&mut id);
            }
        }
        let mut body = vec![0; usize::min(length, BODY_BYTES_MAX)];
        from.read_exact(&mut body)?;
        Ok((id, body))
    }
}
