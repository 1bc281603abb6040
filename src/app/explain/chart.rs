//! The ladder to scale: bars from the capture point to where each loop ends, and the step between them.
//!
//! Reads: milliseconds. Emits: lines of so many columns. Does not: know what a rung means.

/// The characters of a chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyphs {
    /// Way that is accounted for.
    known: char,
    /// Way beyond that.
    beyond: char,
    /// Where the place's round trip ends.
    mark: char,
    /// The ends and the line of a step.
    step: [char; 3],
}

impl Glyphs {
    const UNICODE: Self = Self { known: '█', beyond: '▒', mark: '┊', step: ['├', '─', '┤'] };
    const ASCII: Self = Self { known: '#', beyond: '+', mark: ':', step: ['|', '-', '|'] };

    pub(super) const fn of(unicode: bool) -> Self {
        if unicode { Self::UNICODE } else { Self::ASCII }
    }

    pub(super) const fn known(self) -> char {
        self.known
    }

    pub(super) const fn beyond(self) -> char {
        self.beyond
    }

    pub(super) const fn mark(self) -> char {
        self.mark
    }
}

/// A scale of `columns` columns that ends at `longest_ms`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chart {
    pub(super) columns: usize,
    pub(super) longest_ms: f64,
    pub(super) glyphs: Glyphs,
}

impl Chart {
    /// The column where a duration ends.
    fn column(self, ms: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "columns of a terminal"
        )]
        let column = (ms / self.longest_ms.max(f64::MIN_POSITIVE) * self.columns as f64).round().max(0.0) as usize;
        column.min(self.columns)
    }

    /// A rung: solid as far as `known_ms` accounts for it, hatched beyond; with the mark of the place where it fits.
    pub(super) fn bar(self, ms: f64, known_ms: f64, mark_ms: Option<f64>) -> String {
        let (end, known) = (self.column(ms).max(1), self.column(known_ms));
        let mut cells: Vec<char> =
            (0..end).map(|at| if at < known { self.glyphs.known } else { self.glyphs.beyond }).collect();
        if let Some(mark) = mark_ms.map(|ms| self.column(ms).saturating_sub(1))
            && mark >= cells.len()
        {
            cells.resize(mark, ' ');
            cells.push(self.glyphs.mark);
        }
        cells.into_iter().collect()
    }

    /// The place's line: only its mark.
    pub(super) fn mark(self, ms: f64) -> String {
        let column = self.column(ms).saturating_sub(1);
        format!("{:column$}{}", "", self.glyphs.mark)
    }

    /// From one end to another, as on a drawing.
    pub(super) fn step(self, from_ms: f64, to_ms: f64) -> String {
        let (from, to) = (self.column(from_ms), self.column(to_ms));
        let [left, line, right] = self.glyphs.step;
        let inner = to.saturating_sub(from + 2);
        format!("{:from$}{left}{}{right}", "", line.to_string().repeat(inner))
    }

    /// The scale beneath: round numbers where they are.
    pub(super) fn axis(self) -> String {
        let tick = self.tick_ms();
        let mut line = String::from("0");
        let mut at = tick;
        while at <= self.longest_ms {
            let label = format!("{at:.0}");
            // The last digit stands where the number is.
            let begin = self.column(at).saturating_sub(label.len());
            if begin > line.len() {
                line.push_str(&" ".repeat(begin - line.len()));
                line.push_str(&label);
            }
            at += tick;
        }
        line + " ms"
    }

    /// The least of 1, 2, 5 times a power of ten that leaves room for its numbers.
    fn tick_ms(self) -> f64 {
        let room = (self.columns / 10).max(2);
        #[expect(clippy::cast_precision_loss, reason = "a dozen")]
        let least = self.longest_ms / room as f64;
        let power = 10f64.powf(least.max(0.1).log10().floor());
        [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|tick| *tick >= least)
            .unwrap_or(least)
            .max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHART: Chart = Chart { columns: 40, longest_ms: 200.0, glyphs: Glyphs::UNICODE };

    #[test]
    fn bars_are_to_scale_and_hatched_beyond_what_is_accounted_for() {
        assert_eq!(CHART.bar(100.0, 100.0, None), "█".repeat(20));
        assert_eq!(CHART.bar(200.0, 50.0, Some(50.0)), "█".repeat(10) + &"▒".repeat(30));
        assert_eq!(CHART.bar(25.0, 50.0, Some(50.0)), "█████    ┊");
        assert_eq!(CHART.mark(50.0), "         ┊");
        assert_eq!(CHART.step(50.0, 100.0), format!("{}├{}┤", " ".repeat(10), "─".repeat(8)));
        assert_eq!(CHART.axis(), "0       50       100       150       200 ms");
    }

    proptest! {
        /// Whatever a record claims, a line keeps to its columns.
        #[test]
        fn no_number_leaves_the_chart(ms in any::<f64>(), known in any::<f64>(), longest in 0.0..1e9_f64, columns in 10..90_usize) {
            let chart = Chart { columns, longest_ms: longest, glyphs: Glyphs::ASCII };
            let lines = [chart.bar(ms, known, Some(known)), chart.mark(ms), chart.step(known.min(ms), ms)];
            for line in lines {
                prop_assert!(line.len() <= columns + 2, "{line}");
            }
            prop_assert!(chart.axis().len() <= columns + 4, "{}", chart.axis());
        }
    }
}
