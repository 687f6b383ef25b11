//! What an app's file may one day hold and this version refuses. The change that builds a feature
//! removes its line here.

use crate::config::{NotBuilt, When};

pub(super) static NOT_BUILT: [NotBuilt; 5] = [
    NotBuilt::new("Storage", "Kind", When::IsText("azure")),
    NotBuilt::new("Storage", "Account", When::NotEmpty),
    NotBuilt::new("Storage", "Container", When::NotEmpty),
    NotBuilt::new("Storage", "AccountKey", When::NotEmpty),
    NotBuilt::new("RateLimit", "PerClientIP", When::Set),
];
