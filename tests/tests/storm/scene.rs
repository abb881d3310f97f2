//! An embedded AWS behind a proxy, with functions that call through it.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use quell_controls::{REGISTRY, with_control};
use quell_engine::{
    Clients, Control, Signal, Trigger,
    ledger::{Due, Ledger, Order, Ordered, Record, Status, Verb},
    policy::{Budgets, Limits, Mode, Notify, Policy},
};
use quell_local::{
    Attempt, Cloud, Emulator, Function, Stack,
    cloud::{ACCOUNT, REGION},
    proxy::{Entry, Proxy},
    scenario::{self, Staged},
};
use quell_tests::rig::binary;
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long a function has for an event.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// By how much a lock outlasts that.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// An interface is only opened for the moment of its isolation if there is time enough to close it, whatever happens:
/// with less than 35 seconds left nothing is begun.
pub(crate) const DEADLINE_OF_A_QUARANTINE: Duration = Duration::from_secs(40);

/// So many that no budget is in the way, in a window that does not end while a test runs.
pub(crate) const ANY_NUMBER: Limits = Limits {
    window_minutes: 50_000_000,
    control: 100_000,
    account: 100_000,
    actor: 100_000,
    overall: 100_000,
};

pub(crate) struct Scene {
    /// Past the proxy: the test's own eyes.
    pub(crate) cloud: Cloud,
    pub(crate) stack: Stack,
    pub(crate) ledger: Ledger,
    pub(crate) proxy: Arc<Proxy>,
    emulator: Arc<Emulator>,
}

impl Scene {
    /// Every control enforced, within these limits.
    pub(crate) async fn begin(seed: u64, limits: Limits) -> Arc<Self> {
        let emulator = Emulator::start().unwrap();
        let cloud = emulator.cloud();
        let proxy = Proxy::seeded(&emulator.endpoint, seed).unwrap();
        Self::deploy(cloud, Arc::new(proxy), Arc::new(emulator), "quell", limits).await
    }

    /// The same AWS with a ledger and a topic of its own.
    pub(crate) async fn beside(&self, prefix: &str) -> Arc<Self> {
        let (proxy, emulator) = (Arc::clone(&self.proxy), Arc::clone(&self.emulator));
        Self::deploy(self.cloud.clone(), proxy, emulator, prefix, ANY_NUMBER).await
    }

    async fn deploy(
        cloud: Cloud,
        proxy: Arc<Proxy>,
        emulator: Arc<Emulator>,
        prefix: &str,
        limits: Limits,
    ) -> Arc<Self> {
        let stack = Stack::deploy_as(&cloud, prefix).await.unwrap();
        let policy = Policy {
            budgets: Budgets { critical: limits, routine: limits },
            // Each happening is told here, so that none can be told twice.
            notify: Notify { fold_minutes: 0, ..Notify::DEFAULT },
            ..Policy::by_name(Mode::Enforce, REGISTRY)
        };
        stack.apply_policy(&policy).await.unwrap();
        let ledger = Ledger::new(&Clients::new(cloud.sdk.clone(), ACCOUNT), stack.ledger.as_str());
        Arc::new(Self { cloud, stack, ledger, proxy, emulator })
    }

    /// The binary that serves a control, called as faults and the log shall know it.
    pub(crate) fn function(&self, control: &str, name: &str) -> Function {
        let deadline =
            if control == "ec2-quarantine" { DEADLINE_OF_A_QUARANTINE } else { DEADLINE };
        self.function_within(control, name, deadline)
    }

    pub(crate) fn function_within(
        &self,
        control: &str,
        name: &str,
        deadline: Duration,
    ) -> Function {
        self.function_with(control, name, deadline, MARGIN)
    }

    /// One that never has too little time, for what nobody has to wait for.
    pub(crate) fn patient(&self, control: &str, name: &str) -> Function {
        self.function_with(control, name, Duration::from_secs(60), Duration::from_secs(30))
    }

    pub(crate) fn function_with(
        &self,
        control: &str,
        name: &str,
        deadline: Duration,
        margin: Duration,
    ) -> Function {
        let program = with_control!(control, C => C::META.function).unwrap();
        let mut environment = self.stack.environment("act");
        for (name, value) in &mut environment {
            if name == "QUELL_LEASE_MARGIN" {
                *value = margin.as_secs().to_string();
            }
        }
        Function::new(name, binary(program), environment, deadline, 256).through(&self.proxy)
    }

    /// The records about the resource under its own control, newest first.
    pub(crate) async fn records(&self, staged: &Staged) -> Vec<Record> {
        let all = self.ledger.newest(staged.control, None, 100_000).await.unwrap();
        all.into_iter().filter(|record| record.intent.resource == staged.resource).collect()
    }

    /// The one record under which the resource was fixed, when nothing else is owed to anybody.
    pub(crate) async fn story(&self, staged: &Staged) -> Record {
        let records = self.records(staged).await;
        let reason = |record: &Record| record.result.reason.clone();
        let lives: Vec<_> =
            records.iter().map(|record| (record.status, record.open, reason(record))).collect();
        assert!(lives.iter().all(|life| !life.1), "{} is at rest: {lives:?}", staged.resource);
        assert!(
            lives.iter().all(|life| matches!(life.0, Status::Fixed | Status::Superseded)),
            "{}: {lives:?}",
            staged.resource
        );
        let mut fixed: Vec<Record> =
            records.into_iter().filter(|record| record.status == Status::Fixed).collect();
        assert_eq!(fixed.len(), 1, "{} is fixed once: {lives:?}", staged.resource);
        assert!(!self.is_locked(&fixed[0]).await, "{} is free", staged.resource);
        fixed.remove(0)
    }

    pub(crate) async fn is_locked(&self, record: &Record) -> bool {
        let pk = format!("LCK#{ACCOUNT}#{}#{}", record.intent.region, record.intent.arn);
        let found = self
            .cloud
            .dynamodb
            .get_item()
            .table_name(&self.stack.ledger)
            .key("pk", AttributeValue::S(pk))
            .key("sk", AttributeValue::S("LOCK".to_owned()))
            .send()
            .await
            .unwrap();
        found.item.expect("it was locked once").contains_key("evaluation")
    }

    /// Returns when whoever holds the resource must be dead.
    pub(crate) async fn lease_ends(&self, staged: &Staged) {
        let records = self.records(staged).await;
        if let Some(due) = records.iter().filter_map(|record| record.due).max() {
            until(due).await;
        }
    }

    /// Gives hints about what is due, as the scheduled recovery does, until nothing is owed to the resource.
    pub(crate) async fn recover(&self, function: &Function, staged: &Staged) {
        for _ in 0..12 {
            let records = self.records(staged).await;
            let open: Vec<&Record> = records.iter().filter(|record| record.open).collect();
            if open.is_empty() {
                return;
            }
            let due = open.iter().filter_map(|record| record.due).min();
            until(due.expect("what is open is due some time")).await;
            for record in self.due(Timestamp::now(), 100_000).await {
                if record.intent.resource == staged.resource {
                    function.invoke(hint(&record).to_string()).await.unwrap();
                }
            }
        }
        let records = self.records(staged).await;
        let lives: Vec<_> = records.iter().map(|one| (one.status, one.open, one.due)).collect();
        panic!("{} never rests: {lives:?}\n{:#?}", staged.resource, function.log());
    }

    /// The records that somebody must still look after.
    pub(crate) async fn due(&self, now: Timestamp, limit: usize) -> Vec<Record> {
        let due = self.ledger.due(now, limit).await.unwrap().into_iter();
        due.filter_map(|due| match due {
            Due::Record(record) => Some(*record),
            Due::Order(_) | Due::Counts(_) => None,
        })
        .collect()
    }

    /// A person's order. Like the operator, it changes nothing: it is read when somebody looks at the record.
    pub(crate) async fn order(&self, record: &Record, verb: Verb) {
        let at = Timestamp::now();
        let order = Order {
            record: record.id.clone(),
            verb,
            plan: None,
            by: format!("arn:aws:iam::{ACCOUNT}:user/alice"),
            person: Some("alice".to_owned()),
            at,
            expires: at + SignedDuration::from_hours(24),
        };
        assert_eq!(self.ledger.order(&order).await.unwrap(), Ordered::Given);
    }

    /// The applied writes on a customer's resource, in the order of their arrival.
    pub(crate) fn effects(&self, resource: &str) -> Vec<Entry> {
        let log = self.proxy.log().into_iter();
        log.filter(|call| is_effect(call) && call.resources.iter().any(|one| one == resource))
            .collect()
    }

    /// What the resource's own control reads, past the proxy.
    pub(crate) async fn assess(&self, staged: &Staged) -> Value {
        let aws = Clients::new(self.cloud.sdk.clone(), ACCOUNT);
        let signal = Signal {
            trigger: Trigger::Manual {
                control: staged.control.to_owned(),
                resource: staged.resource.clone(),
            },
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            event_id: String::new(),
            deduplication: String::new(),
            time: None,
            actor: None,
            request_id: None,
            finding: None,
        };
        with_control!(staged.control, C => {
            let target = C::targets(&signal).unwrap().remove(0);
            let state = Box::pin(C::connect(&aws).assess(&target)).await.unwrap().unwrap();
            serde_json::to_value(state).unwrap()
        })
        .unwrap()
    }

    pub(crate) async fn snapshot(&self, staged: &Staged) -> Value {
        scenario::snapshot(&self.cloud, staged).await.unwrap()
    }

    pub(crate) async fn is_violating(&self, staged: &Staged) -> bool {
        scenario::is_violating(&self.cloud, staged).await.unwrap()
    }

    /// What people were told: record and outcome, sorted.
    pub(crate) async fn told(&self) -> Vec<(String, String)> {
        let published = self.stack.published().await.unwrap();
        let mut told: Vec<_> = published
            .iter()
            .map(|message| {
                let message: Value = serde_json::from_str(&message.texts["sqs"]).unwrap();
                let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                (text("record"), text("outcome"))
            })
            .collect();
        told.sort();
        told
    }
}

/// A write on a customer's resource that AWS made.
pub(crate) fn is_effect(call: &Entry) -> bool {
    call.is_write && call.applied && !["DynamoDB", "SNS"].contains(&call.service.as_str())
}

/// Says that a record is worth a look.
pub(crate) fn hint(record: &Record) -> Value {
    json!({
        "source": "quell.operator",
        "id": format!("{:032x}", fastrand::u128(..)),
        "detail": {
            "record": record.id,
            "account": record.intent.account,
            "region": record.intent.region,
        },
    })
}

/// A person wants one control to look at one resource.
pub(crate) fn manual(control: &str, resource: &str) -> Value {
    json!({
        "source": "quell.manual",
        "id": format!("{:032x}", fastrand::u128(..)),
        "detail": {
            "control": control,
            "resource": resource,
            "account": ACCOUNT,
            "region": REGION,
        },
    })
}

/// The outcome that a response tells about a control.
pub(crate) fn outcome<'a>(attempt: &'a Attempt, control: &str) -> Option<&'a str> {
    let quell_local::Answer::Response(response) = &attempt.answer else { return None };
    let results = response["results"].as_array()?;
    let own = results.iter().find(|result| result["control"] == control)?;
    own["outcome"].as_str()
}

async fn until(time: Timestamp) {
    let left = time.duration_since(Timestamp::now());
    if let Ok(left) = Duration::try_from(left) {
        // A lease that ends now is not over yet.
        sleep(left + Duration::from_millis(20)).await;
    }
}
