//! A picture file -> its pixels, upright and at full size.

use ephemera_vision::{Options, Rgb, decode};

use crate::{Error, Limits};

/// Decodes frame `index` of a clip.
pub(crate) fn open(bytes: &[u8], index: usize, limits: &Limits) -> Result<Rgb, Error> {
    if bytes.is_empty() {
        return Err(Error::CorruptFrame {
            index,
            reason: "its file is empty".to_owned(),
        });
    }
    let options = Options {
        limits: limits.of_pictures(),
        ..Options::new(limits.max_side_px as usize)
    };
    decode(bytes, &options)
        .map(|picture| picture.rgb)
        .map_err(|source| Error::Picture { index, source })
}
