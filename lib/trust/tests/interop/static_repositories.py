#!/usr/bin/env python3
"""Judges our client on the repositories and roots that come with the crate `tough` and with python-tuf's sources.

    PYTHON static_repositories.py CLIENT TOUGH PYTHON_TUF

TOUGH and PYTHON_TUF are the unpacked packages. Their files were made with tools of others, over the years; among them are real
roots of Sigstore. Prints a line for each; the exit status is 1 if any is judged wrongly. Needs the command `faketime`: the
files are valid at different times.
"""

import functools
import http.server
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

CLIENT = str(Path(sys.argv[1]).resolve())
TOUGH = Path(sys.argv[2]).resolve() / "tests/data"
PYTHON_TUF = Path(sys.argv[3]).resolve() / "tests/repository_data"

NOW = "2026-06-01 00:00:00"

# Root, folders of metadata and targets, time; then targets and their sizes, or what refuses them.
REPOSITORIES = [
    ("RSA keys, consistent snapshot", TOUGH / "consistent-snapshots", NOW, {"data1.txt": 14, "data2.txt": 14}),
    ("RSA and ed25519 keys, delegations", TOUGH / "tuf-reference-impl", NOW, {"file1.txt": 31, "file2.txt": 39, "file3.txt": 28}),
    ("the same from python-tuf", PYTHON_TUF / "repository", NOW, {"file1.txt": 31, "file2.txt": 39, "file3.txt": 28}),
    ("fractions of seconds, odd names of roles", TOUGH / "dubious-role-names", NOW, {"1.txt": 2, "2.txt": 2, "foo": "no signed target"}),
    (
        "names of targets that climb",
        TOUGH / "safe-target-paths",
        NOW,
        {
            "foo/../bar/../baz/../data1.txt": "leads out of its folder",
            "foo/bar/baz/../data2.txt": "leads out of its folder",
            "data1.txt": "no signed target",
        },
    ),
    ("expired timestamp", TOUGH / "expired-repository", NOW, "`timestamp` expired at 1999"),
    ("the same before it expired", TOUGH / "expired-repository", "1998-06-01 00:00:00", {}),
    ("expired first root, rotated", TOUGH / "rotated-root", NOW, {}),
]

# Roots alone: whether they can be trusted from the start.
REFUSED = "trusted root"
ROOTS = [
    ("simple-rsa", None),
    ("ecdsa-new-type-sig-keys", None),
    ("pem-encoded-ecdsa-sig-keys", None),
    ("hex-encoded-ecdsa-sig-keys", None),
    ("duplicate-keyid", REFUSED),
    ("duplicate-sigs", REFUSED),
    ("duplicate-sig-keys", REFUSED),
    ("invalid-root-json-signature", REFUSED),
    ("no-root-json-signatures", REFUSED),
]


class Handler(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):
        # File names are as in the URL: what is quoted stays quoted.
        return str(Path(self.directory) / path.lstrip("/"))

    def log_message(self, *_):
        pass


def serve(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def run(home, now, *arguments):
    command = ["faketime", now, CLIENT, "--metadata-dir", f"{home}/metadata", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    return done.returncode, done.stderr


def refused(answer, why):
    status, said = answer
    assert status == 1 and why in said, (status, said)


def judge_repository(folder, now, expected):
    metadata = "metadata" if (folder / "metadata").is_dir() else "."
    base = serve(folder)
    url = f"{base}/{metadata}" if metadata != "." else base
    with tempfile.TemporaryDirectory() as home:
        assert run(home, now, "init", str(folder / metadata / "1.root.json"))[0] == 0
        answer = run(home, now, "--metadata-url", url, "refresh")
        if isinstance(expected, str):
            return refused(answer, expected)
        assert answer[0] == 0, answer[1]
        Path(home, "targets").mkdir()
        for name, size in expected.items():
            options = ["--metadata-url", url, "--target-base-url", f"{base}/targets", "--target-dir", f"{home}/targets"]
            answer = run(home, now, *options, "--target-name", name, "download")
            if isinstance(size, str):
                refused(answer, size)
                continue
            assert answer[0] == 0, answer[1]
            newest = max(Path(home, "targets").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            assert newest.stat().st_size == size, (name, newest.stat().st_size)


def judge_root(path, expected):
    with tempfile.TemporaryDirectory() as home:
        run(home, NOW, "init", str(path))
        status, said = run(home, NOW, "--metadata-url", serve(home), "refresh")
        # Nothing is served: a root that is taken leads to the next question, which nobody answers.
        assert status == 1 and (REFUSED in said) == (expected is REFUSED), said


def main():
    cases = [(name, functools.partial(judge_repository, *rest)) for name, *rest in REPOSITORIES]
    cases += [(f"root {name}", functools.partial(judge_root, TOUGH / name / "root.json", why)) for name, why in ROOTS]
    failed = 0
    for name, case in cases:
        try:
            case()
            print("ok    ", name)
        except AssertionError as error:
            failed += 1
            print("FAILED", name, error)
    print(f"{len(cases) - failed} of {len(cases)} repositories and roots")
    sys.exit(1 if failed else 0)


main()
