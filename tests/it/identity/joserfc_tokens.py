"""Signs tokens with joserfc, as an independent word on what a token and a key set are.

Reads one JSON object, the claims, and writes one JSON object a line: the name of an algorithm, a key
set with a key for it, and a token that it signed.
"""

import json
import sys

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

CLAIMS = json.load(sys.stdin)
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed-1", "use": "sig"}),
}
PUBLISHED = {"keys": [key.as_dict(private=False) for key in KEYS.values()]}

for algorithm, key in [*KEYS.items(), ("Ed25519", KEYS["EdDSA"])]:
    header = {"alg": algorithm, "kid": key.kid, "typ": "JWT"}
    token = jwt.encode(header, CLAIMS, key, algorithms=[algorithm])
    print(json.dumps({"algorithm": algorithm, "jwks": PUBLISHED, "token": token}))
