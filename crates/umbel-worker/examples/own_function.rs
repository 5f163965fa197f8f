//! A worker with a function of its own. Start a coordinator, then this, then
//! `umbel map word.count --input 'to be or not to be'`.

use umbel_worker::{Error, Worker};

#[tokio::main]
async fn main() -> Result<(), Error> {
    Worker::builder()
        .coordinator("http://127.0.0.1:7600")
        .function("word.count", |input: &[u8]| {
            let text = std::str::from_utf8(input)?;
            Ok::<_, std::str::Utf8Error>(text.split_whitespace().count().to_string())
        })
        .run()
        .await
}
