//! How a picture is stored, and what is upright: an orientation tag, rectangles in both, and the turning itself.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::{Region, Rgb};

/// Brings a picture upright.
pub(crate) fn turn(picture: Rgb, orientation: Orientation) -> Rgb {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.data);
    let mut image = DynamicImage::ImageRgb8(image.expect("a picture's length matches its sides"));
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Rgb::new(width, height, image.into_raw()).expect("turning keeps every pixel")
}

/// The upright picture's width and height.
pub(crate) fn upright_size((width, height): (u32, u32), orientation: Orientation) -> (u32, u32) {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// Where a rectangle of the stored picture, of this size, is in the upright one.
pub(crate) fn upright(
    region: Region,
    (width, height): (u32, u32),
    orientation: Orientation,
) -> Region {
    let Region {
        x,
        y,
        width: w,
        height: h,
    } = region;
    // From the other edge.
    let (far_x, far_y) = (width - x - w, height - y - h);
    let (x, y) = match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::Rotate90 => (far_y, x),
        Orientation::Rotate180 => (far_x, far_y),
        Orientation::Rotate270 => (y, far_x),
        Orientation::FlipHorizontal => (far_x, y),
        Orientation::FlipVertical => (x, far_y),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate270FlipH => (far_y, far_x),
    };
    let (width, height) = upright_size((w, h), orientation);
    Region {
        x,
        y,
        width,
        height,
    }
}

/// Where a rectangle of the upright picture is in the stored one, of this size.
pub(crate) fn stored(region: Region, size: (u32, u32), orientation: Orientation) -> Region {
    let inverse = match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        itself => itself,
    };
    upright(region, upright_size(size, orientation), inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_move_as_pixels_do() {
        let (width, height) = (5u32, 3u32);
        // Each pixel a number of its own.
        let data = (0..width * height).flat_map(|i| [i as u8; 3]).collect();
        let picture = Rgb::new(width as usize, height as usize, data).expect("a picture");
        for tag in 1..=8 {
            let orientation = Orientation::from_exif(tag).expect("a tag");
            let turned = turn(picture.clone(), orientation);
            let size = upright_size((width, height), orientation);
            assert_eq!((turned.width as u32, turned.height as u32), size);
            let region = Region {
                x: 3,
                y: 1,
                width: 2,
                height: 1,
            };
            let moved = upright(region, (width, height), orientation);
            assert_eq!(stored(moved, (width, height), orientation), region, "{tag}");
            let mut found: Vec<u8> = (moved.y..moved.y + moved.height)
                .flat_map(|y| (moved.x..moved.x + moved.width).map(move |x| (x, y)))
                .map(|(x, y)| turned.at(x as usize, y as usize)[0])
                .collect();
            found.sort_unstable();
            assert_eq!(found, [8, 9], "{tag}");
        }
    }
}
