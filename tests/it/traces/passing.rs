//! Whose trace a request belongs to, and what goes on of it.

use super::{ELSEWHERE, PARENT, STATE, Scene, TRACE, TRUSTED, only, told};
use crate::harness::collector::Collector;
use crate::harness::wire_cdn::Act;

fn context(flag: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flag}")
}

#[tokio::test]
async fn without_a_collector_the_trace_of_a_trusted_peer_goes_on_as_it_came() {
    let scene = Scene::new(TRUSTED, "").await;
    for flag in ["00", "01"] {
        scene.cdn.next(Act::status(503));
        scene.read(flag).await;
        let expected = context(flag);
        for server in [&scene.cdn, &scene.storage] {
            let requests = server.requests();
            let last = requests.last().expect("it was asked");
            assert_eq!(told(last), (Some(&*expected), Some(STATE)), "{last:?}");
        }
    }
    // What is malformed is nobody's trace.
    let twice = scene.request().and_header("traceparent", &context("01"));
    for strange in [
        scene.request().with_header("traceparent", Some("00-0-0-01")),
        twice.and_header("traceparent", &context("01")),
        scene.request().with_header("tracestate", Some(STATE)),
    ] {
        scene.whole(strange).await;
        let requests = scene.cdn.requests();
        assert_eq!(told(requests.last().expect("it was asked")), (None, None));
    }
}

#[tokio::test]
async fn a_stranger_does_not_choose_a_trace() {
    // Nor where nobody has said who is no stranger.
    for trusted in [ELSEWHERE, &[]] {
        let scene = Scene::new(trusted, "").await;
        scene.cdn.next(Act::status(503));
        scene.read("01").await;
        assert_eq!(told(&only(&scene.cdn)), (None, None));
        assert_eq!(told(&only(&scene.storage)), (None, None));
    }
    let collector = Collector::start().await;
    let scene = Scene::new(ELSEWHERE, &collector.settings("")).await;
    scene.read("01").await;
    let (cdn, _) = scene.stop().await;
    let request = only(&cdn);
    let (Some(parent), None) = told(&request) else { panic!("{request:?}") };
    assert!(!parent.contains(TRACE), "{parent}");
    let server = collector.span("GET /darkroom/{app}/v2/images/{key}");
    assert_eq!((server.parent.as_str(), server.state.as_str()), ("", ""));
    assert_eq!(parent, format!("00-{}-{}-01", server.trace, collector.span("cdn").id));
}

#[tokio::test]
async fn nor_does_one_have_requests_recorded() {
    let collector = Collector::start().await;
    let scene = Scene::new(ELSEWHERE, &collector.settings("SampleRatio = 0")).await;
    scene.read("01").await;
    let (cdn, _) = scene.stop().await;
    assert_eq!(told(&only(&cdn)), (None, None));
    assert_eq!(collector.seen(|seen| seen.connections), 0);
}

#[tokio::test]
async fn the_trusted_peer_decides_what_is_recorded() {
    let collector = Collector::start().await;
    // Whatever the share is: it is for requests of which nobody has said anything.
    for (ratio, flag) in [("0", "01"), ("1", "00")] {
        let scene =
            Scene::new(TRUSTED, &collector.settings(&format!("SampleRatio = {ratio}"))).await;
        scene.read(flag).await;
        let (cdn, _) = scene.stop().await;
        let request = only(&cdn);
        let (Some(parent), Some(STATE)) = told(&request) else { panic!("{request:?}") };
        if flag == "00" {
            assert_eq!(parent, context("00"), "under the peer's own span: there is none of ours");
        } else {
            assert_eq!(parent, format!("00-{TRACE}-{}-01", collector.span("cdn").id));
        }
    }
    assert_eq!(collector.spans().len(), 2, "those of one read");
}
