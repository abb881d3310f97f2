use std::{path::PathBuf, time::Duration};

use quell_local::{Answer, Emulator, Function, Stack};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(300);

fn function(environment: &[(&str, &str)], timeout: Duration) -> Function {
    let program =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join("local").join("function.py");
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Function::new("s3-exposure", program, environment.collect(), timeout, 128).paced(0.000_01)
}

fn event(event: Value) -> Vec<u8> {
    event.to_string().into_bytes()
}

fn response(answer: &Answer) -> &Value {
    match answer {
        Answer::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_process_serves_one_event_after_another() {
    let function = function(&[], LONG);
    let first = function.invoke(event(json!({"do": "answer"}))).await.unwrap();
    let second = function.invoke(event(json!({"do": "answer"}))).await.unwrap();
    assert!(first.init.is_some() && second.init.is_none());
    let (one, two) = (response(&first.answer), response(&second.answer));
    assert_eq!((&one["count"], &two["count"]), (&json!(1), &json!(2)));
    assert_eq!(one["pid"], two["pid"]);
    assert_ne!(first.request_id, second.request_id);
}

#[tokio::test]
async fn events_at_the_same_time_have_a_process_each() {
    let function = function(&[], LONG);
    let place = tempfile::tempdir().unwrap();
    let meet = event(json!({"do": "meet", "at": place.path(), "count": 3}));
    let (a, b, c) = tokio::join!(
        function.invoke(meet.clone()),
        function.invoke(meet.clone()),
        function.invoke(meet.clone())
    );
    let pids = [a, b, c].map(|attempt| response(&attempt.unwrap().answer)["pid"].clone());
    assert!(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2]);

    let after = function.invoke(event(json!({"do": "answer"}))).await.unwrap();
    assert!(after.init.is_none(), "they wait for more");
}

#[tokio::test]
async fn a_program_sees_what_lambda_sets_and_what_is_given() {
    let function = function(&[("QUELL_CEILING", "act")], LONG);
    let attempt = function.invoke(event(json!({"do": "answer"}))).await.unwrap();
    let response = response(&attempt.answer);
    let environment = response["environment"].as_object().unwrap();
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", "s3-exposure"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "eu-west-1"),
        ("QUELL_CEILING", "act"),
    ] {
        assert_eq!(environment[name], value);
    }
    // What a Python launcher may add is not ours to judge; Cargo's variables are surely of this process only.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    let leaked: Vec<_> = environment.keys().filter(|name| name.starts_with("CARGO")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert_eq!(response["folder"], environment["LAMBDA_TASK_ROOT"]);
    assert_eq!(response["arn"], "arn:aws:lambda:eu-west-1:123456789012:function:s3-exposure");
    assert!(response["trace"].as_str().unwrap().starts_with("Root=1-"));
    let left = response["deadline"].as_i64().unwrap() - response["now"].as_i64().unwrap();
    assert!(left > 0 && left <= 300_000, "{left}");
}

#[tokio::test]
async fn what_a_process_writes_is_kept() {
    let function = function(&[], LONG);
    let log = json!({"do": "answer", "log": [r#"{"level":"INFO"}"#, "second"]});
    let attempt = function.invoke(event(log)).await.unwrap();
    assert_eq!(attempt.log, [r#"{"level":"INFO"}"#, "second", "to stderr"]);
    let again = function.invoke(event(json!({"do": "fail", "log": ["third"]}))).await.unwrap();
    assert_eq!(again.log, ["third", "to stderr"]);
    assert_eq!(function.log().len(), 5);
}

#[tokio::test]
async fn an_event_that_is_handled_at_last_is_not_dead() {
    let emulator = Emulator::start().unwrap();
    let stack = Stack::deploy(&emulator.cloud()).await.unwrap();
    let function = function(&[], LONG).with_dead_letters(stack.dead_letter_queue());
    let invocation =
        function.invoke_async(event(json!({"do": "fail at first", "times": 2}))).await.unwrap();
    assert_eq!(invocation.attempts.len(), 3);
    assert!(invocation.attempts.iter().all(|attempt| attempt.request_id == invocation.request_id));
    assert_eq!(invocation.response().unwrap()["count"], 3, "an error does not end the process");
    assert!(!invocation.dead_lettered);
    assert!(stack.dead_letters().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_that_fails_thrice_is_a_dead_letter() {
    let emulator = Emulator::start().unwrap();
    let stack = Stack::deploy(&emulator.cloud()).await.unwrap();
    let function = function(&[], LONG).with_dead_letters(stack.dead_letter_queue());
    let message = "ü".repeat(1000);
    let body = event(json!({"do": "fail", "message": message}));
    let invocation = function.invoke_async(body.clone()).await.unwrap();
    assert_eq!(invocation.attempts.len(), 3);
    assert!(invocation.dead_lettered && invocation.response().is_none());
    for attempt in &invocation.attempts {
        assert_eq!(attempt.answer.error_kind(), Some("Broken"));
    }

    let dead = stack.dead_letters().await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].body.as_bytes(), body);
    assert_eq!(dead[0].attributes["RequestID"], invocation.request_id);
    assert_eq!(dead[0].attributes["ErrorCode"], "200");
    assert_eq!(dead[0].attributes["ErrorMessage"], message[..1024]);
}

#[tokio::test]
async fn whatever_the_event_is_it_arrives_as_a_dead_letter() {
    let emulator = Emulator::start().unwrap();
    let stack = Stack::deploy(&emulator.cloud()).await.unwrap();
    let function = function(&[], LONG).with_dead_letters(stack.dead_letter_queue());
    let large = "x".repeat(1_000_000).into_bytes();
    for body in [b"not JSON\0\x1b\xff".to_vec(), large] {
        let invocation = function.invoke_async(body).await.unwrap();
        assert!(invocation.dead_lettered);
    }
    let dead = stack.dead_letters().await.unwrap();
    assert_eq!(dead[0].body, "not JSON\u{fffd}\u{fffd}\u{fffd}");
    assert_eq!(dead[1].body.len(), 1_000_000);
}

#[tokio::test]
async fn a_process_that_takes_too_long_is_killed() {
    let emulator = Emulator::start().unwrap();
    let stack = Stack::deploy(&emulator.cloud()).await.unwrap();
    let limit = Duration::from_millis(200);
    let function = function(&[], limit).with_dead_letters(stack.dead_letter_queue());
    let invocation = function.invoke_async(event(json!({"do": "hang"}))).await.unwrap();
    assert_eq!(invocation.attempts.len(), 3);
    for attempt in &invocation.attempts {
        assert_eq!(attempt.answer, Answer::Timeout(limit));
        assert!(attempt.init.is_some(), "the next attempt has a new process");
        assert_eq!(attempt.log, ["to stderr"]);
    }
    let dead = stack.dead_letters().await.unwrap();
    assert_eq!(dead[0].attributes["ErrorMessage"], "Task timed out after 0.20 seconds");
}

#[tokio::test]
async fn a_process_that_ends_before_it_answers_is_an_error() {
    let function = function(&[], LONG);
    let invocation = function.invoke_async(event(json!({"do": "exit"}))).await.unwrap();
    assert_eq!(invocation.attempts.len(), 3);
    for attempt in &invocation.attempts {
        assert_eq!(attempt.answer.error_kind(), Some("Runtime.ExitError"));
        assert!(attempt.answer.error_message().unwrap().contains('7'));
        assert!(attempt.init.is_some());
    }
    assert!(!invocation.dead_lettered, "it has no such queue");
}

#[tokio::test]
async fn a_process_that_ends_after_it_answered_is_replaced() {
    let function = function(&[], LONG);
    for _ in 0..5 {
        let attempt = function.invoke(event(json!({"do": "answer and exit"}))).await.unwrap();
        assert_eq!(response(&attempt.answer)["count"], 1);
    }
}

#[tokio::test]
async fn a_failed_start_is_an_error() {
    let failed = function(&[("INIT", "fail")], LONG).invoke(event(json!({}))).await.unwrap();
    assert_eq!(failed.answer.error_kind(), Some("Init.Failed"));
    assert_eq!(failed.answer.error_message().as_deref(), Some("no settings"));

    let ended = function(&[("INIT", "exit")], LONG).invoke(event(json!({}))).await.unwrap();
    assert_eq!(ended.answer.error_kind(), Some("Runtime.ExitError"));

    let missing = Function::new("none", "/nowhere/bootstrap", Vec::new(), LONG, 128);
    let missing = missing.invoke(event(json!({}))).await.unwrap();
    assert_eq!(missing.answer.error_kind(), Some("Runtime.InvalidEntrypoint"));
    assert!(missing.answer.error_message().unwrap().contains("/nowhere/bootstrap"));
}

#[tokio::test]
async fn an_answer_to_another_event_is_refused() {
    let attempt = function(&[], LONG).invoke(event(json!({"do": "wrong id"}))).await.unwrap();
    assert_eq!(attempt.answer, Answer::Response(json!(400)));
}
