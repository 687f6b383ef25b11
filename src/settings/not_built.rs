//! What the settings may one day hold and this version refuses. The change that builds a feature
//! removes its line here.

use crate::config::{NotBuilt, When};

pub(super) static NOT_BUILT: [NotBuilt; 4] = [
    NotBuilt::new("Records", "URL", When::BeginsWith("postgres://")),
    NotBuilt::new("Records", "URL", When::BeginsWith("postgresql://")),
    NotBuilt::new("Limits", "URL", When::BeginsWith("redis://")),
    NotBuilt::new("Limits", "URL", When::BeginsWith("rediss://")),
];
