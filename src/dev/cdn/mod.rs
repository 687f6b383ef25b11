//! x
/// x
pub struct DevCdn;
