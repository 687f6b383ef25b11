//! Every fault of a body at random places, for sizes from nothing to 64 MiB. Whatever arrives as
//! complete has the SHA-256 of the object; whatever cannot be put right is visibly broken, and what
//! came before the break is the object's beginning. The seed is fixed: a failure comes again.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{NO_STALLING, Scene, aborted, bytes};
use crate::harness::wire_cdn::{Act, End, Reply};

/// The sizes, in bytes, and how often each fault is tried at each.
const SIZES: [(usize, usize); 7] =
    [(0, 1), (1, 2), (1023, 4), (50 << 10, 6), (1 << 20, 6), (8 << 20, 2), (64 << 20, 1)];

/// What the CDN does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The body ends so, somewhere.
    Ends(End),
    /// It promises more than there is, and ends somewhere.
    PromisesMore,
    /// It has another version, by its tag, and ends somewhere.
    OtherTag,
}

fn act(fault: Fault, at: usize) -> Act {
    match fault {
        Fault::Ends(end) => Act::broken(at, end),
        Fault::PromisesMore => Act::but(move |reply| {
            let more = [&reply.body[..], b"more"].concat();
            *reply = Reply { body: Bytes::from(more), ..reply.clone() };
            reply.broken = Some((at, End::Close));
        }),
        Fault::OtherTag => Act::but(move |reply| {
            reply.headers.retain(|(name, _)| name != "ETag");
            reply.headers.push(("ETag".into(), "\"another\"".into()));
            reply.broken = Some((at, End::Close));
        }),
    }
}

#[tokio::test]
async fn whole_and_right_or_visibly_broken() {
    let mut rng = fastrand::Rng::with_seed(7);
    let curable = [End::Close, End::Reset, End::Stall].map(Fault::Ends);
    for (size, times) in SIZES {
        let scene = Scene::with_limits(size, NO_STALLING).await;
        let digest = Sha256::digest(&scene.object.bytes);
        for fault in curable {
            for _ in 0..times {
                let at = rng.usize(..size.max(1));
                scene.cdn.next(act(fault, at));
                let answer = scene.read(None).await;
                let what = format!("{fault:?} after {at} of {size}");
                assert_eq!((answer.status.as_u16(), answer.is_whole), (200, true), "{what}");
                assert_eq!(Sha256::digest(&answer.body), digest, "{what}");
            }
        }
        let metrics = scene.gateway.metrics().await;
        // A reset may be quicker than the head, and then it is no body that broke.
        let unsteady = metrics.sum("safelight_streams_healed_total")
            + metrics.sum("safelight_cdn_fallbacks_total");
        let broken = if size == 0 { 0 } else { curable.len() * times };
        assert!(unsteady >= broken as f64, "{unsteady} of {broken} at {size}");
        assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0, "{size}");
    }
}

#[tokio::test]
async fn what_is_not_the_stored_object_is_never_completed() {
    let mut rng = fastrand::Rng::with_seed(11);
    for (size, times) in SIZES.into_iter().filter(|(size, _)| *size > 0) {
        let scene = Scene::with_limits(size, NO_STALLING).await;
        for fault in [Fault::PromisesMore, Fault::OtherTag] {
            for _ in 0..times {
                let at = rng.usize(..size.max(1));
                scene.cdn.next(act(fault, at));
                let what = format!("{fault:?} after {at} of {size}");
                scene.assert_broken(scene.request(None), at, &what).await;
            }
        }
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.value(&aborted("changed")), 2.0 * times as f64, "{size}");
    }
}

#[tokio::test]
async fn two_versions_are_not_spliced_at_any_place() {
    let mut rng = fastrand::Rng::with_seed(13);
    for (size, times) in SIZES.into_iter().filter(|(size, _)| (1..=8 << 20).contains(size)) {
        let scene = Scene::with_limits(size, NO_STALLING).await;
        let other = bytes(size, 2);
        assert_ne!(other, scene.object.bytes);
        scene.object.replace(&scene.storage, other).await;
        for end in [End::Close, End::Stall] {
            for _ in 0..times {
                let at = rng.usize(..size.max(1));
                scene.cdn.next(Act::broken(at, end));
                let what = format!("{end:?} after {at} of {size}");
                scene.assert_broken(scene.request(None), at, &what).await;
            }
        }
    }
}
