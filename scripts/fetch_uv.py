"""Fetches uv with nothing but the standard library, for a Python that has neither pip nor venv.

    python3 scripts/fetch_uv.py VERSION FOLDER

The package index is the one of PIP_INDEX_URL, by default PyPI's; the wheel's SHA-256 is the index's.
"""

import hashlib
import io
import os
import re
import sys
import urllib.parse
import urllib.request
import zipfile


def main(version, folder):
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/uv/"
    page = urllib.request.urlopen(index, timeout=60).read().decode("utf-8")
    pattern = r'href="([^"]*/uv-%s-py3-none-manylinux[^"/]*x86_64[^"/]*\.whl)#sha256=([0-9a-f]{64})"' % (
        re.escape(version)
    )
    match = re.search(pattern, page)
    if not match:
        sys.exit("%s lists no uv %s for Linux on x86-64" % (index, version))
    wheel = urllib.request.urlopen(urllib.parse.urljoin(index, match.group(1)), timeout=60).read()
    if hashlib.sha256(wheel).hexdigest() != match.group(2):
        sys.exit("%s: the download is damaged (its SHA-256 differs from the index's); try again" % match.group(1))
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, "uv")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        with archive.open("uv-%s.data/scripts/uv" % version) as source, open(target, "wb") as destination:
            destination.write(source.read())
    os.chmod(target, 0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
