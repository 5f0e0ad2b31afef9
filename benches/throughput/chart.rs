//! The backlog rates as an SVG, for docs/performance.md. A few rectangles and texts: a library for
//! charts would be a larger dependency than all of this benchmark.

use std::fmt::Write;

use crate::plan::{BASE, QueueType, Workload};
use crate::report::{Figures, Report};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 56.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;

/// Readable on a light page and on a dark one.
const STYLE: &str = "
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; }
.classic { fill: #4c78a8; }
.quorum { fill: #f58518; }
.spread { stroke: #1f2328; stroke-width: 1; opacity: 0.7; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .spread { stroke: #e6edf3; } }
";

/// A bar for each worker and kind of queue, with the least and the most; `None` if no backlog was
/// measured.
pub(crate) fn draw(report: &Report) -> Option<String> {
    let backlogs = report
        .figures
        .iter()
        .filter(|f| f.case.workload == Workload::Backlog && f.case.shape == BASE);
    let backlogs: Vec<&Figures> = backlogs.collect();
    let scale = (WIDTH - LEFT - RIGHT) / backlogs.iter().map(|f| f.rate.max).reduce(f64::max)?;
    let mut workers: Vec<_> = backlogs.iter().map(|f| f.worker).collect();
    workers.sort_unstable();
    workers.dedup();
    let best = |worker: &str| {
        backlogs
            .iter()
            .filter(|f| f.worker == worker)
            .map(|f| f.rate.median)
            .fold(0.0, f64::max)
    };
    workers.sort_by(|a, b| best(b).total_cmp(&best(a)));

    let mut bars = String::new();
    let mut y = TOP;
    for worker in workers {
        let own: Vec<_> = backlogs.iter().filter(|f| f.worker == worker).collect();
        let middle = y + BAR * own.len() as f64 / 2.0 + 4.5;
        writeln!(
            bars,
            r#"<text x="{}" y="{middle}" text-anchor="end">{worker}</text>"#,
            LEFT - 8.0
        )
        .ok()?;
        for figures in own {
            let rate = figures.rate;
            let [width, least, most] = [
                rate.median * scale,
                LEFT + rate.min * scale,
                LEFT + rate.max * scale,
            ];
            let (class, line, text) = (
                figures.case.queue.name(),
                y + BAR / 2.0 - 0.5,
                y + BAR / 2.0 + 4.0,
            );
            writeln!(
                bars,
                r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{width:.1}" height="{}"/>
<line class="spread" x1="{least:.1}" x2="{most:.1}" y1="{line}" y2="{line}"/>
<text class="small" x="{:.1}" y="{text}">{:.0}</text>"#,
                BAR - 1.0,
                most + 6.0,
                rate.median,
            )
            .ok()?;
            y += BAR;
        }
        y += GAP;
    }
    let legend = QueueType::ALL.iter().enumerate().fold(String::new(), |legend, (place, queue)| {
        let (x, name) = (LEFT + place as f64 * 130.0, queue.name());
        legend
            + &format!(r#"<rect class="{name}" x="{x}" y="33" width="11" height="11"/><text class="small" x="{}" y="43">{name} queue</text>"#, x + 16.0)
    });
    let height = y + 14.0;
    Some(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="Requests per second">
<style>{STYLE}</style>
<text class="title" x="{LEFT}" y="20">Requests per second, from a full queue</text>
{legend}
{bars}<text class="small" x="{LEFT}" y="{}">{}; median of {} rounds, line from least to most</text>
</svg>
"#,
        y + 4.0,
        report.date,
        report.rounds,
    ))
}
