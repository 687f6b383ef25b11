//! What was found, as people read it: a table of 80 columns, and what to paste.

use std::fmt::Write as _;

use crate::doctor::{Check, CorsConfiguration, Row, Verdict};

use super::{Findings, json};

/// As wide as terminals are at least, and as pages of text are.
const WIDTH: usize = 80;

/// Where titles begin, and what is told below them.
const INDENT: usize = 6;

const FIX: &str = "fix: ";

impl Findings<'_> {
    /// The whole text, with its last line end.
    pub(super) fn text(&self) -> String {
        let mut text = format!("app {}: bucket {}", self.app, self.bucket);
        if !self.key_prefix.is_empty() {
            let _ = write!(text, ", keys {}…", self.key_prefix);
        }
        text.push_str("\n\n");
        let titles = self.checks.iter().map(|row| row.check.title().chars().count());
        let widest = titles.max().unwrap_or_default();
        for row in self.checks {
            print_row(&mut text, row, widest);
        }
        let count = |verdict| self.checks.iter().filter(|row| row.verdict == verdict).count();
        let _ = writeln!(
            text,
            "\n{} passed, {} failed, {} not checked.\n",
            count(Verdict::Pass),
            count(Verdict::Fail),
            count(Verdict::NotChecked),
        );
        match &self.cors {
            None => {
                text.push_str("No page is to upload, so the bucket needs no CORS configuration.\n");
            }
            Some(_) if self.cors_passed() => {
                text.push_str("The bucket's CORS configuration does what the pages need.\n");
            }
            Some(cors) => self.print_cors(&mut text, cors),
        }
        text
    }

    /// Whether there is nothing to apply.
    fn cors_passed(&self) -> bool {
        let of_cors = |row: &&Row| matches!(row.check, Check::Preflight | Check::ExposedEtag);
        self.checks.iter().filter(of_cors).all(|row| row.verdict == Verdict::Pass)
    }

    fn print_cors(&self, text: &mut String, cors: &CorsConfiguration) {
        let _ = writeln!(
            text,
            "The CORS configuration that the bucket needs. It replaces the one that is there:\n\n\
             {}\n\n\
             Save it as cors.json, and apply it with:\n\n\
             {}",
            json(cors),
            cors.command(self.bucket, self.endpoint),
        );
    }
}

/// A line, where what was seen fits behind the title; else that, and the fix, below it.
fn print_row(text: &mut String, row: &Row, widest: usize) {
    let Row { check, verdict, detail, fix } = row;
    let head = format!("{:<4}  {:<widest$}  ", word(*verdict), check.title());
    if head.chars().count() + detail.chars().count() <= WIDTH {
        let _ = writeln!(text, "{head}{detail}");
    } else {
        let _ = writeln!(text, "{}", head.trim_end());
        fold(text, "", detail);
    }
    if let Some(fix) = fix {
        fold(text, FIX, fix);
    }
}

/// Breaks a sentence into indented lines at its spaces. A word that is too long stays whole: it is
/// there to be copied.
fn fold(text: &mut String, label: &str, sentence: &str) {
    let hanging = INDENT + label.chars().count();
    let mut line = format!("{:INDENT$}{label}", "");
    let mut is_empty = true;
    for word in sentence.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(hanging);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{line}");
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::NotChecked => "skip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(detail: &str, fix: Option<&str>) -> String {
        let verdict = if fix.is_some() { Verdict::Fail } else { Verdict::Pass };
        let (detail, fix) = (detail.to_owned(), fix.map(str::to_owned));
        let mut text = String::new();
        print_row(&mut text, &Row { check: Check::Clock, verdict, detail, fix }, 30);
        text
    }

    #[test]
    fn what_fits_stands_behind_the_title() {
        assert_eq!(
            printed("within 2 s", None),
            "pass  the clocks agree                within 2 s\n"
        );
        let long = "x".repeat(42);
        assert_eq!(printed(&long, None).lines().next().unwrap().len(), WIDTH);
        let longer = "x".repeat(43);
        assert_eq!(printed(&longer, None), format!("pass  the clocks agree\n      {longer}\n"));
    }

    #[test]
    fn what_does_not_fit_is_folded_at_its_spaces() {
        let words = "word ".repeat(40);
        let text = printed(&words, Some(&words));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let mut lines = text.lines().skip(1);
        assert!(lines.next().unwrap().starts_with("      word word"));
        assert!(text.contains("\n      fix: word word"));
        assert!(text.contains("\n           word word"), "{text}");
        assert_eq!(text.matches("word").count(), 80);
    }

    #[test]
    fn what_is_to_be_copied_is_not_broken() {
        let name = "n".repeat(90);
        let text = printed("seen", Some(&format!("delete {name} by hand")));
        assert!(text.contains(&format!("fix: delete\n           {name}\n           by hand\n")));
    }

    #[test]
    fn titles_leave_room_for_what_was_seen() {
        for check in Check::ALL {
            assert!(check.title().chars().count() <= 30, "{}", check.title());
        }
    }
}
