//! What a bucket of the fake is set to, and what a server ignores that is not Google's.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// How the front behaves. By default it enforces what is signed, and no page may use the bucket.
#[derive(Clone, Default)]
pub struct Manners {
    /// How far the server's clock is ahead of ours.
    pub clock_ahead: Duration,
    /// The bucket's CORS configuration, as `gcloud storage buckets update --cors-file` takes it.
    pub cors: Value,
    /// The signed `x-goog-…` headers that it does not obey.
    pub ignores: &'static [&'static str],
    /// Whether the account lacks `storage.objects.list`.
    pub denies_list: bool,
}

impl Manners {
    /// What a preflight is answered with: nothing where no rule fits.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let method = text(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
        let names = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let mut answer = HeaderMap::new();
        let Some(rule) = self.rule(asked, method) else { return answer };
        let allowed = strings(&rule["responseHeader"]);
        let knows = |name: &str| allowed.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !names.split(',').filter(|name| !name.is_empty()).all(knows) {
            return answer;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, asked[ORIGIN].clone());
        set(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, &strings(&rule["method"]));
        set(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, &allowed);
        answer
    }

    /// What the answer to a page's PUT says besides.
    pub fn answer(&self, asked: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if let Some(rule) = self.rule(asked, "PUT") {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, asked[ORIGIN].clone());
            set(&mut answer, ACCESS_CONTROL_EXPOSE_HEADERS, &strings(&rule["responseHeader"]));
        }
        answer
    }

    fn rule(&self, asked: &HeaderMap, method: &str) -> Option<&Value> {
        let origin = asked.get(ORIGIN)?.to_str().ok()?;
        let lists = |list: &Value, member: &str| {
            strings(list).iter().any(|known| *known == "*" || *known == member)
        };
        let rules = self.cors.as_array()?;
        rules.iter().find(|rule| lists(&rule["origin"], origin) && lists(&rule["method"], method))
    }
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn set(headers: &mut HeaderMap, name: HeaderName, members: &[&str]) {
    headers.insert(name, HeaderValue::from_str(&members.join(", ")).unwrap());
}
