//! The variables `SAFELIGHT__SECTION__KEY`.

use crate::config::Override;

/// What an overriding variable begins with, in any case. `SAFELIGHT_…` with one underscore is
/// something else: `SAFELIGHT_CONFIG`, the apps' secrets, what Kubernetes sets for a service.
const PREFIX: &str = "SAFELIGHT__";

/// The overrides among the variables, in the order of their names. One that is not of the form is
/// kept too, as an override of a key that does not exist: it is refused later with the nearest one.
pub(super) fn overrides(env: impl Iterator<Item = (String, String)>) -> Vec<Override> {
    let is_ours = |(name, _): &(String, String)| {
        name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    };
    let mut ours: Vec<_> = env.filter(is_ours).collect();
    ours.sort();
    ours.into_iter()
        .map(|(name, value)| {
            let rest = name[PREFIX.len()..].to_owned();
            let (section, key) = rest.rsplit_once("__").unwrap_or((&rest, ""));
            // A section in a section: SAFELIGHT__EVENTS__PUSH__WEBHOOK__SECRETFILE.
            Override::new(name, &section.replace("__", "."), key, value)
        })
        .collect()
}
