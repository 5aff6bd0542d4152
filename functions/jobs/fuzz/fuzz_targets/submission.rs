#![no_main]

use std::io::Read;

use ephemera_jobs::lines::{Line, Lines};
use ephemera_jobs::{Job, Report};

/// Bytes of the longest line.
const LIMIT: usize = 512;

/// Hands out so many bytes at a time.
struct Few<'a>(&'a [u8], usize);

impl Read for Few<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

// What is submitted as lines, in pieces of any size (the first byte), is the same lines; each of them a job, a report that somebody wrote
// in our place, or neither.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&piece, text)) = data.split_first() else {
        return;
    };
    let mut lines = Lines::new(Few(text, usize::from(piece).max(1)), LIMIT);
    let mut expected = text.split(|&byte| byte == b'\n');
    while let Some(line) = lines.next_line().expect("memory has no errors") {
        let expected = expected.next().expect("as many as there are");
        match line {
            Line::TooLong => assert!(expected.len() > LIMIT),
            Line::Whole(line) => {
                assert_eq!(line, expected);
                let _ = Job::parse(&line).map_err(|_| Job::salvage(&line));
                if let Ok(report) = serde_json::from_slice::<Report>(&line)
                    && let Some(answer) = &report.answer
                {
                    let _ = answer.bytes();
                }
            }
        }
    }
    // The last line needs no end, and nothing is lost.
    assert!(expected.all(<[u8]>::is_empty));
});
