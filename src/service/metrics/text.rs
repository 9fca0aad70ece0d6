//! The metrics as a text that Prometheus reads.

use prometheus::TextEncoder;
use prometheus::proto::{MetricFamily, MetricType};

/// The two forms of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The families in the form that is wanted.
///
/// # Errors
/// When a family has no name or no sample, which is a defect.
pub fn text(families: &[MetricFamily], form: Form) -> prometheus::Result<String> {
    match form {
        Form::Prometheus => TextEncoder::new().encode_to_string(families),
        Form::OpenMetrics => {
            let mut text = String::new();
            for family in families {
                open_metrics(family, &mut text)?;
            }
            text.push_str("# EOF\n");
            Ok(text)
        }
    }
}

/// A family differs in three things: counters are named without their ending where they are described, bounds of
/// buckets always have a point, and the whole has an end.
fn open_metrics(family: &MetricFamily, out: &mut String) -> prometheus::Result<()> {
    let text = TextEncoder::new().encode_to_string(std::slice::from_ref(family))?;
    let name = family.name();
    for line in text.lines() {
        match (family.get_field_type(), line.strip_prefix("# ")) {
            (MetricType::COUNTER, Some(about)) => {
                let bare = name.strip_suffix("_total").unwrap_or(name);
                out.push_str("# ");
                out.push_str(&about.replacen(name, bare, 1));
            }
            (MetricType::HISTOGRAM, None) => out.push_str(&with_point(line)),
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    Ok(())
}

/// The bound of a bucket is the last label of its line.
fn with_point(line: &str) -> String {
    let Some((before, rest)) = line.rsplit_once("le=\"") else { return line.to_owned() };
    match rest.split_once('"') {
        Some((bound, after)) if bound.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{before}le=\"{bound}.0\"{after}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{HistogramOpts, HistogramVec, IntCounter};

    use super::*;

    #[test]
    fn both_forms() {
        let counter = IntCounter::new("checks_total", "Checks, all checks_total").unwrap();
        counter.inc_by(3);
        let options = HistogramOpts::new("lag_seconds", "Lag").buckets(vec![0.5, 1.0]);
        let histogram = HistogramVec::new(options, &["name"]).unwrap();
        histogram.with_label_values(&["a\"b\\c\nle=\"1\""]).observe(0.7);
        let families = [counter.collect(), histogram.collect()].concat();
        assert_eq!(
            text(&families, Form::Prometheus).unwrap(),
            "# HELP checks_total Checks, all checks_total\n# TYPE checks_total counter\nchecks_total 3\n\
             # HELP lag_seconds Lag\n# TYPE lag_seconds histogram\n\
             lag_seconds_bucket{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\",le=\"0.5\"} 0\n\
             lag_seconds_bucket{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\",le=\"1\"} 1\n\
             lag_seconds_bucket{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\",le=\"+Inf\"} 1\n\
             lag_seconds_sum{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\"} 0.7\n\
             lag_seconds_count{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\"} 1\n"
        );
        let open = text(&families, Form::OpenMetrics).unwrap();
        assert!(open.starts_with("# HELP checks Checks, all checks_total\n# TYPE checks counter\nchecks_total 3\n"));
        assert!(open.contains(",le=\"1.0\"} 1\n") && open.contains(",le=\"0.5\"} 0\n"), "{open}");
        assert!(open.contains("_sum{name=\"a\\\"b\\\\c\\nle=\\\"1\\\"\"} 0.7\n"), "{open}");
        assert!(open.ends_with("} 1\n# EOF\n"), "{open}");
    }
}
