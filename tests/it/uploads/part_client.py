"""Sends parts of a file, in the order that it is told: a client that a test can kill.

Reads one JSON object from standard input: the file's path, its partSize, and the partURLs as the
gateway gave them. It knows nothing of signatures.
"""

import json
import sys
import urllib.request


def main():
    told = json.load(sys.stdin)
    with open(told["file"], "rb") as file:
        for part in told["partURLs"]:
            file.seek((part["partNumber"] - 1) * told["partSize"])
            request = urllib.request.Request(
                part["url"],
                data=file.read(told["partSize"]),
                headers=part["headers"],
                method="PUT",
            )
            urllib.request.urlopen(request).close()


main()
