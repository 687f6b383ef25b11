//! Where the time of a request goes: its trace, which goes on from a trusted peer to CDN and storage
//! (W3C Trace Context), and its spans, which a collector is told of (OTLP over HTTP).
//!
//! Most requests have no trace: nobody collects spans, and nobody in front began one. Then a span is
//! an empty pointer, no header is sent, and all that it costs is to ask whether this task has a
//! trace. What is passed on and what is recorded is decided once for each request ([`begin`]).
//!
//! A span can say little: numbers, words of the program's own, the name of an app and the id of a
//! request ([`Value`]). No key, owner, query or token fits.

mod body;
mod context;
mod exporter;
mod otlp;
mod place;
mod span;
mod tracer;

pub use body::Spanned;
pub use context::{Context, TraceId};
pub use exporter::{Collector, Exporter};
pub use place::{Place, pass_on};
pub use span::{Kind, Name, Span, Value};
pub use tracer::{SampleRatio, Tracer, begin};
