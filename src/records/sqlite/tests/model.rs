//! Random histories against a reference: what the trait's documentation says, in a map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{Multipart, MultipartId};

fn any_time() -> impl Strategy<Value = SystemTime> {
    (0u64..1 << 47).prop_map(at)
}

fn any_stored() -> impl Strategy<Value = Stored> {
    let text = proptest::option::of("\\PC{0,20}");
    let etag = proptest::option::of("(W/)?\"[!#-~]{0,40}\"");
    let dimensions = proptest::option::of(any::<(u32, u32)>());
    (0..=i64::MAX as u64, text.clone(), etag, text, dimensions).prop_map(
        |(size, content_type, etag, version, dimensions)| Stored {
            size,
            content_type,
            etag: etag.map(|text| ETag::parse(&text).unwrap()),
            version,
            dimensions,
        },
    )
}

prop_compose! {
    fn any_record()(
        number in 0u64..12,
        app_name in "[a-z0-9]{1,63}",
        owner in proptest::option::of("[!-~]{1,128}"),
        state in proptest::sample::select(&UploadState::ALL[..]),
        reason in proptest::option::of(proptest::sample::select(&VerificationFailure::ALL[..])),
        media_type in proptest::sample::select(&MediaType::ALL[..]),
        size in proptest::option::of(0..=i64::MAX as u64),
        sha256: Option<[u8; 32]>,
        stored in proptest::option::of(any_stored()),
        multipart in proptest::option::of(("\\PC{1,80}", 0..=i64::MAX as u64, any::<bool>())),
        times in [any_time(), any_time(), any_time(), any_time()],
        look_at in proptest::option::of(any_time()),
    ) -> UploadRecord {
        let [created_at, url_expires_at, session_expires_at, updated_at] = times;
        UploadRecord {
            app: app(&app_name),
            owner: owner.map(|owner| OwnerId::parse(owner.as_bytes()).unwrap()),
            key: key(number),
            state,
            reason,
            declared: Declared { media_type, size, sha256 },
            stored,
            multipart: multipart.map(|(id, part_size, checksums)| {
                let id = MultipartId(id);
                Multipart { id, part_size, checksums }
            }),
            created_at,
            url_expires_at,
            session_expires_at,
            updated_at,
            revision: 0,
            look_at,
        }
    }
}

/// How a step names the record that it is about, right or wrong.
#[derive(Debug, Clone)]
struct Target {
    number: u64,
    wrong_app: bool,
    /// By how much the revision is off.
    stale: u32,
}

/// One step of a random history. All but insertions may be wrong in every way.
#[derive(Debug, Clone)]
enum Step {
    Insert(Box<UploadRecord>),
    Transition {
        target: Target,
        /// `None`: the state that it is in.
        from: Option<UploadState>,
        to: UploadState,
        reason: Option<VerificationFailure>,
        stored: Option<Stored>,
        look_at: Option<SystemTime>,
        at: SystemTime,
    },
    Renew {
        target: Target,
        url_expires_at: SystemTime,
        at: SystemTime,
    },
    Look {
        target: Target,
        look_at: Option<SystemTime>,
    },
    Due {
        now: SystemTime,
        limit: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let target = || {
        let stale = prop_oneof![4 => Just(0u32), 1 => 1u32..3];
        (0u64..12, proptest::bool::weighted(0.1), stale)
            .prop_map(|(number, wrong_app, stale)| Target { number, wrong_app, stale })
    };
    let state = || proptest::sample::select(&UploadState::ALL[..]);
    let reason = proptest::option::of(proptest::sample::select(&VerificationFailure::ALL[..]));
    let maybe = || proptest::option::of(any_time());
    let seen = (reason, proptest::option::of(any_stored()), maybe());
    let transition =
        (target(), proptest::option::weighted(0.3, state()), state(), seen, any_time()).prop_map(
            |(target, from, to, (reason, stored, look_at), at)| Step::Transition {
                target,
                from,
                to,
                reason,
                stored,
                look_at,
                at,
            },
        );
    let renew = (target(), any_time(), any_time())
        .prop_map(|(target, url_expires_at, at)| Step::Renew { target, url_expires_at, at });
    let look = (target(), maybe()).prop_map(|(target, look_at)| Step::Look { target, look_at });
    let due = (any_time(), 0usize..6).prop_map(|(now, limit)| Step::Due { now, limit });
    prop_oneof![
        3 => any_record().prop_map(|record| Step::Insert(Box::new(record))),
        6 => transition,
        2 => renew,
        2 => look,
        1 => due,
    ]
}

#[derive(Default)]
struct Model(HashMap<UploadId, UploadRecord>);

impl Model {
    fn insert(&mut self, record: &UploadRecord) -> &'static str {
        match self.0.entry(record.key.id()) {
            std::collections::hash_map::Entry::Occupied(_) => "duplicate",
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(record.clone());
                "ok"
            }
        }
    }

    /// The record that a step is about, if it names it rightly.
    fn find(&mut self, app: &AppName, id: UploadId) -> Option<&mut UploadRecord> {
        self.0.get_mut(&id).filter(|record| record.app == *app)
    }

    /// App, id and revision as a step gives them.
    fn name(&self, target: &Target) -> (AppName, UploadId, u32) {
        let id = key(target.number).id();
        let known = self.0.get(&id);
        let owning = known.filter(|_| !target.wrong_app).map(|record| record.app.clone());
        let revision = known.map_or(0, |record| record.revision) + target.stale;
        (owning.unwrap_or_else(|| app("another-app")), id, revision)
    }

    fn transition(&mut self, change: &Transition) -> &'static str {
        if !change.from.may_become(change.to) {
            return "invalid";
        }
        let found = self.find(&change.app, change.id);
        let found = found.filter(|r| r.state == change.from && r.revision == change.revision);
        let Some(record) = found else { return "conflict" };
        record.state = change.to;
        record.reason = change.reason;
        record.updated_at = change.at;
        record.look_at = change.look_at;
        record.revision += 1;
        if change.stored.is_some() {
            record.stored.clone_from(&change.stored);
        }
        "ok"
    }

    fn renew(&mut self, renewal: &Renewal) -> &'static str {
        let found = self.find(&renewal.app, renewal.id);
        let Some(record) = found.filter(|r| r.state == UploadState::Pending) else {
            return "conflict";
        };
        record.url_expires_at = record.url_expires_at.max(renewal.url_expires_at);
        record.updated_at = renewal.at;
        record.revision += 1;
        "ok"
    }

    fn look_again(&mut self, look: &Look) -> &'static str {
        let found = self.find(&look.app, look.id).filter(|r| r.revision == look.revision);
        let Some(record) = found else { return "conflict" };
        record.look_at = look.look_at;
        "ok"
    }

    fn apps(&self) -> Vec<AppName> {
        let mut apps: Vec<_> = self.0.values().map(|record| record.app.clone()).collect();
        apps.sort();
        apps.dedup();
        apps
    }

    /// The times of the app's looks that are due; which of two at the same time comes first is open.
    fn due(&self, app: &AppName, now: SystemTime, limit: usize) -> Vec<SystemTime> {
        let of_app = self.0.values().filter(|record| record.app == *app);
        let mut due: Vec<_> = of_app.filter_map(|record| record.look_at).collect();
        due.retain(|at| *at <= now);
        due.sort();
        due.truncate(limit);
        due
    }
}

fn outcome(answer: Result<(), RecordsError>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(RecordsError::Duplicate) => "duplicate",
        Err(RecordsError::Conflict) => "conflict",
        Err(RecordsError::InvalidTransition(_)) => "invalid",
        Err(RecordsError::InUse(_)) => "in use",
        Err(RecordsError::Unavailable(_)) => "unavailable",
    }
}

async fn play(records: &SqliteRecords, model: &mut Model, step: Step) {
    match step {
        Step::Insert(record) => {
            let expected = model.insert(&record);
            assert_eq!(outcome(records.insert(*record, None).await), expected);
        }
        Step::Transition { target, from, to, reason, stored, look_at, at } => {
            let (app, id, revision) = model.name(&target);
            let known = model.0.get(&id).map(|record| record.state);
            let from = from.or(known).unwrap_or(UploadState::Pending);
            let change = Transition { app, id, revision, from, to, reason, stored, look_at, at };
            let expected = model.transition(&change);
            assert_eq!(outcome(records.transition(change).await), expected);
        }
        Step::Renew { target, url_expires_at, at } => {
            let (app, id, _) = model.name(&target);
            let renewal = Renewal { app, id, url_expires_at, at };
            let expected = model.renew(&renewal);
            assert_eq!(outcome(records.renew(renewal).await), expected);
        }
        Step::Look { target, look_at } => {
            let (app, id, revision) = model.name(&target);
            let look = Look { app, id, revision, look_at };
            let expected = model.look_again(&look);
            assert_eq!(outcome(records.look_again(look).await), expected);
        }
        Step::Due { now, limit } => {
            let found = records.due(now, limit).await.unwrap();
            for app in model.apps() {
                let queue = found.get(&app).map_or(&[][..], |due| &due.uploads);
                let due = records.still_due(&app, queue, now).await.unwrap();
                assert_eq!(due.len(), queue.len());
                let since = due.first().and_then(|record| record.look_at);
                assert_eq!(found.get(&app).map(|due| due.since), since);
                let times: Vec<_> = due.iter().filter_map(|record| record.look_at).collect();
                assert_eq!(times, model.due(&app, now, limit));
                for record in due {
                    assert_eq!(model.0.get(&record.key.id()), Some(&record));
                }
            }
        }
    }
}

async fn replay(steps: Vec<Step>) {
    let place = Place::new();
    let (mut records, mut model) = (place.open(), Model::default());
    let half = steps.len() / 2;
    for (number, step) in steps.into_iter().enumerate() {
        if number == half {
            records.close().await;
            records = place.open();
        }
        play(&records, &mut model, step).await;
    }
    for number in 0..12 {
        let id = key(number).id();
        let expected = model.0.get(&id);
        let owning = expected.map_or_else(|| app("another-app"), |record| record.app.clone());
        assert_eq!(records.get(&owning, id).await.unwrap().as_ref(), expected);
    }
    records.close().await;
    place.check_integrity();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_histories_agree_with_the_model(steps in proptest::collection::vec(any_step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(replay(steps));
    }
}
