//! A large form, with a counting allocator: its file stays in the memory that the body came in.
#![expect(
    unsafe_code,
    reason = "the global allocator's interface; it hands every call on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ephemera_http::{Fields, Form};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_form_takes_no_second_copy_of_its_file() {
    const FIELDS: Fields = Fields {
        files: &["video"],
        max_files: 1,
        texts: &[],
        max_text_bytes: 64,
    };
    let file = vec![7_u8; 9_900_000];
    let head = b"--edge\r\ncontent-disposition: form-data; name=\"video\"\r\n\r\n";
    let body = [head.as_slice(), &file, b"\r\n--edge--\r\n"].concat();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let form = Form::from_multipart(&FIELDS, "multipart/form-data; boundary=edge", body);
    let taken = PEAK.load(Ordering::Relaxed) - before;
    let form = form.expect("a sound form");
    assert!(form.files == [file], "the file came through");
    // A few pieces of 64 KiB.
    assert!(taken < 1 << 20, "{taken} bytes beside the body");
}
