//! How far a job is, on stderr.

use std::fmt::Write;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use umbel_client::v1;

use super::remark;
use super::text::count;

/// Without a terminal a quick job says nothing, and a long one a line at this pace.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, else a line every few seconds. Clones show the same bar.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    form: Form,
    started: Instant,
    last: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bar,
    Lines,
    Silent,
}

impl Progress {
    /// Shows progress while nothing else is printed.
    pub(crate) fn new() -> Self {
        Self::of(if io::stderr().is_terminal() {
            Form::Bar
        } else {
            Form::Lines
        })
    }

    /// Shows progress beside outputs on stdout. On a terminal these are progress enough.
    pub(crate) fn beside_outputs() -> Self {
        match (io::stderr().is_terminal(), io::stdout().is_terminal()) {
            (true, true) => Self::of(Form::Silent),
            (true, false) => Self::of(Form::Bar),
            (false, _) => Self::of(Form::Lines),
        }
    }

    fn of(form: Form) -> Self {
        let bar = if form == Form::Bar {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let template = "{bar:30} {human_pos} of {human_len} done, {msg}{rate}/s, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(
                style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                    // Text in memory takes every write.
                    let _ = out.write_str(&count(state.per_sec() as u64));
                }),
            );
        }
        let now = Instant::now();
        Self {
            bar,
            form,
            started: now,
            last: now,
        }
    }

    /// Whether anybody sees it, so that a job need be watched for it.
    pub(crate) fn is_shown(&self) -> bool {
        self.form != Form::Silent
    }

    /// The job stands so.
    pub(crate) fn show(&mut self, job: &v1::Job) {
        let counts = job.counts.unwrap_or_default();
        let done = counts.succeeded + counts.failed + counts.cancelled;
        let failed = match counts.failed {
            0 => String::new(),
            failed => format!("{} failed, ", count(failed)),
        };
        match self.form {
            Form::Bar => {
                self.bar.set_length(counts.total);
                self.bar.set_position(done);
                self.bar.set_message(failed);
            }
            Form::Lines if self.last.elapsed() >= LINE_EVERY => {
                self.last = Instant::now();
                let (done, total) = (count(done), count(counts.total));
                remark(&format!(
                    "{done} of {total} done, {failed}{} leased",
                    count(counts.leased)
                ));
            }
            Form::Lines | Form::Silent => {}
        }
    }

    /// Prints a remark above the bar.
    pub(crate) fn remark(&self, text: &str) {
        self.bar.suspend(|| remark(text));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Says how it ended, in place of the bar; without a terminal only if it took a while.
    pub(crate) fn epilogue(&self, text: &str) {
        self.clear();
        if self.form != Form::Lines || self.started.elapsed() >= LINE_EVERY {
            remark(text);
        }
    }
}
