//! Whether what passed at two places is the same traffic, once with a tunnel around it.
//!
//! Reads: two series. Emits: a [`Fit`]. An encapsulated packet is its inner packet and a constant tax, so the bytes
//! outside are the bytes inside plus so much a packet; what is left over is measured against a sliding second. The
//! clocks of the two capture points may differ by [`MOST_LAG`]; the best lag is sought in quarter seconds and what is
//! left of the difference taken out by interpolation. Traffic that fits just as well at a wrong time (keepalives, a
//! steady stream) proves nothing; [`Fit::elsewhere`] says how well it does. Does not: choose between candidates.

use super::series::{BLOCK, COARSE, Series};
use crate::base::Volume;
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// The clocks of two capture points may differ by so much, in ticks: a second and a half.
const MOST_LAG: i64 = 6;
/// Bytes that encapsulation adds to a packet, at most: IPv6, UDP, NAT-T, ESP with padding and L2TP stay below.
pub(super) const MOST_TAX: f64 = 150.0;
/// Traffic begins and ends at both places at about the same time, in ticks.
pub(super) const MARGIN: i64 = 8;
/// The same traffic two ticks off correlates at least so much over a sliding second.
const SHOWS: f64 = 0.25;
/// Below this nothing is the same traffic, whatever it does at a wrong time.
const WORTH_ASKING: f64 = 0.9;
/// Wrong lags that are tried, in ticks: every five seconds, as programs' timers are multiples of these.
const ELSEWHERE: std::ops::RangeInclusive<usize> = 2..=24;
const ELSEWHERE_STEP: usize = 5 * Volume::TICKS as usize;

/// How well two series fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Correlation at the best lag of whole ticks.
    pub(super) correlation: f64,
    /// The same, with what is left of the clocks' difference taken out.
    pub(super) peak: f64,
    /// The best correlation at a lag that can't be right; 1 where that was not worth asking.
    pub(super) elsewhere: f64,
    /// How many amounts, about equally large, the traffic amounts to: one great burst counts one.
    pub(super) amounts: f64,
    /// Inner bytes compared.
    pub(super) bytes: f64,
    /// Seconds compared.
    pub(super) overlap_s: u32,
    /// Outer clock less inner clock, in ticks.
    pub(super) lag: i64,
}

/// Two or more series over the same time, cut into equal steps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    from: i64,
    to: i64,
    /// Ticks in a step.
    width: i64,
    /// Blocks in which any of them has traffic, and the step at which each begins.
    blocks: BTreeMap<i64, usize>,
    steps: usize,
}

/// Bytes and packets of one series in each step, from the worker and to it.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    bytes: [Vec<f64>; 2],
    packets: [Vec<f64>; 2],
}

/// What passed inside, with what is asked of it for each tunnel.
#[derive(Debug)]
pub(super) struct Inside {
    steps: Steps,
    amounts: OnceCell<f64>,
}

impl Inside {
    pub(super) const fn of(steps: Steps) -> Self {
        Self { steps, amounts: OnceCell::new() }
    }
}

impl Stretch {
    /// The time at which `inner` and `outer` are both known, at single ticks or, `coarse`, at five seconds.
    pub(super) fn of(inner: &Series, outer: &Series, coarse: bool) -> Option<Self> {
        let ((inner_from, inner_to), (outer_from, outer_to)) = (inner.span()?, outer.span()?);
        let fine = |series: &Series| series.blocks().find(|(_, block)| block.fine).map(|(number, _)| number * BLOCK);
        let mut from = (inner_from - MARGIN).max(outer_from);
        if coarse {
            from = from.max(outer.forgotten_before().unwrap_or(i64::MIN));
        } else {
            from = from.max(fine(inner)?).max(fine(outer)?);
        }
        let to = inner_to.min(outer_to) + MARGIN;
        let width = if coarse { COARSE } else { 1 };
        let numbers = inner.blocks().chain(outer.blocks()).map(|(number, _)| number);
        let mut blocks: BTreeMap<i64, usize> =
            numbers.filter(|n| (n + 1) * BLOCK > from && n * BLOCK <= to).map(|n| (n, 0)).collect();
        let mut steps = 0;
        for (number, first) in &mut blocks {
            *first = steps;
            let (begin, end) = (from.max(number * BLOCK), to.min((number + 1) * BLOCK - 1));
            steps += usize::try_from(end.div_euclid(width) - begin.div_euclid(width) + 1).unwrap_or(0);
        }
        (from < to).then_some(Self { from, to, width, blocks, steps })
    }

    /// All that is known of a tunnel at single ticks.
    pub(super) fn around(outer: &Series) -> Option<Self> {
        let (mut from, to) = outer.span()?;
        from = from.max(outer.blocks().find(|(_, block)| block.fine)?.0 * BLOCK);
        let mut steps = 0;
        let mut blocks = BTreeMap::new();
        for number in outer.blocks().map(|(number, _)| number).filter(|n| (n + 1) * BLOCK > from) {
            blocks.insert(number, steps);
            let (begin, end) = (from.max(number * BLOCK), to.min((number + 1) * BLOCK - 1));
            steps += usize::try_from(end - begin + 1).unwrap_or(0);
        }
        (from < to).then_some(Self { from, to, width: 1, blocks, steps })
    }

    /// Whether what is known of a series in that time is known at single ticks.
    pub(super) fn holds(&self, series: &Series) -> bool {
        series.blocks().all(|(number, block)| block.fine || (number + 1) * BLOCK <= self.from)
    }

    /// Its first and last tick.
    pub(super) const fn bounds(&self) -> (i64, i64) {
        (self.from, self.to)
    }

    /// As if nothing had passed.
    pub(super) fn nothing(&self) -> Steps {
        let empty = || [vec![0.0; self.steps], vec![0.0; self.steps]];
        Steps { bytes: empty(), packets: empty() }
    }

    /// Differences between clocks that are tried, in ticks.
    pub(super) const fn lags() -> std::ops::RangeInclusive<i64> {
        -MOST_LAG..=MOST_LAG
    }

    /// What passed in a sliding second, with a tax on each packet.
    pub(super) fn taxed(&self, steps: &Steps, tax: f64) -> Curves {
        let mut curves = Curves::default();
        for (curve, (bytes, packets)) in curves.iter_mut().zip(steps.bytes.iter().zip(&steps.packets)) {
            let taxed: Vec<f64> = bytes.iter().zip(packets).map(|(bytes, packets)| bytes + tax * packets).collect();
            *curve = sliding(&taxed, self.width);
        }
        curves
    }

    /// What of a series lies in it.
    pub(super) fn steps_of(&self, series: &Series) -> Steps {
        let mut steps = self.nothing();
        for (number, block) in series.blocks() {
            let Some(first) = self.blocks.get(&number) else { continue };
            let width = if block.fine { 1 } else { COARSE };
            let begin = self.from.max(number * BLOCK).div_euclid(self.width);
            for entry in &block.entries {
                let tick = number * BLOCK + i64::from(entry.at);
                if tick + width <= self.from || tick > self.to {
                    continue;
                }
                let Ok(step) = usize::try_from(tick.div_euclid(self.width) - begin) else { continue };
                for dir in 0..2 {
                    add(&mut steps.bytes, dir, first + step, entry.bytes.get(dir));
                    add(&mut steps.packets, dir, first + step, entry.packets.get(dir));
                }
            }
        }
        steps
    }

    /// Seconds, without the margins.
    fn seconds(&self) -> u32 {
        let ticks = i64::try_from(self.steps).unwrap_or(i64::MAX).saturating_mul(self.width);
        u32::try_from((ticks - 2 * MARGIN).max(0) / Volume::TICKS).unwrap_or(u32::MAX)
    }
}

fn add(to: &mut [Vec<f64>; 2], dir: usize, step: usize, amount: Option<&u32>) {
    if let (Some(slot), Some(amount)) = (to.get_mut(dir).and_then(|steps| steps.get_mut(step)), amount) {
        *slot += f64::from(*amount);
    }
}

impl Steps {
    /// Adds another's.
    pub(super) fn add(&mut self, other: &Self) {
        let pairs = self.bytes.iter_mut().zip(&other.bytes).chain(self.packets.iter_mut().zip(&other.packets));
        for (own, more) in pairs {
            own.iter_mut().zip(more).for_each(|(own, more)| *own += more);
        }
    }

    /// Bytes of both directions.
    pub(super) fn total(&self) -> f64 {
        self.bytes.iter().flatten().sum()
    }

    /// The bytes outside that these would be, if the total is to be `outer`'s; `None` if no tax can make them so.
    fn encapsulated(&self, outer: &Self) -> Option<[Vec<f64>; 2]> {
        let mut out = [Vec::new(), Vec::new()];
        let parts = self.bytes.iter().zip(&self.packets).zip(outer.bytes.iter().zip(&outer.packets));
        for (out, ((bytes, packets), (around, carriers))) in out.iter_mut().zip(parts) {
            let excess = sum(around) - sum(bytes);
            // A stream's acknowledgments and a tunnel's own packets are carriers, too.
            if excess < -0.02 * sum(around) - SLACK || excess > MOST_TAX * sum(carriers).max(sum(packets)) + SLACK {
                return None;
            }
            let tax = (excess / sum(packets).max(1.0)).clamp(0.0, MOST_TAX);
            *out = bytes.iter().zip(packets).map(|(bytes, packets)| bytes + tax * packets).collect();
        }
        Some(out)
    }

    /// How many amounts there are, about equally large.
    fn amounts(&self) -> f64 {
        let (mut second, mut fourth) = (0.0, 0.0);
        for steps in &self.bytes {
            let roots: Vec<f64> = steps.iter().map(|bytes| bytes.sqrt()).collect();
            let mean = roots.iter().sum::<f64>() / count(roots.len()).max(1.0);
            for root in roots {
                let square = (root - mean).powi(2);
                second += square;
                fourth += square * square;
            }
        }
        if fourth > 0.0 { second * second / fourth } else { 0.0 }
    }
}

/// Packets that were captured at one place only, at the edges of the time compared; in bytes.
const SLACK: f64 = 4_000.0;

#[expect(clippy::cast_precision_loss, reason = "a count of steps, far below 2^52")]
const fn count(n: usize) -> f64 {
    n as f64
}

/// Numbers added at once: a processor adds eight as fast as one.
const LANES: usize = 8;

/// The sum of what `f` makes of each pair of two lists, of which neither is read beyond the other's end.
#[inline]
fn sum_of(x: &[f64], y: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let (x, y) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, y) in x.0.iter().zip(y.0) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += f(*x, *y);
        }
    }
    // The lists are equally long, or `y` is `x`.
    let rest: f64 = x.1.iter().zip(y.1).map(|(x, y)| f(*x, *y)).sum();
    lanes.into_iter().sum::<f64>() + rest
}

fn sum(steps: &[f64]) -> f64 {
    sum_of(steps, steps, |step, _| step)
}

/// The sum of the products of two lists, up to the end of the shorter.
fn product(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len());
    sum_of(x.get(..n).unwrap_or(&[]), y.get(..n).unwrap_or(&[]), |x, y| x * y)
}

/// Sums over a sliding second, or the steps themselves if they are longer than that.
fn sliding(steps: &[f64], width: i64) -> Vec<f64> {
    let window = usize::try_from(Volume::TICKS / width).unwrap_or(1).max(1);
    let mut sums = steps.get(window - 1..).unwrap_or(&[]).to_vec();
    for earlier in 0..window - 1 {
        sums.iter_mut().zip(steps.iter().skip(earlier)).for_each(|(sum, step)| *sum += step);
    }
    sums
}

/// Both directions of one place.
pub(super) type Curves = [Vec<f64>; 2];

/// The square of what `parts` together, each `lag` steps earlier, leave of `whole`; and of `whole`.
pub(super) fn left_over(whole: &Curves, parts: &[&Curves], lag: i64) -> (f64, f64) {
    let skip = |by: i64| usize::try_from(by).unwrap_or(0);
    let (mut left, mut all) = (0.0, 0.0);
    for (dir, whole) in whole.iter().enumerate() {
        let mut parts: Vec<_> =
            parts.iter().filter_map(|part| part.get(dir)).map(|part| part.iter().skip(skip(-lag))).collect();
        for all_of in whole.iter().skip(skip(lag)) {
            let sum: f64 = parts.iter_mut().filter_map(Iterator::next).sum();
            left += (all_of - sum).powi(2);
            all += all_of.powi(2);
        }
    }
    (left, all)
}

/// Takes a part, `lag` steps earlier, out of the whole.
pub(super) fn take_out(whole: &mut Curves, part: &Curves, lag: i64) {
    let skip = |by: i64| usize::try_from(by).unwrap_or(0);
    for (whole, part) in whole.iter_mut().zip(part) {
        whole.iter_mut().skip(skip(lag)).zip(part.iter().skip(skip(-lag))).for_each(|(whole, part)| *whole -= part);
    }
}

/// A curve about its mean, with what any correlation of it needs.
struct Level {
    values: Vec<f64>,
    /// Of the values and of their squares.
    sums: [f64; 2],
}

impl Level {
    fn of(mut values: Vec<f64>) -> Self {
        let mean = sum(&values) / count(values.len()).max(1.0);
        values.iter_mut().for_each(|value| *value -= mean);
        let sums = [sum(&values), product(&values, &values)];
        Self { values, sums }
    }

    /// From one place up to another, and the sums there: all less the few at both ends.
    fn between(&self, from: usize, to: usize) -> (&[f64], [f64; 2]) {
        let part = |from: usize, to: usize| self.values.get(from..to).unwrap_or(&[]);
        let ends = part(0, from).iter().chain(part(to, self.values.len()));
        let [all, squares] = self.sums;
        (part(from, to), ends.fold([all, squares], |[all, squares], v| [all - v, squares - v * v]))
    }
}

/// Both directions of one place.
type Levels = [Level; 2];

/// The correlation of both directions together, `y` taken `lag` steps later.
fn correlation(x: &Levels, y: &Levels, lag: i64) -> f64 {
    let skip = |by: i64| usize::try_from(by).unwrap_or(0);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (from_x, from_y) = (skip(-lag).min(x.values.len()), skip(lag).min(y.values.len()));
        let n = (x.values.len() - from_x).min(y.values.len() - from_y);
        let (x, [sum_x, square_x]) = x.between(from_x, from_x + n);
        let (y, [sum_y, square_y]) = y.between(from_y, from_y + n);
        let n = count(n).max(1.0);
        xy += product(x, y) - sum_x * sum_y / n;
        xx += square_x - sum_x * sum_x / n;
        yy += square_y - sum_y * sum_y / n;
    }
    in_proportion(xy, xx, yy)
}

/// The correlation of both directions together, `y` turned as a wheel by so many steps.
fn correlation_turned(x: &Levels, y: &Levels, by: usize) -> f64 {
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (head, tail) = y.values.split_at(by.min(y.values.len()));
        xy += product(&x.values, tail) + product(x.values.get(tail.len()..).unwrap_or(&[]), head);
        xx += x.sums[1];
        yy += y.sums[1];
    }
    in_proportion(xy, xx, yy)
}

/// What is below a rounding error of the curves is nothing: they do not move.
fn in_proportion(xy: f64, xx: f64, yy: f64) -> f64 {
    if xx > 1e-6 && yy > 1e-6 { xy / (xx * yy).sqrt() } else { 0.0 }
}

/// Compares what was inside with what was outside over one stretch of time.
pub(super) fn fit(stretch: &Stretch, inner: &Inside, outer: &Steps) -> Option<Fit> {
    let slid = |curves: &Curves| curves.each_ref().map(|steps| Level::of(sliding(steps, stretch.width)));
    let (x, y) = (slid(&inner.steps.encapsulated(outer)?), slid(&outer.bytes));
    let at = |lag| correlation(&x, &y, lag);
    let most = if stretch.width == 1 { MOST_LAG } else { 0 };
    // A right lag lies within two ticks of one of these, and shows there already.
    if ![-most * 2 / 3, 0, most * 2 / 3].into_iter().any(|lag| at(lag) >= SHOWS) {
        return None;
    }
    let (lag, best) = (-most..=most).map(|lag| (lag, at(lag))).max_by(|a, b| a.1.total_cmp(&b.1))?;
    // Between two lags a correlation of bursts falls off evenly on both sides of the right one.
    let left_over = if stretch.width == 1 { (at(lag + 1) - at(lag - 1)).abs() / 2.0 } else { 0.0 };
    Some(Fit {
        correlation: best,
        peak: (best + left_over).min(1.0),
        // Only where it matters: it is three quarters of the work.
        elsewhere: if best < WORTH_ASKING { 1.0 } else { elsewhere(stretch, &x, &y) },
        amounts: *inner.amounts.get_or_init(|| inner.steps.amounts()),
        bytes: inner.steps.total(),
        overlap_s: stretch.seconds(),
        lag,
    })
}

/// The best correlation at a wrong time: `y` is turned as a wheel by a multiple of five seconds.
fn elsewhere(stretch: &Stretch, x: &Levels, y: &Levels) -> f64 {
    let step = (ELSEWHERE_STEP / usize::try_from(stretch.width).unwrap_or(1)).max(1);
    let most = y.first().map_or(0, |level| level.values.len()).saturating_sub(2 * step);
    let shifts = ELSEWHERE.map(|i| i * step).filter(|by| *by <= most);
    shifts.map(|by| correlation_turned(x, y, by)).fold(0.0, f64::max)
}
