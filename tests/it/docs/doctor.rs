//! `docs/doctor.md` against the checks.

use safelight::doctor::Check;

use super::{first_column, read};

#[test]
fn the_checks_are_those_that_are_made_in_their_order() {
    let documented =
        first_column(&read("docs/doctor.md"), "What it checks", &["Check", "What is tried"]);
    let made: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(documented, made);
}
