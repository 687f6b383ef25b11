//! The pair that is served, and the files from which another one may come at any time.
//!
//! The files are read every two seconds and compared by what they hold: a path may lead through a
//! link that is swapped (Kubernetes' `..data`), and a time of change says little on some volumes.
//! Two small files cost less than watching for all the ways in which they are replaced.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;

use crate::metrics::Metrics;

use super::pair::{Contents, Pair, PairFiles};

/// How often the files are read. A certificate is replaced days before its end.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The certificate of a listener: what new connections are served with.
pub struct Certificates {
    files: PairFiles,
    serving: RwLock<Arc<CertifiedKey>>,
    follower: Mutex<Follower>,
    metrics: Arc<Metrics>,
}

/// What is there, by which one look is compared with another: a digest, or why the files cannot be
/// read.
type Sight = Result<[u8; 32], String>;

/// What was seen of the files.
#[derive(Debug)]
struct Follower {
    /// What was adopted or refused last.
    judged: Sight,
    /// What was there at the last look.
    last: Option<Sight>,
}

impl Follower {
    /// Whether it is time to judge what is seen now: it is new, and has been there for two looks.
    /// The two files are not written at one moment, and a new certificate beside the old key is
    /// nobody's mistake.
    fn is_due(&mut self, seen: &Sight) -> bool {
        let is_settled = self.last.as_ref() == Some(seen);
        self.last = Some(seen.clone());
        is_settled && self.judged != *seen
    }
}

impl Certificates {
    /// Serves a pair that was loaded from these files.
    #[must_use]
    pub fn new(files: PairFiles, pair: Pair, metrics: Arc<Metrics>) -> Arc<Self> {
        for outcome in ["ok", "failed"] {
            metrics.certificate_reloads.with_label_values(&[outcome]);
        }
        for outcome in ["ok", "failed", "timeout"] {
            metrics.tls_handshakes.with_label_values(&[outcome]);
        }
        let this = Self {
            files,
            serving: RwLock::new(Arc::clone(&pair.certified)),
            follower: Mutex::new(Follower { judged: Ok(pair.digest), last: None }),
            metrics,
        };
        this.tell_expiry(&pair);
        if pair.is_over() {
            tracing::warn!("the certificate in TLS.CertificateFile has ended: replace it");
        }
        Arc::new(this)
    }

    /// Reads the files now, and serves what they hold if it is good. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with it; then the old pair is served on.
    pub fn reload(&self) -> Result<(), String> {
        // Before the files are read: whoever has an older sight of them must not have the last word.
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.files.read();
        let sight = sight(&contents);
        follower.judged = sight;
        self.judge(contents)
    }

    /// Reloads whenever the files have changed. Never returns.
    pub async fn follow(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let this = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
                tracing::error!(%error, "looking for another certificate failed");
            }
        }
    }

    fn look(&self) {
        // Before the files are read: whoever has an older sight of them must not have the last word.
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.files.read();
        let sight = sight(&contents);
        if !follower.is_due(&sight) {
            return;
        }
        follower.judged = sight;
        // Told where it is judged.
        let _ = self.judge(contents);
    }

    /// Serves what is good; says and counts it in either case.
    fn judge(&self, contents: Result<Contents, String>) -> Result<(), String> {
        let pair = contents.and_then(|contents| {
            let pair = self.files.judge(&contents)?;
            if pair.is_over() { Err(self.files.has_ended()) } else { Ok(pair) }
        });
        let outcome = if pair.is_ok() { "ok" } else { "failed" };
        self.metrics.certificate_reloads.with_label_values(&[outcome]).inc();
        match pair {
            Ok(pair) => {
                self.tell_expiry(&pair);
                *self.serving.write().unwrap_or_else(PoisonError::into_inner) = pair.certified;
                tracing::info!("another certificate is served from now on");
                Ok(())
            }
            Err(error) => {
                tracing::error!(error, "the new certificate is refused, and the old one served on");
                Err(error)
            }
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell_expiry(&self, pair: &Pair) {
        let seconds = i64::try_from(pair.expires).unwrap_or(i64::MAX);
        self.metrics.certificate_expiry.with_label_values(&["public"]).set(seconds);
    }
}

impl Pair {
    /// Whether the certificate has ended.
    fn is_over(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.expires <= now.as_secs()
    }
}

fn sight(contents: &Result<Contents, String>) -> Sight {
    contents.as_ref().map(Contents::digest).map_err(Clone::clone)
}

impl ResolvesServerCert for Certificates {
    /// There is one certificate, whatever name the client asks for.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Says where the pair is, and nothing of it.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_for_two_looks_is_judged_once() {
        let (old, new): (Sight, Sight) = (Ok([1; 32]), Ok([2; 32]));
        let mut follower = Follower { judged: old.clone(), last: None };
        let gone: Sight = Err("TLS.KeyFile: cannot be read".into());
        for (seen, is_due) in [
            (&old, false),
            (&old, false),
            (&new, false),
            (&gone, false),
            (&new, false),
            (&new, true),
            (&new, false),
            (&gone, false),
            (&gone, true),
            (&gone, false),
            (&new, false),
            (&new, true),
        ] {
            assert_eq!(follower.is_due(seen), is_due, "{seen:?}");
            if is_due {
                follower.judged = seen.clone();
            }
        }
    }
}
