//! A gateway that stops in order, seen from its connections.

use std::time::Duration;

use super::*;

/// Whether anybody listens.
async fn is_listening(gateway: &TestGateway) -> bool {
    let address = gateway.base.strip_prefix("http://").unwrap();
    tokio::net::TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn what_is_idle_is_closed_and_what_is_busy_is_finished() {
    let (cdn, mut gateway, path) = slow("").await;
    let mut fresh = Raw::connect(&gateway.base).await;
    let mut used = Raw::connect(&gateway.base).await;
    use_it(&mut used).await;
    let mut reading = begin_reading(&gateway, &path).await;
    let mut posting = Raw::connect(&gateway.base).await;
    let post = "POST /darkroom/shop/v1/images/presigned-urls HTTP/1.1\r\nHost: h\r\n\
                X_Owner_Id: owner-1\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n";
    posting.send(post).await;
    assert_eq!(posting.head().await.expect("an interim answer").status, 100);
    until(&gateway, r#"safelight_connections{listener="public"}"#, 4.0).await;

    let stopping = gateway.begin_to_stop(Duration::ZERO);
    assert!(used.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(!is_listening(&gateway).await);
    let ready = admin(&gateway, Method::GET, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text().as_str()), (503, "draining\n"));

    // What was asked for before is answered, and then the connection ends.
    posting.send(r#"{"file":"a.jpg"}"#).await;
    let answer = posting.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(posting.is_closed().await);
    assert!(!stopping.is_finished());
    cdn.release();
    assert!(reading.body(JPEG.bytes.len() - FIRST_HALF).await == JPEG.bytes[FIRST_HALF..]);
    assert!(reading.is_closed().await);
    stopping.await.unwrap();
}

#[tokio::test]
async fn until_the_notice_is_over_it_serves() {
    let (_cdn, mut gateway, _) = slow("").await;
    let mut used = Raw::connect(&gateway.base).await;
    use_it(&mut used).await;
    let stopping = gateway.begin_to_stop(Duration::from_secs(3600));
    while admin(&gateway, Method::GET, "/readyz").await.status == 200 {
        tokio::task::yield_now().await;
    }
    use_it(&mut used).await;
    use_it(&mut Raw::connect(&gateway.base).await).await;
    stopping.abort();
}

#[tokio::test]
async fn what_is_busy_at_the_end_of_the_drain_is_cut_off() {
    let cdn = SlowCdn::start().await;
    let file = offline_app_file(&format!("CloudFrontURL = \"{}\"", cdn.url), PATIENT_READ);
    let setup = Setup::with_app("shop", file).and_server("DrainTimeout = \"100ms\"");
    let mut gateway = setup.start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    let local = gateway.local(image.public_url());
    let mut reading = begin_reading(&gateway, local.strip_prefix(&gateway.base).unwrap()).await;
    gateway.begin_to_stop(Duration::ZERO).await.unwrap();
    // Short of what was promised: nobody takes the half for the whole.
    assert!(reading.is_closed().await);
}
