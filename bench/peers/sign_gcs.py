"""Signs one upload for Google Cloud Storage again and again with google-cloud-storage: sign_gcs.py SECONDS
KEY_FILE. Checks a URL, and prints the median of the batches in microseconds for each."""

import datetime
import hashlib
import json
import sys
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from google.cloud import storage
from google.oauth2 import service_account

from batches import median

HEADERS = {"content-type": "image/jpeg", "x-goog-if-generation-match": "0"}
with open(sys.argv[2]) as file:
    # It is not told where tokens come from: none is asked for.
    account = {"token_uri": "http://127.0.0.1:9", **json.load(file)}
credentials = service_account.Credentials.from_service_account_info(account)
client = storage.Client(project="benchmark", credentials=credentials)
blob = client.bucket("my-app-media").blob("images/01kamb5x4yt0a9qwe8m3zr6v7d-profile-photo.jpg")


def sign():
    return blob.generate_signed_url(
        version="v4", method="PUT", expiration=datetime.timedelta(seconds=900), headers=dict(HEADERS)
    )


def check(url):
    """That the URL has the account's signature of its own request. Raises otherwise."""
    parts = urllib.parse.urlsplit(url)
    query, _, signature = parts.query.partition("&x-goog-signature=")
    if not signature:
        query, _, signature = parts.query.partition("&X-Goog-Signature=")
    query = "&".join(sorted(query.split("&")))
    said = {name.lower(): value for name, value in urllib.parse.parse_qsl(query)}
    headers = {**HEADERS, "host": parts.netloc}
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"PUT\n{parts.path}\n{query}\n{lines}\n{';'.join(sorted(headers))}\nUNSIGNED-PAYLOAD"
    scope = said["x-goog-credential"].partition("/")[2]
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"GOOG4-RSA-SHA256\n{said['x-goog-date']}\n{scope}\n{digest}"
    key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    key.public_key().verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


check(sign())
print(json.dumps({"us": median(sign, float(sys.argv[1]))}))
