//! Upload tokens: the bearer right to act on one upload. A token is an HMAC-SHA256 over app, id and
//! owner, cut to 160 bits, in 40 lower-case hexadecimal digits; nothing of it is stored.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::{AppName, MacKey, OwnerId, Secret, UploadId, UploadToken, hex};

/// The bytes of the MAC that a token keeps: 160 bits, far beyond guessing.
const TOKEN_BYTES: usize = 20;

/// Mints and verifies upload tokens. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct UploadTokens(Arc<[MacKey]>);

impl UploadTokens {
    /// Takes the secrets in the order of the settings: the first mints, all verify. `None` if there
    /// is none.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        (!secrets.is_empty()).then(|| Self(secrets.into_iter().map(MacKey::new).collect()))
    }

    /// The token of an upload.
    #[must_use]
    pub fn mint(&self, app: &AppName, id: UploadId, owner: &OwnerId) -> UploadToken {
        UploadToken(token(&self.0[0], app, id, owner))
    }

    /// Whether a text is the token of this upload, under any of the secrets. Takes the same time
    /// whichever characters are wrong.
    #[must_use]
    pub fn verify(&self, app: &AppName, id: UploadId, owner: &OwnerId, claimed: &str) -> bool {
        // The texts are compared, not the bytes: so a token has one spelling. The length is no
        // secret, and `ct_eq` is false for another one.
        let genuine = self.0.iter().fold(Choice::from(0), |found, secret| {
            found | token(secret, app, id, owner).as_bytes().ct_eq(claimed.as_bytes())
        });
        genuine.into()
    }
}

fn token(secret: &MacKey, app: &AppName, id: UploadId, owner: &OwnerId) -> String {
    // The first field keeps tokens apart from whatever else is signed with these secrets.
    let fields = ["safelight upload token 1", app.as_str(), id.as_str(), owner.as_str()];
    hex(&secret.mac(fields.map(str::as_bytes), &[])[..TOKEN_BYTES])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(secrets: &[&str]) -> UploadTokens {
        UploadTokens::new(secrets.iter().map(|s| Secret::new(*s)).collect()).unwrap()
    }

    fn app(name: &str) -> AppName {
        AppName::parse(name).unwrap()
    }

    fn owner(name: &str) -> OwnerId {
        OwnerId::parse(name.as_bytes()).unwrap()
    }

    fn id(last: u8) -> UploadId {
        let mut bytes = [7; 17];
        bytes[16] = last << 6;
        UploadId::from_bytes(&bytes)
    }

    #[test]
    fn a_token_fits_its_upload_only() {
        let all = tokens(&["one"]);
        let token = all.mint(&app("shop"), id(0), &owner("ann")).0;
        assert!(all.verify(&app("shop"), id(0), &owner("ann"), &token));
        assert!(!all.verify(&app("blog"), id(0), &owner("ann"), &token), "another app");
        assert!(!all.verify(&app("shop"), id(1), &owner("ann"), &token), "another upload");
        assert!(!all.verify(&app("shop"), id(0), &owner("bob"), &token), "another owner");
        assert!(!tokens(&["two"]).verify(&app("shop"), id(0), &owner("ann"), &token));
    }

    #[test]
    fn the_first_secret_mints_and_all_verify() {
        let (app, owner) = (app("shop"), owner("ann"));
        let old = tokens(&["old"]).mint(&app, id(0), &owner).0;
        let rotating = tokens(&["new", "old"]);
        assert!(rotating.verify(&app, id(0), &owner, &old));
        let new = rotating.mint(&app, id(0), &owner).0;
        assert!(tokens(&["new"]).verify(&app, id(0), &owner, &new));
        assert!(!tokens(&["new"]).verify(&app, id(0), &owner, &old), "the rotation is over");
        assert!(UploadTokens::new(Vec::new()).is_none());
    }

    #[test]
    fn neighbouring_fields_do_not_run_into_each_other() {
        let all = tokens(&["one"]);
        let text = id(0).as_str().to_owned();
        // The owner of one begins where the id of the other ends.
        let shifted = owner(&format!("{text}x"));
        let tokens = [
            all.mint(&app("a"), id(0), &owner("x")).0,
            all.mint(&app("a"), id(0), &shifted).0,
            all.mint(&app(&format!("a{text}")), id(0), &owner("x")).0,
        ];
        assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2] && tokens[0] != tokens[2]);
    }

    #[test]
    fn the_construction_is_fixed() {
        // HMAC-SHA256 by an independent implementation: links that were handed out must outlive an
        // update of this program.
        let token = tokens(&["one"]).mint(&app("shop"), id(0), &owner("ann")).0;
        assert_eq!(id(0).as_str(), "0w3ge1r70w3ge1r70w3ge1r70w");
        assert_eq!(token, "860453343369fcebe688f958aab6aee1424a3c1e");
    }

    proptest! {
        #[test]
        fn any_other_text_is_refused(claimed in "[0-9a-fA-F]{0,60}|\\PC{0,60}") {
            let all = tokens(&["one"]);
            prop_assert!(!all.verify(&app("shop"), id(0), &owner("ann"), &claimed));
        }

        #[test]
        fn a_damaged_token_is_refused(cut in 0usize..40, at in 0usize..40, to in "[0-9a-zA-Z_-]") {
            let all = tokens(&["one"]);
            let genuine = all.mint(&app("shop"), id(0), &owner("ann")).0;
            let verify = |text: &str| all.verify(&app("shop"), id(0), &owner("ann"), text);
            prop_assert!(!verify(&genuine[..cut]), "truncated");
            prop_assert!(!verify(&format!("{genuine}{to}")), "extended");
            prop_assert!(!verify(&genuine.to_ascii_uppercase()), "another spelling");
            let mut altered = genuine.clone();
            altered.replace_range(at..=at, &to);
            prop_assert_eq!(verify(&altered), altered == genuine);
        }
    }
}
