//! The size of an image that is made to fit into a box and keeps its proportions.
//!
//! A WASI command: input on stdin, output on stdout. No crates, so that the recipe is one line.

use std::io::Read;

/// The number behind a key; it may be text: that is what a CSV file has.
fn side(input: &str, key: &str) -> Result<i64, String> {
    let missing = || format!("the input has no {key}");
    let (_, rest) = input.split_once(&format!("\"{key}\"")).ok_or_else(missing)?;
    let (_, rest) = rest.split_once(':').ok_or_else(missing)?;
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().map_err(|_| missing())
}

fn fit(input: &str) -> Result<String, String> {
    let (width, height) = (side(input, "width")?, side(input, "height")?);
    let fits = side(input, "box")?;
    if width <= 0 || height <= 0 {
        return Err(format!("EmptyImage: {width}x{height}"));
    }
    let longer = width.max(height);
    if longer <= fits {
        return Ok(format!("\"{width}x{height}\""));
    }
    let scaled = |side: i64| (side * fits / longer).max(1);
    Ok(format!("\"{}x{}\"", scaled(width), scaled(height)))
}

fn main() {
    let mut input = String::new();
    let read = std::io::stdin().read_to_string(&mut input);
    match read.map_err(|error| error.to_string()).and_then(|_| fit(&input)) {
        Ok(output) => println!("{output}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
