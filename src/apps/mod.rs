//! stub
use std::sync::Arc; use std::time::Duration;
use crate::{cdn::Cdn, domain::*, metrics::AppMetrics, storage::ObjectStore};
/// App
pub struct App { pub name: AppName, pub cdn: Option<Cdn>, pub cdn_prefix: KeyPrefix, pub key_prefix: KeyPrefix, pub store: Arc<dyn ObjectStore>, pub metrics: AppMetrics, pub stall_timeout: Duration }
