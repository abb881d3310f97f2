//! The one renderer of untrusted text.
//!
//! Names, tags, user agents and error messages are chosen by others, perhaps by an attacker. Whatever they hold, what
//! leaves here is one visible line without markup, mention or link.

use std::{borrow::Cow, fmt::Write as _, ops::Range};

use serde::Serialize;

/// How many characters of one untrusted text people see.
pub const CAP: usize = 256;

/// Visible characters on one line, at most [`CAP`]: no control, separator, bidirectional, zero-width or other invisible
/// character. Any white space becomes a space.
pub fn plain(text: &str) -> String {
    plain_up_to(text, CAP)
}

/// [`plain`] with another cap.
pub fn plain_up_to(text: &str, cap: usize) -> String {
    if text.len() <= cap && is_printable_ascii(text) {
        return text.to_owned();
    }
    let mut marks = 0;
    let visible = text.chars().filter_map(|c| {
        // Piled up, combining marks cover the lines around them.
        marks = if is_combining(c) { marks + 1 } else { 0 };
        match c {
            c if c.is_whitespace() || c == '\u{2800}' => Some(' '),
            c if is_invisible(c) || marks > 2 => None,
            c => Some(c),
        }
    });
    capped(visible, cap)
}

/// For logs: like [`plain`], with room for an error message.
pub fn one_line(text: &str) -> String {
    plain_up_to(text, 1024)
}

/// For subjects: printable ASCII, at most [`CAP`] characters and the dots.
pub fn ascii(text: &str) -> String {
    plain(text)
        .replace('…', "...")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

/// For plain-text mail: nothing that a mail program turns into a link, and no angle brackets, because some programs
/// that take mail in read it as HTML.
pub fn mail(text: &str) -> String {
    mail_up_to(text, CAP)
}

/// [`mail`] with another cap (of the text as it came).
pub fn mail_up_to(text: &str, cap: usize) -> String {
    unlinked(plain_up_to(text, cap).trim())
}

/// For Slack and Teams: inline code, in which neither shows markup, links or mentions.
pub fn markdown(text: &str) -> String {
    markdown_up_to(text, CAP)
}

/// [`markdown`] with another cap (of the text as it came).
pub fn markdown_up_to(text: &str, cap: usize) -> String {
    let inner = phrase_up_to(text, cap);
    if inner.is_empty() { "`-`".to_owned() } else { format!("`{inner}`") }
}

/// For a sentence of our own in Slack and Teams, not set as code.
pub fn phrase_up_to(text: &str, cap: usize) -> String {
    // Amazon Q makes mentions even of bare `@name`, so no `@` stays.
    mail_up_to(text, cap).replace('`', "'").replace('&', "&amp;").replace('@', "＠")
}

/// The first characters of a text as it is, with `…` if there are more.
pub fn cut(text: &str, cap: usize) -> String {
    capped(text.chars(), cap)
}

/// The text with what looks like a secret struck out: AWS's access key ids, secret keys and session tokens, JSON Web
/// Tokens, private keys. A name that happens to look like one is struck out too.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for secret in secrets {
        kept.push_str(text.get(from..secret.start).unwrap_or_default());
        kept.push_str(REDACTED);
        from = secret.end;
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}

/// A text of ASCII characters, shortened in the middle, where names differ least.
pub fn shortened(text: &str, cap: usize) -> String {
    const DOTS: &str = "...";
    let length = text.chars().count();
    if length <= cap {
        return text.to_owned();
    }
    let Some(room) = cap.checked_sub(DOTS.len()) else {
        return text.chars().take(cap).collect();
    };
    let tail = room / 2;
    let head = text.chars().take(room - tail);
    head.chain(DOTS.chars()).chain(text.chars().skip(length - tail)).collect()
}

/// A link that may be clicked: to AWS's console, and of characters that mean nothing in mail or chat. `None` for
/// anything else.
pub fn console_link(url: &str) -> Option<&str> {
    const HOSTS: [&str; 3] =
        ["console.aws.amazon.com", "console.amazonaws-us-gov.com", "console.amazonaws.cn"];
    let rest = url.strip_prefix("https://")?;
    let (host, _) = rest.split_once('/')?;
    let of_aws = HOSTS.iter().any(|known| {
        host.strip_suffix(known).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    });
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let harmless = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/?#=&%:+,".contains(&b));
    (of_aws && named && harmless && url.len() <= 512).then_some(url)
}

/// JSON on one line, in which what is invisible or could be markup is escaped. The value is the same to a parser.
pub fn json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    Ok(escaped(&json, |c| is_invisible(c) || matches!(c, '<' | '>' | '&')))
}

/// A line of JSON in which what is invisible is escaped. Outside of strings JSON has no such characters.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if is_printable_ascii(json) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(escaped(json, is_invisible))
}

/// Whether a character shows nothing, or changes how others are shown: controls, separators, format characters
/// (Unicode's Cf and default-ignorable ones), private use and non-characters.
pub fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}'
            | '\u{890}' | '\u{891}' | '\u{8E2}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{E000}'..='\u{F8FF}'
            | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFC}' | '\u{FFFE}' | '\u{FFFF}' | '\u{110BD}' | '\u{110CD}'
            | '\u{13430}'..='\u{1345F}' | '\u{1BCA0}'..='\u{1BCAF}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{10FFFF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Nearly all text, and quickly told.
fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{483}'..='\u{489}' | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

fn capped(text: impl Iterator<Item = char>, cap: usize) -> String {
    let mut kept: String = String::new();
    for (count, c) in text.enumerate() {
        if count == cap {
            kept.pop();
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

/// Breaks what mail programs, telephones and chats turn into links: addresses with `://`, names such as
/// `example.com`, shares such as `\\host`, and markdown's links. Names of AWS services stay whole.
fn unlinked(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    for token in text.split_inclusive(ends_token) {
        let end = token.char_indices().next_back().filter(|(_, last)| ends_token(*last));
        let (name, end) = token.split_at(end.map_or(token.len(), |(at, _)| at));
        if is_service(name) {
            broken.push_str(name);
        } else {
            push_unlinked(&mut broken, name);
        }
        for c in end.chars() {
            match c {
                '<' => broken.push('‹'),
                '>' => broken.push('›'),
                '(' if broken.ends_with(']') => broken.push_str(" ("),
                c => broken.push(c),
            }
        }
    }
    broken
}

fn ends_token(c: char) -> bool {
    c == ' '
        || matches!(
            c,
            '"' | '\'' | '`' | ',' | ';' | '|' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>'
        )
}

/// `lambda.amazonaws.com` and the like: one label and AWS's domain, and nothing else in the token.
fn is_service(name: &str) -> bool {
    name.strip_suffix(".amazonaws.com").is_some_and(|label| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn push_unlinked(broken: &mut String, name: &str) {
    for (at, c) in name.char_indices() {
        let (before, rest) = (&name[..at], &name[at + c.len_utf8()..]);
        match c {
            ':' if rest.starts_with("//") => broken.push_str("[:]"),
            '\\' if at == 0 && rest.starts_with('\\') => broken.push_str("\\ "),
            '.' if ends_label(before) && (starts_label(rest) || ends_www(before)) => {
                broken.push_str("[.]");
            }
            c => broken.push(c),
        }
    }
}

fn ends_label(text: &str) -> bool {
    text.chars().next_back().is_some_and(char::is_alphanumeric)
}

/// Top-level domains have two letters or more; so `e.g.` and `10.0.0.1` stay whole.
fn starts_label(text: &str) -> bool {
    text.chars().take(2).filter(|c| c.is_alphabetic()).count() == 2
}

fn ends_www(text: &str) -> bool {
    text.len()
        .checked_sub(3)
        .and_then(|at| text.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

fn escaped(json: &str, which: impl Fn(char) -> bool) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if which(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// A secret key of AWS has 40 characters of Base64. Session tokens have more.
const SECRET: usize = 40;

/// How often upper case, lower case, digits and signs take turns in as many characters, at the least. Of random ones
/// 999 in 1,000 do; words and paths do not.
const TURNS: usize = 15;

/// Where the secrets are, in order. Looks at each byte a fixed number of times.
fn secrets(text: &str) -> Vec<Range<usize>> {
    const BEGIN: &str = "-----BEGIN";
    let bytes = text.as_bytes();
    let is_of_token = |b: &u8| b.is_ascii_alphanumeric() || b"+/=_-.".contains(b);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_of_token(&bytes[at]) {
            at += 1;
            continue;
        }
        let end = bytes[at..].iter().position(|b| !is_of_token(b)).map_or(bytes.len(), |n| at + n);
        let token = &text[at..end];
        let key = token.strip_suffix(BEGIN).filter(|_| is_private_key(&bytes[end..]));
        match key {
            Some(before) => {
                in_token(before, at, &mut found);
                let begin = at + before.len();
                at = end_of_key(text, end);
                found.push(begin..at);
            }
            None => {
                in_token(token, at, &mut found);
                at = end;
            }
        }
    }
    found
}

/// Whether this follows the `BEGIN` of a private key in PEM.
fn is_private_key(rest: &[u8]) -> bool {
    const KEY: &[u8] = b"PRIVATE KEY";
    rest[..rest.len().min(48)].windows(KEY.len()).any(|part| part == KEY)
}

/// Where the key ends, or the text if the key does not.
fn end_of_key(text: &str, from: usize) -> usize {
    const END: &str = "-----END";
    let Some(end) = text[from..].find(END).map(|at| from + at + END.len()) else {
        return text.len();
    };
    text[end..].find("-----").map_or(text.len(), |at| end + at + 5)
}

/// The secrets of a text without blanks or brackets, which begins at `start`.
fn in_token(token: &str, start: usize, found: &mut Vec<Range<usize>>) {
    // `eyJ` is what a JSON object begins with in Base64.
    let web_token = token.find("eyJ").filter(|at| {
        let rest = &token[*at..];
        rest.len() >= 20 && rest.contains('.')
    });
    let (before, web_token) = match web_token {
        Some(at) => (&token[..at], Some(start + at..start + token.len())),
        None => (token, None),
    };
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let mut from = 0;
    for run in before.split(|c: char| !u8::try_from(c).is_ok_and(is_base64)) {
        if is_random(run.as_bytes()) {
            found.push(start + from..start + from + run.len());
        } else {
            key_ids(run, start + from, found);
        }
        from += run.len() + 1;
    }
    found.extend(web_token);
}

/// Whether some 40 characters are such as only chance makes.
fn is_random(run: &[u8]) -> bool {
    // Slashes count for nothing: paths have them too.
    let kinds: Vec<Option<u8>> = run
        .iter()
        .map(|b| match b {
            b'A'..=b'Z' => Some(0),
            b'a'..=b'z' => Some(1),
            b'0'..=b'9' => Some(2),
            b'/' => None,
            _ => Some(3),
        })
        .collect();
    kinds.windows(SECRET).any(|part| {
        let of = |kind| part.contains(&Some(kind));
        let mut turns = 0;
        let mut last = None;
        for kind in part.iter().flatten() {
            turns += usize::from(last.is_some_and(|last| last != kind));
            last = Some(kind);
        }
        of(0) && of(1) && (of(2) || of(3) || part.contains(&None)) && turns >= TURNS
    })
}

/// `AKIA` or `ASIA` and 16 capitals or digits.
fn key_ids(run: &str, start: usize, found: &mut Vec<Range<usize>>) {
    const LENGTH: usize = 20;
    let bytes = run.as_bytes();
    let is_of_key = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let mut at = 0;
    while at + LENGTH <= bytes.len() {
        let id = &bytes[at..at + LENGTH];
        if (id.starts_with(b"AKIA") || id.starts_with(b"ASIA")) && id.iter().all(is_of_key) {
            found.push(start + at..start + at + LENGTH);
            at += LENGTH;
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod hostile;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_is_one_visible_line() {
        assert_eq!(plain("photos-2024"), "photos-2024");
        assert_eq!(plain("a\r\nb\u{2028}c\td"), "a  b c d");
        assert_eq!(plain("\u{1b}[31mred\u{202e}\u{200b}\u{feff}\u{e0041}\u{fe0f}\0"), "[31mred");
        assert_eq!(plain("e\u{301}\u{301}\u{301}\u{301}x"), "e\u{301}\u{301}x");
        assert_eq!(plain(&"x".repeat(256)), "x".repeat(256));
        assert_eq!(plain(&"x".repeat(257)), format!("{}…", "x".repeat(255)));
    }

    #[test]
    fn mail_has_nothing_to_click() {
        for (text, shown) in [
            ("see https://evil.example/x", "see https[:]//evil[.]example/x"),
            ("www.example.com", "www[.]example[.]com"),
            ("WWW.1.2", "WWW[.]1.2"),
            ("evil.example/login", "evil[.]example/login"),
            ("s3.amazonaws.com/evil/x.html", "s3[.]amazonaws[.]com/evil/x[.]html"),
            ("evil.s3.amazonaws.com", "evil.s3[.]amazonaws[.]com"),
            (
                r#"{"Service":"cloudtrail.amazonaws.com"}"#,
                r#"{"Service":"cloudtrail.amazonaws.com"}"#,
            ),
            ("console.amazonaws.com", "console.amazonaws.com"),
            ("aws-cli/2.15.0 Python/3.11", "aws-cli/2.15.0 Python/3.11"),
            ("0.0.0.0/0 and ::/0, e.g. tcp 22", "0.0.0.0/0 and ::/0, e.g. tcp 22"),
            ("arn:aws:s3:::photos", "arn:aws:s3:::photos"),
            ("<b>[x](http://y)", "‹b›[x] (http[:]//y)"),
            (r"\\host\share", r"\ \host\share"),
        ] {
            assert_eq!(mail(text), shown);
        }
    }

    #[test]
    fn markdown_is_inline_code() {
        for (text, shown) in [
            ("photos", "`photos`"),
            ("", "`-`"),
            ("<!channel> & `@here`", "`‹!channel› &amp; '＠here'`"),
            ("&lt;!here&gt;", "`&amp;lt;!here&amp;gt;`"),
            ("SSO user bob@example.com", "`SSO user bob＠example[.]com`"),
        ] {
            assert_eq!(markdown(text), shown);
        }
    }

    #[test]
    fn shortens_in_the_middle() {
        assert_eq!(shortened("abcdefghij", 10), "abcdefghij");
        assert_eq!(shortened("abcdefghijk", 10), "abcd...ijk");
        assert_eq!(shortened("abcdef", 2), "ab");
    }

    #[test]
    fn only_the_console_is_a_link() {
        let good = "https://eu-west-1.console.aws.amazon.com/s3/buckets/photos?region=eu-west-1&tab=permissions";
        assert_eq!(console_link(good), Some(good));
        for bad in [
            "",
            "http://eu-west-1.console.aws.amazon.com/",
            "https://console.aws.amazon.com.evil.example/",
            "https://evil.example/console.aws.amazon.com/",
            "https://evilconsole.aws.amazon.com/",
            "https://evil.example@console.aws.amazon.com/",
            "https://evil.example#.console.aws.amazon.com/",
            "https://console.aws.amazon.com/a|b",
            "https://console.aws.amazon.com/a b",
            "https://console.aws.amazon.com/a>",
            "https://console.aws.amazon.com",
        ] {
            assert_eq!(console_link(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_are_struck_out_wherever_they_stand() {
        let secret = "kT9vQ2zL+x7Rb/M4hNf8Wc1Jd6Ys0pGaUe3oXiBq";
        for (text, shown) in [
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            ("user xASIAIOSFODNN7EXAMPLE,", "user x[redacted],"),
            (secret, "[redacted]"),
            (&format!("key=\"{secret}\";"), "key=\"[redacted]\";"),
            (&format!("a AKIAIOSFODNN7EXAMPLE:{secret} b"), "a [redacted]:[redacted] b"),
            (&format!("token={secret}{secret}=="), "token=[redacted]=="),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln_-x y", "Bearer [redacted] y"),
            (
                "x-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\ny",
                "x[redacted]\ny",
            ),
            ("-----BEGIN PRIVATE KEY----- MHcC", "[redacted]"),
            ("é AKIAIOSFODNN7EXAMPLE é", "é [redacted] é"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn what_people_need_to_know_is_not_struck_out() {
        for text in [
            "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_AdministratorAccess_0a1b2c3d4e5f6071/bob@example.com",
            "arn:aws:iam::123456789012:role/aws-service-role/AWSCloudFormationStackSetExecutionRole2",
            "NotificationsResourceHandlerBucketRoleAbC12345",
            "c4a1e7d2b95f40836ae2d719f0b3c85ed6174a9028bb53f1e6a0d4c7932f8b15",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "8f2d0b1c-0000-4000-8000-000000000001",
            "aws-cli/2.15.30 Python/3.11.8 Linux/6.1.0 exe/x86_64 prompt/off command/ec2.authorize-security-group-ingress",
            "APN/1.0 HashiCorp/1.0 Terraform/1.9.2 (+https://www.terraform.io) aws-sdk-go",
            "AKIA, ASIA and EURASIAN",
            "eyJ",
            "-----BEGIN CERTIFICATE-----",
            "",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_comes_leaves_as_one_inert_line(text in hostile::text()) {
            for rendered in [mail(&text), markdown(&text), phrase_up_to(&text, 512)] {
                hostile::assert_inert(&rendered);
                prop_assert!(!rendered.contains(['\n', '<', '>']));
            }
            let code = markdown(&text);
            prop_assert_eq!(code.matches('`').count(), 2);
            prop_assert!(!code.contains('@'));
            prop_assert!(plain(&text).chars().count() <= CAP);
            prop_assert!(ascii(&text).bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            prop_assert!(!one_line(&text).contains('\n'));
            prop_assert!(shortened(&ascii(&text), 20).len() <= 20);
        }

        #[test]
        fn json_means_the_same_and_shows_everything(text in hostile::text()) {
            let line = json(&text).unwrap();
            prop_assert!(!line.contains(is_invisible) && !line.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
