//! Histograms whose observations are counted elsewhere, and told here before somebody reads them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Atomic as _, AtomicF64, AtomicU64, Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Observations, counted where they are made: a sum, and how many there were up to each edge and
/// beyond the last, `BUCKETS` in all. The sum and the first buckets lie side by side, so that what is
/// usual touches one cache line.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Observed<const BUCKETS: usize> {
    sum: AtomicF64,
    counts: [AtomicU64; BUCKETS],
}

/// Histograms by labels.
#[derive(Debug, Clone)]
pub struct ToldHistogramVec {
    desc: Desc,
    edges: &'static [f64],
    told: Arc<Mutex<BTreeMap<Vec<String>, Told>>>,
}

/// What was told of one histogram the last time.
#[derive(Debug)]
struct Told {
    sum: f64,
    counts: Vec<u64>,
}

impl<const BUCKETS: usize> Observed<BUCKETS> {
    /// Observes a value. The edges are those of the histogram: one less than there are buckets.
    pub(super) fn observe(&self, edges: &[f64], value: f64) {
        let bucket = edges.iter().position(|edge| value <= *edge).unwrap_or(edges.len());
        self.counts[bucket].inc_by(1);
        self.sum.inc_by(value);
    }
}

impl<const BUCKETS: usize> Default for Observed<BUCKETS> {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { sum: AtomicF64::new(0.0), counts }
    }
}

impl ToldHistogramVec {
    /// No histogram so far.
    ///
    /// # Errors
    /// [`prometheus::Error`] for what cannot be a name.
    pub(super) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        edges: &'static [f64],
    ) -> prometheus::Result<Self> {
        let labels = labels.iter().copied().map(str::to_owned).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())?;
        Ok(Self { desc, edges, told: Arc::default() })
    }

    /// Tells all that was observed under these labels so far. What was never observed has no series.
    pub(super) fn tell<const BUCKETS: usize>(&self, labels: &[&str], seen: &Observed<BUCKETS>) {
        let counts: Vec<u64> = seen.counts.iter().map(AtomicU64::get).collect();
        if counts.iter().any(|count| *count > 0) {
            let labels = labels.iter().copied().map(str::to_owned).collect();
            let told = Told { sum: seen.sum.get(), counts };
            self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(labels, told);
        }
    }

    fn metric(&self, labels: &[String], told: &Told) -> Metric {
        let label = |(name, value): (&String, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        };
        let mut metric =
            Metric::from_label(self.desc.variable_labels.iter().zip(labels).map(label).collect());
        let mut up_to = 0;
        let bucket = |(edge, count): (&f64, &u64)| {
            up_to += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*edge);
            bucket.set_cumulative_count(up_to);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(self.edges.iter().zip(&told.counts).map(bucket).collect());
        histogram.set_sample_count(told.counts.iter().sum());
        histogram.set_sample_sum(told.sum);
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for ToldHistogramVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(told.iter().map(|(labels, told)| self.metric(labels, told)).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, Registry, TextEncoder};

    use super::*;

    const EDGES: &[f64] = &[0.001, 0.5, 2.0];

    fn text_of(collector: impl Collector + 'static) -> String {
        let registry = Registry::new();
        registry.register(Box::new(collector)).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    /// What is observed reads as if the library had counted it.
    #[test]
    fn it_reads_like_any_histogram() {
        let told = ToldHistogramVec::new("h", "H.", &["app", "source"], EDGES).unwrap();
        let opts = HistogramOpts::new("h", "H.").buckets(EDGES.to_vec());
        let counted = HistogramVec::new(opts, &["app", "source"]).unwrap();
        for (labels, values) in [
            (["shop", "s3"], &[0.25, 0.0, 0.001, 0.0015][..]),
            (["blog", "cdn"], &[2.0, 2.5, 1e9]),
            (["shop", "cdn"], &[]),
        ] {
            let observed = Observed::<{ EDGES.len() + 1 }>::default();
            for value in values {
                observed.observe(EDGES, *value);
                counted.with_label_values(&labels).observe(*value);
                told.tell(&labels, &observed);
            }
            told.tell(&labels, &observed);
        }
        let text = text_of(told);
        assert!(text.contains("h_bucket{app=\"shop\",source=\"s3\",le=\"0.001\"} 2\n"), "{text}");
        assert_eq!(text, text_of(counted));
    }
}
