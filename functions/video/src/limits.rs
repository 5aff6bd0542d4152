//! What a clip may take.

use crate::Error;

/// Bounds on clips from outside. Each is checked against what a file announces, before anything is allocated or decoded for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side of a frame in pixels.
    pub max_side_px: u32,
    /// Largest area of a frame in pixels. A frame is held at three bytes a pixel.
    pub max_frame_pixels: u64,
    /// Largest sum of a decoder's buffers in bytes, the file not included, nor the frame that is handed out but of animations, whose
    /// canvas stays beside it.
    pub max_decode_bytes: u64,
    /// Pixels that one call of [`crate::Clip::sample`] may decode, those of frames that are only passed through included. It
    /// bounds the time.
    pub max_decoded_pixels: u64,
    /// Most frames of a clip, and most entries of an archive.
    pub max_frames: usize,
    /// Largest file inside an archive in bytes, unpacked. One is held at a time.
    pub max_entry_bytes: u64,
}

impl Default for Limits {
    /// - Sides of 4096 px and 8,847,360 px in all (4096 x 2160): a frame takes 25 MiB. What a network looks at is far smaller.
    /// - 40 MiB of buffers, as for pictures: H.264 of 1280 x 720 px takes some 20, of 1920 x 1080 up to 40.
    /// - 300 million decoded pixels: 145 frames of 1920 x 1080 or 325 of 1280 x 720, a few seconds of work.
    /// - 262,144 frames: two hours at 30 frames a second have 216,000. A table of them takes 3 MiB.
    /// - 10 MiB for a file in an archive: as much as a body may have that is sent without one.
    fn default() -> Limits {
        Limits {
            max_side_px: 4096,
            max_frame_pixels: 4096 * 2160,
            max_decode_bytes: 40 << 20,
            max_decoded_pixels: 300_000_000,
            max_frames: 1 << 18,
            max_entry_bytes: 10 << 20,
        }
    }
}

impl Limits {
    /// Checks how many frames, or entries, there are.
    pub(crate) fn check_frames(&self, count: u64) -> Result<(), Error> {
        if count > self.max_frames as u64 {
            return Err(Error::TooManyFrames {
                count,
                limit: self.max_frames,
            });
        }
        Ok(())
    }

    /// Checks a frame's announced sides.
    pub(crate) fn check_size(&self, (width, height): (u32, u32)) -> Result<(), Error> {
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.max_side_px || pixels > self.max_frame_pixels {
            return Err(Error::TooLarge {
                width,
                height,
                max_side_px: self.max_side_px,
                max_pixels: self.max_frame_pixels,
            });
        }
        if pixels == 0 {
            return Err(Error::Empty("its frames have no pixels"));
        }
        Ok(())
    }

    /// Checks what a decoder's buffers would take.
    pub(crate) fn check_bytes(&self, needed_bytes: u64) -> Result<(), Error> {
        if needed_bytes > self.max_decode_bytes {
            return Err(Error::TooHeavy {
                needed_bytes,
                limit_bytes: self.max_decode_bytes,
            });
        }
        Ok(())
    }

    /// Checks how many pixels are decoded for one call.
    pub(crate) fn check_work(&self, needed_pixels: u64) -> Result<(), Error> {
        if needed_pixels > self.max_decoded_pixels {
            return Err(Error::TooLong {
                needed_pixels,
                limit_pixels: self.max_decoded_pixels,
            });
        }
        Ok(())
    }

    /// The bounds on a single picture.
    pub(crate) fn of_pictures(&self) -> ephemera_vision::Limits {
        ephemera_vision::Limits {
            max_side_px: self.max_side_px,
            max_pixels: self.max_frame_pixels,
            max_decode_bytes: self.max_decode_bytes,
        }
    }
}
