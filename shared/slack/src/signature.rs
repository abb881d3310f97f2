//! The signature by which a request from Slack is known.
//!
//! <https://docs.slack.dev/authentication/verifying-requests-from-slack>

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

/// How far the time of a request may be from now, before or after: what is older may be a copy of one that was heard.
pub const WINDOW: i64 = 5 * 60;

/// Why a request is not taken for one of Slack's. None of them holds anything of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signing secret is empty; put the one of the app's Basic Information page into it")]
    NoSecret,
    #[error("X-Slack-Request-Timestamp is not a time in seconds")]
    Timestamp,
    #[error("X-Slack-Request-Timestamp is more than five minutes from now")]
    Stale,
    #[error("X-Slack-Signature is not a signature of version v0")]
    Malformed,
    #[error("the signature is not that of this body under the signing secret")]
    Mismatch,
}

/// Whether Slack signed this body: `timestamp` and `signature` as the headers `X-Slack-Request-Timestamp` and
/// `X-Slack-Signature` have them, the body as it came over the wire, before anything is decoded or parsed. What is
/// compared is compared in constant time.
pub fn verify(
    secret: &str,
    timestamp: &str,
    body: &[u8],
    signature: &str,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let is_number =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
    let signed = Some(timestamp).filter(|_| is_number).and_then(|text| text.parse::<i64>().ok());
    let signed = signed.ok_or(SignatureError::Timestamp)?;
    if now.as_second().abs_diff(signed) > WINDOW.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    let claimed =
        signature.strip_prefix("v0=").and_then(digest).ok_or(SignatureError::Malformed)?;
    let mac = mac(secret, timestamp, body).ok_or(SignatureError::NoSecret)?;
    mac.verify_slice(&claimed).map_err(|_| SignatureError::Mismatch)
}

/// The signature that Slack gives a body, for whoever stands in for Slack.
pub fn sign(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let digest = mac(secret.trim(), &timestamp.to_string(), body)
        .map(|mac| mac.finalize().into_bytes())
        .unwrap_or_default();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v0={hex}")
}

/// `None`: never, a key may have any length.
fn mac(secret: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    Some(mac)
}

/// Sixty-four hexadecimal digits, in either case.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The example of Slack's page.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_531_420_618 + seconds).unwrap()
    }

    #[test]
    fn the_example_of_slacks_own_page_is_slacks() {
        assert_eq!(verify(SECRET, TIMESTAMP, BODY, SIGNATURE, after(1)), Ok(()));
        assert_eq!(sign(SECRET, 1_531_420_618, BODY), SIGNATURE);
    }

    #[test]
    fn a_secret_that_was_pasted_with_its_line_end_is_the_secret() {
        assert_eq!(verify(&format!("{SECRET}\n"), TIMESTAMP, BODY, SIGNATURE, after(0)), Ok(()));
    }

    #[test]
    fn what_was_tampered_with_is_refused() {
        let refused = |secret, timestamp, body: &[u8], signature: &str| {
            verify(secret, timestamp, body, signature, after(0)).unwrap_err()
        };
        let mut body = BODY.to_vec();
        body[0] ^= 1;
        assert_eq!(refused(SECRET, TIMESTAMP, &body, SIGNATURE), SignatureError::Mismatch);
        assert_eq!(refused(SECRET, TIMESTAMP, b"", SIGNATURE), SignatureError::Mismatch);
        assert_eq!(refused(SECRET, "1531420619", BODY, SIGNATURE), SignatureError::Mismatch);
        assert_eq!(refused("another", TIMESTAMP, BODY, SIGNATURE), SignatureError::Mismatch);
        assert_eq!(refused(" ", TIMESTAMP, BODY, SIGNATURE), SignatureError::NoSecret);
        let zero = format!("v0={}", "0".repeat(64));
        assert_eq!(refused(SECRET, TIMESTAMP, BODY, &zero), SignatureError::Mismatch);
    }

    #[test]
    fn a_request_is_heard_for_five_minutes_before_and_after_its_time_and_no_longer() {
        for (seconds, heard) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)]
        {
            let verified = verify(SECRET, TIMESTAMP, BODY, SIGNATURE, after(seconds));
            let expected = if heard { Ok(()) } else { Err(SignatureError::Stale) };
            assert_eq!(verified, expected, "{seconds}");
        }
    }

    #[test]
    fn headers_that_are_none_of_slacks_are_refused() {
        for timestamp in [
            "",
            "x",
            "-1531420618",
            "+1531420618",
            " 1531420618",
            "1531420618.0",
            "1531420618000",
            "99999999999999999999",
        ] {
            let refused = verify(SECRET, timestamp, BODY, SIGNATURE, after(0)).unwrap_err();
            let expected = [SignatureError::Timestamp, SignatureError::Stale];
            assert!(expected.contains(&refused), "{timestamp}: {refused}");
        }
        let long = format!("{SIGNATURE}00");
        let multibyte = format!("v0={}", "é".repeat(32));
        for signature in ["", "v0=", "v1=a2", &SIGNATURE[3..], &long, &SIGNATURE[..66], &multibyte]
        {
            let refused = verify(SECRET, TIMESTAMP, BODY, signature, after(0));
            assert_eq!(refused, Err(SignatureError::Malformed), "{signature}");
        }
    }

    proptest! {
        #[test]
        fn only_the_very_body_is_verified(
            body in prop::collection::vec(any::<u8>(), 0..200),
            other in prop::collection::vec(any::<u8>(), 0..200),
            secret in "[a-f0-9]{32}",
        ) {
            let signature = sign(&secret, 1_531_420_618, &body);
            let verified = verify(&secret, TIMESTAMP, &other, &signature, after(0));
            prop_assert_eq!(verified.is_ok(), body == other);
        }

        #[test]
        fn no_header_makes_it_panic(timestamp in ".{0,20}", signature in ".{0,80}") {
            prop_assert!(verify(SECRET, &timestamp, BODY, &signature, after(0)).is_err());
        }
    }
}
