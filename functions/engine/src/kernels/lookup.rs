//! A byte for a byte.

use super::Isa;

/// Replaces each of `bytes` by `table[byte as u8]`.
pub(crate) fn look_up(isa: Isa, table: &[i8; 256], bytes: &mut [i8]) {
    match isa {
        // SAFETY: the instructions have just been detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni if std::arch::is_x86_feature_detected!("avx512vbmi") => unsafe {
            super::avx512::look_up(table, bytes);
        },
        _ => plain(table, bytes),
    }
}

/// The definition.
fn plain(table: &[i8; 256], bytes: &mut [i8]) {
    for byte in bytes {
        *byte = table[usize::from(*byte as u8)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_entry() {
        let table: [i8; 256] = std::array::from_fn(|index| (index * 7 + 3) as i8);
        for isa in Isa::available() {
            let mut bytes: Vec<i8> = (0..=255u8).chain(0..9).map(|byte| byte as i8).collect();
            look_up(isa, &table, &mut bytes);
            for (index, byte) in bytes.into_iter().enumerate() {
                assert_eq!(byte, table[index % 256], "{index} on {}", isa.name());
            }
        }
    }
}
