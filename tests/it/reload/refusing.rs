//! Files that are refused: the app goes on as it was, and whoever looks is told why and where.

use std::fs;

use super::{ask, count, file, file_in, reloads, shop};

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let gateway = shop().start().await;
    let before = gateway.app("shop").await.unwrap();
    let good = file("");
    let half = good.split("us-east-1").next().unwrap();
    for (number, (bad, line, message)) in [
        (good.replace("Region", "Regoin"), 7, "unknown key \"Regoin\" in [Storage]; did you mean"),
        (half.to_owned(), 7, "this is not TOML"),
        (format!("{good}[Upload]\nMaxBytes = \"much\"\n"), 13, "Upload.MaxBytes: \"much\" is not"),
    ]
    .into_iter()
    .enumerate()
    {
        gateway.write_app("shop", &bad);
        gateway.until_counted(&reloads("refused"), (number + 1) as f64).await;
        let refused = gateway.until_app("shop", "refused").await;
        let told = refused["errors"][0].as_str().unwrap();
        let place = gateway.folder().join("apps.d/shop.toml");
        assert!(told.starts_with(&format!("{}:{line}: ", place.display())), "{told}");
        assert!(told.contains(message), "{told}");
        for (field, value) in before.as_object().unwrap() {
            let same = field == "state" || refused[field] == *value;
            assert!(same, "{field}: the version that is live is the old one");
        }
        for secret in ["AKIDNOBODY", "no-secret"] {
            assert!(!refused.to_string().contains(secret), "{refused}");
        }
        ask(&gateway, "shop").await.assert_success();
        assert_eq!(count(&gateway, "refused").await, 1.0);
        assert_eq!(count(&gateway, "live").await, 0.0);
    }
    gateway.write_app("shop", &good);
    let after = gateway.until_live("shop", &good).await;
    assert_eq!(after, before, "the file says again what the app is: it is the same version");
    assert_eq!(count(&gateway, "refused").await, 0.0);
}

#[tokio::test]
async fn a_newcomer_that_is_refused_is_told_of() {
    let gateway = shop().start().await;
    gateway.write_app("blog", "[Storage");
    let refused = gateway.until_app("blog", "refused").await;
    assert!(refused["errors"][0].as_str().unwrap().contains("blog.toml:1: this is not TOML"));
    assert!(refused.get("storage").is_none() && refused.get("since").is_none(), "{refused}");
    ask(&gateway, "blog").await.assert_problem(404, "unknown_app");
    let presigns = r#"safelight_presigns_total{app="blog",outcome="ok"} "#;
    assert!(!gateway.metrics().await.0.contains(presigns), "there is no such app");
    gateway.delete_app("blog");
    crate::harness::gateway::eventually("nothing is told of it any more", async || {
        gateway.app("blog").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_an_apps_is_told_of() {
    let gateway = shop().start().await;
    gateway.write_app("Shop_1", &file_in("elsewhere"));
    gateway.until_counted(&reloads("refused"), 1.0).await;
    let apps = gateway.apps().await;
    let told = apps.iter().find(|line| line.get("app").is_none()).expect("a line of its own");
    assert!(told["errors"][0].as_str().unwrap().contains("is the name of no app"), "{told}");
    assert_eq!(gateway.app("shop").await.unwrap()["state"], "live");
}

/// Who has a part of a bucket keeps it; who wants it gets it when it is free.
#[tokio::test]
async fn an_app_that_is_live_keeps_its_part_of_the_bucket() {
    let gateway = shop().start().await;
    let wanted = file("").replace("[Storage]", "[Storage]\nKeyPrefix = \"a/\"");
    gateway.write_app("thief", &wanted);
    let refused = gateway.until_app("thief", "refused").await;
    let told = refused["errors"][0].as_str().unwrap();
    assert!(told.contains("overlaps with") && told.contains("shop.toml"), "{told}");
    ask(&gateway, "thief").await.assert_problem(404, "unknown_app");
    ask(&gateway, "shop").await.assert_success();

    let moved = file_in("elsewhere");
    gateway.write_app("shop", &moved);
    gateway.until_live("shop", &moved).await;
    gateway.until_live("thief", &wanted).await;
    ask(&gateway, "thief").await.assert_success();
}

/// A directory that is not there says of no app that it is gone.
#[tokio::test]
async fn without_the_directory_everything_goes_on() {
    let gateway = shop().and_server("RemovalGrace = \"0s\"").start().await;
    let (dir, away) = (gateway.folder().join("apps.d"), gateway.folder().join("away"));
    fs::rename(&dir, &away).unwrap();
    gateway.until_counted(&reloads("failed"), 1.0).await;
    let apps = gateway.apps().await;
    assert!(apps.iter().any(|line| line["state"] == "refused"), "{apps:?}");
    assert_eq!(gateway.app("shop").await.unwrap()["state"], "live");
    ask(&gateway, "shop").await.assert_success();
    fs::rename(&away, &dir).unwrap();
    gateway.until_counted(&reloads("ok"), 1.0).await;
    assert_eq!(gateway.apps().await.len(), 1);
}
