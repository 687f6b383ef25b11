//! Which requests are recorded, and the way of their spans to the exporter.

use tokio::sync::mpsc::{self, error::TrySendError};

use super::Context;
use super::context::{SpanId, TraceId};
use super::span::{Ended, Span};
use crate::metrics::SpanMetrics;

/// How many spans wait at most, in some 4 MiB. Beyond it spans are dropped and counted, rather than
/// memory taken or requests held up.
const MAX_WAITING: usize = 8192;

/// Records spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    ratio: SampleRatio,
    queue: mpsc::Sender<Ended>,
    metrics: SpanMetrics,
}

/// Which share of the requests is recorded for which nobody in front has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRatio {
    /// Of all numbers of 64 bits, how many are taken.
    taken: u64,
}

/// What becomes of a request's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    /// There is none.
    Nothing,
    /// It goes on as it came.
    PassOn,
    /// It goes on, and gets spans.
    Continue,
    /// It begins here.
    Begin,
}

impl SampleRatio {
    /// All of them.
    pub const ALL: Self = Self { taken: u64::MAX };

    /// A share from 0 to 1; `None` for any other number.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        // 2⁶⁴, and what lies beyond all numbers becomes the last one.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let taken = (share * 18_446_744_073_709_551_616.0) as u64;
        Some(Self { taken })
    }

    /// Whether a request is taken that drew this number.
    const fn takes(self, drawn: u64) -> bool {
        drawn < self.taken || self.taken == u64::MAX
    }
}

impl Tracer {
    /// Makes one, and the queue of what it has recorded.
    pub(super) fn new(ratio: SampleRatio, metrics: SpanMetrics) -> (Self, mpsc::Receiver<Ended>) {
        let (queue, ended) = mpsc::channel(MAX_WAITING);
        (Self { ratio, queue, metrics }, ended)
    }

    /// Hands a span on, or drops it: nobody waits.
    pub(super) fn ended(&self, span: Ended) {
        match self.queue.try_send(span) {
            // Closed: the process is at its end, and what was not waiting then is not told.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.metrics.had_no_room(),
        }
    }
}

/// Begins the span of a request. `of_peer` is the trace that a trusted peer says it belongs to, and
/// the peer's word is what counts; where there is none, a share of the requests begins one.
///
/// A trace that is not recorded here goes on under the peer's own span: one of ours would be missed
/// in it. A request that is not taken, and of which nobody has said anything, has no trace at all: an
/// id that leads nowhere helps nobody.
pub fn begin(tracer: Option<&Tracer>, of_peer: Option<Context>) -> Span {
    let ratio = tracer.map(|tracer| tracer.ratio);
    let sampled = of_peer.as_ref().map(|context| context.sampled);
    match (decide(ratio, sampled, || fastrand::u64(..)), tracer, of_peer) {
        (Decision::PassOn, _, Some(context)) => Span::passing(context),
        (Decision::Continue, Some(tracer), Some(context)) => {
            let parent = Some(context.span);
            let own = Context { span: SpanId::random(), ..context };
            Span::of_request(tracer.clone(), own, parent)
        }
        (Decision::Begin, Some(tracer), _) => {
            let (trace, span) = (TraceId::random(), SpanId::random());
            let own = Context { trace, span, sampled: true, state: None };
            Span::of_request(tracer.clone(), own, None)
        }
        _ => Span::default(),
    }
}

/// Decides on a request: a pure function of whether spans are recorded, and how many, of what the
/// peer says, and of chance.
fn decide(
    ratio: Option<SampleRatio>,
    of_peer: Option<bool>,
    draw: impl FnOnce() -> u64,
) -> Decision {
    match (ratio, of_peer) {
        (None, None) => Decision::Nothing,
        (None, Some(_)) | (Some(_), Some(false)) => Decision::PassOn,
        (Some(_), Some(true)) => Decision::Continue,
        (Some(ratio), None) if ratio.takes(draw()) => Decision::Begin,
        (Some(_), None) => Decision::Nothing,
    }
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("ratio", &self.ratio).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_becomes_of_a_trace() {
        use Decision::{Begin, Continue, Nothing, PassOn};
        let (none, half) = (SampleRatio::new(0.0), SampleRatio::new(0.5));
        let all = Some(SampleRatio::ALL);
        for (ratio, of_peer, drawn, expected) in [
            (None, None, 0, Nothing),
            (None, Some(false), 0, PassOn),
            (None, Some(true), 0, PassOn),
            // The peer's word counts, whatever the share.
            (none, Some(true), u64::MAX, Continue),
            (none, Some(false), 0, PassOn),
            (all, Some(false), 0, PassOn),
            (all, Some(true), u64::MAX, Continue),
            (none, None, 0, Nothing),
            (half, None, (1 << 63) - 1, Begin),
            (half, None, 1 << 63, Nothing),
            (all, None, 0, Begin),
            (all, None, u64::MAX, Begin),
        ] {
            let decided = decide(ratio, of_peer, || drawn);
            assert_eq!(decided, expected, "{ratio:?} {of_peer:?} {drawn}");
        }
    }

    #[test]
    fn a_share_is_one_of_a_whole() {
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(SampleRatio::new(share), None, "{share}");
        }
        assert_eq!(SampleRatio::new(1.0), Some(SampleRatio::ALL));
        assert!(!SampleRatio::new(0.0).unwrap().takes(0));
        assert!(SampleRatio::new(f64::MIN_POSITIVE).is_some());
    }

    /// What nobody takes is dropped and counted, and nobody waits.
    #[test]
    fn spans_beyond_the_room_for_them_are_counted() {
        let metrics = Metrics::new();
        let (tracer, mut queue) = Tracer::new(SampleRatio::ALL, SpanMetrics::new(&metrics));
        for _ in 0..MAX_WAITING + 3 {
            drop(begin(Some(&tracer), None));
        }
        let no_room = metrics.spans.with_label_values(&["no_room"]);
        assert_eq!(no_room.get(), 3);
        let taken = std::iter::from_fn(|| queue.try_recv().ok()).count();
        assert_eq!(taken, MAX_WAITING);
    }
}
