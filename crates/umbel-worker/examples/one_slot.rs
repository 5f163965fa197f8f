//! How many invocations a second one slot runs, without a coordinator:
//! `cargo run --release --example one_slot [FUNCTION]`.

use std::io::Write;

use umbel_worker::measure::one_slot;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let function = std::env::args().nth(1);
    let function = function.as_deref().unwrap_or("umbel.echo");
    for _ in 0..3 {
        let (invocations, took) = one_slot(function, 1_000)?;
        let rate = invocations as f64 / took.as_secs_f64();
        writeln!(
            std::io::stdout(),
            "{function}: {invocations} invocations in {took:.2?}, {:.2} million a second",
            rate / 1e6
        )?;
    }
    Ok(())
}
