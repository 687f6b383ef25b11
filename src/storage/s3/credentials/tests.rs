//! Renewal, loss and end of the process's credentials, at times of the tests' own.

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(id: &str, ends: Option<SystemTime>) -> Lease {
    let key = AccessKey {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::new(format!("secret of {id}")),
        session_token: Some(Secret::new(format!("token-of-{id}"))),
    };
    Lease { key, ends }
}

/// A process, and the store that signs with its credentials.
struct Process {
    sender: watch::Sender<Option<Arc<Lease>>>,
    credentials: ProcessCredentials,
    signer: Signer,
}

impl Process {
    fn new() -> Self {
        let (sender, receiver) = watch::channel(None);
        let credentials = ProcessCredentials(receiver);
        let signer =
            Signer::new(S3Credentials::Process(credentials.clone()), "us-east-1".to_owned());
        Self { sender, credentials, signer }
    }

    fn finds(&self, lease: Lease, now: SystemTime) -> Duration {
        take(&self.sender, Ok(lease), now)
    }

    fn finds_nothing(&self, now: SystemTime) -> Duration {
        take(&self.sender, Err("the endpoint is down".to_owned()), now)
    }

    /// Whose signature a URL of a quarter of an hour gets, and when it ends.
    fn signs(&self, now: SystemTime) -> Result<(String, SystemTime), StorageErrorKind> {
        let (presigner, expires_in) =
            self.signer.presigner(secs(900), now).map_err(|error| error.kind)?;
        let request = crate::storage::s3::sigv4::Presign {
            method: "PUT",
            scheme: "https",
            host: "media.example",
            path: "/a.jpg",
            query: &[],
            headers: &[],
            expires_in,
        };
        let signed = presigner.presign(&request, now).unwrap();
        let (_, rest) = signed.url.split_once("X-Amz-Credential=").unwrap();
        let (id, _) = rest.split_once("%2F").unwrap();
        assert!(signed.url.contains(&format!("X-Amz-Security-Token=token-of-{id}")));
        Ok((id.to_owned(), signed.expires_at))
    }
}

#[test]
fn a_url_ends_with_the_credentials_at_the_latest() {
    let process = Process::new();
    process.finds(lease("ONE", Some(at(3_600))), at(0));
    for (now, ends) in [
        (at(0), at(900)),
        (at(2_700), at(3_600)),
        (at(2_701), at(3_600)),
        (at(3_599), at(3_600)),
        // The URL's life begins with a whole second, and is cut to whole seconds.
        (at(3_000) + Duration::from_millis(1), at(3_599)),
    ] {
        assert_eq!(process.signs(now), Ok(("ONE".to_owned(), ends)), "{now:?}");
    }
    for late in [at(3_599) + Duration::from_millis(500), at(3_600), at(9_999)] {
        assert_eq!(process.signs(late), Err(StorageErrorKind::Credentials), "{late:?}");
    }
}

#[test]
fn new_credentials_sign_from_the_next_url_on() {
    let process = Process::new();
    assert_eq!(process.signs(at(0)), Err(StorageErrorKind::Credentials), "none so far");
    for (round, id) in ["ONE", "TWO", "ONE", "THREE"].into_iter().enumerate() {
        let now = at(1_000 * round as u64);
        process.finds(lease(id, Some(now + secs(3_600))), now);
        assert_eq!(process.signs(now), Ok((id.to_owned(), now + secs(900))));
        assert_eq!(process.signs(now), Ok((id.to_owned(), now + secs(900))));
    }
    // The same key with a later end is new as well.
    process.finds(lease("THREE", Some(at(9_000))), at(8_500));
    assert_eq!(process.signs(at(8_500)), Ok(("THREE".to_owned(), at(9_000))));
}

#[test]
fn a_failed_renewal_keeps_what_there_is_until_its_end() {
    let process = Process::new();
    process.finds(lease("ONE", Some(at(600))), at(0));
    let mut waits = Vec::new();
    for now in [at(300), at(590), at(599)] {
        waits.push(process.finds_nothing(now));
        assert_eq!(process.signs(now), Ok(("ONE".to_owned(), at(600))));
    }
    assert_eq!(waits, [secs(30), secs(5), secs(1)], "closer and closer to the end");
    process.finds_nothing(at(600));
    assert_eq!(process.signs(at(600)), Err(StorageErrorKind::Credentials));

    // What has ended on arrival replaces nothing.
    let process = Process::new();
    process.finds(lease("ONE", Some(at(600))), at(0));
    process.finds(lease("OLD", Some(at(299))), at(300));
    assert_eq!(process.signs(at(300)), Ok(("ONE".to_owned(), at(600))));

    // And when the endpoint is back, so are we.
    process.finds(lease("TWO", Some(at(10_000))), at(700));
    assert_eq!(process.signs(at(700)), Ok(("TWO".to_owned(), at(1_600))));
}

#[test]
fn credentials_are_looked_for_before_they_end() {
    for (left, wait) in [
        (None, 300),
        (Some(6 * 3_600), 6 * 3_600 - 300),
        (Some(3_600), 3_300),
        (Some(601), 301),
        (Some(600), 300),
        // The same ones again: Amazon has not made the next ones yet.
        (Some(300), 150),
        (Some(10), 5),
        (Some(1), 1),
        (Some(0), 1),
    ] {
        assert_eq!(next_look(left.map(secs)), secs(wait), "{left:?}");
    }
}

#[tokio::test]
async fn the_sdk_gets_the_same_credentials() {
    let process = Process::new();
    assert!(process.credentials.provide_credentials().await.is_err());
    let ends = SystemTime::now() + secs(3_600);
    process.finds(lease("ONE", Some(ends)), SystemTime::now());
    let given = process.credentials.provide_credentials().await.unwrap();
    assert_eq!((given.access_key_id(), given.expiry()), ("ONE", Some(ends)));
    assert_eq!(given.session_token(), Some("token-of-ONE"));
    process.finds(lease("TWO", None), SystemTime::now());
    let given = process.credentials.provide_credentials().await.unwrap();
    assert_eq!((given.access_key_id(), given.expiry()), ("TWO", None));
    assert_eq!(format!("{:?}", process.credentials), "ProcessCredentials(…)");
}
