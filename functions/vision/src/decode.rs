//! Bytes of any kind -> an upright picture of bounded size.
//!
//! The header is checked against the limits before a decoder allocates. Rows go from the decoder to the resizer one by
//! one, so that the full picture need not exist; a decoder that can deliver a smaller picture is asked for one.
//! Transparent pixels are laid over paper, a camera's orientation tag is obeyed.

use image::metadata::Orientation;

use crate::limits::{Limits, Options, Region};
use crate::resize::{Filter, Resizer, fit};
use crate::rows::{Ground, Rows, lay_over};
use crate::{Error, Format, Rgb, bmp, jpeg, orientation, png, tiff, whole};

/// A decoded picture, upright.
#[derive(Debug)]
pub struct Picture {
    /// The pixels of the region, shrunk if they had to be.
    pub rgb: Rgb,
    /// Width of the upright original, in its pixels.
    pub original_width: u32,
    /// Height of the upright original, in its pixels.
    pub original_height: u32,
    /// The part of the upright original that `rgb` shows: what was asked for, or up to 8 px more to each side.
    pub region: Region,
}

/// What a file's header tells.
pub(crate) struct Announced {
    /// Width and height as stored.
    pub(crate) size: (u32, u32),
    pub(crate) orientation: Orientation,
}

/// What is to be made of a file, in its stored orientation.
pub(crate) struct Wanted<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) page: u32,
    pub(crate) region: Region,
    /// Sides that the region is shrunk to. A decoder may deliver less than the stored size, but no less than this,
    /// except to stay within its limits.
    pub(crate) target: (usize, usize),
}

/// Rows that may already be scaled down, by `eighths` / 8.
pub(crate) struct Scaled<'a> {
    pub(crate) rows: Box<dyn Rows + 'a>,
    pub(crate) eighths: usize,
}

/// Decodes a picture file and shrinks what is wanted of it.
///
/// # Errors
/// Every [`Error`]; none of them after more memory than the limits allow was asked for.
pub fn decode(bytes: &[u8], options: &Options) -> Result<Picture, Error> {
    let format = Format::sniff(bytes).ok_or(Error::NotAnImage)?;
    let page = options.page;
    if format != Format::Tiff && page != 1 {
        return Err(Error::Page {
            asked: page,
            pages: 1,
        });
    }
    let announced = match format {
        Format::Jpeg => announced_jpeg(bytes)?,
        Format::Png => png::announced(bytes, &options.limits)?,
        Format::Tiff => tiff::announced(bytes, page)?,
        Format::WebP | Format::Bmp | Format::Gif => {
            whole::announced(format, bytes, &options.limits)?
        }
    };
    let (size, turned) = (announced.size, announced.orientation);
    options.limits.check_size(size.0, size.1)?;
    let original = orientation::upright_size(size, turned);
    let region = match options.region {
        Some(region) => orientation::stored(region.check(original)?, size, turned),
        None => Region::whole(size),
    };
    let wanted = Wanted {
        limits: &options.limits,
        page,
        region,
        target: fit(
            region.width as usize,
            region.height as usize,
            options.longest_side(region.width, region.height),
        ),
    };
    let (rgb, region) = read(format, bytes, size, &wanted)?;
    Ok(Picture {
        rgb: orientation::turn(rgb, turned),
        original_width: original.0,
        original_height: original.1,
        region: orientation::upright(region, size, turned),
    })
}

fn open<'a>(format: Format, bytes: &'a [u8], wanted: &Wanted<'_>) -> Result<Scaled<'a>, Error> {
    let result_bytes = (wanted.target.0 * wanted.target.1 * 3) as u64;
    let rows = match format {
        Format::Jpeg => return open_jpeg(bytes, wanted),
        Format::Png => png::open(bytes, wanted.limits, result_bytes)?,
        Format::Tiff => tiff::open(bytes, wanted)?,
        Format::Bmp => match bmp::open(bytes, wanted.limits)? {
            Some(rows) => Box::new(rows),
            None => whole::open(format, bytes, wanted.limits, result_bytes)?,
        },
        Format::WebP | Format::Gif => whole::open(format, bytes, wanted.limits, result_bytes)?,
    };
    Ok(Scaled { rows, eighths: 8 })
}

/// Reads the wanted part. Returns also what it is exactly, in stored pixels.
fn read(
    format: Format,
    bytes: &[u8],
    size: (u32, u32),
    wanted: &Wanted<'_>,
) -> Result<(Rgb, Region), Error> {
    let Scaled { mut rows, eighths } = open(format, bytes, wanted)?;
    let mut ground = 255;
    if rows.channels() == 4 {
        // What is visible decides what shows through the rest, so it is looked at before.
        let part = Part::of(wanted.region, eighths, &*rows);
        let mut look = Ground::default();
        part.each(&mut *rows, |row| look.look(row))?;
        ground = look.colour();
        // The first one's buffers go before the second's come.
        drop(rows);
        rows = open(format, bytes, wanted)?.rows;
    }
    let part = Part::of(wanted.region, eighths, &*rows);
    let from = (part.right - part.left, part.bottom - part.top);
    let to = (wanted.target.0.min(from.0), wanted.target.1.min(from.1));
    let channels = rows.channels();
    let mut resizer = Resizer::new(from, to, channels.min(3), Filter::Lanczos3);
    let mut opaque = vec![0; if channels == 4 { from.0 * 3 } else { 0 }];
    part.each(&mut *rows, |row| {
        if channels == 4 {
            lay_over(ground, row, &mut opaque);
            resizer.push(&opaque);
        } else {
            resizer.push(row);
        }
    })?;
    drop(rows);
    let mut data = resizer.finish();
    if channels == 1 {
        data = data.into_iter().flat_map(|v| [v; 3]).collect();
    }
    let rgb = Rgb::new(to.0, to.1, data).expect("the result has the size that was asked for");
    let region = part.region(size, eighths);
    Ok((rgb, region))
}

/// A rectangle of scaled pixels.
struct Part {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Part {
    /// The least that holds `region`.
    fn of(region: Region, eighths: usize, rows: &dyn Rows) -> Part {
        let start = |at: u32| at as usize * eighths / 8;
        let end = |at: u32, side: u32, most: usize| {
            ((at as usize + side as usize) * eighths)
                .div_ceil(8)
                .min(most)
        };
        Part {
            left: start(region.x),
            top: start(region.y),
            right: end(region.x, region.width, rows.width()),
            bottom: end(region.y, region.height, rows.height()),
        }
    }

    /// Back in stored pixels.
    fn region(&self, size: (u32, u32), eighths: usize) -> Region {
        let stored = |at: usize, most: u32| ((at * 8 / eighths) as u32).min(most);
        let (x, y) = (stored(self.left, size.0), stored(self.top, size.1));
        Region {
            x,
            y,
            width: stored(self.right, size.0) - x,
            height: stored(self.bottom, size.1) - y,
        }
    }

    /// Calls `f` with the part of each row; rows below it are not decoded.
    fn each(&self, rows: &mut dyn Rows, mut f: impl FnMut(&[u8])) -> Result<(), Error> {
        let channels = rows.channels();
        let mut row = vec![0; rows.width() * channels];
        for y in 0..self.bottom {
            rows.next_row(&mut row)?;
            if y >= self.top {
                f(&row[self.left * channels..self.right * channels]);
            }
        }
        Ok(())
    }
}

fn announced_jpeg(bytes: &[u8]) -> Result<Announced, Error> {
    let header = jpeg::Header::read(bytes)?;
    let turned = header.exif.and_then(Orientation::from_exif_chunk);
    Ok(Announced {
        size: (header.width, header.height),
        orientation: turned.unwrap_or(Orientation::NoTransforms),
    })
}

fn open_jpeg<'a>(bytes: &'a [u8], wanted: &Wanted<'_>) -> Result<Scaled<'a>, Error> {
    let header = jpeg::Header::read(bytes)?;
    let region = wanted.region;
    // The smallest scale that still has all of the target's pixels, then what the limits allow.
    let enough = |block_px: usize| {
        let scaled = |side: u32| side as usize * block_px / 8;
        scaled(region.width) >= wanted.target.0 && scaled(region.height) >= wanted.target.1
    };
    let mut block_px = 8;
    while block_px > 1 && enough(block_px / 2) {
        block_px /= 2;
    }
    // Held coefficients stay while the result grows.
    let needed_bytes = |block_px: usize| {
        let scaled = |side: u32| (side as usize * block_px).div_ceil(8);
        let width = wanted.target.0.min(scaled(region.width));
        let height = wanted.target.1.min(scaled(region.height));
        match jpeg::held_bytes(&header, block_px) {
            0 => 0,
            held => held + (width * height * header.components.len().min(3)) as u64,
        }
    };
    while block_px > 1 && needed_bytes(block_px) > wanted.limits.max_decode_bytes {
        block_px /= 2;
    }
    let size = (header.width, header.height);
    wanted.limits.check_bytes(size, needed_bytes(block_px))?;
    let colour = jpeg::Colour::of(&header);
    let plan = jpeg::Plan {
        block_px,
        first_row: region.y as usize * block_px / 8,
    };
    Ok(Scaled {
        rows: Box::new(jpeg::JpegRows::open(bytes, &[], header, colour, &plan)?),
        eighths: block_px,
    })
}

#[cfg(test)]
mod tests;
