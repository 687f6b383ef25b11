"""Signs one upload for S3 again and again with boto3: sign_s3.py SECONDS. Prints the median of the batches
in microseconds for each, and a URL. Credentials as boto3 finds them."""

import json
import sys

import boto3

from botocore.config import Config

from batches import median

client = boto3.client(
    "s3", region_name="us-east-1", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
)
upload = {
    "Bucket": "my-app-media",
    "Key": "images/01kamb5x4yt0a9qwe8m3zr6v7d-profile-photo.jpg",
    "ContentType": "image/jpeg",
}


def sign():
    return client.generate_presigned_url("put_object", Params=upload, ExpiresIn=900)


print(json.dumps({"us": median(sign, float(sys.argv[1])), "url": sign()}))
