//! The functions that every worker has.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};

use serde::Deserialize;

use super::NativeFunction;
use crate::clock::thread_cpu;
use crate::context::Context;
use crate::failure::{Failure, FailureKind};
use crate::output::Output;

/// So much of a wrong input is shown in the failure that names it.
const SHOWN_BYTES_MAX: usize = 40;

/// Answers the input.
pub(crate) fn echo(input: &[u8], output: &mut Output<'_>, _: &Context<'_>) -> Result<(), Failure> {
    output.append(input);
    Ok(())
}

/// Answers a decimal number plus one.
pub(crate) fn increment(
    input: &[u8],
    output: &mut Output<'_>,
    _: &Context<'_>,
) -> Result<(), Failure> {
    let number = parse_number(input)?;
    let next = number.checked_add(1).ok_or_else(|| out_of_range(input))?;
    // 39 digits and a sign are the longest number of 128 bits.
    let mut text = [0; 40];
    output.append(write_number(next, &mut text));
    Ok(())
}

/// Waits as many milliseconds as the input says, then echoes it.
pub(crate) fn sleep(
    input: &[u8],
    output: &mut Output<'_>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let length = Duration::from_millis(parse_count(input, "milliseconds")?);
    loop {
        context.check()?;
        let left = length.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(context.pause()));
    }
    output.append(input);
    Ok(())
}

/// Uses as many microseconds of CPU as the input says, then echoes it.
pub(crate) fn spin(
    input: &[u8],
    output: &mut Output<'_>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let length = Duration::from_micros(parse_count(input, "microseconds")?);
    let started = thread_cpu();
    let mut state = 1_u64;
    while thread_cpu().saturating_sub(started) < length {
        context.check()?;
        for _ in 0..1_000 {
            state = black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
    }
    output.append(input);
    Ok(())
}

#[derive(Deserialize)]
struct Flaky {
    fail_attempts: u32,
}

/// Fails the first `fail_attempts` attempts, then echoes the input.
pub(crate) fn flaky(
    input: &[u8],
    output: &mut Output<'_>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let Flaky { fail_attempts } = serde_json::from_slice(input)
        .map_err(|_| invalid_input(input, "a JSON object such as {\"fail_attempts\":2}"))?;
    if context.attempt <= fail_attempts {
        let attempt = context.attempt;
        return Err(Failure::function(
            "Flaky",
            format!("attempt {attempt} fails, as do the first {fail_attempts}"),
        ));
    }
    output.append(input);
    Ok(())
}

/// Ends the worker's process at once, without a word to anyone. So that one poison
/// input can hide among many good ones, a decimal number other than 0 and
/// `{"crash":false}` are echoed instead.
#[derive(Debug)]
pub(crate) struct Crash {
    pub(crate) allowed: bool,
}

#[derive(Deserialize)]
struct CrashInput {
    crash: bool,
}

impl NativeFunction for Crash {
    fn call(&self, input: &[u8], output: &mut Output<'_>, _: &Context<'_>) -> Result<(), Failure> {
        if !self.allowed {
            return Err(Failure::rejected(
                "CrashNotAllowed",
                "umbel.crash ends the whole worker process; start the worker with --allow-crash if that is meant",
            ));
        }
        if spares(input) {
            output.append(input);
            return Ok(());
        }
        // SIGKILL and not an abort: no core file, no handler, just as a lost machine looks.
        match kill_process(getpid(), Signal::KILL) {
            Ok(()) => loop {
                thread::park();
            },
            Err(error) => Err(Failure::new(
                FailureKind::Function,
                "CrashFailed",
                format!("the process could not end itself: {error}"),
            )),
        }
    }
}

fn spares(input: &[u8]) -> bool {
    let number = input.iter().all(u8::is_ascii_digit) && input.iter().any(|&digit| digit != b'0');
    number
        || matches!(
            serde_json::from_slice(input),
            Ok(CrashInput { crash: false })
        )
}

/// Reads an optional sign and digits; nothing else, no spaces.
fn parse_number(input: &[u8]) -> Result<i128, Failure> {
    let (negative, digits) = match input {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid_input(input, "a decimal number"));
    }
    // 18 digits fit 64 bits, and most numbers have fewer: arithmetic of 128 bits is slow.
    if digits.len() <= 18 {
        let magnitude = digits
            .iter()
            .fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        return Ok(i128::from(if negative { -magnitude } else { magnitude }));
    }
    digits
        .iter()
        .try_fold(0_i128, |number, digit| {
            let digit = i128::from(digit - b'0');
            number
                .checked_mul(10)?
                .checked_add(if negative { -digit } else { digit })
        })
        .ok_or_else(|| out_of_range(input))
}

/// Writes a number at the end of `text` and answers its bytes.
fn write_number(number: i128, text: &mut [u8; 40]) -> &[u8] {
    let mut at = text.len();
    let mut push = |byte: u8| {
        at -= 1;
        text[at] = byte;
    };
    let mut magnitude = number.unsigned_abs();
    while magnitude > u128::from(u64::MAX) {
        push(b'0' + (magnitude % 10) as u8);
        magnitude /= 10;
    }
    let mut small = magnitude as u64;
    loop {
        push(b'0' + (small % 10) as u8);
        small /= 10;
        if small == 0 {
            break;
        }
    }
    if number < 0 {
        push(b'-');
    }
    &text[at..]
}

fn parse_count(input: &[u8], unit: &str) -> Result<u64, Failure> {
    parse_number(input)
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| invalid_input(input, &format!("a number of {unit}")))
}

fn invalid_input(input: &[u8], expected: &str) -> Failure {
    Failure::function(
        "InvalidInput",
        format!("the input {} is not {expected}", shown(input)),
    )
}

fn out_of_range(input: &[u8]) -> Failure {
    Failure::function(
        "OutOfRange",
        format!("{} + 1 does not fit 128 bits", shown(input)),
    )
}

fn shown(input: &[u8]) -> String {
    let start = &input[..input.len().min(SHOWN_BYTES_MAX)];
    let more = if input.len() > SHOWN_BYTES_MAX {
        "..."
    } else {
        ""
    };
    format!("\"{}{more}\"", start.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::sync::Arc;

    use super::*;
    use crate::context::CancelFlag;
    use crate::context::testing::context;

    fn invoke_with(
        function: impl NativeFunction,
        input: &str,
        context: &Context<'_>,
    ) -> Result<String, Failure> {
        let mut buffer = Vec::new();
        let mut output = Output::new(&mut buffer, 1_000);
        let outcome = function.call(input.as_bytes(), &mut output, context);
        output.close(outcome)?;
        Ok(String::from_utf8(buffer).unwrap())
    }

    fn invoke(function: impl NativeFunction, input: &str) -> Result<String, Failure> {
        let cancel = CancelFlag::new();
        invoke_with(function, input, &context(&cancel))
    }

    #[test]
    fn increment_adds_one_to_any_number_of_128_bits() {
        for (input, output) in [
            ("0", "1"),
            ("-1", "0"),
            ("-10", "-9"),
            ("+41", "42"),
            ("007", "8"),
            ("999999999999999999", "1000000000000000000"),
            ("18446744073709551615", "18446744073709551616"),
            (
                "170141183460469231731687303715884105726",
                "170141183460469231731687303715884105727",
            ),
            (
                "-170141183460469231731687303715884105728",
                "-170141183460469231731687303715884105727",
            ),
        ] {
            assert_eq!(invoke(increment, input).as_deref(), Ok(output), "{input}");
        }
    }

    #[test]
    fn increment_refuses_a_number_that_is_too_large() {
        let largest = i128::MAX.to_string();
        for input in [
            largest.as_str(),
            &format!("{largest}0"),
            &format!("-{largest}0"),
        ] {
            let failure = invoke(increment, input).unwrap_err();
            assert_eq!(failure.error_type, "OutOfRange", "{input}");
        }
    }

    #[test]
    fn increment_names_the_start_of_an_input_that_is_no_number() {
        for input in ["", "-", "1.5", " 1", "1\n", "one"] {
            let failure = invoke(increment, input).unwrap_err();
            assert_eq!(failure.error_type, "InvalidInput", "{input:?}");
        }
        let failure = invoke(increment, &"x".repeat(1_000)).unwrap_err();
        let start = "x".repeat(SHOWN_BYTES_MAX);
        assert_eq!(
            failure.message,
            format!("the input \"{start}...\" is not a decimal number")
        );
    }

    #[test]
    fn sleep_sleeps_and_echoes() {
        let started = Instant::now();
        assert_eq!(invoke(sleep, "30").as_deref(), Ok("30"));
        assert!(started.elapsed() >= Duration::from_millis(30));
        assert_eq!(
            invoke(sleep, "soon").unwrap_err().message,
            "the input \"soon\" is not a number of milliseconds"
        );
    }

    #[test]
    fn sleep_and_spin_end_when_they_are_cancelled() {
        let functions: [Arc<dyn NativeFunction>; 2] = [Arc::new(sleep), Arc::new(spin)];
        for function in functions {
            let cancel = Arc::new(CancelFlag::new());
            let shared = Arc::clone(&cancel);
            let slot = thread::spawn(move || {
                let mut buffer = Vec::new();
                let mut output = Output::new(&mut buffer, 1_000);
                function.call(b"600000000", &mut output, &context(&shared))
            });
            cancel.set();
            let failure = slot.join().unwrap().unwrap_err();
            assert_eq!(failure.error_type, "Cancelled");
        }
    }

    #[test]
    fn sleep_and_spin_end_at_their_deadline() {
        let cancel = CancelFlag::new();
        let hurried = Context {
            deadline: Some(Instant::now() + Duration::from_millis(5)),
            ..context(&cancel)
        };
        let failure = invoke_with(sleep, "600000", &hurried).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout);
        let failure = invoke_with(spin, "600000000", &hurried).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout);
    }

    #[test]
    fn spin_uses_the_cpu_that_it_was_asked_for() {
        let before = thread_cpu();
        assert_eq!(invoke(spin, "3000").as_deref(), Ok("3000"));
        assert!(thread_cpu() - before >= Duration::from_micros(3_000));
    }

    #[test]
    fn flaky_fails_its_first_attempts_and_then_echoes() {
        let cancel = CancelFlag::new();
        let input = r#"{"fail_attempts":2,"name":"x"}"#;
        for (attempt, succeeds) in [(1, false), (2, false), (3, true), (4, true)] {
            let context = Context {
                attempt,
                ..context(&cancel)
            };
            match invoke_with(flaky, input, &context) {
                Ok(output) => assert!(succeeds && output == input, "attempt {attempt}"),
                Err(failure) => {
                    assert!(!succeeds && failure.error_type == "Flaky", "{failure}");
                }
            }
        }
        assert_eq!(invoke(flaky, "2").unwrap_err().error_type, "InvalidInput");
    }

    #[test]
    fn crash_is_refused_with_the_flag_that_allows_it() {
        let failure = invoke(Crash { allowed: false }, "").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Rejected);
        assert!(failure.message.contains("--allow-crash"), "{failure}");
    }

    #[test]
    fn crash_ends_the_process_by_sigkill() {
        const NAME: &str = "native::builtin::tests::crash_ends_the_process_by_sigkill";
        const INSIDE: &str = "UMBEL_TEST_CRASH_INSIDE";
        if std::env::var_os(INSIDE).is_some() {
            let outcome = invoke(Crash { allowed: true }, "any input");
            panic!("still alive: {outcome:?}");
        }
        let test = std::env::current_exe().unwrap();
        let ended = Command::new(test)
            .args(["--exact", NAME])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    }

    #[test]
    fn crash_spares_an_input_that_says_so() {
        for spared in [r#"{"crash":false}"#, "1", "010"] {
            assert!(spares(spared.as_bytes()), "{spared}");
            assert_eq!(
                invoke(Crash { allowed: true }, spared).as_deref(),
                Ok(spared)
            );
        }
        for deadly in ["", "0", "00", "-1", "poison", r#"{"crash":true}"#] {
            assert!(!spares(deadly.as_bytes()), "{deadly}");
        }
    }
}
