//! The tool that opens many slow connections, in all of its modes, at the program itself.

use std::process::{Command, Stdio};

use super::*;

/// From Debian; `tests/peers` installs it.
const SLOWHTTPTEST: &str = "/usr/bin/slowhttptest";

/// How many connections each mode opens.
const CONNECTIONS: &str = "100";

/// How much the program may grow, in KiB.
const GROWTH_KIB: u64 = 64 * 1024;

/// Ends with its connections.
fn attack(gateway: &TestGateway, mode: &[&str], path: &str) -> std::process::Child {
    Command::new(SLOWHTTPTEST)
        .args(mode)
        // Seconds of the attack, and connections opened in a second.
        .args(["-c", CONNECTIONS, "-l", "6", "-r", "100"])
        .args(["-u", &format!("{}{path}", gateway.base)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("slowhttptest is there: run tests/peers")
}

#[tokio::test]
async fn good_clients_are_served_meanwhile() {
    // The good client asks as fast as it can.
    let limits = r#"
        [RateLimit]
        PerOwner = { Rate = "100000/m", Burst = 100000 }
        PerApp = { Rate = "100000/m", Burst = 100000 }
    "#;
    let gateway = Setup::with_app("shop", offline_app_file("", limits)).serve(&[]);
    gateway.granted("shop", "a.jpg").await;
    let image = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
    let before = gateway.resident_kib();

    let mut attacks = [
        attack(&gateway, &["-H", "-i", "2"], &image),
        attack(&gateway, &["-B", "-i", "2", "-s", "4000"], PRESIGN),
        attack(&gateway, &["-R", "-a", "10", "-b", "3000"], &image),
        attack(&gateway, &["-X", "-n", "2", "-w", "16", "-y", "32", "-z", "8", "-k", "5"], &image),
    ];
    let (mut most, mut served, mut open) = (before, 0, 0.0_f64);
    while attacks.iter_mut().any(|attack| attack.try_wait().unwrap().is_none()) {
        gateway.granted("shop", "a.jpg").await;
        gateway.get(&image).await.assert_problem(404, "not_found");
        let metrics = gateway.metrics().await;
        open = open.max(metrics.value(r#"safelight_connections{listener="public"}"#));
        most = most.max(gateway.resident_kib());
        served += 1;
    }
    for mut attack in attacks {
        assert!(attack.wait().unwrap().success());
    }
    assert!(open >= 100.0, "no attack: {open} connections at most");
    assert!(served > 0);
    assert!(most - before <= GROWTH_KIB, "it grew by {} KiB", most - before);
    assert_eq!(gateway.terminate().code, Some(0));
}
