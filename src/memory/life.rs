//! How long what is kept may be served: the rules of RFC 9111 §4.2, and of RFC 5861 for what is
//! stale. Pure functions.

use std::time::Duration;

use crate::domain::Caching;

/// For how long after its end an answer is still served while a newer one is fetched. Readers of an
/// image that is read at all never wait for it then; one that nobody asked for in the meantime is
/// fetched first.
pub const STALE_WHILE_REVALIDATE: Duration = Duration::from_secs(30);

/// For how long after its end an answer is served when nobody gives a newer one. A day: outages of
/// whole providers last hours.
pub const STALE_IF_ERROR: Duration = Duration::from_secs(24 * 3600);

/// How long something may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// For how long it is fresh, counted from when the source made it.
    fresh: Duration,
    /// Whether it may be served when it no longer is.
    may_be_stale: bool,
}

/// What may be done with something that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Serve it.
    Fresh,
    /// Serve it, and see meanwhile whether it still holds.
    ServeAndRevalidate,
    /// See whether it still holds; serve it where nobody can tell.
    RevalidateOrServe,
    /// See whether it still holds, and never serve it otherwise.
    Revalidate,
}

impl Life {
    /// The life of an answer, by what its source says and what the app allows. `None`: it must not
    /// be kept.
    ///
    /// An answer that is over at once is kept only if it has a tag, by which it can be found to
    /// hold still without being sent again. A weak tag does: it is compared weakly for that (RFC 9111
    /// §4.3.4). An answer without any is kept while it is fresh, and then fetched again: nothing
    /// demands a validator of what is fresh.
    #[must_use]
    pub fn of(source: Caching, app: Caching, age: Duration, has_tag: bool) -> Option<Self> {
        let both = source.capped_by(app);
        let fresh = Duration::from_secs(both.lifetime.unwrap_or(0));
        let worth_it = has_tag || age < fresh;
        (!both.no_store && worth_it).then_some(Self { fresh, may_be_stale: !both.strict })
    }

    /// What may be done at an age.
    #[must_use]
    pub fn at(self, age: Duration) -> Use {
        let stale_for = age.checked_sub(self.fresh);
        match stale_for {
            None => Use::Fresh,
            Some(_) if !self.may_be_stale => Use::Revalidate,
            Some(time) if time < STALE_WHILE_REVALIDATE => Use::ServeAndRevalidate,
            Some(time) if time < STALE_IF_ERROR => Use::RevalidateOrServe,
            Some(_) => Use::Revalidate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "public, max-age=31536000, immutable";
    const YOUNG: &str = "max-age=60";

    fn life(source: &str, app: &str, age: u64, has_tag: bool) -> Option<Life> {
        let parse = Caching::parse;
        Life::of(parse(source), parse(app), Duration::from_secs(age), has_tag)
    }

    #[test]
    fn what_is_kept_and_for_how_long() {
        let lives =
            |fresh, may_be_stale| Some(Life { fresh: Duration::from_secs(fresh), may_be_stale });
        for (source, app, age, has_tag, expected) in [
            ("", APP, 0, true, lives(31_536_000, true)),
            ("", APP, 0, false, lives(31_536_000, true)),
            ("max-age=100", APP, 0, true, lives(100, true)),
            ("max-age=100", YOUNG, 0, true, lives(60, true)),
            ("max-age=10", YOUNG, 0, true, lives(10, true)),
            ("max-age=99999999999", APP, 0, true, lives(31_536_000, true)),
            ("s-maxage=10, max-age=100", APP, 0, true, lives(10, false)),
            ("max-age=100, must-revalidate", APP, 0, true, lives(100, false)),
            ("", "max-age=100, must-revalidate", 0, true, lives(100, false)),
            ("max-age=100", APP, 99, false, lives(100, true)),
            ("max-age=100", APP, 100, false, None),
            ("max-age=100", APP, 100, true, lives(100, true)),
            ("no-cache", APP, 0, true, lives(0, false)),
            ("no-cache", APP, 0, false, None),
            ("", "public", 0, true, lives(0, true)),
            ("", "public", 0, false, None),
            ("max-age=5", "public", 0, false, lives(5, true)),
            ("no-store", APP, 0, true, None),
            ("private, max-age=100", APP, 0, true, None),
            ("max-age=100", "no-store", 0, true, None),
            ("max-age=100", "private, max-age=100", 0, true, None),
        ] {
            assert_eq!(life(source, app, age, has_tag), expected, "{source}; {app}; {age}");
        }
    }

    #[test]
    fn what_may_be_done_at_an_age() {
        let day = 24 * 3600;
        let (usual, strict) = ("max-age=100", "max-age=100, must-revalidate");
        for (source, age, expected) in [
            (usual, 0, Use::Fresh),
            (usual, 99, Use::Fresh),
            (usual, 100, Use::ServeAndRevalidate),
            (usual, 129, Use::ServeAndRevalidate),
            (usual, 130, Use::RevalidateOrServe),
            (usual, 99 + day, Use::RevalidateOrServe),
            (usual, 100 + day, Use::Revalidate),
            (strict, 99, Use::Fresh),
            (strict, 100, Use::Revalidate),
            (strict, 100 + day, Use::Revalidate),
            ("no-cache", 0, Use::Revalidate),
        ] {
            let life = life(source, APP, 0, true).unwrap();
            assert_eq!(life.at(Duration::from_secs(age)), expected, "{source} at {age}");
        }
    }
}
