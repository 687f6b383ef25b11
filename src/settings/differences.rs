//! What of the settings differs: they are in force from one start to the next, and whoever changes
//! them while the process runs is told so.

use super::Settings;

impl Settings {
    /// The sections in which these settings differ from others, as a file names them.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { server, records, keys, limits, cache_size, sweeper, grants, events, .. } = self;
        let Self { tls, tracing, .. } = self;
        let sections = [
            ("Server", *server != other.server),
            ("Records", *records != other.records),
            ("Keys", *keys != other.keys),
            ("Limits", *limits != other.limits),
            ("Cache", *cache_size != other.cache_size),
            ("Sweeper", *sweeper != other.sweeper),
            ("Grants", *grants != other.grants),
            ("Events", *events != other.events),
            ("TLS", *tls != other.tls),
            ("Tracing", *tracing != other.tracing),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &[(&str, &str)]) -> Settings {
        let least = [
            ("SAFELIGHT__SERVER__PUBLICBASEURL", "https://media.test"),
            ("SAFELIGHT__KEYS__MINTSECRETS", "['0123456789abcdef0123456789abcdef']"),
            ("SAFELIGHT__KEYS__SIGNINGSECRETS", "['0123456789abcdef0123456789abcdef']"),
        ];
        let all = least.iter().filter(|(key, _)| !more.iter().any(|(other, _)| key == other));
        let all = all.chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(None, all).unwrap()
    }

    #[test]
    fn each_section_is_told() {
        let running = settings(&[]);
        assert!(running.differences(&settings(&[])).is_empty());
        for (key, value, section) in [
            ("SERVER__LISTEN", "127.0.0.1:1", "Server"),
            ("RECORDS__URL", "sqlite:other.db", "Records"),
            ("KEYS__MINTSECRETS", "['another-0123456789abcdef0123456789']", "Keys"),
            ("LIMITS__MAXCONNECTIONS", "7", "Limits"),
            ("CACHE__SIZE", "1MiB", "Cache"),
            ("SWEEPER__GRACE", "1m", "Sweeper"),
            ("TRACING__OTLPENDPOINT", "http://127.0.0.1:4318", "Tracing"),
            ("EVENTS__PUSH__WEBHOOK__SECRET", "0123456789abcdef0123456789abcdef", "Events"),
        ] {
            let changed = settings(&[(&format!("SAFELIGHT__{key}"), value)]);
            assert_eq!(running.differences(&changed), [section]);
        }
    }
}
