//! What `safelight dev` prints: where everything is, and a session to copy and paste.

use std::net::SocketAddr;
use std::path::Path;

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The gateway, for the world.
    pub gateway: SocketAddr,
    /// The gateway, for the operator.
    pub admin: SocketAddr,
    /// The embedded store.
    pub store: SocketAddr,
    /// The CDN.
    pub cdn: SocketAddr,
}

/// The text.
#[must_use]
pub fn text(addresses: &Addresses, photo: &Path) -> String {
    let Addresses { gateway, admin, store, cdn } = addresses;
    let photo = photo.display();
    format!(
        r#"
Safelight is running.
  gateway  http://{gateway}
  admin    http://{admin}/metrics  /livez  /readyz  /apps
  store    http://{store}  (speaks S3 and verifies signatures)
  CDN      http://{cdn}  (fails on request)

Copy and paste, in another terminal:

  # 1. Ask for an upload. The gateway checks, mints a key, records, signs.
  curl -s -X POST http://{gateway}/darkroom/demo/v1/images/presigned-urls \
    -H 'X_Owner_Id: me' -d '{{"file": "photo.jpg"}}' > upload.json
  field() {{ sed 's/.*"'$1'":"\([^"]*\)".*/\1/' upload.json; }}

  # 2. PUT the photo straight to the store. The gateway never sees the bytes.
  curl -s -T {photo} -H 'Content-Type: image/jpeg' "$(field uploadURL)"

  # 3. Say that it is there. The gateway looks for itself.
  curl -s -X POST "$(field finalizeURL)"; echo

  # 4. Read it at its public URL, twice: Cache-Status says that the CDN answered.
  curl -s -o copy.jpg -D - "$(field publicURL)"
  curl -s -o copy.jpg -D - "$(field publicURL)" && cmp {photo} copy.jpg && echo identical

  # 5. Break the CDN for one request. The read still succeeds; Cache-Status says why it fell back.
  curl -s -o /dev/null -X POST http://{cdn}/_faults -d '{{"fault": "status", "status": 503, "count": 1}}'
  curl -s -o copy.jpg -D - "$(field publicURL)"

  # 6. Break it in the middle of the next body. The rest comes from the store.
  curl -s -o /dev/null -X POST http://{cdn}/_faults -d '{{"fault": "truncate", "after": 20000, "count": 1}}'
  curl -s -o copy.jpg "$(field publicURL)" && cmp {photo} copy.jpg && echo identical

  # 7. Nothing of this was silent.
  curl -s http://{admin}/metrics | grep -E 'fallbacks_total|healed_total' | grep -v ' 0$'

Ctrl-C stops it; the data stays.
"#
    )
}
