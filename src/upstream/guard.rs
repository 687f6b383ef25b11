//! Which addresses an upstream may have (placeholder until merged).
use std::net::IpAddr;
/// Policy.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// loopback
    pub allow_loopback: bool,
    /// networks
    pub allowed_networks: Vec<ipnet::IpNet>,
}
/// Forbidden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("upstreams may not have the address {0}")]
pub struct ForbiddenAddress(pub IpAddr);
impl AddressPolicy {
    /// Check.
    pub fn check(&self, _ip: IpAddr) -> Result<(), ForbiddenAddress> {
        Ok(())
    }
}
