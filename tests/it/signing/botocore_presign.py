"""Presigns requests with botocore, as an independent word on what a signature is.

Reads one JSON object a line and writes one URL a line, in the same order. botocore builds the whole
URL itself: host, path and query from bucket and key, as any Python program would have it.
"""

import datetime
import json
import sys

import botocore.auth
import botocore.session
from botocore.config import Config

SESSION = botocore.session.Session()
# Nothing of this machine's may have a say.
SESSION.set_config_variable("config_file", "/dev/null")
SESSION.set_config_variable("credentials_file", "/dev/null")

NOW = None
# The clock that botocore signs with.
botocore.auth.get_current_datetime = lambda remove_tzinfo=True: NOW


def client(account):
    """A client of one server, with one set of credentials."""
    return SESSION.create_client(
        "s3",
        region_name=account["region"],
        endpoint_url=account["endpoint"],
        aws_access_key_id=account["access_key_id"],
        aws_secret_access_key=account["secret_access_key"],
        aws_session_token=account["session_token"],
        config=Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path" if account["path_style"] else "virtual"},
        ),
    )


def operation(request):
    """The operation of a request, and its parameters."""
    parameters = {"Bucket": request["bucket"], "Key": request["key"]}
    part = request.get("part")
    if part:
        parameters |= {"PartNumber": part["number"], "UploadId": part["upload"]}
        parameters["ContentLength"] = part["size"]
        if part["sha256"] is not None:
            parameters["ChecksumSHA256"] = part["sha256"]
        return "upload_part", parameters
    put = request["put"]
    parameters["ContentType"] = put["content_type"]
    if put["size"] is not None:
        parameters["ContentLength"] = put["size"]
    if put["sha256"] is not None:
        parameters["ChecksumSHA256"] = put["sha256"]
    if put["create_once"]:
        parameters["IfNoneMatch"] = "*"
    return "put_object", parameters


def main():
    global NOW
    clients = {}
    for line in sys.stdin:
        request = json.loads(line)
        account = request["account"]
        name = json.dumps(account, sort_keys=True)
        if name not in clients:
            clients[name] = client(account)
        moment = datetime.datetime.fromtimestamp(request["now"], datetime.timezone.utc)
        NOW = moment.replace(tzinfo=None)
        method, parameters = operation(request)
        url = clients[name].generate_presigned_url(
            method, Params=parameters, ExpiresIn=request["expires_in"]
        )
        print(url)


main()
