//! Who a request has proved to come from.

use super::OwnerId;

/// What a caller may do, once it has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// One owner: acts on what is its own.
    Owner(OwnerId),
    /// The application itself, which says for which owner it acts.
    Application,
}

impl Caller {
    /// Whether the caller may act for this owner.
    #[must_use]
    pub fn may_act_for(&self, owner: &OwnerId) -> bool {
        match self {
            Self::Owner(own) => own == owner,
            Self::Application => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_acts_for_itself_and_the_application_for_everybody() {
        let [ann, bob] = ["ann", "bob"].map(|id| OwnerId::parse(id.as_bytes()).unwrap());
        assert!(Caller::Owner(ann.clone()).may_act_for(&ann));
        assert!(!Caller::Owner(ann).may_act_for(&bob));
        assert!(Caller::Application.may_act_for(&bob));
    }
}
