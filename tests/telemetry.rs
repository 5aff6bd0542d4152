//! What a request to a real function leaves behind in our host's metrics.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::runners::{self, Asked};

#[test]
fn a_request_is_told_by_phase_with_its_memory_and_faults() -> Result<()> {
    let word = runners::root().join("tests/cases/ocr/single-word/request.png");
    let before = metrics()?;
    let mut asked = Asked::file(&word, "text/plain")?;
    asked.headers.push(("x-priority", "batch".to_owned()));
    let answer = runners::host(&asked)?;
    assert_eq!(answer.status, 200);
    let grown = |series: &str| -> Result<f64> {
        // A request is over a moment after its answer is here.
        for _ in 0..500 {
            let (before, now) = (value(&before, series), value(&metrics()?, series));
            if now.unwrap_or(0.0) > before.unwrap_or(0.0) {
                return Ok(now.unwrap_or(0.0) - before.unwrap_or(0.0));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("{series} has not grown")
    };
    // Other tests ask the same host at the same time.
    assert!(grown("ephemera_requests_total{function=\"ocr\",status=\"200\"}")? >= 1.0);
    assert!(grown("ephemera_received_bytes_total{function=\"ocr\"}")? >= asked.body.len() as f64);
    assert!(grown("ephemera_sent_bytes_total{function=\"ocr\"}")? >= answer.body.len() as f64);
    assert!(grown("ephemera_queue_wait_seconds_count{priority=\"batch\"}")? >= 1.0);
    assert!(grown("ephemera_cpu_seconds_total{function=\"ocr\"}")? > 0.001);
    // Its memory is 20 MiB, touched page by page.
    assert!(grown("ephemera_page_faults_total{function=\"ocr\",kind=\"minor\"}")? > 100.0);
    for phase in ["body", "admission", "instantiation", "guest", "sending"] {
        let count =
            format!("ephemera_request_phase_seconds_count{{function=\"ocr\",phase=\"{phase}\"}}");
        assert!(grown(&count)? >= 1.0, "{phase}");
    }
    let guest = "ephemera_request_phase_seconds_sum{function=\"ocr\",phase=\"guest\"}";
    assert!(grown(guest)? > 0.001);
    let peak = value(&metrics()?, "ephemera_memory_peak_bytes{function=\"ocr\"}");
    let said = answer.peak_bytes.context("the function says its own")?;
    assert!(peak >= Some(said as f64), "{peak:?} and {said}");
    Ok(())
}

fn metrics() -> Result<String> {
    let asked = Asked {
        method: "GET",
        target: "/metrics".to_owned(),
        headers: vec![],
        body: vec![],
    };
    Ok(String::from_utf8(runners::host(&asked)?.body)?)
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}
