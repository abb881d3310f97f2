//! A function: its controls behind the Lambda Runtime API.

use std::{
    borrow::Cow,
    collections::HashSet,
    env,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use crate::{
    Actor, CallError, Clients, Control, Meta, Outcome, Report, Signal, Trigger,
    aws::CALL_TIME,
    control::region_of,
    error::{EventFailure, Failure},
    evaluate::Engine,
    ledger::{Ledger, Record, Verb},
    log,
    notify::Topic,
    policies::PolicyCache,
    policy,
    report::{Identified, Response},
    signal::{self, Heard, ParseOptions},
    sweep::{self, Round},
    text,
};

/// Serves events with these controls until Lambda ends the process.
///
/// # Errors
/// If the Runtime API cannot be reached.
pub async fn serve<S: Controls>() -> Result<(), lambda_runtime::Error> {
    log::start();
    // Lambda gives a process more of a processor until it asks for its first event than afterwards: what every event
    // needs is made before. What cannot be made is the error of each event.
    let home = Home::new::<S>().await;
    let home = &home;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let home = home.as_ref().map_err(|wrong| EventFailure::Settings(wrong.clone()))?;
        let deadline = deadline(event.context.deadline());
        let engine = home.engine(deadline, event.context.request_id.clone());
        let handled = handle::<S>(&engine, &home.aws, event.payload.get());
        Box::pin(handled).await.map_err(Diagnostic::from)
    }))
    .await
}

/// What all events of a process share.
struct Home {
    settings: Settings,
    aws: Clients,
    ledger: Ledger,
    topic: Topic,
    policies: Arc<PolicyCache>,
}

impl Home {
    /// `Err`: what is wrong with the settings.
    async fn new<S: Controls>() -> Result<Self, String> {
        let settings = Settings::from_environment()?;
        let call_time = CALL_TIME.min(settings.margin);
        let services = [&["dynamodb", "sns"], S::services().as_slice()].concat();
        let Settings { account, region, .. } = &settings;
        let aws = Clients::in_lambda(account, region, call_time, &services).await;
        settings.admit(&aws)?;
        let ledger = Ledger::new(&aws, &settings.table);
        let topic = Topic::new(&aws, &settings.topic);
        Ok(Self { settings, aws, ledger, topic, policies: Arc::default() })
    }

    fn engine(&self, deadline: Instant, delivery: String) -> Engine {
        Engine {
            ledger: self.ledger.clone(),
            topic: Some(self.topic.clone()),
            policies: Arc::clone(&self.policies),
            acts: self.settings.acts,
            deadline,
            margin: self.settings.margin,
            delivery,
            sweeps_every: self.settings.sweeps_every,
        }
    }
}

/// Everything that comes of one event.
///
/// # Errors
/// If the event should be delivered again, and in the end be kept in the dead-letter queue.
pub async fn handle<S: Controls>(
    engine: &Engine,
    aws: &Clients,
    event: &str,
) -> Result<Response, EventFailure> {
    let options = ParseOptions {
        account: Some(aws.account().to_owned()),
        region: Some(aws.region().to_owned()),
        samples: false,
        delivery: Some(engine.delivery.clone()),
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
                let ended = match &signal.trigger {
                    Trigger::Record { record } => {
                        vec![take_up::<S>(engine, aws, record, &signal).await?]
                    }
                    Trigger::Identify { .. } => {
                        match S::identify(aws, &signal).await? {
                            Some(Ok(identified)) => response.identified = Some(identified),
                            Some(Err(unknown)) => response.refused.push(unknown.to_string()),
                            None => {}
                        }
                        continue;
                    }
                    Trigger::Schedule { .. } => {
                        response.swept = sweep::sweep::<S>(engine, aws, &signal).await?;
                        continue;
                    }
                    _ => S::evaluate(engine, aws, &signal).await,
                };
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

/// Goes on with a record of this account. The one who asks for it decides nothing: orders are read from the ledger.
async fn take_up<S: Controls>(
    engine: &Engine,
    aws: &Clients,
    id: &str,
    signal: &Signal,
) -> Result<Result<Report, Failure>, EventFailure> {
    let unusable = |reason: String| EventFailure::Record { id: id.to_owned(), reason };
    let record = engine.ledger.read(id).await.map_err(|error| unusable(error.to_string()))?;
    let record = record.ok_or_else(|| unusable("there is no such record".to_owned()))?;
    if record.intent.account != signal.account || record.intent.region != signal.region {
        return Err(unusable("it is of another account or region".to_owned()));
    }
    let control = record.intent.control.clone();
    // An undo that was left unfinished goes on under the record that it undoes.
    let original = match &record.intent.undoes {
        Some(original) => engine.ledger.read(original).await,
        None => Ok(None),
    };
    let original = original.map_err(|error| unusable(error.to_string()))?;
    let undone = original.as_ref().unwrap_or(&record);
    let order = engine.ledger.ordered(&undone.id, Verb::Undo).await;
    let order = order.map_err(|error| unusable(error.to_string()))?;
    let now = Timestamp::now();
    let stands = |order: &crate::ledger::Order| {
        order.stands(Verb::Undo, &undone.id, order.plan.as_deref(), now)
    };
    let order = order.filter(|order| original.is_some() || stands(order));
    let ended = match (order, original) {
        // It was begun by an order that is no longer kept: an undo goes on as an undo, whoever wanted it.
        (None, Some(original)) => S::undo(engine, aws, original, signal).await,
        (Some(order), original) => {
            let signal = Signal {
                actor: Some(Actor {
                    principal: order.person.clone().unwrap_or_else(|| order.by.clone()),
                    arn: Some(order.by.clone()),
                    user_agent: Some("quell undo".to_owned()),
                    ..Actor::default()
                }),
                time: Some(order.at),
                ..signal.clone()
            };
            S::undo(engine, aws, original.unwrap_or(record), &signal).await
        }
        (None, None) => S::take_up(engine, aws, record).await,
    };
    ended.ok_or_else(|| unusable(format!("this function has no control {control}")))
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

    /// The function that serves them. `None`: they are of several.
    fn function() -> Option<&'static str>;

    /// Those whose resources a sweep looks for.
    fn swept() -> Vec<&'static Meta>;

    /// Goes on with a sweep, control by control.
    async fn sweep(engine: &Engine, aws: &Clients, round: &mut Round<'_>);

    /// The services that these controls call, as IAM names them.
    fn services() -> Vec<&'static str>;

    /// Goes on with a record under the control that made it. `None`: none of these.
    async fn take_up(
        engine: &Engine,
        aws: &Clients,
        record: Record,
    ) -> Option<Result<Report, Failure>>;

    /// What a control calls a resource. `None`: none of these has the control.
    async fn identify(
        aws: &Clients,
        signal: &Signal,
    ) -> Result<Option<Result<Identified, Unidentified>>, EventFailure>;

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
                    let signal = &*placed::<$control>(signal);
                    // What one control cannot read does not keep the others from their work.
                    let targets = $control::targets(signal).unwrap_or_else(|error| {
                        ended.push(Err(error.into()));
                        Vec::new()
                    });
                    if !targets.is_empty() {
                        let control = $control::connect(aws);
                        let mut seen = HashSet::new();
                        // An event may name a resource as often as its author likes.
                        for target in targets.into_iter().filter(|one| seen.insert(one.to_string())) {
                            // Boxed: the compiler would else lay out every control's futures as one type.
                            let evaluation = engine.evaluate(aws, &control, signal, target);
                            ended.push(Box::pin(evaluation).await);
                        }
                    }
                )+
                ended
            }

            fn function() -> Option<&'static str> {
                let functions = [$($control::META.function),+];
                let [first, ..] = functions;
                functions.iter().all(|function| *function == first).then_some(first)
            }

            fn swept() -> Vec<&'static Meta> {
                let all: Vec<&'static Meta> = vec![$(const { &$control::META }),+];
                all.into_iter().filter(|meta| !meta.discovers.is_empty()).collect()
            }

            async fn sweep(_: &Engine, aws: &Clients, round: &mut Round<'_>) {
                $(
                    Box::pin(round.control::<$control>(aws)).await;
                )+
            }

            fn services() -> Vec<&'static str> {
                let actions = [$($control::META.reads),+].concat();
                let mut services: Vec<_> =
                    actions.iter().filter_map(|action| Some(action.split_once(':')?.0)).collect();
                services.sort_unstable();
                services.dedup();
                services
            }

            async fn take_up(
                engine: &Engine,
                aws: &Clients,
                record: Record,
            ) -> Option<Result<Report, Failure>> {
                $(
                    if record.intent.control == $control::META.id {
                        let control = $control::connect(aws);
                        return Some(Box::pin(engine.take_up(aws, &control, record)).await);
                    }
                )+
                None
            }

            async fn identify(
                aws: &Clients,
                signal: &Signal,
            ) -> Result<Option<Result<Identified, Unidentified>>, EventFailure> {
                let Trigger::Identify { control: wanted, resource } = &signal.trigger else {
                    return Ok(None);
                };
                $(
                    if wanted == $control::META.id {
                        return Box::pin(identify::<$control>(aws, signal, resource)).await.map(Some);
                    }
                )+
                Ok(None)
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

/// The signal in the region of the control's resources.
fn placed<C: Control>(signal: &Signal) -> Cow<'_, Signal> {
    let region = region_of::<C>(&signal.region);
    if region == signal.region {
        return Cow::Borrowed(signal);
    }
    Cow::Owned(Signal { region: region.to_owned(), ..signal.clone() })
}

/// For functions, and for programs that serve every control.
macro_rules! controls_up_to {
    () => {};
    ($control:ident $(, $more:ident)*) => {
        controls!($control $(, $more)*);
        controls_up_to!($($more),*);
    };
}

controls_up_to!(
    A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z, Aa, Bb, Cc, Dd,
    Ee, Ff, Gg, Hh, Ii, Jj, Kk, Ll, Mm, Nn, Oo, Pp, Qq, Rr, Ss, Tt, Uu, Vv, Ww, Xx, Yy, Zz, A1, B1,
    C1, D1, E1, F1, G1, H1, I1, J1, K1, L1, M1, N1, O1, P1, Q1, R1, S1, T1
);

/// A person named what is not there, or nothing that the control looks at: no error of the function's.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {reason}", text::one_line(resource))]
pub struct Unidentified {
    resource: String,
    reason: String,
}

/// What one control calls a resource, read from AWS.
async fn identify<C: Control>(
    aws: &Clients,
    signal: &Signal,
    resource: &str,
) -> Result<Result<Identified, Unidentified>, EventFailure> {
    let trigger = Trigger::Manual { control: C::META.id.to_owned(), resource: resource.to_owned() };
    let unknown = |reason: String| {
        let resource = resource.to_owned();
        Ok(Err(Unidentified { resource, reason }))
    };
    let target = match C::targets(&Signal { trigger, ..signal.clone() }) {
        Ok(targets) => targets.into_iter().next(),
        Err(error) => return unknown(error.to_string()),
    };
    let Some(target) = target else {
        return unknown(format!("it is none that {} looks at", C::META.id));
    };
    let control = C::connect(aws);
    let seen = control.assess(&target).await;
    let unique_id = match seen {
        Ok(Some(_)) => control.unique_id(&target).await,
        Ok(None) => return unknown("there is no such resource".to_owned()),
        Err(error) => Err(error),
    };
    // These calls belong to no record.
    aws.calls().take();
    let unreadable = |error: CallError| EventFailure::Resource {
        resource: resource.to_owned(),
        reason: error.to_string(),
    };
    Ok(Ok(Identified {
        control: C::META.id.to_owned(),
        severity: C::META.severity,
        arn: C::arn(&target, &signal.account, &signal.region),
        unique_id: unique_id.map_err(unreadable)?,
        resource: target.to_string(),
    }))
}

/// What the template tells the function.
struct Settings {
    account: String,
    region: String,
    table: String,
    topic: String,
    acts: bool,
    margin: Duration,
    sweeps_every: Option<Duration>,
}

/// A lock may not end earlier after its holder: clocks differ, and a call that was sent may still arrive.
const LEAST_MARGIN: Duration = Duration::from_secs(30);

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let variable = |name: &'static str| {
            env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{name} is not set; deploy with Quell's template"))
        };
        let acts = policy::acts(&env::var("QUELL_CEILING").unwrap_or_default())
            .map_err(|error| format!("QUELL_CEILING: {error}"))?;
        let margin = variable("QUELL_LEASE_MARGIN")?;
        let margin = margin.parse().ok().filter(|seconds| (1..=300).contains(seconds));
        let margin = margin.ok_or_else(|| {
            "QUELL_LEASE_MARGIN is not a number of seconds from 1 to 300".to_owned()
        })?;
        // Functions that sweep nothing are not told.
        let minutes = env::var("QUELL_SWEEP_MINUTES").unwrap_or_else(|_| "0".to_owned());
        let minutes = minutes.parse().ok().filter(|minutes| *minutes <= 7 * 24 * 60);
        let minutes: u64 = minutes.ok_or_else(|| {
            "QUELL_SWEEP_MINUTES is not a number of minutes up to 10080; 0 is never".to_owned()
        })?;
        Ok(Self {
            account: variable("QUELL_ACCOUNT")?,
            region: variable("AWS_REGION")?,
            table: variable("QUELL_LEDGER_TABLE")?,
            topic: variable("QUELL_TOPIC_ARN")?,
            acts,
            margin: Duration::from_secs(margin),
            sweeps_every: (minutes > 0).then(|| Duration::from_secs(minutes * 60)),
        })
    }

    /// A short margin is for an emulator on this machine, where there is one clock and nothing is under way for long.
    fn admit(&self, aws: &Clients) -> Result<(), String> {
        if self.margin < LEAST_MARGIN && !aws.is_loopback() {
            let least = LEAST_MARGIN.as_secs();
            return Err(format!(
                "QUELL_LEASE_MARGIN is {} seconds; less than {least} would let two evaluations change one resource",
                self.margin.as_secs()
            ));
        }
        Ok(())
    }
}

/// Lambda's deadline. One in the past comes from a local emulator of Lambda: then a common timeout is assumed.
pub fn deadline(deadline: SystemTime) -> Instant {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(60));
    Instant::now() + left
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::*;

    #[test]
    fn a_short_margin_is_for_this_very_machine_alone() {
        let admitted = |seconds: u64, endpoint: Option<&str>| {
            let mut sdk = SdkConfig::builder();
            sdk.set_endpoint_url(endpoint.map(str::to_owned));
            let settings = Settings {
                account: "123456789012".into(),
                region: "eu-west-1".into(),
                table: "ledger".into(),
                topic: "topic".into(),
                acts: true,
                margin: Duration::from_secs(seconds),
                sweeps_every: None,
            };
            settings.admit(&Clients::new(sdk.build(), "123456789012"))
        };
        let said = admitted(29, None).unwrap_err();
        assert!(said.contains("less than 30"), "{said}");
        assert!(admitted(29, Some("http://10.0.0.1:5000")).is_err());
        assert!(admitted(29, Some("http://127.0.0.1:5000")).is_ok());
        assert!(admitted(30, None).is_ok());
    }
}
