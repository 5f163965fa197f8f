//! The clients of the Lambda Runtime API that AWS publishes, as pip, npm and cargo install them,
//! each from publish to results: what a function gives, how it fails, and what becomes of a
//! process that ends in the middle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, has};
use crate::examples::rust_lambda;
use crate::publish::publish;

/// Gives the job its inputs, of which the second fails and the third ends the process, and looks
/// at what came of each. The worker has one slot, so that one instance serves them one by one.
fn story(publication: &[&str], target: &str, inputs: [String; 5], output: &str, ends: &str) {
    let cluster = Cluster::with_workers(1, 1);
    publish(&cluster, publication);
    let inputs = cluster.inputs(inputs.into_iter());
    let submit = ["job", "submit", target, "--max-attempts", "1", "--inputs"];
    let id = cluster.run(&[&submit[..], &[inputs.to_str().expect("UTF-8")]].concat());
    assert_eq!(cluster.ended(id.trim())["state"], "failed");
    let results = cluster.results(id.trim());
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["version"], 1, "{result}");
        let failure = &result["failure"];
        let message = failure["message"].as_str().unwrap_or_default();
        match index {
            1 => {
                assert_eq!(failure["kind"], "function", "{result}");
                assert_eq!(failure["type"], "EmptyImage", "{result}");
                assert_eq!(message, "0x1080", "{result}");
                let log = failure["stderr"].as_str().unwrap_or_default();
                assert!(log.contains("strange image"), "{result}");
            }
            2 => {
                assert_eq!(failure["kind"], "crashed", "{result}");
                assert_eq!(failure["type"], "Exit", "{result}");
                assert!(message.contains(ends), "{result}");
            }
            _ => assert_eq!(result["output"], output, "{result}"),
        }
    }
    // An error is no reason for a new instance; its end is.
    let cold: Vec<_> = (results.iter().enumerate())
        .filter(|(_, result)| result.get("cold_start").is_some())
        .map(|(index, _)| index)
        .collect();
    assert_eq!(cold, [0, 3]);
}

/// Inputs of the two interpreted functions.
fn words() -> [String; 5] {
    ["\"a\"", "\"fail\"", "\"exit\"", "\"b\"", "\"c\""].map(str::to_owned)
}

#[test]
fn the_python_client_is_served_as_it_is() {
    let test = "the_python_client_is_served_as_it_is";
    let module =
        "import awslambdaric, os; print(os.path.dirname(os.path.dirname(awslambdaric.__file__)))";
    if !has(test, "python", "python3", &["--version"])
        || !has(test, "awslambdaric", "python3", &["-c", module])
    {
        return;
    }
    let found = Command::new("python3").args(["-c", module]).output();
    let found = String::from_utf8(found.expect("it runs").stdout).expect("UTF-8");
    let dir = tempfile::TempDir::new().expect("a directory");
    let source = "import os\nclass EmptyImage(Exception): pass\ndef handler(event, context):\n    \
                  if event == 'exit': os._exit(3)\n    print('a strange image?')\n    \
                  if event == 'fail': raise EmptyImage('0x1080')\n    return 'seen'\n";
    write(dir.path(), "app.py", source);
    // What `pip install --target` would put beside the code.
    for entry in fs::read_dir(found.trim()).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let name = entry
            .file_name()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let own = [
            "awslambdaric",
            "simplejson",
            "snapshot_restore_py",
            "runtime_client",
        ];
        if own.iter().any(|own| name.starts_with(own)) {
            copy(&entry, &dir.path().join(name));
        }
    }
    let command = "command = [\"python3\", \"-m\", \"awslambdaric\", \"app.handler\"]\n";
    let manifest = format!("name = \"ric\"\nruntime = \"lambda\"\n{command}");
    write(dir.path(), "umbel.toml", &manifest);
    let path = dir.path().to_str().expect("UTF-8");
    story(&[path], "ric", words(), "seen", "exit status: 3");
}

#[test]
fn the_node_client_is_served_as_it_is() {
    let test = "the_node_client_is_served_as_it_is";
    let resolve = "process.stdout.write(require.resolve('aws-lambda-ric'))";
    if !has(test, "node", "node", &["--version"])
        || !has(test, "aws-lambda-ric", "node", &["-e", resolve])
    {
        return;
    }
    let found = Command::new("node").args(["-e", resolve]).output();
    let found = String::from_utf8(found.expect("it runs").stdout).expect("UTF-8");
    let package = Path::new(&found).parent().expect("the package's folder");
    let dir = tempfile::TempDir::new().expect("a directory");
    let source = "class EmptyImage extends Error { name = 'EmptyImage'; }\n\
                  exports.handler = async (event) => {\n  if (event === 'exit') process.exit(3);\n  \
                  console.log('a strange image?');\n  \
                  if (event === 'fail') throw new EmptyImage('0x1080');\n  return 'seen';\n};\n";
    write(dir.path(), "app.js", source);
    // What `npm install` would put beside the code, without what it was built of.
    for name in ["index.mjs", "rapid-client.node", "package.json"] {
        let to = dir.path().join("node_modules/aws-lambda-ric").join(name);
        copy(&package.join(name), &to);
    }
    let command = "command = [\"node\", \"node_modules/aws-lambda-ric/index.mjs\"]\n";
    let manifest =
        format!("name = \"ric\"\nruntime = \"lambda\"\nhandler = \"app.handler\"\n{command}");
    write(dir.path(), "umbel.toml", &manifest);
    let path = dir.path().to_str().expect("UTF-8");
    story(&[path], "ric", words(), "seen", "exit status: 3");
}

#[test]
fn the_rust_client_is_served_as_it_is() {
    let Some(example) = rust_lambda("the_rust_client_is_served_as_it_is") else {
        return;
    };
    let image = |width: &str| format!(r#"{{"width":{width},"height":1080,"box":540}}"#);
    // Of so long a text and its copies it runs out of memory, and aborts.
    let endless = image(&format!("\"{}\"", "9".repeat(5_000_000)));
    let [good, empty] = [image("2160"), image("0")];
    let inputs = [good.clone(), empty, endless, good.clone(), good];
    let publication = [example.to_str().expect("UTF-8"), "--memory-mb", "16"];
    story(
        &publication,
        "resize-rust-lambda",
        inputs,
        "540x270",
        "SIGABRT",
    );
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).expect("a folder") {
            let entry: PathBuf = entry.expect("an entry").path();
            copy(&entry, &to.join(entry.file_name().expect("a name")));
        }
        return;
    }
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::copy(from, to).expect("a copy");
}
