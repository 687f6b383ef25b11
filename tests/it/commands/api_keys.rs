//! `safelight api-key`, and that an app's file takes what it prints.

use super::Files;
use crate::harness::program::run;

#[test]
fn each_key_is_another_and_its_hash_is_taken() {
    let [one, other] = [(); 2].map(|()| run(&["api-key"]));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?}");
    assert_ne!(one.stdout, other.stdout);
    let value = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let lines: Vec<_> = one.stdout.lines().collect();
    let [key, hash] = lines[..] else { panic!("two lines: {}", one.stdout) };
    assert!(key.starts_with("Key ") && hash.starts_with("Hash "), "{}", one.stdout);
    let (key, hash) = (value(key), value(hash));
    assert!(key.starts_with("safelight_") && hash.starts_with("sha256:"), "{}", one.stdout);
    assert!(!one.stderr.contains(&key), "where the key went, it went once");

    let files = Files::good();
    let text = std::fs::read_to_string(files.path("apps.d/shop.toml")).unwrap();
    let keys = |id: &str| format!("{text}[[Identity.ApiKeys]]\nID = {id}\nHash = '{hash}'\n");
    files.write("apps.d/shop.toml", &format!("{}Owners = 'any'", keys("'backend'")));
    let ended = run(&["check", "--config", &files.settings()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
