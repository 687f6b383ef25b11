//! Who a request has proved to come from, and what it may do.

use super::OwnerId;

/// For whom a caller acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One owner, and what is its own.
    Owner(OwnerId),
    /// The application itself: whichever owner it names.
    Application,
}

/// A caller that has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For whom it acts.
    pub scope: Scope,
    /// Whether it may delete images, besides everything else.
    pub may_delete: bool,
}

impl Caller {
    /// An owner, who may delete what is its own.
    #[must_use]
    pub const fn owner(id: OwnerId) -> Self {
        Self { scope: Scope::Owner(id), may_delete: true }
    }

    /// The owner for whom it acts; `None` for an application that has named none.
    #[must_use]
    pub const fn acts_for(&self) -> Option<&OwnerId> {
        match &self.scope {
            Scope::Owner(owner) => Some(owner),
            Scope::Application => None,
        }
    }

    /// Whether it may act on what belongs to this owner. What belongs to nobody (an image that was
    /// adopted from the bucket) is the application's alone.
    #[must_use]
    pub fn may_act_for(&self, owner: Option<&OwnerId>) -> bool {
        match &self.scope {
            Scope::Owner(own) => owner == Some(own),
            Scope::Application => true,
        }
    }

    /// Whether it may delete what belongs to this owner.
    #[must_use]
    pub fn may_delete_of(&self, owner: Option<&OwnerId>) -> bool {
        self.may_delete && self.may_act_for(owner)
    }

    /// The same caller, acting for this owner only; `None` if it may not.
    #[must_use]
    pub fn named(self, owner: OwnerId) -> Option<Self> {
        self.may_act_for(Some(&owner)).then_some(Self { scope: Scope::Owner(owner), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_acts_for_itself_and_the_application_for_everybody() {
        let [ann, bob] = ["ann", "bob"].map(|id| OwnerId::parse(id.as_bytes()).unwrap());
        let owner = Caller::owner(ann.clone());
        let application = Caller { scope: Scope::Application, may_delete: false };
        for (caller, of, may_act, may_delete) in [
            (&owner, Some(&ann), true, true),
            (&owner, Some(&bob), false, false),
            (&owner, None, false, false),
            (&application, Some(&bob), true, false),
            (&application, None, true, false),
        ] {
            assert_eq!(caller.may_act_for(of), may_act, "{caller:?} {of:?}");
            assert_eq!(caller.may_delete_of(of), may_delete, "{caller:?} {of:?}");
        }
    }

    #[test]
    fn naming_an_owner_narrows_and_never_widens() {
        let [ann, bob] = ["ann", "bob"].map(|id| OwnerId::parse(id.as_bytes()).unwrap());
        let application = Caller { scope: Scope::Application, may_delete: false };
        let for_ann = application.named(ann.clone()).unwrap();
        assert_eq!(for_ann.acts_for(), Some(&ann));
        assert!(!for_ann.may_delete && !for_ann.may_act_for(Some(&bob)));
        assert_eq!(for_ann.clone().named(bob), None);
        assert_eq!(for_ann.clone().named(ann), Some(for_ann));
    }
}
