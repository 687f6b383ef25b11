//! Good and bad pairs.

use std::fs;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;

/// Two files in a folder.
struct Files {
    folder: TempDir,
    files: PairFiles,
}

impl Files {
    fn new(certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = PairFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        Self { folder, files }
    }

    /// What is wrong, without the folder's name.
    fn refused(&self) -> String {
        let error = self.files.load().err().expect("it is refused");
        error.replace(self.folder.path().to_str().unwrap(), "D")
    }
}

/// A certificate for its key, which ends at the beginning of this year.
fn issued(algorithm: &'static SignatureAlgorithm, year: i32) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(["media.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn ecdsa() -> (String, String) {
    issued(&rcgen::PKCS_ECDSA_P256_SHA256, 2031)
}

#[test]
fn a_good_pair() {
    // Seconds since 1970 of the beginnings of two years: before 2050 a date is a UTCTime, and then a
    // GeneralizedTime (RFC 5280 §4.1.2.5).
    for (algorithm, year, expires) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, 2031, 1_924_992_000),
        (&rcgen::PKCS_ECDSA_P384_SHA384, 2060, 2_840_140_800),
        (&PKCS_ED25519, 2020, 1_577_836_800),
    ] {
        let (certificate, key) = issued(algorithm, year);
        let (other, _) = ecdsa();
        let pair = Files::new(&(certificate + &other), &key).files.load().unwrap();
        assert_eq!((pair.expires, pair.certified.cert.len()), (expires, 2));
    }
}

/// A key of each form in which openssl writes one, with a certificate that it has made.
#[test]
fn forms_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let run = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .output()
            .expect("openssl is there");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    for (make, begins) in [
        ("genrsa -traditional -out key 2048", "-----BEGIN RSA PRIVATE KEY-----"),
        ("genrsa -out key 2048", "-----BEGIN PRIVATE KEY-----"),
        ("ecparam -name prime256v1 -genkey -noout -out key", "-----BEGIN EC PRIVATE KEY-----"),
        ("ecparam -name secp384r1 -genkey -out key", "-----BEGIN EC PARAMETERS-----"),
        ("genpkey -algorithm ed25519 -out key", "-----BEGIN PRIVATE KEY-----"),
    ] {
        openssl(make);
        openssl("req -new -x509 -key key -subj /CN=media.test -days 30 -out certificate");
        let key = fs::read_to_string(folder.path().join("key")).unwrap();
        assert!(key.starts_with(begins), "{make}");
        let files = PairFiles {
            certificate: folder.path().join("certificate"),
            key: folder.path().join("key"),
        };
        assert!(files.load().is_ok(), "{make}: {:?}", files.load().err());
    }
    openssl("genrsa -aes128 -passout pass:secret -out key 2048");
    let encrypted = Files::new(&ecdsa().0, &fs::read_to_string(folder.path().join("key")).unwrap());
    assert!(encrypted.refused().contains("the key is encrypted"), "{}", encrypted.refused());
}

#[test]
fn what_is_wrong_is_told_with_its_file() {
    let (certificate, key) = ecdsa();
    let (other, other_key) = ecdsa();
    let broken = certificate.replace("-----END CERTIFICATE-----", "");
    let not_one = format!("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n{other}");
    let no_key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (certificate, key, told) in [
        ("", &*key, "TLS.CertificateFile: D/tls.crt: holds no certificate: write"),
        (&*key, &*key, "TLS.CertificateFile: D/tls.crt: holds no certificate: write"),
        (&*broken, &*key, "TLS.CertificateFile: D/tls.crt: is not whole"),
        (&*not_one, &*key, "TLS.CertificateFile: D/tls.crt: the first certificate cannot be used"),
        (&*certificate, "", "TLS.KeyFile: D/tls.key: holds no private key: write it in PEM"),
        (&*certificate, &*certificate, "TLS.KeyFile: D/tls.key: holds no private key: write"),
        (&*certificate, no_key, "TLS.KeyFile: D/tls.key: keys of this kind are not taken"),
        (
            &*certificate,
            &*other_key,
            "TLS.KeyFile: D/tls.key: the key does not belong to the first certificate in D/tls.crt",
        ),
        // The chain before the server's own.
        (
            &*format!("{other}{certificate}"),
            &*key,
            "TLS.KeyFile: D/tls.key: the key does not belong to the first certificate in D/tls.crt",
        ),
    ] {
        let refused = Files::new(certificate, key).refused();
        assert!(refused.starts_with(told), "{refused}");
        let body = key.lines().nth(1).unwrap_or("no line of any key");
        assert!(!refused.contains(body), "it repeats the key: {refused}");
    }

    let files = Files::new(&certificate, &key);
    fs::remove_file(&files.files.key).unwrap();
    let told = "TLS.KeyFile: D/tls.key: cannot be read: No such file or directory";
    assert!(files.refused().starts_with(told), "{}", files.refused());
    fs::create_dir(&files.files.key).unwrap();
    assert_eq!(files.refused(), "TLS.KeyFile: D/tls.key: is not a regular file");
    fs::write(&files.files.certificate, vec![b'x'; (256 << 10) + 1]).unwrap();
    assert!(files.refused().contains("D/tls.crt: is larger than 256 KiB"), "{}", files.refused());
}
