//! Sign-ins to the console.

use serde_json::Value;

use super::{
    Reason, Signal, Trigger, actor, cloudtrail,
    event::{Envelope, Stop, time},
    fields::{Fields, brief},
};

pub(super) fn hear(event: &Envelope<'_>) -> Result<Signal, Stop> {
    let detail = event.detail()?;
    let name = detail.required_text("eventName")?;
    if has_failed(&detail) {
        return Err(Reason::SignInFailed.into());
    }
    // Identity Center writes its sign-ins as `AssumeRole`.
    let is_done = detail
        .hint_object("responseElements")
        .is_some_and(|response| response.hint("ConsoleLogin") == Some("Success"));
    if !is_done {
        return Err(Reason::SignInStep { name: brief(name) }.into());
    }

    let account = cloudtrail::own_account(event, &detail)?;
    let mut signal = event.signal(
        Trigger::SignIn { mfa: mfa(&detail) },
        account,
        event.region()?,
        cloudtrail::deduplication(event, &detail)?,
    )?;
    signal.time = time(detail.hint("eventTime")).or(signal.time);
    signal.actor = actor::of_record(&detail);
    Ok(signal)
}

/// A failed sign-in has no error code: the response says `Failure` under the name of the step.
fn has_failed(detail: &Fields<'_>) -> bool {
    let response = detail.value("responseElements").and_then(Value::as_object);
    cloudtrail::error_code(detail).is_some()
        || detail.hint("errorMessage").is_some()
        || response.is_some_and(|steps| steps.values().any(|step| step.as_str() == Some("Failure")))
}

/// "No" says nothing about people whose identity provider asked for the second factor.
fn mfa(detail: &Fields<'_>) -> Option<bool> {
    let used = detail.hint_object("additionalEventData")?.hint("MFAUsed")?;
    let kind = detail.hint_object("userIdentity").and_then(|identity| identity.hint("type"));
    match (used, kind) {
        ("Yes", _) => Some(true),
        ("No", Some("IAMUser" | "Root")) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::samples::{reason, sign_in, signal};

    #[test]
    fn a_sign_in_says_whether_a_second_factor_was_used() {
        let mut event = sign_in();
        assert_eq!(signal(&event).trigger, Trigger::SignIn { mfa: Some(false) });
        assert_eq!(signal(&event).actor.unwrap().principal, "root");
        event["detail"]["additionalEventData"]["MFAUsed"] = json!("Yes");
        assert_eq!(signal(&event).trigger, Trigger::SignIn { mfa: Some(true) });
        event["detail"]["additionalEventData"]["MFAUsed"] = json!("No");
        event["detail"]["userIdentity"]["type"] = json!("AssumedRole");
        assert_eq!(signal(&event).trigger, Trigger::SignIn { mfa: None });
    }

    #[test]
    fn a_failed_sign_in_is_no_signal() {
        let mut event = sign_in();
        event["detail"]["errorMessage"] = json!("Failed authentication");
        assert_eq!(reason(&event), Reason::SignInFailed);
        event["detail"]["errorMessage"] = Value::Null;
        event["detail"]["responseElements"] = json!({"ConsoleLogin": "Failure"});
        assert_eq!(reason(&event), Reason::SignInFailed);
    }

    #[test]
    fn only_the_last_step_is_a_sign_in() {
        let mut event = sign_in();
        event["detail"]["eventName"] = json!("CheckMfa");
        event["detail"]["responseElements"] = json!({"CheckMfa": "Success"});
        assert_eq!(reason(&event), Reason::SignInStep { name: "CheckMfa".into() });
    }
}
