//! A function: its controls behind the Lambda Runtime API.

use std::{
    env,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use crate::{
    Clients, Control, Meta, Outcome, Report, Signal,
    error::{EventFailure, Failure},
    evaluate::Engine,
    ledger::{Ledger, Record},
    log,
    modes::Modes,
    notify::Topic,
    report::Response,
    signal::{self, Heard, ParseOptions},
};

/// Serves events with these controls until Lambda ends the process. `known` is every control there is.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub async fn serve<S: Controls>(
    known: &'static [&'static Meta],
) -> Result<(), lambda_runtime::Error> {
    log::start();
    let home = OnceLock::new();
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let settings = Settings::from_environment(known)?;
        let aws = match home.get() {
            Some(aws) => aws,
            None => {
                let aws = Clients::load(&settings.account, &settings.region).await;
                home.get_or_init(|| aws)
            }
        };
        let deadline = deadline(event.context.deadline());
        let engine = Engine {
            ledger: Ledger::new(aws, settings.table),
            topic: Some(Topic::new(aws, settings.topic)),
            modes: settings.modes,
            deadline,
        };
        Box::pin(handle::<S>(&engine, aws, event.payload.get(), &event.context.request_id))
            .await
            .map_err(Diagnostic::from)
    }))
    .await
}

/// Everything that comes of one event. `delivery` is Lambda's request id, the same in every attempt.
///
/// # Errors
/// If the event should be delivered again, and in the end be kept in the dead-letter queue.
pub async fn handle<S: Controls>(
    engine: &Engine,
    aws: &Clients,
    event: &str,
    delivery: &str,
) -> Result<Response, EventFailure> {
    let options = ParseOptions {
        account: Some(aws.account().to_owned()),
        samples: false,
        delivery: Some(delivery.to_owned()),
    };
    let mut response = Response::default();
    let mut failures = Vec::new();
    for heard in signal::parse_for(event, &options)? {
        match heard {
            Heard::Ignored(ignored) => {
                let reason = ignored.reason.to_string();
                about(&ignored.event_id).end(Outcome::Ignored, &reason);
                response.ignored.push(reason);
            }
            Heard::Refused(refused) => {
                about(&refused.event_id).end(Outcome::Refused, &refused.to_string());
                response.refused.push(refused.to_string());
            }
            Heard::Signal(signal) => {
                let elsewhere;
                let aws = if signal.region == aws.region() {
                    aws
                } else {
                    elsewhere = aws.in_region(&signal.region);
                    &elsewhere
                };
                let ended = S::evaluate(engine, aws, &signal).await;
                let is_wanted = !ended.is_empty();
                for ended in ended {
                    match ended {
                        Ok(report) => response.results.push(report),
                        Err(failure) => failures.push(failure),
                    }
                }
                if !is_wanted {
                    let reason = "no control of this function looks at it";
                    about(&signal.event_id).end(Outcome::Ignored, reason);
                    response.ignored.push(reason.to_owned());
                }
            }
        }
    }
    if failures.is_empty() { Ok(response) } else { Err(EventFailure::Failed(failures)) }
}

fn about(event_id: &str) -> log::About<'_> {
    log::About { event_id, ..log::About::default() }
}

/// The controls of one function, chosen statically: what is chosen at run time links every SDK into every function.
#[allow(async_fn_in_trait)] // As for `Control`.
pub trait Controls {
    /// Evaluates the signal with every control that wants it, one after the other.
    async fn evaluate(
        engine: &Engine,
        aws: &Clients,
        signal: &Signal,
    ) -> Vec<Result<Report, Failure>>;

    /// Undoes a record with the control that made it. `None`: none of these.
    async fn undo(
        engine: &Engine,
        aws: &Clients,
        record: Record,
        signal: &Signal,
    ) -> Option<Result<Report, Failure>>;
}

macro_rules! controls {
    ($($control:ident),+) => {
        impl<$($control: Control),+> Controls for ($($control,)+) {
            async fn evaluate(
                engine: &Engine,
                aws: &Clients,
                signal: &Signal,
            ) -> Vec<Result<Report, Failure>> {
                let mut ended = Vec::new();
                $(
                    // What one control cannot read does not keep the others from their work.
                    let targets = $control::targets(signal).unwrap_or_else(|error| {
                        ended.push(Err(error.into()));
                        Vec::new()
                    });
                    if !targets.is_empty() {
                        let control = $control::connect(aws);
                        for target in targets {
                            // Boxed: the compiler would else lay out every control's futures as one type.
                            let evaluation = engine.evaluate(aws, &control, signal, target);
                            ended.push(Box::pin(evaluation).await);
                        }
                    }
                )+
                ended
            }

            async fn undo(
                engine: &Engine,
                aws: &Clients,
                record: Record,
                signal: &Signal,
            ) -> Option<Result<Report, Failure>> {
                $(
                    if record.intent.control == $control::META.id {
                        let control = $control::connect(aws);
                        return Some(Box::pin(engine.undo(aws, &control, record, signal)).await);
                    }
                )+
                None
            }
        }
    };
}

controls!(A);
controls!(A, B);
controls!(A, B, C);
controls!(A, B, C, D);
controls!(A, B, C, D, E);
controls!(A, B, C, D, E, F);

/// What the template tells the function.
struct Settings {
    account: String,
    region: String,
    table: String,
    topic: String,
    modes: Modes,
}

impl Settings {
    fn from_environment(known: &[&'static Meta]) -> Result<Self, EventFailure> {
        let variable = |name: &'static str| {
            env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
                EventFailure::Settings(format!("{name} is not set; deploy with Quell's template"))
            })
        };
        let optional = |name| env::var(name).unwrap_or_default();
        let modes = Modes::parse(&optional("QUELL_CEILING"), &optional("QUELL_MODES"), known)
            .map_err(|error| EventFailure::Settings(format!("QUELL_MODES: {error}")))?;
        Ok(Self {
            account: variable("QUELL_ACCOUNT")?,
            region: variable("AWS_REGION")?,
            table: variable("QUELL_LEDGER_TABLE")?,
            topic: variable("QUELL_TOPIC_ARN")?,
            modes,
        })
    }
}

/// Lambda's deadline. One in the past comes from a local emulator of Lambda: then a common timeout is assumed.
fn deadline(deadline: SystemTime) -> Instant {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(60));
    Instant::now() + left
}
