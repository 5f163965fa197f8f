//! What the demo tells: lines for people on stdout, or one JSON document and the lines on stderr.
//! How far the job is goes to stderr: a bar on a terminal, else a line a second.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::sync::watch;

use crate::exit::Exit;
use crate::global::OutputForm;
use crate::output::{self, count};

const BAR: &str = "         {bar:40} {human_pos} of {human_len}, {msg} a second";
const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The teller.
#[derive(Debug)]
pub(super) struct Story {
    form: OutputForm,
    begun: Instant,
    bar: ProgressBar,
}

impl Story {
    /// A story that begins now, about a job of `total` invocations.
    pub(super) fn new(form: OutputForm, total: u64) -> Self {
        let bar = if io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(BAR);
            ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        };
        Self {
            form,
            begun: Instant::now(),
            bar,
        }
    }

    /// Tells a line, with the time since the beginning.
    pub(super) fn say(&self, line: &str) -> Result<(), Exit> {
        let line = format!("{:>6.1} s  {line}", self.begun.elapsed().as_secs_f64());
        self.print(&line)
    }

    /// Prints a line as it is.
    pub(super) fn print(&self, line: &str) -> Result<(), Exit> {
        self.bar.suspend(|| match self.form {
            OutputForm::Table => output::line(line),
            OutputForm::Json => {
                output::remark(line);
                Ok(())
            }
        })
    }

    /// Prints the document, if that is the form.
    pub(super) fn document(&self, document: &impl Serialize) -> Result<(), Exit> {
        match self.form {
            OutputForm::Table => Ok(()),
            OutputForm::Json => output::document(document),
        }
    }

    /// Shows how far the job is, until the sender is gone.
    pub(super) async fn progress(&self, mut done: watch::Receiver<u64>) {
        let is_quiet = self.bar.is_hidden();
        let mut tick = tokio::time::interval(if is_quiet { LINE_EVERY } else { BAR_EVERY });
        tick.tick().await;
        self.bar.reset();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = gone(&mut done) => return,
            }
            let done = *done.borrow();
            if is_quiet {
                let total = count(self.bar.length().unwrap_or_default());
                let seconds = self.begun.elapsed().as_secs_f64();
                let done = count(done);
                output::remark(&format!("{seconds:>6.1} s  {done} of {total}"));
            } else {
                let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(1e-3);
                self.bar.set_message(count(rate.round() as u64));
                self.bar.set_position(done);
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end_progress(&self) {
        self.bar.finish_and_clear();
    }
}

async fn gone(done: &mut watch::Receiver<u64>) {
    while done.changed().await.is_ok() {}
}
