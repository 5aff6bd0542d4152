//! Why the host answered instead of the function, as a word for metrics and logs.

use std::time::Duration;

use super::record::Phase;
use crate::failure::Failure;

/// Waiting this long before there was no room means that the wait was too long; who is refused for the length of the queue is told at once.
const AT_ONCE: Duration = Duration::from_millis(5);

/// The word for `failure`, which came in the phase and after the time of `now`.
pub(super) fn of(failure: &Failure, now: Option<(Phase, Duration)>) -> &'static str {
    match failure {
        Failure::Host => "host_header",
        Failure::Priority => "priority_header",
        Failure::NoRoute => "no_route",
        Failure::BodyCutShort => "body_cut_short",
        Failure::BodyTooSlow(_) => "body_too_slow",
        Failure::BodyTooLarge { .. } => "body_too_large",
        Failure::HeadersTooSlow(_) => "headers_too_slow",
        Failure::HeadersTooLarge { .. } => "headers_too_large",
        Failure::Busy { .. } => busy(now),
        Failure::Deadline(_) => "deadline",
        Failure::Cpu(_) => "cpu_limit",
        Failure::Memory { .. } => "memory_limit",
        Failure::Tables { .. } => "table_limit",
        Failure::Handles { .. } => "handle_limit",
        Failure::Function(_) => "function_failed",
        Failure::NoAnswer => "no_answer",
        Failure::AnswerTooLarge { .. } => "answer_too_large",
    }
}

fn busy(now: Option<(Phase, Duration)>) -> &'static str {
    match now {
        Some((Phase::Admission, waited)) if waited < AT_ONCE => "queue_full",
        Some((Phase::Admission, _)) => "waited_too_long",
        Some((Phase::Body, _)) => "no_room_for_body",
        Some(_) => "no_room_for_answer",
        // Before its body was looked at.
        None => "queue_full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_was_no_room_is_told_by_when() {
        let long = Duration::from_secs(30);
        let busy = Failure::Busy {
            retry_after: Duration::from_secs(1),
        };
        for (now, expected) in [
            (None, "queue_full"),
            (Some((Phase::Guest, long)), "no_room_for_answer"),
            (Some((Phase::Body, long)), "no_room_for_body"),
            (Some((Phase::Admission, Duration::ZERO)), "queue_full"),
            (Some((Phase::Admission, long)), "waited_too_long"),
        ] {
            assert_eq!(of(&busy, now), expected);
        }
    }
}
