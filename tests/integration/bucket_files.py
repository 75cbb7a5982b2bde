"""Files in the bucket `bucket` of AWS_ENDPOINT_URL, for hosts that only reach it from their own network.

python bucket_files.py put FOLDER PREFIX     # uploads what is below a folder; makes the bucket
python bucket_files.py take PREFIX           # prints {key: ETag} as JSON and deletes these objects
"""

import json
import sys
from pathlib import Path

import boto3


def put(client, folder: Path, prefix: str) -> None:
    client.create_bucket(Bucket="bucket")
    for path in filter(Path.is_file, folder.rglob("*")):
        client.put_object(Bucket="bucket", Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())


def take(client, prefix: str) -> dict[str, str]:
    tags = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix):
        for one in page.get("Contents", []):
            tags[one["Key"]] = one["ETag"]
            client.delete_object(Bucket="bucket", Key=one["Key"])
    return tags


if __name__ == "__main__":
    if sys.argv[1] == "put":
        put(boto3.client("s3"), Path(sys.argv[2]), sys.argv[3])
    else:
        sys.stdout.write(json.dumps(take(boto3.client("s3"), sys.argv[2])))
