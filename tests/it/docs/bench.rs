//! What the benchmark tells of its results, which is Python as the benchmark is.

use crate::harness::python;

#[test]
fn the_benchmark_tells_what_was_measured() {
    python::run("docs/bench.py", String::new());
}
