//! Streams of WASI: whole contents, within a limit.

use std::io::Write;

use wasi::io::streams::{InputStream, OutputStream, StreamError};

/// A read makes a list of this size in the guest's memory, which never shrinks.
pub(super) const READ_BYTES: usize = 64 << 10;

/// The first `limit_bytes` of a stream, with room made for `expected_bytes`.
///
/// # Errors
/// The stream's.
pub(super) fn read(
    stream: &InputStream,
    expected_bytes: usize,
    limit_bytes: usize,
) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::with_capacity(expected_bytes.min(limit_bytes));
    while bytes.len() < limit_bytes {
        let most = READ_BYTES.min(limit_bytes - bytes.len());
        match stream.blocking_read(most as u64) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Writes all of `bytes`, and waits until they are where they belong.
///
/// # Errors
/// The stream's.
pub(super) fn write(stream: &mut OutputStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.blocking_flush().map_err(std::io::Error::other)
}
