//! W3C Trace Context (level 1): a request's `traceparent` and `tracestate` -> the trace that it belongs to, continued or begun.
//!
//! <https://www.w3.org/TR/trace-context-1/>. What does not follow its grammar to the letter counts as absent.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Members that a `tracestate` may have, by section 3.3.1.
const MAX_MEMBERS: usize = 32;

/// Bytes of all its lines. The standard wants 512 at least to be passed on.
const MAX_STATE_BYTES: usize = 4096;

/// The bit of the flags that says that the caller records the trace; the others mean nothing in version 00.
const SAMPLED: u8 = 1;

/// A trace, and the part of it that this request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Shared by all that happens for one cause; not 0.
    pub(crate) trace_id: u128,
    /// Of this request; not 0.
    pub(crate) span_id: u64,
    /// Of who asked, if they said; not 0.
    pub(crate) parent_id: Option<u64>,
    /// Whether it is wanted by who records traces.
    pub(crate) sampled: bool,
}

impl Trace {
    /// The trace of the request with `headers`, which afterwards lead on from it: a function sees this request as the parent of what it
    /// asks. A trace that begins here is sampled if `record`.
    pub(crate) fn of_request(headers: &mut HeaderMap, record: bool) -> Self {
        let trace = match parent(headers) {
            Some((trace_id, parent_id, sampled)) => Self {
                trace_id,
                span_id: random(),
                parent_id: Some(parent_id),
                sampled,
            },
            None => Self {
                trace_id: u128::from(random()) << 64 | u128::from(random()),
                span_id: random(),
                parent_id: None,
                sampled: record,
            },
        };
        // The state belongs to the parent; what is left of a broken one means nothing.
        if trace.parent_id.is_none() || !state_is_valid(headers) {
            headers.remove(STATE);
        }
        let value = HeaderValue::from_str(&trace.to_string());
        headers.insert(PARENT, value.expect("hex digits make a header"));
        trace
    }
}

/// The value of a `traceparent` for what this request asks of others.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span, flags) = (self.trace_id, self.span_id, u8::from(self.sampled));
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

fn parent(headers: &HeaderMap) -> Option<(u128, u64, bool)> {
    let mut values = headers.get_all(PARENT).iter();
    let value = values.next()?;
    // Who sends two has a broken sender, and neither can be believed.
    values.next().is_none().then_some(())?;
    parse(value.as_bytes())
}

/// `version "-" trace-id "-" parent-id "-" flags`. Later versions may go on after another dash.
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let (known, rest) = value.split_at_checked(55)?;
    let dashes = [2, 35, 52].iter().all(|&place| known[place] == b'-');
    let version = hex(&known[..2])?;
    let ends = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let (trace, parent, flags) = (
        hex(&known[3..35])?,
        hex(&known[36..52])?,
        hex(&known[53..])?,
    );
    let parent = u64::try_from(parent).expect("16 digits");
    let valid = dashes && ends && trace != 0 && parent != 0;
    valid.then_some((trace, parent, flags & u128::from(SAMPLED) != 0))
}

/// Lower-case digits only, as the standard has it.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Whether all lines of `tracestate` together are one list of valid members with keys of their own.
fn state_is_valid(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(STATE).iter().map(HeaderValue::as_bytes);
    let bytes: usize = lines().map(<[u8]>::len).sum();
    let mut keys = vec![];
    let mut members = lines()
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        // Empty members are allowed, and count for nothing.
        .filter(|member| !member.is_empty());
    let valid = bytes <= MAX_STATE_BYTES
        && members.all(|member| {
            let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
                return false;
            };
            let (key, value) = (&member[..equals], &member[equals + 1..]);
            let new = !keys.contains(&key);
            keys.push(key);
            new && is_key(key) && is_value(value)
        });
    valid && keys.len() <= MAX_MEMBERS
}

/// A name of 1 to 256 characters, or a tenant of 1 to 241 at a system of 1 to 14.
fn is_key(key: &[u8]) -> bool {
    let rest = |bytes: &[u8]| {
        let allowed = |byte: &u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte)
        };
        bytes.iter().all(allowed)
    };
    let begins = |bytes: &[u8]| bytes.first().is_some_and(u8::is_ascii_lowercase);
    match key.iter().position(|&byte| byte == b'@') {
        None => begins(key) && key.len() <= 256 && rest(key),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let first = tenant.first();
            let digit = first.is_some_and(u8::is_ascii_digit);
            (begins(tenant) || digit)
                && tenant.len() <= 241
                && rest(tenant)
                && begins(system)
                && system.len() <= 14
                && rest(system)
        }
    }
}

/// 1 to 256 printable characters, without commas and equals signs. Spaces at the end are gone already.
fn is_value(value: &[u8]) -> bool {
    let allowed = |byte: &u8| (b' '..=b'~').contains(byte) && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(allowed)
}

/// Not 0. It tells spans apart and guards nothing, so the keys of the standard library's hash tables will do.
fn random() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn only_what_follows_the_grammar_is_a_parent() {
        let parent = "00f067aa0ba902b7";
        let read = (
            0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            0x00f0_67aa_0ba9_02b7,
        );
        let zeros = "0".repeat(32);
        for (value, expected) in [
            (format!("00-{TRACE}-{parent}-01"), Some(true)),
            (format!("00-{TRACE}-{parent}-00"), Some(false)),
            (format!("00-{TRACE}-{parent}-fe"), Some(false)),
            (format!("00-{TRACE}-{parent}-ff"), Some(true)),
            (format!("cc-{TRACE}-{parent}-01"), Some(true)),
            (format!("cc-{TRACE}-{parent}-01-more"), Some(true)),
            (format!("cc-{TRACE}-{parent}-01.more"), None),
            (format!("00-{TRACE}-{parent}-01-more"), None),
            (format!("00-{TRACE}-{parent}-01-"), None),
            (format!("ff-{TRACE}-{parent}-01"), None),
            (format!("00-{zeros}-{parent}-01"), None),
            (format!("00-{TRACE}-{}-01", &zeros[..16]), None),
            (format!("00-{}-{parent}-01", TRACE.to_uppercase()), None),
            (format!("00-{TRACE}-{parent}-0"), None),
            (format!("00_{TRACE}-{parent}-01"), None),
            (format!("00-{TRACE}{parent}--01"), None),
            (format!("+0-{TRACE}-{parent}-01"), None),
            (String::new(), None),
        ] {
            let expected = expected.map(|sampled| (read.0, read.1, sampled));
            assert_eq!(parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_trace_is_continued_or_begun_and_handed_on() {
        let given = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, given.parse().expect("a header"));
        headers.append(STATE, "a=1, b@c=2".parse().expect("a header"));
        headers.append(STATE, "d=3".parse().expect("a header"));
        let trace = Trace::of_request(&mut headers, false);
        assert_eq!(trace.parent_id, Some(0x00f0_67aa_0ba9_02b7));
        assert!(trace.sampled && trace.span_id != 0x00f0_67aa_0ba9_02b7);
        let span = trace.span_id;
        assert_eq!(headers[PARENT], format!("00-{TRACE}-{span:016x}-01"));
        assert_eq!(headers.get_all(STATE).iter().count(), 2);

        // Two parents are none, and the state goes with them.
        headers.append(PARENT, given.parse().expect("a header"));
        for record in [false, true] {
            let begun = Trace::of_request(&mut headers.clone(), record);
            assert_eq!((begun.parent_id, begun.sampled), (None, record));
            assert_ne!(begun.trace_id, trace.trace_id);
        }
        let begun = Trace::of_request(&mut headers, true);
        assert_eq!(headers[PARENT], begun.to_string());
        assert!(!headers.contains_key(STATE));
    }

    #[test]
    fn a_state_is_a_list_of_members() {
        let longest = format!("{}={}", "k".repeat(256), "v".repeat(256));
        let many = |count: usize| {
            let members = (0..count).map(|member| format!("k{member}=v"));
            members.collect::<Vec<_>>().join(",")
        };
        for (state, valid) in [
            ("a=1", true),
            ("", true),
            (" a=1 ,\t, b=2", true),
            ("1a@s=x", true),
            ("a-b_c*d/e=f g", true),
            (&longest, true),
            (&longest[1..], true),
            (&format!("k{longest}"), false),
            (&many(32), true),
            (&many(33), false),
            (&"a=1,".repeat(2), false),
            (&format!("a={}", "v".repeat(MAX_STATE_BYTES)), false),
            ("a", false),
            ("a=", false),
            ("=1", false),
            ("1a=1", false),
            ("A=1", false),
            ("a@=1", false),
            ("@s=1", false),
            ("a@1s=1", false),
            ("a@b@c=1", false),
            ("a=1=2", false),
            ("a b=1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(STATE, state.parse().expect("a header"));
            assert_eq!(state_is_valid(&headers), valid, "{state:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// What is read is what is written, and nothing else is read.
        #[test]
        fn a_parent_that_is_read_is_written_the_same(
            value in prop_oneof![
                "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
                "00-[0-9a-fA-F]{30,34}-[0-9a-f]{16}-0[01]-?",
                ".{0,60}",
            ],
        ) {
            if let Some((trace_id, span_id, sampled)) = parse(value.as_bytes()) {
                let trace = Trace { trace_id, span_id, parent_id: None, sampled };
                prop_assert_eq!(&trace.to_string()[2..53], &value[2..53]);
                let again = parse(trace.to_string().as_bytes());
                prop_assert_eq!(again, Some((trace_id, span_id, sampled)));
            }
        }

        /// Bytes of any kind are no reason to fail, and what is handed on is valid.
        #[test]
        fn any_headers_are_taken(parent in ".{0,80}", state in "[ -~]{0,80}") {
            let mut headers = HeaderMap::new();
            for (name, value) in [(PARENT, &parent), (STATE, &state)] {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    headers.insert(name, value);
                }
            }
            let trace = Trace::of_request(&mut headers, true);
            let handed_on = parse(headers[PARENT].as_bytes());
            prop_assert_eq!(handed_on, Some((trace.trace_id, trace.span_id, trace.sampled)));
            prop_assert!(state_is_valid(&headers));
        }
    }
}
