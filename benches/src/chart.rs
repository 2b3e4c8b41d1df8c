//! A chart per bench: for each metric one bar per system, drawn as SVG by hand, for a bar chart needs no library.
//!
//! All bars of one unit share a scale.

use std::fmt::Write;
use std::path::Path;

use crate::report::{FIRN, Figure, Report, readable};
use crate::statistics::Result;

const WIDTH: f64 = 860.0;
const LABEL_WIDTH: f64 = 210.0;
const BAR_WIDTH: f64 = 520.0;
const BAR_HEIGHT: f64 = 16.0;
const HEADING_HEIGHT: f64 = 34.0;
const MARGIN: f64 = 16.0;

/// Writes `NAME.svg` into `directory` for every bench of `report`.
pub(crate) fn write_all(report: &Report, directory: &Path) -> Result<()> {
    let mut benches: Vec<&str> = report.figures.iter().map(|figure| figure.bench.as_str()).collect();
    benches.dedup();
    for bench in benches {
        let figures: Vec<&Figure> = report.figures.iter().filter(|figure| figure.bench == bench).collect();
        std::fs::write(directory.join(format!("{bench}.svg")), draw(bench, &figures))?;
    }
    Ok(())
}

/// The chart of `figures`.
fn draw(bench: &str, figures: &[&Figure]) -> String {
    let mut metrics: Vec<&str> = Vec::new();
    for figure in figures {
        if !metrics.contains(&figure.metric.as_str()) {
            metrics.push(&figure.metric);
        }
    }
    let height = 2.0 * MARGIN + metrics.len() as f64 * HEADING_HEIGHT + figures.len() as f64 * (BAR_HEIGHT + 4.0);
    let mut body = String::new();
    let mut y = MARGIN;
    for metric in metrics {
        let bars: Vec<&&Figure> = figures.iter().filter(|figure| figure.metric == metric).collect();
        let unit = bars.first().map_or("", |figure| figure.unit.as_str());
        let of_unit = figures.iter().filter(|figure| figure.unit == unit);
        let most = of_unit.map(|figure| figure.value).fold(f64::MIN_POSITIVE, f64::max);
        y += HEADING_HEIGHT;
        text(&mut body, MARGIN, y - 10.0, "start", "bold", &format!("{metric} ({unit})"));
        for figure in bars {
            let width = (figure.value / most * BAR_WIDTH).max(1.0);
            let middle = y + BAR_HEIGHT * 0.75;
            text(&mut body, LABEL_WIDTH - 8.0, middle, "end", "normal", &figure.system);
            let color = color(&figure.system);
            let bar =
                format!(r#"<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1}" height="{BAR_HEIGHT}" fill="{color}"/>"#);
            body.push_str(&bar);
            body.push('\n');
            text(&mut body, LABEL_WIDTH + width + 6.0, middle, "start", "normal", &readable(figure.value));
            y += BAR_HEIGHT + 4.0;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n",
        escaped(bench)
    )
}

/// FirnDB stands out, limits step back.
fn color(system: &str) -> &'static str {
    match system {
        name if name.starts_with(FIRN) => "#1f6fb4",
        name if name.ends_with("(limit)") => "#b5bcc4",
        _ => "#d9822b",
    }
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, weight: &str, words: &str) {
    let words = escaped(words);
    let line = writeln!(
        body,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-weight="{weight}" fill="#222222">{words}</text>"##
    );
    line.expect("a string takes whatever is written to it");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_its_bar_and_the_longest_is_the_greatest() {
        let figure = |system: &str, value: f64| Figure {
            bench: "b".to_owned(),
            system: system.to_owned(),
            metric: "a < b".to_owned(),
            unit: "s".to_owned(),
            value,
        };
        let figures = [figure(FIRN, 1.0), figure("other", 4.0)];
        let drawn = draw("b", &figures.iter().collect::<Vec<_>>());
        assert_eq!(drawn.matches("<rect x=").count(), 2);
        assert!(drawn.contains("width=\"130.0\"") && drawn.contains("width=\"520.0\""), "{drawn}");
        assert!(drawn.contains("a &lt; b (s)"), "{drawn}");
    }
}
