//! The size of an image that is made to fit into a box and keeps its proportions.
//!
//! A function as AWS Lambda has it: its own crate speaks for it, and umbel is nowhere in sight.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use serde::Deserialize;

#[derive(Deserialize)]
struct Image {
    width: Side,
    height: Side,
    #[serde(rename = "box")]
    fits: Side,
}

/// Numbers may be text: that is what a CSV file has.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    Number(i64),
    Text(String),
}

/// Why an image has no size.
#[derive(Debug)]
enum Refusal {
    /// One with a side of no length has no proportions to keep.
    EmptyImage(i64, i64),
    NoNumber(String),
}

/// What a failure is called is its type to whoever looks at the results.
impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        let (error_type, error_message) = match refusal {
            Refusal::EmptyImage(width, height) => ("EmptyImage", format!("{width}x{height}")),
            Refusal::NoNumber(text) => ("NoNumber", format!("`{text}` is no number")),
        };
        Self {
            error_type: error_type.to_owned(),
            error_message,
        }
    }
}

impl Side {
    fn number(self) -> Result<i64, Refusal> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.trim().parse().map_err(|_| Refusal::NoNumber(text)),
        }
    }
}

async fn resize(event: LambdaEvent<Image>) -> Result<String, Refusal> {
    let Image {
        width,
        height,
        fits,
    } = event.payload;
    let (width, height, fits) = (width.number()?, height.number()?, fits.number()?);
    if width <= 0 || height <= 0 {
        let id = event.context.request_id;
        println!("invocation {id} has a strange image");
        return Err(Refusal::EmptyImage(width, height));
    }
    let longer = width.max(height);
    if longer <= fits {
        return Ok(format!("{width}x{height}"));
    }
    let scaled = |side: i64| (side * fits / longer).max(1);
    Ok(format!("{}x{}", scaled(width), scaled(height)))
}

// One thread: an instance has one invocation at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(resize)).await
}
