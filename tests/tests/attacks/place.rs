//! An embedded AWS behind a proxy, whose log is the truth about what was called.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use quell_controls::{All, REGISTRY};
use quell_engine::{
    Clients,
    error::EventFailure,
    evaluate::Engine,
    ledger::Ledger,
    notify::Topic,
    policies::PolicyCache,
    policy::{Limits, Mode, Notify, Policy},
    report::Response,
    serve::handle,
};
use quell_local::{
    Cloud, Function, Proxy,
    cloud::ACCOUNT,
    proxy::Entry,
    scenario::{self, SETTINGS, Staged},
};
use quell_tests::rig::{Rig, binary};
use serde_json::Value;

pub(crate) struct Place {
    pub(crate) rig: Rig,
    pub(crate) proxy: Proxy,
    policies: Arc<PolicyCache>,
}

impl Place {
    /// Each message is told, so that each can be looked at.
    pub(crate) async fn begin(mode: Mode) -> Self {
        let notify = Notify { fold_minutes: 0, ..Notify::DEFAULT };
        Self::under(Policy { notify, ..Policy::by_name(mode, REGISTRY) }).await
    }

    /// The same where one actor does more than the budgets of a new policy allow.
    pub(crate) async fn begin_without_budgets(mode: Mode) -> Self {
        let notify = Notify { fold_minutes: 0, ..Notify::DEFAULT };
        let mut policy = Policy { notify, ..Policy::by_name(mode, REGISTRY) };
        for limits in [&mut policy.budgets.critical, &mut policy.budgets.routine] {
            let most = 10_000;
            *limits =
                Limits { control: most, account: most, actor: most, overall: most, ..*limits };
        }
        Self::under(policy).await
    }

    pub(crate) async fn under(policy: Policy) -> Self {
        let rig = Rig::start().await;
        rig.stack.apply_policy(&policy).await.unwrap();
        let proxy = Proxy::start(&rig.cloud.endpoint).unwrap();
        Self { rig, proxy, policies: Arc::default() }
    }

    pub(crate) async fn stage(&self, control: &str, name: &str) -> Staged {
        let staged = self.rig.stack.stage(control, name).await.unwrap();
        if SETTINGS.contains(&control) {
            self.forget_fixes().await;
        }
        assert!(self.is_violating(&staged).await, "{control}: the bad state was not made");
        staged
    }

    /// Of a setting there is one: who broke it again and again would be left alone.
    async fn forget_fixes(&self) {
        let Rig { cloud, stack, .. } = &self.rig;
        let all = cloud.dynamodb.scan().table_name(&stack.ledger).send().await.unwrap();
        for item in all.items().iter().filter(|item| item["pk"].as_s().unwrap().starts_with("LCK#"))
        {
            let gone = cloud.dynamodb.delete_item().table_name(&stack.ledger);
            let gone = gone.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            gone.send().await.unwrap();
        }
    }

    pub(crate) async fn is_violating(&self, staged: &Staged) -> bool {
        scenario::is_violating(&self.rig.cloud, staged).await.unwrap()
    }

    /// The real program that serves a control, as the template deploys it with the ceiling `act`.
    pub(crate) fn function(&self, control: &str) -> Function {
        let meta = REGISTRY.iter().find(|meta| meta.id == control).expect("it is registered");
        let environment = self.rig.stack.environment("act");
        let limit = Duration::from_secs(60);
        Function::new(meta.function, binary(meta.function), environment, limit, 256)
            .through(&self.proxy)
    }

    /// All controls in this process, which call AWS through the proxy.
    pub(crate) fn worker(&self) -> Worker {
        let aws = Clients::new(Cloud::at(&self.proxy.endpoint).sdk, ACCOUNT);
        Worker {
            ledger: Ledger::new(&aws, self.rig.stack.ledger.as_str()),
            topic: Topic::new(&aws, self.rig.stack.topic.as_str()),
            policies: Arc::clone(&self.policies),
            aws,
        }
    }

    /// What was changed on customers' resources.
    pub(crate) fn effects(&self) -> Vec<Entry> {
        let log = self.proxy.log().into_iter();
        log.filter(|call| call.is_write && !is_ours(&call.service)).collect()
    }

    /// What was asked of AWS, the ledger and the topic aside.
    pub(crate) fn named(&self) -> BTreeSet<String> {
        let log = self.proxy.log().into_iter().filter(|call| !is_ours(&call.service));
        log.flat_map(|call| call.resources).collect()
    }
}

fn is_ours(service: &str) -> bool {
    ["DynamoDB", "SNS"].contains(&service)
}

pub(crate) struct Worker {
    aws: Clients,
    ledger: Ledger,
    topic: Topic,
    policies: Arc<PolicyCache>,
}

impl Worker {
    pub(crate) async fn deliver(&self, event: &str) -> Result<Response, EventFailure> {
        let engine = Engine {
            ledger: self.ledger.clone(),
            topic: Some(self.topic.clone()),
            policies: Arc::clone(&self.policies),
            acts: true,
            deadline: Instant::now() + Duration::from_secs(120),
            margin: Duration::from_secs(30),
            delivery: unique(),
            sweeps_every: None,
        };
        handle::<All>(&engine, &self.aws, event).await
    }
}

/// An id that no other event has.
pub(crate) fn unique() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The event as another happening: with ids of its own.
pub(crate) fn renewed(event: &Value) -> Value {
    let mut event = event.clone();
    for place in ["/id", "/detail/eventID", "/detail/requestID", "/detail/id"] {
        if let Some(id) = event.pointer_mut(place) {
            *id = unique().into();
        }
    }
    if let Some(finding) = event.pointer_mut("/detail/findings/0/Id") {
        *finding = unique().into();
    }
    event
}

/// The samples of a control, by the names of their files.
pub(crate) fn samples(control: &str) -> Vec<(String, Value)> {
    let folder = quell_tests::root(&format!("events/{control}"));
    let mut samples: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        })
        .collect();
    samples.sort_by(|(one, _), (other, _)| one.cmp(other));
    samples
}

/// A person who asks for a control on a resource.
pub(crate) fn manual(control: &str, resource: &str) -> Value {
    serde_json::json!({
        "source": "quell.manual",
        "id": unique(),
        "detail": {
            "control": control,
            "resource": resource,
            "account": ACCOUNT,
            "region": quell_local::cloud::REGION,
        },
    })
}

/// JSON pointers to every value below the root.
pub(crate) fn paths(event: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, all: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(object) => {
                let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
                object.iter().map(|(name, value)| (escaped(name), value)).collect()
            }
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            _ => Vec::new(),
        };
        for (name, value) in children {
            let path = format!("{path}/{name}");
            walk(value, &path, all);
            all.push(path);
        }
    }
    let mut all = Vec::new();
    walk(event, "", &mut all);
    all
}
