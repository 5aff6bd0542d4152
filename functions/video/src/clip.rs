//! Files -> a clip, and from it the frames that are wanted.

use std::ops::Range;

use ephemera_vision::{Format, Rgb};

use crate::animation::Animation;
use crate::mp4::Movie;
use crate::{Error, Kind, Limits, avc, mjpeg, picture, tar, zip};

/// A clip: what was sent, looked through as far as it takes to know how many frames there are. Nothing is decoded yet.
pub struct Clip {
    kind: Kind,
    limits: Limits,
    source: Source,
}

/// Where frames come from.
enum Source {
    /// Files of one picture each.
    Pictures(Vec<Vec<u8>>),
    /// Parts of a file, a picture each.
    Parts {
        bytes: Vec<u8>,
        parts: Vec<Range<usize>>,
    },
    Zip {
        bytes: Vec<u8>,
        entries: Vec<zip::Entry>,
    },
    Animation {
        bytes: Vec<u8>,
        animation: Animation,
    },
    Movie {
        bytes: Vec<u8>,
        movie: Movie,
    },
}

impl Clip {
    /// Takes what was sent, in order: one clip, one archive or animation, or several pictures.
    ///
    /// # Errors
    /// Every [`Error`] but those of single frames.
    pub fn open(mut files: Vec<Vec<u8>>, limits: &Limits) -> Result<Clip, Error> {
        if files.is_empty() {
            return Err(Error::Empty("no file was sent"));
        }
        if files.iter().any(Vec::is_empty) {
            return Err(Error::Empty("a file is empty"));
        }
        limits.check_frames(files.len() as u64)?;
        let count = files.len();
        let (kind, source) = if count == 1 {
            let bytes = files.swap_remove(0);
            let kind = Kind::sniff(&bytes).ok_or(Error::NotAClip)?;
            (kind, Source::open(kind, bytes, limits)?)
        } else {
            let odd = files.iter().position(|file| Format::sniff(file).is_none());
            if let Some(index) = odd {
                return Err(Error::NotAPicture { index, count });
            }
            (Kind::Pictures, Source::Pictures(files))
        };
        Ok(Clip {
            kind,
            limits: *limits,
            source,
        })
    }

    /// What it came as.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many frames it has, at least 1.
    pub fn frames(&self) -> usize {
        match &self.source {
            Source::Pictures(files) => files.len(),
            Source::Parts { parts, .. } => parts.len(),
            Source::Zip { entries, .. } => entries.len(),
            Source::Animation { animation, .. } => animation.frames(),
            Source::Movie { movie, .. } => movie.order.len(),
        }
    }

    /// Decodes the frames at `indices` (ascending, may repeat; beyond the last one is the last one) one at a time and hands each out
    /// upright, as RGB at full size, behind its number in presentation order.
    ///
    /// Of H.264, frames between those that are wanted have to be decoded too. Where that is more than
    /// [`Limits::max_decoded_pixels`], each wanted frame is replaced by the nearest at which decoding can begin, if these are as many
    /// different ones. The number that is handed out is then that of the other frame.
    ///
    /// # Errors
    /// Every [`Error`], and what `each` returns. A frame that is not wanted, nor needed for one that is, is not looked at.
    pub fn sample<E: From<Error>>(
        self,
        indices: &[usize],
        mut each: impl FnMut(usize, Rgb) -> Result<(), E>,
    ) -> Result<(), E> {
        let last = self.frames() - 1;
        let limits = &self.limits;
        let indices = indices.iter().map(|&index| index.min(last));
        match &self.source {
            Source::Pictures(files) => {
                for index in indices {
                    each(index, picture::open(&files[index], index, limits)?)?;
                }
            }
            Source::Parts { bytes, parts } => {
                for index in indices {
                    let file = &bytes[parts[index].clone()];
                    each(index, picture::open(file, index, limits)?)?;
                }
            }
            Source::Zip { bytes, entries } => {
                for index in indices {
                    let file = entries[index].unpack(bytes, index, limits)?;
                    let frame = picture::open(&file, index, limits)?;
                    drop(file);
                    each(index, frame)?;
                }
            }
            Source::Animation { bytes, animation } => {
                animation.sample(bytes, indices, limits, each)?;
            }
            Source::Movie { bytes, movie } => avc::sample(movie, bytes, indices, limits, each)?,
        }
        Ok(())
    }
}

impl Source {
    fn open(kind: Kind, bytes: Vec<u8>, limits: &Limits) -> Result<Source, Error> {
        Ok(match kind {
            Kind::Pictures => Source::Pictures(vec![bytes]),
            Kind::Mjpeg => Source::Parts {
                parts: mjpeg::split(&bytes, limits)?,
                bytes,
            },
            Kind::Tar => Source::Parts {
                parts: tar::frames(&bytes, limits)?,
                bytes,
            },
            Kind::Zip => Source::Zip {
                entries: zip::frames(&bytes, limits)?,
                bytes,
            },
            Kind::Gif | Kind::WebP | Kind::Apng => Source::Animation {
                animation: Animation::open(kind, &bytes, limits)?,
                bytes,
            },
            Kind::Mp4 => Source::Movie {
                movie: Movie::open(&bytes, limits)?,
                bytes,
            },
        })
    }
}
