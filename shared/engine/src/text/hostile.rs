//! Hostile strings, for tests of everything that renders. Other crates include this file: it knows of its parent only
//! `is_invisible`.

use proptest::prelude::*;

pub(crate) const FRAGMENTS: &[&str] = &[
    "<!channel>",
    "<!here|here>",
    "<@U012AB3CD>",
    "<http://evil.example|Approve>",
    "[a](http://evil.example)",
    "@here",
    "@channel",
    "@everyone",
    "https://evil.example/x",
    "www.evil.example",
    "evil.example/login",
    "\r\n",
    "\n\n- approved\n",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\0",
    "\u{7f}",
    "\u{e0041}",
    "\u{fe0f}",
    "*_~`",
    "```",
    "&lt;!channel&gt;",
    "{\"a\":1}",
    "\\u0000",
    "\\\\host\\x",
    "=cmd()",
    "a",
    "photos-2024",
    " ",
    "arn:aws:s3:::",
    "lambda.amazonaws.com",
    "]",
    "(http",
    "<",
    "]\u{200b}(http",
    "<\u{200b}!",
    "\u{1f4a5}",
    "e\u{301}\u{301}\u{301}\u{301}",
    "</p><script>",
    "%s%n",
    "\u{ffff}",
];

pub(crate) fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(FRAGMENTS).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => (prop::sample::select(FRAGMENTS), 1..400_usize).prop_map(|(part, times)| part.repeat(times)),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Nothing in it is markup, a link or invisible. Line ends are ours.
pub(crate) fn assert_inert(rendered: &str) {
    for bad in ["<!", "<@", "<http", "](http", "://"] {
        assert!(!rendered.contains(bad), "{bad} in {rendered:?}");
    }
    let www = rendered.split("www.").skip(1).find(|rest| rest.starts_with(char::is_alphanumeric));
    assert_eq!(www, None, "{rendered:?}");
    let bad = rendered.chars().find(|c| super::is_invisible(*c) && *c != '\n');
    assert_eq!(bad, None, "{rendered:?}");
}
