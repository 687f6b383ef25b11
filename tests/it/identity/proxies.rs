//! The header of a proxy in front. The tests' own peer is 127.0.0.1.

use super::{
    CALLS, assert_unproved, assert_wrong_credential, begin, call, counted, granted, private_app,
    public_app, records,
};
use crate::harness::gateway::{Setup, TestGateway};

const TRUSTED: &[&str] = &["127.0.0.0/8"];
const ELSEWHERE: &[&str] = &["10.0.0.0/8", "::1/128"];

fn header(name: &str) -> String {
    format!("[Identity]\nTrustedProxy = {{ Header = \"{name}\" }}\n")
}

async fn shop(name: &str, trusted: &[&str]) -> TestGateway {
    Setup::with_app("shop", private_app(&header(name))).trusting(trusted).start().await
}

#[tokio::test]
async fn the_owner_is_who_the_proxy_says() {
    for (name, other) in [("X-Owner-Id", "X_Owner_Id"), ("X_Owner_Id", "X-Owner-Id")] {
        let gateway = shop(name, TRUSTED).await;
        granted(&gateway, &[(name, "ann")]).await;
        for headers in [
            vec![(other, "bob")],
            vec![(name, "bob"), (other, "bob")],
            vec![(name, "bob"), (name, "bob")],
            vec![(name, "bob"), ("Connection", name)],
        ] {
            let answer = begin(&gateway, &headers).send().await;
            answer.assert_problem(400, "ambiguous_owner_id");
        }
        begin(&gateway, &[(name, "b b")]).send().await.assert_problem(400, "invalid_owner_id");
        assert_unproved(&begin(&gateway, &[]).send().await);
        assert_eq!(counted(&gateway, "trusted_proxy", "proved").await, 1.0, "{name}");
        assert_eq!(counted(&gateway, "trusted_proxy", "malformed").await, 5.0, "{name}");
        assert_eq!(counted(&gateway, "trusted_proxy", "absent").await, 1.0, "{name}");
        assert_eq!(records(&gateway), 1);
    }
}

#[tokio::test]
async fn nobody_else_says_who_it_is() {
    for name in ["X-Owner-Id", "X_Owner_Id"] {
        let gateway = shop(name, ELSEWHERE).await;
        for spelling in ["X-Owner-Id", "X_Owner_Id"] {
            let forwarded = [(spelling, "ann"), ("X-Forwarded-For", "10.0.0.1")];
            assert_unproved(&begin(&gateway, &forwarded).send().await);
        }
        assert_eq!(records(&gateway), 0);
    }
    let gateway = shop("X-Auth-User", ELSEWHERE).await;
    assert_wrong_credential(&begin(&gateway, &[("X-Auth-User", "ann")]).send().await);
    assert_eq!(counted(&gateway, "trusted_proxy", "untrusted").await, 1.0);
    assert_eq!(records(&gateway), 0);
}

/// A header of the proxy's own: what the client says of itself does not matter, but for one owner.
#[tokio::test]
async fn a_header_of_another_name() {
    let gateway = shop("X-Auth-User", TRUSTED).await;
    granted(&gateway, &[("X-Auth-User", "ann")]).await;
    granted(&gateway, &[("X-Auth-User", "bob"), ("X_Owner_Id", "bob")]).await;
    let answer = begin(&gateway, &[("X-Auth-User", "carl"), ("X_Owner_Id", "ann")]).send().await;
    answer.assert_problem(403, "forbidden");
    for smuggled in ["X_Auth_User", "X-Auth_User", "X_Auth-User"] {
        let headers = [("X-Auth-User", "carl"), (smuggled, "ann")];
        begin(&gateway, &headers).send().await.assert_problem(400, "ambiguous_owner_id");
    }
    assert_unproved(&begin(&gateway, &[("X_Owner_Id", "carl")]).send().await);
    assert_eq!(records(&gateway), 2);
}

#[tokio::test]
async fn every_call_on_an_upload_takes_the_owner_that_the_proxy_names() {
    let gateway = shop("X-Owner-Id", TRUSTED).await;
    let grant = granted(&gateway, &[("X-Owner-Id", "ann")]).await;
    let id = grant.text("uploadID");
    for (method, path, status) in CALLS {
        let bobs = call(&gateway, id, (method, path), &[("X-Owner-Id", "bob")]).await;
        bobs.assert_problem(404, "upload_not_found");
        let anns = call(&gateway, id, (method, path), &[("X-Owner-Id", "ann")]).await;
        assert_eq!(anns.status, status, "{method} {path}: {}", anns.text());
    }
}

/// Where anybody may upload, an owner that no proxy names is what the client says.
#[tokio::test]
async fn an_app_that_takes_both() {
    let app = public_app(&header("X-Auth-User"));
    let gateway = Setup::with_app("shop", app.clone()).trusting(TRUSTED).start().await;
    granted(&gateway, &[("X_Owner_Id", "ann")]).await;
    granted(&gateway, &[("X-Auth-User", "bob")]).await;
    let gateway = Setup::with_app("shop", app).trusting(ELSEWHERE).start().await;
    granted(&gateway, &[("X_Owner_Id", "ann")]).await;
    assert_wrong_credential(&begin(&gateway, &[("X-Auth-User", "bob")]).send().await);
}
