//! How long an answer may be kept (RFC 9111), as far as its header fields say so.

/// A number of seconds that is as good as for ever (RFC 9111 §1.2.2).
const FOR_EVER: u64 = 1 << 31;

/// What a `Cache-Control` (and the fields beside it) says to a shared cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caching {
    /// Not to be kept at all: `no-store`, `private`.
    pub no_store: bool,
    /// Never to be served once it is stale: `no-cache`, `must-revalidate`, `proxy-revalidate`,
    /// `s-maxage`.
    pub strict: bool,
    /// For how many seconds it is fresh; `None` where nothing says so.
    pub lifetime: Option<u64>,
}

impl Caching {
    /// Reads a `Cache-Control`, in one line. What is malformed makes an answer stale, never fresh
    /// (RFC 9111 §4.2.1).
    #[must_use]
    pub fn parse(cache_control: &str) -> Self {
        Self::parse_lines([cache_control])
    }

    /// The same, in any number of lines.
    #[must_use]
    pub fn parse_lines<'a>(cache_control: impl IntoIterator<Item = &'a str>) -> Self {
        let mut this = Self::default();
        let (mut max_age, mut shared_max_age, mut no_cache) = (None, None, false);
        for (name, value) in cache_control.into_iter().flat_map(directives) {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let shorter = |known: Option<u64>| Some(seconds(value).min(known.unwrap_or(FOR_EVER)));
            // With or without a list of fields: caches may take the one for the other.
            if is("no-store") || is("private") {
                this.no_store = true;
            } else if is("no-cache") {
                (this.strict, no_cache) = (true, true);
            } else if is("must-revalidate") || is("proxy-revalidate") {
                this.strict = true;
            } else if is("max-age") {
                max_age = shorter(max_age);
            } else if is("s-maxage") {
                (this.strict, shared_max_age) = (true, shorter(shared_max_age));
            }
        }
        this.lifetime = if no_cache { Some(0) } else { shared_max_age.or(max_age) };
        this
    }

    /// With the `Expires` of the same answer, as seconds after its `Date`, for where no `max-age`
    /// says more.
    #[must_use]
    pub fn or_expires_in(self, seconds: Option<u64>) -> Self {
        Self { lifetime: self.lifetime.or(seconds), ..self }
    }

    /// What both allow.
    #[must_use]
    pub fn capped_by(self, other: Self) -> Self {
        let lifetime = match (self.lifetime, other.lifetime) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            no_store: self.no_store || other.no_store,
            strict: self.strict || other.strict,
            lifetime,
        }
    }
}

/// For how many seconds the reader's own cache may keep an answer under a `Cache-Control`: 0 where
/// nothing says so. `None` if not at all.
#[must_use]
pub fn own_cache_life(cache_control: &str) -> Option<u64> {
    let (mut max_age, mut no_cache) = (None, false);
    for (name, value) in directives(cache_control) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("no-store") {
            return None;
        } else if is("no-cache") {
            no_cache = true;
        } else if is("max-age") {
            max_age = Some(seconds(value).min(max_age.unwrap_or(FOR_EVER)));
        }
    }
    Some(if no_cache { 0 } else { max_age.unwrap_or(0) })
}

/// The directives of a line, each with its value, if it has one.
fn directives(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split(',').map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim(), value)
    })
}

/// Reads delta-seconds. Some quote them, and their quotes are forgiven.
fn seconds(text: &str) -> u64 {
    let text = text.trim().trim_matches('"');
    match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        true => text.parse().unwrap_or(FOR_EVER).min(FOR_EVER),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_as_one() {
        let lines = Caching::parse_lines(["max-age=60, public", "", "s-maxage=5", "no-store"]);
        assert_eq!(lines, Caching::parse("max-age=60, public,,s-maxage=5,no-store"));
        assert_eq!(Caching::parse_lines([]), Caching::default());
    }

    #[test]
    fn what_a_cache_control_says() {
        let fresh = |seconds| Caching { lifetime: Some(seconds), ..Caching::default() };
        let strict = |lifetime| Caching { strict: true, lifetime, no_store: false };
        let no_store = |lifetime| Caching { no_store: true, lifetime, strict: false };
        for (text, expected) in [
            ("", Caching::default()),
            ("public", Caching::default()),
            ("public, max-age=31536000, immutable", fresh(31_536_000)),
            ("Max-Age=60", fresh(60)),
            ("max-age=\"60\"", fresh(60)),
            (" max-age = 60 ", fresh(60)),
            ("max-age=99999999999999999999999", fresh(FOR_EVER)),
            ("max-age=60, max-age=10", fresh(10)),
            ("max-age=-1", fresh(0)),
            ("max-age=1.5", fresh(0)),
            ("max-age", fresh(0)),
            ("max-age=ten", fresh(0)),
            ("max-age=60, s-maxage=600", strict(Some(600))),
            ("s-maxage=5, max-age=60", strict(Some(5))),
            ("must-revalidate", strict(None)),
            ("proxy-revalidate, max-age=7", strict(Some(7))),
            ("no-cache", strict(Some(0))),
            ("s-maxage=60, no-cache", strict(Some(0))),
            ("no-store", no_store(None)),
            ("private, max-age=1", no_store(Some(1))),
            ("private=\"x-user\", max-age=1", no_store(Some(1))),
            ("x=\"a, max-age=9\"", fresh(9)),
            ("stale-while-revalidate=60", Caching::default()),
        ] {
            assert_eq!(Caching::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_the_readers_own_cache_may_keep() {
        for (text, expected) in [
            ("", Some(0)),
            ("public", Some(0)),
            ("public, max-age=31536000, immutable", Some(31_536_000)),
            ("private, Max-Age = 60", Some(60)),
            ("max-age=60, s-maxage=600", Some(60)),
            ("s-maxage=600", Some(0)),
            ("max-age=60, max-age=10", Some(10)),
            ("max-age=60, no-cache", Some(0)),
            ("max-age=ten", Some(0)),
            ("max-age=60, no-store", None),
            ("No-Store", None),
        ] {
            assert_eq!(own_cache_life(text), expected, "{text:?}");
        }
    }

    #[test]
    fn expires_counts_where_no_max_age_does() {
        let lifetime = |text, expires| Caching::parse(text).or_expires_in(expires).lifetime;
        assert_eq!(lifetime("public", Some(9)), Some(9));
        assert_eq!(lifetime("max-age=60", Some(9)), Some(60));
        assert_eq!(lifetime("public", None), None);
    }

    #[test]
    fn the_stricter_of_two_counts() {
        let parse = Caching::parse;
        for (one, two, both) in [
            ("max-age=60", "max-age=10", "max-age=10"),
            ("public", "max-age=10", "max-age=10"),
            ("public", "public", "public"),
            ("no-store", "max-age=10", "no-store, max-age=10"),
            ("must-revalidate", "max-age=10", "must-revalidate, max-age=10"),
        ] {
            assert_eq!(parse(one).capped_by(parse(two)), parse(both), "{one}; {two}");
            assert_eq!(parse(two).capped_by(parse(one)), parse(both), "{two}; {one}");
        }
    }
}
