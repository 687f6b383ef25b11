"""Whether a request's cookies are what botocore's CloudFront signer writes, and RSA says so too.

Reads one line of JSON with "cookies", "resource", "id" and the RSA key's modulus "n" in hex (its
exponent is 65537), and prints the second at which the policy ends. RSA is computed here, from its
definition in RFC 8017: no library of the gateway's takes part.
"""

import base64
import datetime
import hashlib
import json
import sys

from botocore.signers import CloudFrontSigner

# The prefix of a SHA-256 digest in EMSA-PKCS1-v1_5 (RFC 8017, section 9.2, note 1).
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def decoded(text):
    return base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"))


def main():
    given = json.loads(sys.stdin.readline())
    cookies = given["cookies"]
    policy = decoded(cookies["CloudFront-Policy"])
    signature = decoded(cookies["CloudFront-Signature"])
    statement = json.loads(policy)["Statement"][0]
    until = statement["Condition"]["DateLessThan"]["AWS:EpochTime"]

    signer = CloudFrontSigner(given["id"], lambda message: signature)
    end = datetime.datetime.fromtimestamp(until, datetime.timezone.utc)
    theirs = signer.build_policy(given["resource"], end)
    assert policy == theirs.encode(), (policy, theirs)
    query = signer.generate_presigned_url("https://any.example/", policy=theirs).split("?")[1]
    theirs = dict(pair.split("=") for pair in query.split("&"))
    ours = {name.removeprefix("CloudFront-"): value for name, value in cookies.items()}
    assert ours.pop("Hash-Algorithm") == "SHA256", ours
    # botocore of this version does not know the name of the hash; newer ones add it.
    theirs.pop("Hash-Algorithm", None)
    assert ours == theirs, (ours, theirs)

    n = int(given["n"], 16)
    size = (n.bit_length() + 7) // 8
    digest = DIGEST_INFO + hashlib.sha256(policy).digest()
    padding = b"\xff" * (size - len(digest) - 3)
    expected = b"\x00\x01" + padding + b"\x00" + digest
    found = pow(int.from_bytes(signature, "big"), 65537, n).to_bytes(size, "big")
    assert len(signature) == size and found == expected, "wrong signature"
    print(until)


main()
