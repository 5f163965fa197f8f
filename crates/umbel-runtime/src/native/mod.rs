//! Functions that are Rust code in the worker's own process.

pub(crate) mod builtin;

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;

/// A function written in Rust.
///
/// It is called from several slots' threads at once. A `fn` or a closure with the signature of
/// [`NativeFunction::call`] is one; [`crate::Catalog::register`] takes the shorter form.
pub trait NativeFunction: Send + Sync {
    /// Runs one input and appends its output.
    ///
    /// # Errors
    /// The failure that is recorded for this attempt; what was appended is dropped.
    fn call(
        &self,
        input: &[u8],
        output: &mut Output<'_>,
        context: &Context<'_>,
    ) -> Result<(), Failure>;
}

impl<F> NativeFunction for F
where
    F: Fn(&[u8], &mut Output<'_>, &Context<'_>) -> Result<(), Failure> + Send + Sync,
{
    #[inline]
    fn call(
        &self,
        input: &[u8],
        output: &mut Output<'_>,
        context: &Context<'_>,
    ) -> Result<(), Failure> {
        self(input, output, context)
    }
}

/// Turns a function from bytes to bytes into a [`NativeFunction`].
pub(crate) fn plain<F, T, E>(function: F) -> impl NativeFunction
where
    F: Fn(&[u8]) -> Result<T, E> + Send + Sync,
    T: AsRef<[u8]>,
    E: Display,
{
    move |input: &[u8], output: &mut Output<'_>, _: &Context<'_>| match function(input) {
        Ok(bytes) => {
            output.append(bytes.as_ref());
            Ok(())
        }
        Err(error) => Err(Failure::function(type_word::<E>(), error.to_string())),
    }
}

/// Calls a function; its panic ends this attempt and nothing else.
#[inline]
pub(crate) fn guarded(
    function: &dyn NativeFunction,
    input: &[u8],
    output: &mut Output<'_>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    // Unwind safe: the output is rewound when the attempt failed, and what the function itself
    // shares between invocations is its own to protect (a poisoned mutex says so).
    catch_unwind(AssertUnwindSafe(|| function.call(input, output, context)))
        .unwrap_or_else(|panic| Err(Failure::function("Panic", panic_message(panic.as_ref()))))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(
        || "the function panicked without a message".to_owned(),
        |text| format!("the function panicked: {text}"),
    )
}

/// The last word of an error's type: `ParseIntError`; `Error` where there is no such word.
fn type_word<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    let word = name.rsplit("::").next().unwrap_or(name);
    let named = word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphanumeric);
    if named && word != "String" {
        word
    } else {
        "Error"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CancelFlag;
    use crate::context::testing::context;

    fn invoke(function: &dyn NativeFunction, input: &[u8]) -> Result<Vec<u8>, Failure> {
        let cancel = CancelFlag::new();
        let mut buffer = b"before".to_vec();
        let mut output = Output::new(&mut buffer, 1_000);
        let outcome = guarded(function, input, &mut output, &context(&cancel));
        let outcome = output.close(outcome);
        assert!(buffer.starts_with(b"before"));
        let own = buffer.split_off(b"before".len());
        assert!(outcome.is_ok() || own.is_empty(), "a failure left bytes");
        outcome.map(|()| own)
    }

    #[test]
    fn a_closure_from_bytes_to_text_is_a_function() {
        let double = plain(|input: &[u8]| {
            let number: i64 = String::from_utf8_lossy(input).parse()?;
            Ok::<_, std::num::ParseIntError>((2 * number).to_string())
        });

        assert_eq!(invoke(&double, b"21"), Ok(b"42".to_vec()));
        let failure = invoke(&double, b"many").unwrap_err();
        assert_eq!(failure.error_type, "ParseIntError");
        assert_eq!(failure.message, "invalid digit found in string");
    }

    #[test]
    fn an_error_without_a_type_of_its_own_is_called_error() {
        let text = plain(|_: &[u8]| Err::<Vec<u8>, _>("no luck"));
        assert_eq!(invoke(&text, b"").unwrap_err().error_type, "Error");

        let boxed = plain(|_: &[u8]| Err::<Vec<u8>, Box<dyn std::error::Error>>("no luck".into()));
        assert_eq!(invoke(&boxed, b"").unwrap_err().error_type, "Error");
    }

    #[test]
    fn a_panic_is_a_failure_of_its_own_attempt_alone() {
        let fragile = |input: &[u8], output: &mut Output<'_>, _: &Context<'_>| {
            output.append(b"half of it");
            assert!(input != b"bad", "cannot take {:?}", "bad");
            Ok(())
        };

        let failure = invoke(&fragile, b"bad").unwrap_err();
        assert_eq!(failure.error_type, "Panic");
        assert!(failure.message.contains("cannot take \"bad\""), "{failure}");
        assert!(invoke(&fragile, b"good").is_ok());
    }

    #[test]
    fn a_function_that_writes_without_end_fails_and_fills_nothing() {
        let endless = |_: &[u8], output: &mut Output<'_>, _: &Context<'_>| {
            for _ in 0..1_000_000 {
                output.append(b"0123456789");
            }
            Ok(())
        };

        let failure = invoke(&endless, b"").unwrap_err();
        assert_eq!(failure.error_type, "OutputTooLarge");
        assert!(failure.message.contains("1000 bytes"), "{failure}");
    }
}
