//! What a component starts with: the memory image of each of its modules, and whether hosts can map it copy-on-write.
//!
//! An engine that cannot map the image copies it at every instantiation, silently, and a start of microseconds becomes one of
//! milliseconds. The conditions are those of Wasmtime: every active data segment at a constant offset inside a memory of the module's
//! own, and an image that is less than twice its data or less than a fixed size ([`DEFAULT_DENSE_BYTES`] where nobody raised it).

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use wasmparser::{ConstExpr, Data, DataKind, Operator, Parser, Payload, TypeRef};

/// Below this span an image is mapped however sparse it is. Wasmtime's default, which Spin and `wasmtime serve` use.
pub const DEFAULT_DENSE_BYTES: u64 = 16 << 20;

/// A WebAssembly page.
const PAGE_BYTES: u64 = 65536;

/// The initial memory of one core module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// From the first initialised byte to the last, in bytes.
    pub span_bytes: u64,
    /// In data segments, in bytes.
    pub data_bytes: u64,
    /// Number of data segments.
    pub segments: u32,
    /// Size of the memory at the start, in bytes.
    pub memory_bytes: u64,
    /// Whether every segment lies at a constant offset inside a memory of the module's own.
    pub constant: bool,
}

impl Image {
    /// Whether an engine maps this image copy-on-write if it takes every image below `dense_bytes`.
    pub fn copy_on_write(&self, dense_bytes: u64) -> bool {
        let dense = self.span_bytes < self.data_bytes.saturating_mul(2);
        self.constant && (self.data_bytes == 0 || dense || self.span_bytes < dense_bytes)
    }
}

/// The images of `component`'s modules that have a memory or data, in order.
///
/// # Errors
///
/// Bytes that do not parse as a component.
pub fn images(component: &[u8]) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    // Modules do not nest in each other, so one is open at a time.
    let mut open: Option<Builder> = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload.context("parsing the component")? {
            Payload::ModuleSection { .. } => open = Some(Builder::default()),
            Payload::ImportSection(imports) => {
                if let Some(module) = &mut open {
                    for import in imports.into_imports() {
                        if matches!(import?.ty, TypeRef::Memory(_)) {
                            module.imported_memories += 1;
                        }
                    }
                }
            }
            Payload::MemorySection(memories) => {
                if let Some(module) = &mut open {
                    for memory in memories {
                        module.memories.push(memory?.initial * PAGE_BYTES);
                    }
                }
            }
            Payload::DataSection(segments) => {
                if let Some(module) = &mut open {
                    for segment in segments {
                        module.add(&segment?);
                    }
                }
            }
            Payload::End(_) => images.extend(open.take().and_then(Builder::finish)),
            _ => {}
        }
    }
    Ok(images)
}

#[derive(Default)]
struct Builder {
    imported_memories: usize,
    /// Initial size of each memory of its own, in bytes.
    memories: Vec<u64>,
    /// Start and length of each active segment; none where the start is not constant or the memory is not its own.
    segments: Vec<Option<(u64, u64)>>,
}

impl Builder {
    fn add(&mut self, segment: &Data<'_>) {
        let DataKind::Active {
            memory_index,
            offset_expr,
        } = &segment.kind
        else {
            return;
        };
        let own = (*memory_index as usize).checked_sub(self.imported_memories);
        let memory_bytes = own.and_then(|index| self.memories.get(index));
        let bytes = segment.data.len() as u64;
        let placed = constant(offset_expr)
            .zip(memory_bytes)
            .filter(|(start, memory_bytes)| start + bytes <= **memory_bytes)
            .map(|(start, _)| (start, bytes));
        self.segments.push(placed);
    }

    fn finish(self) -> Option<Image> {
        if self.memories.is_empty() && self.segments.is_empty() {
            return None;
        }
        let placed = || {
            self.segments
                .iter()
                .flatten()
                .filter(|(_, bytes)| *bytes > 0)
        };
        let start = placed().map(|(start, _)| *start).min().unwrap_or(0);
        let end = placed().map(|(start, bytes)| start + bytes).max();
        Some(Image {
            span_bytes: end.unwrap_or(0) - start,
            data_bytes: placed().map(|(_, bytes)| bytes).sum(),
            segments: self.segments.len() as u32,
            memory_bytes: self.memories.iter().sum(),
            constant: self.segments.iter().all(Option::is_some),
        })
    }
}

/// The value of an offset that is one constant.
fn constant(offset: &ConstExpr<'_>) -> Option<u64> {
    let mut operators = offset.get_operators_reader();
    let value = match operators.read().ok()? {
        Operator::I32Const { value } => u64::from(value.cast_unsigned()),
        Operator::I64Const { value } => value.cast_unsigned(),
        _ => return None,
    };
    matches!(operators.read().ok()?, Operator::End).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn image(span_bytes: u64, data_bytes: u64, constant: bool) -> Image {
        Image {
            span_bytes,
            data_bytes,
            segments: 1,
            memory_bytes: 64 * MIB,
            constant,
        }
    }

    #[test]
    fn dense_or_small_images_are_mapped() {
        struct Case {
            span: u64,
            data: u64,
            constant: bool,
            mapped: bool,
        }
        let case = |span, data, constant, mapped| Case {
            span,
            data,
            constant,
            mapped,
        };
        let cases = [
            case(20 * MIB, 11 * MIB, true, true),
            case(20 * MIB, 10 * MIB, true, false),
            case(16 * MIB - 1, 1, true, true),
            case(16 * MIB, 1, true, false),
            case(1, 1, false, false),
            case(0, 0, true, true),
        ];
        for (index, case) in cases.iter().enumerate() {
            let mapped = image(case.span, case.data, case.constant);
            assert_eq!(
                mapped.copy_on_write(DEFAULT_DENSE_BYTES),
                case.mapped,
                "case {index}"
            );
        }
        assert!(image(20 * MIB, 1, true).copy_on_write(32 * MIB));
    }

    /// A component of one module with two pages of memory and two segments, `ab` at 16 and `c` at `offset`.
    fn component(offset: &[u8]) -> Vec<u8> {
        let mut data = b"\x02\x00\x41\x10\x0b\x02ab\x00".to_vec();
        data.extend(offset);
        data.extend(b"\x0b\x01c");
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(b"\x05\x03\x01\x00\x02");
        module.extend([11, data.len() as u8]);
        module.extend(data);
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend([1, module.len() as u8]);
        component.extend(module);
        component
    }

    #[test]
    fn segments_are_measured() {
        // i32.const 96 is 0x41 0xe0 0x00.
        let expected = Image {
            span_bytes: 97 - 16,
            data_bytes: 3,
            segments: 2,
            memory_bytes: 2 * PAGE_BYTES,
            constant: true,
        };
        let images = images(&component(b"\x41\xe0\x00")).expect("a component");
        assert_eq!(images, [expected]);
    }

    #[test]
    fn an_offset_that_is_not_one_constant_or_out_of_bounds_loses_the_mapping() {
        // global.get 0, as position-independent code has it, and i32.const -1.
        for offset in [&b"\x23\x00"[..], b"\x41\x7f"] {
            let images = images(&component(offset)).expect("a component");
            assert!(!images[0].copy_on_write(u64::MAX), "{offset:?}");
        }
        assert!(images(b"\0asm\x0d\0\x01\0\x01\x05").is_err());
    }
}
