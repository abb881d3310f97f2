//! What people order with buttons in Slack, and what they hear of it there.
//!
//! `slack-actions`, which the internet reaches, says who pressed which button. Its role may say that and nothing else, and
//! nobody else may say it. Who the person is, and what they may, is decided here, by the same verbs as of every order.

use aws_sdk_lambda::{Client, primitives::Blob, types::InvocationType};
use quell_engine::{
    CallError, Clients, During as _,
    ledger::{Consumed, Record, Use},
    text,
};
use quell_slack::{Action, Interaction};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Refusal},
    handler::Operator,
    request::{Caller, Order, Url},
    verbs,
};

/// The functions that speak with Slack, where the template has them.
pub(crate) struct Slack {
    lambda: Client,
    /// How the ARNs of all sessions of the role of `slack-actions` begin.
    sessions: String,
    /// The ARN of `slack`.
    function: String,
    /// The id of the workspace that the app is installed in: its members are whom the policy names.
    workspace: String,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{0}` is not the ARN of a role")]
pub(crate) struct RoleError(String);

/// Why a snooze lets a resource be.
const SNOOZED: &str = "snoozed in Slack";

impl Slack {
    /// `role` is the ARN of the role of `slack-actions`, `function` that of `slack`, `workspace` the id of Slack's.
    pub(crate) fn new(
        aws: &Clients,
        role: &str,
        function: String,
        workspace: String,
    ) -> Result<Self, RoleError> {
        let sessions = sessions(role).ok_or_else(|| RoleError(role.to_owned()))?;
        Ok(Self { lambda: Client::new(aws.sdk()), sessions, function, workspace })
    }

    /// Whether this principal brings what people press in Slack.
    pub(crate) fn is_brought_by(&self, principal: &str) -> bool {
        principal.strip_prefix(&self.sessions).is_some_and(|session| !session.is_empty())
    }

    /// Does what a person ordered with a button, as far as they may, and tells them.
    pub(crate) async fn answer(&self, operator: &Operator, url: &Url) -> Answer {
        let said = url.body().and_then(|body| {
            Interaction::from_json(&body).map_err(|error| {
                Refusal::bad(format!("the body is nothing that is pressed in Slack: {error}"))
            })
        });
        let pressed = match said {
            Ok(pressed) => pressed,
            Err(refusal) => {
                let answer = refusal.of("");
                answer.log(None);
                return answer;
            }
        };
        let verb = verb(pressed.action);
        let caller = match self.is_home_of(&pressed) {
            Ok(()) => operator.member(&pressed.team, &pressed.user).await,
            Err(refusal) => Err(refusal),
        };
        let ended = match caller {
            Ok(caller) => {
                let ended = self.obey(operator, &caller, &pressed).await;
                let ended = ended.map_err(|refusal| refusal.about(&pressed.button.record));
                (Some(caller), ended)
            }
            Err(refusal) => (None, Err(refusal)),
        };
        let (caller, ended) = ended;
        let (mut answer, told) = match ended {
            Ok(Ended::Told(answer)) => (answer, None),
            Ok(Ended::Done(answer)) => {
                let text = answer.detail.clone();
                (answer, Some(text))
            }
            Err(refusal) => {
                let answer = refusal.of(verb);
                let text = format!("Not done: {}", answer.detail);
                (answer, Some(text))
            }
        };
        answer.log(caller.as_ref());
        let Some(told) = told else { return answer };
        match self.reply(&pressed, &told).await {
            // A refusal of which the person knows is no failure of the way here.
            Ok(()) => answer.status = answer.status.min(200),
            Err(error) => tracing::error!(
                target: "quell_operator",
                verb,
                record = pressed.button.record,
                detail = text::one_line(&error.to_string()),
                "not told in Slack"
            ),
        }
        answer
    }

    /// Members are known by their ids, which are those of one workspace.
    fn is_home_of(&self, pressed: &Interaction) -> Result<(), Refusal> {
        let teams = [Some(&pressed.team), pressed.home.as_ref()];
        match teams.into_iter().flatten().find(|team| **team != self.workspace) {
            None => Ok(()),
            Some(other) => Err(Refusal::forbidden(format!(
                "only members of the workspace that Quell is installed in may press its buttons; this was pressed from workspace {other}"
            ))),
        }
    }

    async fn obey(
        &self,
        operator: &Operator,
        caller: &Caller,
        pressed: &Interaction,
    ) -> Result<Ended, Refusal> {
        caller.known_in_slack(&pressed.user)?;
        let button = &pressed.button;
        let record = verbs::find(operator, &button.record).await?;
        is_of(pressed, &record)?;
        let action = pressed.action.to_string();
        let Some(order) = order(pressed) else {
            if let Some(before) = operator.ledger.consumed(&button.nonce, &action).await? {
                return Err(used(&before));
            }
            self.modal(pressed).await?;
            let detail = "asked for the reason, and for how many days".to_owned();
            return Ok(Ended::Told(Answer::done("exempt", Some(&record.id), detail)));
        };
        let this = Use {
            nonce: button.nonce.clone(),
            action,
            record: record.id.clone(),
            by: caller.arn.clone(),
            delivery: pressed.trigger_id.clone(),
            at: operator.now,
        };
        match operator.ledger.consume(&this).await? {
            Consumed::First => {}
            Consumed::Before(before) => return Err(used(&before)),
            Consumed::Again => {
                let detail = "delivered once more: nothing is done twice".to_owned();
                return Ok(Ended::Told(Answer::done(order.verb(), Some(&record.id), detail)));
            }
        }
        match verbs::obey(operator, caller, order).await {
            Ok(answer) => Ok(Ended::Done(answer)),
            // Nothing came of it: somebody who may can still press it.
            Err(refusal) => match operator.ledger.give_back(&this).await {
                Ok(()) => Err(refusal),
                Err(error) => {
                    let detail = format!(
                        "{}; and the button cannot be pressed again: {error}",
                        refusal.detail
                    );
                    Err(Refusal { detail, ..refusal })
                }
            },
        }
    }

    /// What only the person sees who pressed the button.
    async fn reply(&self, to: &Interaction, text: &str) -> Result<(), CallError> {
        let Interaction { channel, user, .. } = to;
        self.tell(json!({"reply": {"channel": channel, "user": user, "text": text}})).await
    }

    /// Asks for reason and days.
    async fn modal(&self, pressed: &Interaction) -> Result<(), CallError> {
        let Interaction { trigger_id, button, channel, user, .. } = pressed;
        self.tell(json!({
            "modal": {"trigger_id": trigger_id, "button": button, "channel": channel, "user": user},
        }))
        .await
    }

    async fn tell(&self, what: Value) -> Result<(), CallError> {
        self.lambda
            .invoke()
            .function_name(&self.function)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(json!({"slack": what}).to_string()))
            .send()
            .await
            .during("lambda:InvokeFunction")
            .map(drop)
    }
}

/// How a press of a button ended, if it was not refused.
enum Ended {
    /// The person is yet to be told.
    Done(Answer),
    /// They were, or need not be.
    Told(Answer),
}

impl Operator {
    /// The person whom the policy knows by this member of Slack's. Orders keep them as `slack:<team>/<member>`.
    async fn member(&self, team: &str, member: &str) -> Result<Caller, Refusal> {
        let policy = self.known_policy().await?;
        let mut known =
            policy.people.iter().filter(|person| person.slack.as_deref() == Some(member));
        let person = known.next().map(|person| person.name.clone());
        // Whom two names claim is nobody.
        let person = person.filter(|_| known.next().is_none());
        Ok(Caller { arn: format!("slack:{team}/{member}"), person, policy })
    }
}

impl Caller {
    fn known_in_slack(&self, member: &str) -> Result<&str, Refusal> {
        self.person.as_deref().ok_or_else(|| {
            Refusal::forbidden(format!(
                "the policy knows nobody by your member id {member}; let somebody add it as `slack` to your [[people]] in quell.toml and apply it"
            ))
        })
    }
}

/// What is ordered. `None`: the reason is yet to be asked for.
fn order(pressed: &Interaction) -> Option<Order> {
    let record = pressed.button.record.clone();
    let exempt = |reason: String, days| Order::Exempt {
        record: Some(record.clone()),
        control: None,
        resource: None,
        region: None,
        reason,
        days,
        owner: None,
    };
    Some(match pressed.action {
        Action::Approve => Order::Approve { record, plan: pressed.button.plan.clone() },
        Action::Deny => Order::Deny { record, reason: None },
        Action::Undo => Order::Undo { record },
        Action::Exempt => exempt(pressed.reason.clone()?, pressed.days?),
        Action::Snooze => exempt(SNOOZED.to_owned(), 1),
    })
}

/// The verb of an action, as in every other answer and line of the log.
fn verb(action: Action) -> &'static str {
    match action {
        Action::Approve => "approve",
        Action::Deny => "deny",
        Action::Undo => "undo",
        Action::Exempt | Action::Snooze => "exempt",
    }
}

/// Whether the button stands under the plan that the record has. What decides about a plan always names it.
fn is_of(pressed: &Interaction, record: &Record) -> Result<(), Refusal> {
    let plan = pressed.button.plan.as_str();
    let needs_plan = matches!(pressed.action, Action::Approve | Action::Deny);
    if plan == record.intent.plan_hash || plan.is_empty() && !needs_plan {
        return Ok(());
    }
    Err(Refusal::conflict(format!(
        "this button is of another plan than the record has; look at it with `quell show {}`",
        record.id
    )))
}

fn used(before: &Use) -> Refusal {
    Refusal::conflict(format!(
        "this button was used already, at {:.0}; `quell show {}` says what came of it",
        before.at, before.record
    ))
}

/// `arn:aws:iam::123456789012:role/path/name` becomes `arn:aws:sts::123456789012:assumed-role/name/`.
fn sessions(role: &str) -> Option<String> {
    let mut parts = role.splitn(6, ':');
    let (arn, partition, iam) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, path) = (parts.next()?, parts.next()?, parts.next()?);
    let name = path.strip_prefix("role/")?.rsplit('/').next()?;
    let is_role = arn == "arn" && iam == "iam" && region.is_empty();
    let is_whole = is_role && !partition.is_empty() && !account.is_empty() && !name.is_empty();
    is_whole.then(|| format!("arn:{partition}:sts::{account}:assumed-role/{name}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_known_by_the_arns_of_its_sessions() {
        let begin = "arn:aws:sts::123456789012:assumed-role/quell-SlackActionsRole-1A2B/";
        for role in [
            "arn:aws:iam::123456789012:role/quell-SlackActionsRole-1A2B",
            "arn:aws:iam::123456789012:role/service/quell-SlackActionsRole-1A2B",
        ] {
            assert_eq!(sessions(role).as_deref(), Some(begin));
        }
        for none in [
            "",
            "quell-SlackActionsRole-1A2B",
            "arn:aws:iam::123456789012:user/alice",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam:::role/quell",
            "arn:aws:sts::123456789012:role/quell",
        ] {
            assert_eq!(sessions(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_pressed_is_the_order_that_the_command_line_would_give() {
        let button = json!({
            "v": 1,
            "record": "5f0c6a1de2b94c770000",
            "plan": "77c49be21d6a0c5f0000",
            "nonce": "0123456789abcdef0123456789abcdef",
        });
        let pressed = |action: &str, more: Value| {
            let mut pressed = json!({
                "user": "U012AB3CD",
                "team": "T0123ABCD",
                "action": action,
                "button": button,
                "trigger_id": "1.2.3",
                "channel": "C0123ABCD",
            });
            pressed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            order(&Interaction::from_json(pressed.to_string().as_bytes()).unwrap())
        };
        let typed = |order: Value| Some(serde_json::from_value::<Order>(order).unwrap());
        let (record, plan) = (&button["record"], &button["plan"]);
        let none = || json!({});
        assert_eq!(
            pressed("approve", none()),
            typed(json!({"verb": "approve", "record": record, "plan": plan}))
        );
        assert_eq!(pressed("deny", none()), typed(json!({"verb": "deny", "record": record})));
        assert_eq!(pressed("undo", none()), typed(json!({"verb": "undo", "record": record})));
        assert_eq!(
            pressed("snooze", none()),
            typed(json!({"verb": "exempt", "record": record, "reason": SNOOZED, "days": 1}))
        );
        assert_eq!(pressed("exempt", none()), None, "it is yet to be asked for");
        assert_eq!(
            pressed("exempt", json!({"reason": "press kit", "days": 30})),
            typed(json!({"verb": "exempt", "record": record, "reason": "press kit", "days": 30}))
        );
    }
}
