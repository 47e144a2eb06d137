//! The table of the run's course: each figure at the start, over the quarters and at the end, with what it must
//! keep to.

use serde_json::json;

use super::flatness::RunCourse;
use super::samples::SoakSample;
use crate::bench::report::figure;
use crate::bench::{BenchReport, Row, Sheet};

/// Memory may grow by this share over half of the run: a settled process' resident memory isn't steadier than
/// this, because the kernel and the allocators give and take whole blocks.
const NOISE: f64 = 0.03;
/// But not by less than a megabyte: 10 KB for each of the 100 releases of half an hour, or 2 bytes a request.
const LEAST_NOISE_MB: f64 = 1.0;
/// Files that are open may be this many more: connections come and go.
const NOISE_FILES: f64 = 2.0;

/// What a figure must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CourseLimit {
    /// It may grow by so much over half of the run.
    Growth(f64),
    /// It may never be above this.
    Most(f64),
    /// It is shown and not judged.
    None,
}

impl CourseLimit {
    /// For memory, in megabytes.
    fn of_memory(course: &RunCourse) -> Self {
        Self::Growth((NOISE * course.quarters[1]).max(LEAST_NOISE_MB))
    }

    fn met(self, course: &RunCourse) -> Option<bool> {
        match self {
            Self::Growth(limit) => Some(course.growth <= limit),
            Self::Most(limit) => Some(course.most <= limit),
            Self::None => None,
        }
    }

    fn limit(self) -> Option<f64> {
        match self {
            Self::Growth(limit) | Self::Most(limit) => Some(limit),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Growth(limit) => format!("growth ≤ {}", figure(limit)),
            Self::Most(limit) => format!("never > {}", figure(limit)),
            Self::None => String::new(),
        }
    }
}

/// How to get a figure out of a sample.
type Figure = fn(&SoakSample) -> f64;

/// Adds the table. `bound`: the most statistics that the filter may have. Memory and files are judged only if
/// the run was long enough to settle.
pub(super) fn tell_courses(
    samples: &[SoakSample],
    bound: usize,
    settled: bool,
    report: &mut BenchReport,
) {
    let mut sheet = Sheet::new(
        "The run's course",
        "Medians of the four quarters. Growth: over half of the run, from the second quarter's median to the last \
         one's, or by the trend of both and the third (Theil–Sen), whichever is more.",
        &["start", "1st quarter", "2nd", "3rd", "last", "end", "range", "growth", "limit"],
    );
    let judged = |limit: CourseLimit| if settled { limit } else { CourseLimit::None };
    let memory: [(&str, Figure); 3] = [
        ("Envoy, resident, MB", |sample| megabytes(sample.envoy_resident)),
        ("Envoy, allocated, MB", |sample| megabytes(sample.envoy_allocated)),
        ("controller, resident, MB", |sample| megabytes(sample.controller_resident)),
    ];
    for (name, of) in memory {
        tell(name, samples, of, |course| judged(CourseLimit::of_memory(course)), &mut sheet);
    }
    let files: [(&str, Figure); 2] = [
        ("Envoy, open files", |sample| count(sample.envoy_files)),
        ("controller, open files", |sample| count(sample.controller_files)),
    ];
    for (name, of) in files {
        tell(name, samples, of, |_| judged(CourseLimit::Growth(NOISE_FILES)), &mut sheet);
    }
    let of_filter = |sample: &SoakSample| count(sample.filter_statistics.len());
    let most = CourseLimit::Most(count(bound));
    tell("statistics of the filter", samples, of_filter, |_| most, &mut sheet);
    let all = |sample: &SoakSample| count(sample.all_statistics);
    let same = judged(CourseLimit::Growth(0.0));
    tell("statistics of Envoy, all", samples, all, |_| same, &mut sheet);
    let journal = |sample: &SoakSample| megabytes(sample.journal);
    let rotated = judged(CourseLimit::Growth(LEAST_NOISE_MB));
    tell("journal of the release, MB", samples, journal, |_| rotated, &mut sheet);
    let state = |sample: &SoakSample| megabytes(sample.state);
    tell("journals of all releases, MB", samples, state, |_| CourseLimit::None, &mut sheet);
    report.sheet(sheet);
    report.note(
        "The journals of past releases are kept, so their folder grows by one with each release.",
    );
}

fn tell(
    name: &str,
    samples: &[SoakSample],
    of: Figure,
    limit: impl Fn(&RunCourse) -> CourseLimit,
    sheet: &mut Sheet,
) {
    let values: Vec<f64> = samples.iter().map(of).collect();
    let course = RunCourse::of_samples(&values)
        .unwrap_or_else(|| panic!("the run ended after {} looks: too few to tell", values.len()));
    sheet.row(row(name, values.len(), &course, limit(&course)));
}

fn row(name: &str, looks: usize, course: &RunCourse, limit: CourseLimit) -> Row {
    let RunCourse { start, quarters, end, median, least, most, growth } = course;
    let met = limit.met(course);
    let figures = [*start].into_iter().chain(*quarters).chain([*end]).map(figure);
    let range = format!("{} – {}", figure(*least), figure(*most));
    let cells = figures.chain([range, figure(*growth), limit.text()]).collect();
    let figures = json!({
        "unit": if name.ends_with(", MB") { "MB" } else { "" }, "median": median, "min": least, "max": most,
        "n": looks, "target": limit.limit(), "start": start, "quarters": quarters, "end": end, "growth": growth,
    });
    Row { name: name.to_owned(), cells, met, figures }
}

#[allow(clippy::cast_precision_loss)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[allow(clippy::cast_precision_loss)]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sample(number: usize) -> SoakSample {
        SoakSample {
            envoy_resident: 100_000_000,
            envoy_allocated: 20_000_000,
            controller_resident: 15_000_000,
            envoy_files: 60 + number % 2,
            controller_files: 12,
            filter_statistics: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            all_statistics: 500,
            journal: 50_000 * (number as u64 % 4),
            state: 50_000 * number as u64,
        }
    }

    /// Whether all is met after a run in which each sample was changed by its place.
    fn met(bound: usize, settled: bool, change: impl Fn(&mut SoakSample, u64)) -> bool {
        let changed = |number: usize| {
            let mut sample = sample(number);
            change(&mut sample, number as u64);
            sample
        };
        let samples: Vec<SoakSample> = (0..100).map(changed).collect();
        let mut report = BenchReport::new("soak", "");
        tell_courses(&samples, bound, settled, &mut report);
        report.all_met()
    }

    #[test]
    fn what_stays_is_met() {
        assert!(met(2, true, |_, _| {}));
    }

    #[test]
    fn every_check_can_fail() {
        let changes: [fn(&mut SoakSample, u64); 7] = [
            |sample, time| sample.envoy_resident += 70_000 * time,
            |sample, time| sample.envoy_allocated += 25_000 * time,
            |sample, time| sample.controller_resident += 25_000 * time,
            |sample, time| sample.envoy_files += time as usize / 10,
            |sample, time| sample.controller_files += time as usize / 10,
            |sample, time| sample.all_statistics += usize::from(time > 60),
            |sample, time| sample.journal += 30_000 * time,
        ];
        for (number, change) in changes.iter().enumerate() {
            assert!(!met(2, true, change), "{number}");
            assert!(met(2, false, change), "{number} isn't judged in a short run");
        }
        assert!(!met(1, true, |_, _| {}), "more statistics than documented");
        assert!(!met(1, false, |_, _| {}), "in a short run, too");
    }

    #[test]
    fn the_row_for_programs() {
        let values: Vec<f64> = (0..100).map(|number| 100.0 + f64::from(number)).collect();
        let course = RunCourse::of_samples(&values).unwrap();
        let row = row("memory, MB", 100, &course, CourseLimit::Growth(3.0));
        assert_eq!(row.met, Some(false));
        assert_eq!((&row.figures["unit"], &row.figures["target"]), (&json!("MB"), &json!(3.0)));
        assert_eq!((&row.figures["growth"], &row.figures["n"]), (&json!(50.0), &json!(100)));
        assert_eq!(row.cells.last().map(String::as_str), Some("growth ≤ 3"));
    }
}
