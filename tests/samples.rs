//! Scans that are not the project's to ship, read where they are at hand.

use anyhow::{Context, Result, ensure};

use crate::cases::character_error_rate;
use crate::runners::{self, Asked};

#[test]
fn known_scans_are_read() -> Result<()> {
    let folder = runners::root().join("../shared/samples/ocr");
    if !folder.exists() {
        eprintln!("skipped: ../shared/samples/ocr is not there");
        return Ok(());
    }
    for (image, truth, limit) in [
        ("phototest.tif", "phototest.gold.txt", 0.01),
        ("phototest-rotated-180.png", "phototest.gold.txt", 0.0),
        ("phototest-rotated-R.png", "phototest.gold.txt", 0.0),
        ("eurotext.tif", "eurotext.txt", 0.02),
    ] {
        let truth = std::fs::read_to_string(folder.join(truth)).context(truth)?;
        let asked = Asked::file(&folder.join(image), "text/plain")?;
        let native = runners::native(&asked)?;
        for (name, run) in runners::ALL {
            let answer = run(&asked).with_context(|| format!("{image} by {name}"))?;
            assert_eq!(answer.body, native.body, "{image} by {name}");
        }
        let text = String::from_utf8(native.body)?;
        let rate = character_error_rate(&truth, &text);
        eprintln!("{image}: CER {rate:.4}");
        ensure!(
            rate <= limit,
            "{image}: CER {rate:.4}, limit {limit}\n{text}"
        );
    }
    Ok(())
}
