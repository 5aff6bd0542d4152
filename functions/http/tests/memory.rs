//! A large form, with a counting allocator: its file stays in the memory that the body came in.

use ephemera_http::{Fields, Form};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

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
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let form = Form::from_multipart(&FIELDS, "multipart/form-data; boundary=edge", body);
    let taken = ALLOCATOR.peak_usage() - before;
    let form = form.expect("a sound form");
    assert!(form.files == [file], "the file came through");
    // A few pieces of 64 KiB.
    assert!(taken < 1 << 20, "{taken} bytes beside the body");
}
