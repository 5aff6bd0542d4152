//! A course of memory as a picture.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::soak::Sample;

/// Anonymous memory in MiB over requests, from zero: an SVG document.
///
/// # Errors
///
/// The picture cannot be drawn.
pub(super) fn memory(samples: &[Sample]) -> Result<String> {
    let mut svg = String::new();
    draw(samples, &mut svg).map_err(|error| anyhow!("drawing the plot: {error}"))?;
    Ok(svg)
}

fn draw(samples: &[Sample], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let points = samples.iter().map(|s| (s.requests, mib(s.anonymous_bytes)));
    let most = points.clone().map(|(_, y)| y).fold(1.0, f64::max);
    let requests = samples.last().map_or(1, |last| last.requests);

    let area = SVGBackend::with_string(svg, (800, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0..requests, 0.0..most * 1.25)?;
    chart
        .configure_mesh()
        .x_desc("requests")
        .y_desc("anonymous memory, MiB")
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new(points, &BLUE))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_becomes_a_line() {
        let sample = |requests, anonymous_bytes| Sample {
            requests,
            anonymous_bytes,
        };
        let svg = memory(&[sample(0, 10 << 20), sample(100, 12 << 20)]).expect("drawn");
        assert!(
            svg.starts_with("<svg") && svg.contains("<polyline"),
            "{svg}"
        );
    }
}
