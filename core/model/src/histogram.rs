//! Histograms as Envoy keeps them: log-linear bins of two significant digits.
//!
//! Envoy's histograms (libcircllhist; Hartmann and Schlossnagle, "Circllhist", 2020) have one bin
//! for each two-digit mantissa and power of ten, so the bins of any two Envoys are the same and
//! summing them is exact. A value of 1,234 µs lies in the bin from 1,200, 100 wide; zero has a bin
//! of its own, zero wide.

use std::cmp::Ordering;

use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bins that are read of one histogram; Envoy's whole range of integers has under 1,800.
pub const MAX_BINS: usize = 4_096;

/// One bin: its lower bound and its width, both finite and not negative.
#[derive(Clone, Copy, Debug)]
pub struct Bin {
    lower: f64,
    width: f64,
}

impl Bin {
    /// A bin; `None` where a bound is negative or no number.
    pub fn new(lower: f64, width: f64) -> Option<Self> {
        let sound = |bound: f64| bound.is_finite() && bound >= 0.0;
        // Adding zero makes a negative zero positive, so that equal bins compare equal.
        (sound(lower) && sound(width)).then_some(Self { lower: lower + 0.0, width: width + 0.0 })
    }

    /// The lower bound, in the histogram's unit.
    pub const fn lower(self) -> f64 {
        self.lower
    }

    /// The width, in the histogram's unit.
    pub const fn width(self) -> f64 {
        self.width
    }
}

impl PartialEq for Bin {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bin {}

impl PartialOrd for Bin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bin {
    fn cmp(&self, other: &Self) -> Ordering {
        let widths = || self.width.total_cmp(&other.width);
        self.lower.total_cmp(&other.lower).then_with(widths)
    }
}

/// How many values lay in each bin. As JSON: `[[lower, width, count], …]`, ascending.
///
/// A sorted list, each bin once: bins mostly come in order, and summing reads both from begin to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(Bin, u64)>);

impl Histogram {
    /// A histogram without values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Counts more values into a bin.
    pub fn add(&mut self, bin: Bin, count: u64) {
        if count == 0 {
            return;
        }
        if self.0.last().is_none_or(|(last, _)| *last < bin) {
            self.0.push((bin, count));
            return;
        }
        let at = self.0.partition_point(|(held, _)| *held < bin);
        match self.0.get_mut(at) {
            Some((held, sum)) if *held == bin => *sum = sum.saturating_add(count),
            _ => self.0.insert(at, (bin, count)),
        }
    }

    /// Adds all of another histogram: another Envoy's, or another stretch of time.
    pub fn merge(&mut self, other: &Self) {
        if self.is_empty() {
            return self.0.clone_from(&other.0);
        }
        let (mut new, mut held) = (Vec::new(), self.0.iter_mut().peekable());
        for (bin, count) in other.bins() {
            while held.next_if(|(below, _)| *below < bin).is_some() {}
            match held.next_if(|(same, _)| *same == bin) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => new.push((bin, count)),
            }
        }
        if !new.is_empty() {
            self.0.append(&mut new);
            // Two sorted runs: a merge.
            self.0.sort_by_key(|(bin, _)| *bin);
        }
    }

    /// The bins that hold values, ascending.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = (Bin, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many bins hold values.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What came since an earlier reading of the same histogram. A bin that holds less than it did
    /// says that Envoy restarted, and then everything now there is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if earlier.bins().any(|(bin, count)| self.in_bin(bin) < count) {
            return self.clone();
        }
        self.bins().map(|(bin, count)| (bin, count - earlier.in_bin(bin))).collect()
    }

    fn in_bin(&self, bin: Bin) -> u64 {
        let at = self.0.binary_search_by(|(held, _)| held.cmp(&bin)).ok();
        at.and_then(|at| self.0.get(at)).map_or(0, |(_, count)| *count)
    }

    /// The value below which a share of the values lies, interpolated linearly within its bin as
    /// Envoy does for its own summaries; in the histogram's unit. `None` without values or where the
    /// share is not between 0 and 1.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        let rank = share * self.count() as f64;
        let mut below = 0.0;
        let mut last = None;
        for (bin, count) in self.bins() {
            let count = count as f64;
            if below + count >= rank {
                return Some(bin.lower + bin.width * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            last = Some(bin.lower + bin.width);
        }
        last
    }
}

impl FromIterator<(Bin, u64)> for Histogram {
    fn from_iter<I: IntoIterator<Item = (Bin, u64)>>(bins: I) -> Self {
        let mut histogram = Self::new();
        for (bin, count) in bins {
            histogram.add(bin, count);
        }
        histogram
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bins = serializer.serialize_seq(Some(self.0.len()))?;
        for (bin, count) in self.bins() {
            bins.serialize_element(&(Bound(bin.lower), Bound(bin.width), count))?;
        }
        bins.end()
    }
}

/// A bound that is written without a fraction where it has none: `4500`, not `4500.0`.
struct Bound(f64);

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Up to 2^53 every whole float is an integer exactly.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0 < EXACT {
            return serializer.serialize_u64(self.0 as u64);
        }
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BinsVisitor::<u64>::default())
    }
}

/// Reads `[[lower bound, width, count], …]`, whose counts are read as `C` reads them.
pub struct BinsVisitor<C>(PhantomData<C>);

impl<C> Default for BinsVisitor<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, C: Deserialize<'de> + Into<u64>> Visitor<'de> for BinsVisitor<C> {
    type Value = Histogram;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list of at most {MAX_BINS} bins [lower bound, width, count]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bins: A) -> Result<Histogram, A::Error> {
        let mut histogram = Histogram::new();
        let mut read = 0;
        while let Some((lower, width, count)) = bins.next_element::<(f64, f64, C)>()? {
            read += 1;
            if read > MAX_BINS {
                return Err(A::Error::invalid_length(read, &self));
            }
            let bin = Bin::new(lower, width);
            let bin = bin.ok_or_else(|| A::Error::custom("a bin's bounds must be 0 or more"))?;
            histogram.add(bin, count.into());
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests;
