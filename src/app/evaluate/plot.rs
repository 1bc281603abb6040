//! Two drawings as one SVG: the curve of recall over false alarms, and what was believed against what was observed.
//!
//! Reads: a report. Emits: SVG 1.1 that needs nothing from outside. False alarms run on a logarithmic scale from one in
//! ten thousand, since the left edge is where the program works; no false alarm at all stands at that edge.

use super::report::Report;
use super::statistics::{Bin, Point};
use std::fmt::Write as _;

const SIDE: f64 = 360.0;
const MARGIN: f64 = 62.0;
const WIDTH: f64 = 2.0 * (SIDE + 1.6 * MARGIN);
const HEIGHT: f64 = SIDE + 2.0 * MARGIN;
/// Decades of false alarms shown.
const DECADES: f64 = 4.0;
/// Edge of the scale of log odds.
const ODDS: f64 = 12.0;

/// The drawing.
pub(super) fn svg(report: &Report) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\" \
         viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    roc(report, &mut out);
    reliability(report, &mut out);
    out.push_str("</svg>\n");
    out
}

/// One square drawing; `x` and `y` are shares of its side, from the lower left.
struct Frame<'a> {
    left: f64,
    out: &'a mut String,
}

impl Frame<'_> {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.left + x.clamp(0.0, 1.0) * SIDE, MARGIN + (1.0 - y.clamp(0.0, 1.0)) * SIDE)
    }

    fn open(&mut self, title: &str, across: &str, up: &str) {
        let left = self.left;
        let middle = left + SIDE / 2.0;
        let (below, above, height) = (MARGIN + SIDE + 44.0, MARGIN - 18.0, MARGIN + SIDE / 2.0);
        let side = left - 44.0;
        let _ = write!(
            self.out,
            "<rect x=\"{left}\" y=\"{MARGIN}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#444\"/>\n\
             <text x=\"{middle}\" y=\"{above}\" text-anchor=\"middle\" font-size=\"15\">{title}</text>\n\
             <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{across}</text>\n\
             <text x=\"{side}\" y=\"{height}\" text-anchor=\"middle\" transform=\"rotate(-90 {side} {height})\">{up}</text>\n"
        );
    }

    fn tick(&mut self, x: Option<f64>, y: Option<f64>, label: &str) {
        let (h, v) = self.at(x.unwrap_or(0.0), y.unwrap_or(0.0));
        let (to_h, to_v) = if x.is_some() { (h, MARGIN) } else { (self.left + SIDE, v) };
        let _ =
            writeln!(self.out, "<line x1=\"{h:.1}\" y1=\"{v:.1}\" x2=\"{to_h:.1}\" y2=\"{to_v:.1}\" stroke=\"#ddd\"/>");
        let (h, v, anchor) = if x.is_some() { (h, v + 18.0, "middle") } else { (h - 7.0, v + 4.0, "end") };
        let _ =
            writeln!(self.out, "<text x=\"{h:.1}\" y=\"{v:.1}\" text-anchor=\"{anchor}\" fill=\"#444\">{label}</text>");
    }

    fn line(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str, width: f64, dashes: &str) {
        let places: Vec<String> = points.map(|(x, y)| self.at(x, y)).map(|(h, v)| format!("{h:.1},{v:.1}")).collect();
        let _ = writeln!(
            self.out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\"/>",
            places.join(" ")
        );
    }

    fn dot(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        let (h, v) = self.at(x, y);
        let _ = writeln!(
            self.out,
            "<circle cx=\"{h:.1}\" cy=\"{v:.1}\" r=\"{radius:.1}\" fill=\"{colour}\" fill-opacity=\"0.8\"/>"
        );
    }

    fn note(&mut self, x: f64, y: f64, text: &str) {
        let (h, v) = self.at(x, y);
        let _ = writeln!(self.out, "<text x=\"{h:.1}\" y=\"{v:.1}\" text-anchor=\"end\">{text}</text>");
    }
}

const BLUE: &str = "#1f5fa8";
const RED: &str = "#b3312c";

fn logarithmic(share: f64) -> f64 {
    if share <= 0.0 { 0.0 } else { share.log10() / DECADES + 1.0 }
}

fn roc(report: &Report, out: &mut String) {
    let mut frame = Frame { left: MARGIN * 1.2, out };
    for decade in 0..=4 {
        let label = ["0.0001", "0.001", "0.01", "0.1", "1"].get(decade).copied().unwrap_or("");
        frame.tick(Some(decade as f64 / DECADES), None, label);
    }
    for tenth in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        frame.tick(None, Some(tenth), &format!("{tenth}"));
    }
    frame.open(
        "Recall over false alarms",
        "honest endpoints accused, share (logarithmic)",
        "malicious endpoints found, share",
    );
    let chance = (0..=40).map(|i| f64::from(i) / 40.0).map(|x| (x, 10_f64.powf((x - 1.0) * DECADES)));
    frame.line(chance, "#999", 1.0, "5 4");
    let place = |point: &Point| (logarithmic(point.false_alarms), point.recall);
    // The curve goes in steps: nothing is known between two thresholds.
    let mut steps = vec![(0.0, 0.0)];
    for (x, y) in report.curve.points.iter().map(place) {
        let before = steps.last().map_or(0.0, |(_, y)| *y);
        steps.extend([(x, before), (x, y)]);
    }
    frame.line(steps.into_iter(), BLUE, 2.0, "");
    let working = (report.false_alarms.share.unwrap_or(0.0), report.recall.share.unwrap_or(0.0));
    frame.dot(logarithmic(working.0), working.1, 5.0, RED);
    frame.note(0.98, 0.12, &format!("area {:.4}", report.curve.area));
    frame.note(0.98, 0.06, "red: as the program decides");
}

fn reliability(report: &Report, out: &mut String) {
    let mut frame = Frame { left: SIDE + MARGIN * 2.8, out };
    let scale = |odds: f64| (odds / ODDS + 1.0) / 2.0;
    for odds in [-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0] {
        frame.tick(Some(scale(odds)), None, &format!("{odds}"));
        frame.tick(None, Some(scale(odds)), &format!("{odds}"));
    }
    frame.open("Believed and observed", "believed, log odds", "observed, log odds");
    frame.line([(0.0, 0.0), (1.0, 1.0)].into_iter(), "#999", 1.0, "5 4");
    // A share is a quotient of sums, which may come out a little above 1.
    let odds = |share: f64| (share / (1.0 - share).max(0.0)).ln().clamp(-ODDS, ODDS);
    let whole: usize = report.calibration.bins.iter().map(|bin| bin.malicious + bin.honest).sum();
    let place = |bin: &Bin| (scale(odds(bin.believed)), scale(odds(bin.observed)));
    frame.line(report.calibration.bins.iter().map(place), BLUE, 1.0, "");
    for bin in &report.calibration.bins {
        let (x, y) = place(bin);
        let share = (bin.malicious + bin.honest) as f64 / whole.max(1) as f64;
        frame.dot(x, y, 3.0 + 12.0 * share.sqrt(), BLUE);
    }
    frame.note(0.98, 0.06, &format!("expected error {:.6}", report.calibration.expected_error));
}
