//! What a look finds, and when the next one is, at times and in files of the tests' own.

use std::path::Path;

use super::*;
use crate::storage::gcs::identity::bearer;

const KEY_FILE: &str = include_str!("../../../../tests/keys/service-account.json");

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + secs(1_700_000_000 + seconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A process that is told to look at a file, and at a metadata server where nobody listens.
fn finder(file: Option<&Path>, well_known_file: Option<&Path>) -> Finder {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let origin = Origin::from_url(&nobody).unwrap();
    let client = Client::unrestricted().unwrap();
    Finder {
        surroundings: GcsSurroundings {
            file: file.map(Into::into),
            well_known_file: well_known_file.map(Into::into),
            metadata: nobody.clone(),
            iam_credentials: nobody,
        },
        metadata: MetadataServer::new(client.clone(), origin.clone()),
        sign_blob: Arc::new(SignBlob::new(client, origin)),
        document: None,
    }
}

fn identity(ends: SystemTime) -> Arc<Identity> {
    let tokens = Tokens::Held { bearer: bearer("a-token").unwrap(), ends };
    let sign_blob = Arc::clone(&finder(None, None).sign_blob);
    Arc::new(Identity::without_key("a@b".to_owned(), tokens, sign_blob))
}

#[tokio::test]
async fn a_file_is_read_again_and_taken_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    std::fs::write(&file, KEY_FILE).unwrap();
    let mut finder = finder(Some(&file), None);
    let Ok(first) = finder.look(None).await else { panic!("the file is a key file") };
    let Ok(same) = finder.look(Some(Arc::clone(&first))).await else { panic!("it still is") };
    assert!(Arc::ptr_eq(&first, &same));

    std::fs::write(&file, KEY_FILE.replace("gateway@", "next@")).unwrap();
    let Ok(next) = finder.look(Some(Arc::clone(&first))).await else { panic!("of another") };
    assert_eq!(next.client_email(), "next@safelight-tests.iam.gserviceaccount.com");

    for broken in ["", "{}", "{\"type\": \"authorized_user\"}"] {
        std::fs::write(&file, broken).unwrap();
        let found = finder.look(Some(Arc::clone(&next))).await;
        assert!(matches!(found, Err(NotFound::Unusable(_))), "{broken}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(finder.look(Some(next)).await, Err(NotFound::Unusable(_))));
}

#[tokio::test]
async fn without_a_file_the_metadata_server_is_asked_which_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("application_default_credentials.json");
    let mut finder = finder(None, Some(&file));
    assert!(matches!(finder.look(None).await, Err(NotFound::Away(_))));
    std::fs::write(&file, KEY_FILE).unwrap();
    assert!(finder.look(None).await.is_ok());
}

#[tokio::test]
async fn what_is_found_is_used_until_there_is_better() {
    let (sender, receiver) = watch::channel(None);
    let process = GcsProcessCredentials(receiver);
    let error = process.current().err().expect("nothing was found");
    assert_eq!(error.kind, StorageErrorKind::Credentials);
    let away = || Err(NotFound::Away("no answer".to_owned()));
    assert_eq!(take(&sender, away(), at(0)), secs(30));

    let hour = identity(at(3_600));
    assert_eq!(take(&sender, Ok(Arc::clone(&hour)), at(0)), secs(3_600 - 240));
    // The server is away just then: closer and closer to the end, and never less than a second.
    for (now, wait) in [(3_360, 30), (3_580, 10), (3_599, 1), (3_700, 1)] {
        assert_eq!(take(&sender, away(), at(now)), secs(wait), "{now}");
        assert!(Arc::ptr_eq(&process.current().ok().unwrap(), &hour));
    }
    // It hands out the old token until shortly before the end.
    assert_eq!(take(&sender, Ok(identity(at(7_200))), at(7_000)), secs(100));
}

#[tokio::test]
async fn a_token_that_has_ended_is_not_sent() {
    let now = SystemTime::now();
    let ended = identity(now - secs(1)).bearer().await.unwrap_err();
    assert_eq!(ended.kind, StorageErrorKind::Credentials);
    let holds = identity(now + secs(60)).bearer().await.unwrap();
    assert!(holds.is_sensitive() && holds == "Bearer a-token");
}

#[tokio::test]
async fn no_url_outlives_the_key_that_googles_signs_with() {
    let remote = identity(at(0));
    assert_eq!(remote.url_life(secs(900)), secs(900));
    assert_eq!(remote.url_life(secs(7 * 86_400)), secs(12 * 3_600));
}
