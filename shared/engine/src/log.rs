//! The log: JSON, one line per step.

use std::{
    io::{self, Write},
    panic::Location,
};

use jiff::Timestamp;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer as _, filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _};

use crate::{Outcome, text};

/// Which level is logged: `error`, `warn`, `info` (the default), `debug`, `trace` or `off`.
pub const LEVEL: &str = "QUELL_LOG";

/// Begins the log of this process, on standard output, and makes a panic one line of it. Call once, first.
pub fn start() {
    let level = std::env::var(LEVEL).ok().and_then(|level| level.parse().ok());
    let subscriber = subscriber(io::stdout, level.unwrap_or(LevelFilter::INFO));
    // Fails only if there is a log already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        // Standard error, because the panic may have come while standard output was being written.
        let _ = writeln!(io::stderr(), "{}", panic_line(panic.location()));
    }));
}

/// What every step is about. Any of it may be untrusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    pub control: &'a str,
    pub resource: &'a str,
    pub account: &'a str,
    pub region: &'a str,
    /// EventBridge's id of the event.
    pub event_id: &'a str,
}

impl About<'_> {
    /// Logs that a step was taken. `detail` may be untrusted, or empty.
    pub fn step(&self, step: &'static str, detail: &str) {
        self.log(step, None, detail);
    }

    /// Logs how it ended, more loudly when a person is needed.
    pub fn end(&self, outcome: Outcome, detail: &str) {
        self.log("ended", Some(outcome), detail);
    }

    fn log(&self, step: &'static str, outcome: Option<Outcome>, detail: &str) {
        // The level of an event is fixed where it is written.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    control = text::one_line(self.control),
                    resource = text::one_line(self.resource),
                    account = text::one_line(self.account),
                    region = text::one_line(self.region),
                    outcome = outcome.map_or("", Outcome::as_str),
                    event_id = text::one_line(self.event_id),
                    detail = text::one_line(detail),
                    "{step}"
                )
            };
        }
        match outcome {
            Some(Outcome::Failed | Outcome::Partial) => line!(error),
            Some(Outcome::Refused) => line!(warn),
            _ => line!(info),
        }
    }
}

fn subscriber<W>(writer: W, level: LevelFilter) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let others = level.min(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(Visible(writer))
        .with_filter(Targets::new().with_default(others).with_target("quell", level));
    tracing_subscriber::registry().with(lines)
}

/// Escapes what is invisible in the lines of other libraries too, whose text we do not make.
struct Visible<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Visible<W> {
    type Writer = Visible<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Visible(self.0.make_writer())
    }
}

impl<W: Write> Write for Visible<W> {
    /// Is given whole lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let (line, end) = line.strip_suffix('\n').map_or((&*line, ""), |line| (line, "\n"));
        self.0.write_all(format!("{}{end}", text::visible_json(line)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Where, and nothing else: the message of a panic may hold content of the event.
fn panic_line(location: Option<&Location<'_>>) -> String {
    let location =
        location.map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    serde_json::json!({
        "timestamp": Timestamp::now().to_string(),
        "level": "ERROR",
        "message": "panicked",
        "location": location,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::text::hostile;

    fn logged(level: LevelFilter, work: impl FnOnce()) -> String {
        #[derive(Clone)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink(Arc::default());
        let writer = sink.clone();
        tracing::subscriber::with_default(subscriber(move || writer.clone(), level), work);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn every_step_is_a_line_with_the_same_fields() {
        let about = About {
            control: "s3-public-acl",
            resource: "photos",
            account: "123456789012",
            region: "eu-west-1",
            event_id: "0b5d",
        };
        let log = logged(LevelFilter::INFO, || {
            about.step("assessed", "");
            about.end(Outcome::Failed, "AccessDenied");
            tracing::info!(target: "aws_config", "chatter of a library");
        });
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{log}");
        for line in &lines {
            assert_eq!(line["control"], "s3-public-acl");
            assert_eq!(line["resource"], "photos");
            assert_eq!(line["account"], "123456789012");
            assert_eq!(line["region"], "eu-west-1");
            assert_eq!(line["event_id"], "0b5d");
        }
        assert_eq!((&lines[0]["message"], &lines[0]["outcome"]), (&"assessed".into(), &"".into()));
        assert_eq!((&lines[1]["level"], &lines[1]["outcome"]), (&"ERROR".into(), &"failed".into()));
    }

    #[test]
    fn a_panic_is_a_line_without_content() {
        let line: Value = serde_json::from_str(&panic_line(Some(Location::caller()))).unwrap();
        assert_eq!(line["message"], "panicked");
        assert!(line["location"].as_str().unwrap().contains("log.rs:"), "{line}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Six hostile texts in each case.
        #[test]
        fn whatever_comes_is_one_line(text in hostile::text()) {
            let about = About { control: &text, resource: &text, account: &text, region: &text, event_id: &text };
            let log = logged(LevelFilter::INFO, || about.step("assessed", &text));
            prop_assert_eq!(log.matches('\n').count(), 1);
            prop_assert!(!log.trim_end_matches('\n').contains(text::is_invisible));
            let line: Value = serde_json::from_str(&log).unwrap();
            prop_assert_eq!(&line["resource"], &text::one_line(&text));
            // What a library logs is not ours to shorten, but it stays on its line.
            let log = logged(LevelFilter::INFO, || tracing::error!(target: "hyper", "{text}"));
            prop_assert_eq!(log.matches('\n').count(), 1);
            prop_assert!(!log.trim_end_matches('\n').contains(text::is_invisible));
            serde_json::from_str::<Value>(&log).unwrap();
        }
    }
}
