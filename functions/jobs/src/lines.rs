//! A stream of bytes -> its lines, of which none may be longer than a limit.

use std::io::{self, Read};

/// What is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Lines of a stream. One is in memory at a time.
pub struct Lines<R> {
    from: R,
    limit_bytes: usize,
    /// What was read and not yet handed out.
    buffer: Vec<u8>,
    ended: bool,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// It was longer than the limit, and is gone.
    TooLong,
}

impl<R: Read> Lines<R> {
    /// Lines of `from` of at most `limit_bytes` each.
    pub fn new(from: R, limit_bytes: usize) -> Self {
        Self {
            from,
            limit_bytes,
            buffer: Vec::new(),
            ended: false,
        }
    }

    /// The next line; the last one needs no end.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut too_long = false;
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..]
                .iter()
                .position(|&byte| byte == b'\n');
            if let Some(end) = end.map(|end| searched + end) {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(self.checked(line, too_long)));
            }
            if self.ended {
                let line = std::mem::take(&mut self.buffer);
                let some = too_long || !line.is_empty();
                return Ok(some.then(|| self.checked(line, too_long)));
            }
            if self.buffer.len() > self.limit_bytes {
                too_long = true;
                self.buffer.clear();
            }
            searched = self.buffer.len();
            self.read()?;
        }
    }

    fn checked(&self, line: Vec<u8>, too_long: bool) -> Line {
        match too_long || line.len() > self.limit_bytes {
            true => Line::TooLong,
            false => Line::Whole(line),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.from.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out a few bytes at a time.
    struct Few<'a>(&'a [u8], usize);

    impl Read for Few<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn lines(text: &[u8], limit_bytes: usize, at_a_time: usize) -> Vec<Line> {
        let mut lines = Lines::new(Few(text, at_a_time), limit_bytes);
        std::iter::from_fn(|| lines.next_line().expect("no error")).collect()
    }

    #[test]
    fn long_lines_are_told_and_the_next_ones_are_whole() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for at_a_time in [1, 3, 100] {
            for (text, expected) in [
                ("", vec![]),
                ("a\n\nbc", vec![whole("a"), whole(""), whole("bc")]),
                ("abcd\n", vec![whole("abcd")]),
                ("abcde\nf\n", vec![Line::TooLong, whole("f")]),
                ("a\n0123456789", vec![whole("a"), Line::TooLong]),
            ] {
                let actual = lines(text.as_bytes(), 4, at_a_time);
                assert_eq!(actual, expected, "{text:?} {at_a_time}");
            }
        }
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..60),
            limit_bytes in 0_usize..8,
            at_a_time in 1_usize..20,
        ) {
            let at_once = lines(&text, limit_bytes, usize::MAX);
            prop_assert_eq!(&lines(&text, limit_bytes, at_a_time), &at_once);
            let ends = text.iter().filter(|&&byte| byte == b'\n').count();
            let rest = text.last().is_some_and(|&byte| byte != b'\n');
            prop_assert_eq!(at_once.len(), ends + usize::from(rest));
        }
    }
}
