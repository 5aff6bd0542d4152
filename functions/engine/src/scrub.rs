//! Zeroes wherever memory is free, so that a snapshot does not carry what loading left behind.
//!
//! Linear memory never shrinks, and freed memory keeps its bytes: without this the ONNX file, its protobuf and tract's
//! graphs would be part of the memory image of every request, several times the weights in size.
//!
//! It takes no allocator of our own: all free memory is allocated, zeroed, until the allocator would have to grow.

/// Zeroes every hole of the heap of 8 bytes or more. Memory grows by a few times the largest block, so that one is small.
pub fn scrub() {
    fill::<{ 1 << 16 }>(|| {
        fill::<{ 1 << 13 }>(|| {
            fill::<{ 1 << 10 }>(|| {
                fill::<{ 1 << 8 }>(|| fill::<{ 1 << 6 }>(|| fill::<{ 1 << 3 }>(|| ())))
            });
        });
    });
}

/// Most blocks of one size.
const MAX_BLOCKS: usize = 1 << 13;

/// Takes zeroed blocks of `SIZE` bytes until the memory had to grow for one, and holds them while `next` fills what is
/// smaller.
fn fill<const SIZE: usize>(next: impl FnOnce()) {
    // Thin pointers, so that `None` is zero, and all of the list written now: it becomes free memory itself.
    let mut blocks: Vec<Option<Box<[u8; SIZE]>>> = (0..MAX_BLOCKS).map(|_| None).collect();
    for slot in &mut blocks {
        let before = pages();
        *slot = std::hint::black_box(vec![0u8; SIZE])
            .into_boxed_slice()
            .try_into()
            .ok();
        if pages() > before {
            break;
        }
    }
    next();
    blocks.fill_with(|| None);
    std::hint::black_box(&blocks);
}

/// Size of linear memory, in pages.
fn pages() -> usize {
    core::arch::wasm32::memory_size(0)
}
