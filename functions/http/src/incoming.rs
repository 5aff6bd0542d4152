//! Pieces of a body, as they arrive -> one piece of memory, within a limit.
//!
//! Memory that was used is never given back, so a body is not grown by doubling: what was announced has its place at once,
//! and what was not has one of two sizes.

/// What a body that announced nothing has room for at first: most forms without a file are smaller.
const FIRST_BYTES: usize = 1 << 20;

/// A body that is arriving.
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    /// One byte over the limit, which is enough to know.
    most: usize,
}

impl Incoming {
    /// Room for what is announced, or for the limit where more is.
    pub(crate) fn new(announced_bytes: usize, limit_bytes: usize) -> Incoming {
        let most = limit_bytes.saturating_add(1);
        Incoming {
            bytes: Vec::with_capacity(announced_bytes.min(most)),
            most,
        }
    }

    /// Takes a piece over; returns whether more may come.
    pub(crate) fn take(&mut self, piece: &[u8]) -> bool {
        let room = self.most - self.bytes.len();
        let piece = &piece[..piece.len().min(room)];
        if self.bytes.capacity() - self.bytes.len() < piece.len() {
            let first = FIRST_BYTES.saturating_sub(self.bytes.len()).min(room);
            let more = if piece.len() <= first { first } else { room };
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(piece);
        self.bytes.len() < self.most
    }

    /// What arrived.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `length` bytes in pieces of `piece` become, and the capacities on the way.
    fn taken(announced: usize, limit: usize, piece: usize, length: usize) -> (Vec<u8>, Vec<usize>) {
        let mut incoming = Incoming::new(announced, limit);
        let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut capacities = vec![incoming.bytes.capacity()];
        for piece in sent.chunks(piece) {
            let more = incoming.take(piece);
            capacities.push(incoming.bytes.capacity());
            if !more {
                break;
            }
        }
        capacities.dedup();
        let bytes = incoming.into_bytes();
        assert_eq!(bytes, sent[..bytes.len()]);
        (bytes, capacities)
    }

    #[test]
    fn bodies_arrive_whole_or_a_byte_over_the_limit() {
        for (announced, length, expected) in [
            (0, 0, 0),
            (7, 7, 7),
            (7, 9, 9),
            (99, 3, 3),
            (10, 10, 10),
            (11, 11, 11),
            (0, 12, 11),
            (usize::MAX, 50, 11),
        ] {
            for piece in [1, 4, 100] {
                let (bytes, _) = taken(announced, 10, piece, length);
                assert_eq!(bytes.len(), expected, "{announced} {length} {piece}");
            }
        }
        // The last piece that fits ends it all the same.
        assert!(!Incoming::new(0, 3).take(b"four"));
    }

    #[test]
    fn memory_is_taken_once_or_twice() {
        const LIMIT: usize = 5 << 20;
        let cases: [(usize, usize, &[usize]); 5] = [
            (3 << 20, 3 << 20, &[3 << 20]),
            (9 << 20, 9 << 20, &[LIMIT + 1]),
            (0, 1 << 20, &[0, 1 << 20]),
            (0, 3 << 20, &[0, 1 << 20, LIMIT + 1]),
            // More than was announced.
            (2 << 20, 3 << 20, &[2 << 20, LIMIT + 1]),
        ];
        for (announced, length, expected) in cases {
            let (_, capacities) = taken(announced, LIMIT, 64 << 10, length);
            assert_eq!(capacities, expected, "{announced} {length}");
        }
    }
}
