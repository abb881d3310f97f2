//! Events that are made to end whoever reads them.

use quell_engine::policy::Mode;
use quell_local::Answer;
use serde_json::json;

use crate::place::Place;

#[tokio::test]
async fn a_poison_event_is_an_error_and_the_next_event_is_served_by_the_same_process() {
    let place = Place::begin(Mode::Enforce).await;
    let first = place.stage("s3-public-acl", "before").await;
    let function = place.function("s3-public-acl");
    let attempt = function.invoke(first.event.to_string()).await.unwrap();
    assert!(attempt.init.is_some() && attempt.answer.is_response());
    place.proxy.clear();

    let poison = poison(&first.event.to_string());
    for (what, event) in &poison {
        let attempt = function.invoke(event.clone()).await.unwrap();
        assert!(attempt.init.is_none(), "{what}: it is the same process");
        let Answer::Error { kind, message } = &attempt.answer else {
            panic!("{what}: {:?}", attempt.answer)
        };
        // Where there is no JSON at all, the words are those of Lambda's own runtime.
        let is_ours = kind == "Event";
        assert!(is_ours || message.contains("deserialize"), "{what}: {kind} {message}");
        assert!(!message.trim_end().contains(char::is_control), "{what}: {message}");
        assert!(message.len() < 2_000, "{what}: {} bytes", message.len());
    }
    assert_eq!(place.proxy.count(|_| true), 0, "{:#?}", place.proxy.log());

    let next = place.stage("s3-public-acl", "after").await;
    let attempt = function.invoke(next.event.to_string()).await.unwrap();
    assert!(attempt.init.is_none() && attempt.answer.is_response(), "{:?}", attempt.answer);
    assert!(!place.is_violating(&next).await);
    println!("{} poison events, one process", poison.len());
}

/// What no attempt can read is kept for people.
#[tokio::test]
async fn a_poison_event_ends_in_the_dead_letter_queue() {
    let place = Place::begin(Mode::Enforce).await;
    let stack = &place.rig.stack;
    let function =
        place.function("s3-public-acl").paced(0.0001).with_dead_letters(stack.dead_letter_queue());
    let event = place.stage("s3-public-acl", "dead").await.event.to_string();
    let poison: Vec<_> =
        poison(&event).into_iter().filter(|(_, event)| event.len() < 1_000_000).collect();
    for (what, event) in &poison {
        let invocation = function.invoke_async(event.clone()).await.unwrap();
        assert_eq!(invocation.attempts.len(), 3, "{what}: Lambda tries three times");
        assert!(invocation.dead_lettered, "{what}");
    }
    assert_eq!(stack.dead_letters().await.unwrap().len(), poison.len());
    assert_eq!(place.proxy.count(|_| true), 0);
}

fn poison(good: &str) -> Vec<(&'static str, Vec<u8>)> {
    let inside = |field: &str, value: &str| {
        good.replacen("\"detail\":{", &format!("\"detail\":{{\"{field}\":{value},"), 1)
    };
    let again = |field: &str| format!("{},{field}}}", good.strip_suffix('}').unwrap());
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{}1{}", open.repeat(levels), close.repeat(levels))
    };
    let texts = [
        ("nothing", String::new()),
        ("a blank", " ".to_owned()),
        ("no JSON", "{not json".to_owned()),
        ("null", "null".to_owned()),
        ("a number", "7".to_owned()),
        ("a text", "\"aws.s3\"".to_owned()),
        ("a list", "[]".to_owned()),
        ("no fields", "{}".to_owned()),
        ("lists in lists", nested("[", "]", 100_000)),
        ("objects in objects", nested("{\"a\":", "}", 100_000)),
        ("lists without an end", "[".repeat(500_000)),
        ("objects without an end", "{\"a\":".repeat(150_000)),
        ("deep within the detail", inside("deep", &nested("[", "]", 100_000))),
        ("too deep by one", inside("deep", &nested("[", "]", 63))),
        ("larger than a queue takes", inside("padding", &json!("x".repeat(1_100_000)).to_string())),
        ("six megabytes", inside("padding", &json!("x".repeat(6_000_000)).to_string())),
        ("a number beyond all", inside("number", "1e999999")),
        ("NaN", inside("number", "NaN")),
        ("infinite", inside("number", "-Infinity")),
        ("a leading zero", inside("number", "007")),
        ("hexadecimal", inside("number", "0xff")),
        ("half a surrogate", inside("text", "\"\\ud800\"")),
        ("an escape that there is not", inside("text", "\"\\x41\"")),
        ("a control character in a text", inside("text", "\"\u{1}\"")),
        ("a comment", inside("text", "/* */ 1")),
        ("one comma too many", good.replacen('}', ",}", 1)),
        ("cut off", good[..good.len() / 2].to_owned()),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("the detail twice, the last a list", again("\"detail\":[]")),
        ("the account twice, the last a number", again("\"account\":123456789012")),
    ];
    let mut all: Vec<(&'static str, Vec<u8>)> =
        texts.into_iter().map(|(what, text)| (what, text.into_bytes())).collect();
    for (what, bytes) in [
        ("no UTF-8", &b"\xff\xfe\xfa"[..]),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate in UTF-8", b"\xed\xa0\x80"),
        ("half a character", b"\xf0\x9f\x92"),
    ] {
        let mut event = inside("text", "\"@\"").into_bytes();
        let at = event.windows(3).position(|three| three == b"\"@\"").unwrap() + 1;
        event.splice(at..=at, bytes.iter().copied());
        all.push((what, event));
    }
    all.push(("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    all
}
