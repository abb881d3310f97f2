//! Who is held back stays so against an intruder who takes it off again: IAM needs seconds until a policy counts everywhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use quell_engine::{Outcome, policy::Mode};
use quell_local::{Cloud, scenario};
use quell_tests::rig::{Rig, failed};
use tokio::time::{sleep, timeout};

const POLICY: &str = "AWSRevokeOlderSessions";

/// An intruder with a session of the role takes the policy off within a second, as long as IAM lets it.
#[tokio::test]
async fn a_policy_that_an_intruder_takes_off_is_put_back_and_people_are_told_how_often() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "iam-role-sessions", "twice").await.unwrap();
    let (report, taken) = tokio::join!(
        rig.evaluate(Mode::Enforce, &staged),
        take_off(&rig.cloud, role(&staged.resource), 2, Duration::from_millis(200)),
    );
    assert_eq!(taken, 2, "the intruder was there");
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap());
    assert!(told(&rig).await.contains("somebody took it back 2 times, and it was made again"));
}

#[tokio::test]
async fn an_intruder_who_does_not_give_up_is_no_success() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "iam-role-sessions", "forever").await.unwrap();
    let (ended, taken) = tokio::join!(
        rig.deliver(Mode::Enforce, &staged.event),
        take_off(&rig.cloud, role(&staged.resource), 4, Duration::from_millis(200)),
    );
    let report = failed(ended.unwrap_err(), &staged);
    assert_eq!(taken, 4, "put back three times and no more");
    assert_eq!(report.outcome, Outcome::Partial, "{report:#?}");
    assert!(told(&rig).await.contains("somebody took it back 4 times within seconds"));
}

/// The same of a user who is held back from everything.
#[tokio::test]
async fn a_quarantine_that_is_taken_off_is_put_back() {
    let rig = Rig::start().await;
    let staged = scenario::stage(&rig.cloud, "iam-quarantine", "once").await.unwrap();
    let user = staged.resource.strip_prefix("user/").unwrap().to_owned();
    let detach = async {
        let found = attached(&rig.cloud, &user).await;
        let detach = rig.cloud.iam.detach_user_policy().user_name(&user).policy_arn(found);
        detach.send().await.unwrap();
    };
    let (report, ()) = tokio::join!(rig.evaluate(Mode::Enforce, &staged), detach);
    assert_eq!(report.outcome, Outcome::Fixed, "{report:#?}");
    assert!(!scenario::is_violating(&rig.cloud, &staged).await.unwrap());
    assert!(told(&rig).await.contains("somebody took it back once"));
}

/// Deletes the policy each time that it is there, so often. How often it was.
async fn take_off(cloud: &Cloud, role: &str, times: usize, pause: Duration) -> usize {
    let mut taken = 0;
    let all = async {
        while taken < times {
            let found = cloud.iam.list_role_policies().role_name(role).send().await.unwrap();
            if found.policy_names.iter().any(|name| name == POLICY) {
                let delete = cloud.iam.delete_role_policy().role_name(role).policy_name(POLICY);
                delete.send().await.unwrap();
                taken += 1;
            }
            sleep(pause).await;
        }
    };
    // It ends by itself where the policy is not put back again.
    let _ = timeout(Duration::from_secs(30), all).await;
    taken
}

/// The policy that holds the user back, once it is there.
async fn attached(cloud: &Cloud, user: &str) -> String {
    loop {
        let found = cloud.iam.list_attached_user_policies().user_name(user).send().await.unwrap();
        let found = found.attached_policies.unwrap_or_default().into_iter();
        let mut held = found.filter_map(|policy| policy.policy_arn);
        if let Some(arn) = held.find(|arn| arn.contains("-quarantine-")) {
            return arn;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn role(resource: &str) -> &str {
    resource.strip_prefix("role/").unwrap()
}

/// The last message, as it is sent.
async fn told(rig: &Rig) -> String {
    rig.stack.messages().await.unwrap().pop().unwrap().body
}
