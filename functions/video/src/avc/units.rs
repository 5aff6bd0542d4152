//! A sample -> its NAL units, and what the sample is to a decoder.

/// The NAL units of a sample, each behind its length; a last one that is cut off, or of no length, ends it.
pub(super) struct Units<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) length_bytes: usize,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (length, rest) = self.bytes.split_at_checked(self.length_bytes)?;
            let length = length.iter().fold(0, |n, &b| n << 8 | usize::from(b));
            let (unit, rest) = rest.split_at_checked(length)?;
            self.bytes = rest;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

/// Types of NAL units (ITU-T H.264, table 7-1).
pub(super) const SLICE: u8 = 1;
pub(super) const IDR_SLICE: u8 = 5;
pub(super) const SEQUENCE_PARAMETERS: u8 = 7;
pub(super) const PICTURE_PARAMETERS: u8 = 8;

pub(super) fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 31)
}

/// What a sample is to the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// Decoding can begin here, and nothing before is referred to from here on.
    pub(super) sync: bool,
    /// Other pictures may refer to it.
    pub(super) reference: bool,
}

impl Access {
    /// Looks at the units' first bytes. What container tables say of it is not asked: they call open groups of pictures a
    /// beginning, too.
    pub(super) fn of(sample: &[u8], length_bytes: usize) -> Access {
        let mut access = Access {
            sync: false,
            reference: false,
        };
        let units = Units {
            bytes: sample,
            length_bytes,
        };
        for unit in units {
            match unit_type(unit) {
                IDR_SLICE => access.sync = true,
                SLICE => {}
                _ => continue,
            }
            access.reference |= unit[0] >> 5 & 3 != 0;
        }
        access
    }
}

/// What is wrong with the slices of a sample, if anything is: they must begin one picture and go on downwards. Else a few bytes
/// could hold thousands of pictures.
pub(super) fn check_slices(sample: &[u8], length_bytes: usize) -> Result<(), &'static str> {
    const MOST_SLICES: usize = 128;
    let units = Units {
        bytes: sample,
        length_bytes,
    };
    let mut last = None;
    let slices = units.filter(|unit| matches!(unit_type(unit), SLICE | IDR_SLICE));
    for (count, unit) in slices.enumerate() {
        if count == MOST_SLICES {
            return Err("more than 128 slices");
        }
        // A few bytes hold the first field, the number of the first macroblock.
        let first = super::bits::Bits::of(unit, 12).unsigned();
        let first = first.ok_or("its slice is truncated")?;
        if last.is_some_and(|last| first <= last) {
            return Err("its slices are not in order");
        }
        if last.is_none() && first != 0 {
            return Err("its first slice is missing");
        }
        last = Some(first);
    }
    match last {
        None => Err("it has no slice"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of units with lengths of two bytes.
    fn sample(units: &[&[u8]]) -> Vec<u8> {
        let unit = |unit: &&[u8]| [&(unit.len() as u16).to_be_bytes()[..], unit].concat();
        units.iter().map(unit).collect::<Vec<_>>().concat()
    }

    #[test]
    fn samples_by_their_units() {
        let access = |sync, reference| Access { sync, reference };
        let cases: [(&[&[u8]], Access); 5] = [
            (&[&[0x67, 1], &[0x68], &[0x65, 0x80]], access(true, true)),
            (&[&[0x06, 9], &[0x41, 0x80]], access(false, true)),
            (&[&[0x01, 0x80], &[]], access(false, false)),
            (&[&[0x06]], access(false, false)),
            (&[], access(false, false)),
        ];
        for (units, expected) in cases {
            assert_eq!(Access::of(&sample(units), 2), expected, "{units:?}");
        }
        let mut cut = sample(&[&[0x41], &[0x65, 1, 2]]);
        cut.pop();
        assert_eq!(Access::of(&cut, 2), access(false, true));
    }

    #[test]
    fn a_sample_is_one_picture() {
        // First macroblocks 0, 1, 2 as codes: 1, 010, 011.
        let slices: [&[u8]; 3] = [&[0x41, 0x80], &[0x41, 0x40], &[0x41, 0x60]];
        let [a, b, c] = slices;
        let check = |units: &[&[u8]]| check_slices(&sample(units), 2);
        assert_eq!(check(&[a, b, c]), Ok(()));
        assert_eq!(check(&[&[0x67, 0x80], a]), Ok(()));
        assert!(check(&[a, a]).is_err());
        assert!(check(&[a, c, b]).is_err());
        assert!(check(&[b]).is_err());
        assert!(check(&[&[0x67]]).is_err());
        assert!(check(&[&[0x41]]).is_err());
    }
}
