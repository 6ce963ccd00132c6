#!/usr/bin/env python3
"""Runs the client tests that come with python-tuf's sources on our client.

    PYTHON python_tuf_tests.py CLIENT SOURCES

SOURCES is the unpacked source package of python-tuf. Its tests make repositories in memory and ask the class `Updater` about
them; here our client stands behind that class and reaches the same repositories over HTTP. What it says when it refuses is
translated into the exception that means the same, so the tests also see whether the reason is the right one.

Prints a line for each test and each of its cases. The exit status is 1 if any fails that is not in `NOT_OURS`, or if one of
those passes. Needs `tuf`, `freezegun`, and the command `faketime`.
"""

import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, unquote

import freezegun.api
import tuf.ngclient
from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.ngclient import UpdaterConfig

CLIENT, SOURCES = (Path(argument).resolve() for argument in sys.argv[1:3])

MODULES = [
    "test_updater_top_level_update",
    "test_updater_delegation_graphs",
    "test_updater_key_rotations",
    "test_updater_consistent_snapshot",
    "test_updater_fetch_target",
    "test_updater_ng",
]

# Tests and cases that say nothing about a client of ours, or in which ours differs on purpose.
BOUNDS = "our bounds are fixed and cannot be set"
INSIDE = "looks at the inside of python-tuf's client"
OBJECTS = "is about what python-tuf's own objects say"
NOT_SPECIFIED = "is not in the specification"
NOT_OURS = {
    "test_max_root_rotations": BOUNDS,
    "test_max_metadata_lengths": BOUNDS,
    "test_graph_traversal [max number of delegations]": BOUNDS,
    "test_not_loading_targets_twice": INSIDE,
    "test_load_metadata_from_cache": INSIDE,
    "test_intermediate_root_cache": INSIDE,
    "test_intermediate_root_cache_poisoning": INSIDE,
    "test_persist_metadata_fails": INSIDE,
    "test_update_root_symlink_oserror_fallback": INSIDE,
    "test_updating_root": INSIDE,
    "test_user_agent": INSIDE,
    "test_both_target_urls_not_set": OBJECTS,
    "test_no_target_dir_no_filepath": OBJECTS,
    "test_length_hash_mismatch": OBJECTS,
    "test_invalid_target_base_url": OBJECTS,
    "test_non_existing_target_file": OBJECTS,
    "test_download_targets [consistent_snaphot enabled without prefixed targets]": NOT_SPECIFIED,
    "test_succinct_roles_graph_traversal": NOT_SPECIFIED,
    "test_download_targets_with_succinct_roles": NOT_SPECIFIED,
}

# What our client says, and what python-tuf would raise.
MEANINGS = [
    ("is signed by", exceptions.UnsignedMetadataError),
    ("expired at", exceptions.ExpiredMetadataError),
    ("refused as a rollback", exceptions.BadVersionNumberError),
    ("it is version", exceptions.BadVersionNumberError),
    ("is not the one that is listed", exceptions.LengthOrHashMismatchError),
    ("bytes it may have", exceptions.DownloadLengthMismatchError),
    ("does not list role", exceptions.RepositoryError),
    ("not well formed", exceptions.RepositoryError),
    ("cannot be used as a name", exceptions.RepositoryError),
    ("trusted root", exceptions.UnsignedMetadataError),
    ("cannot download", exceptions.DownloadError),
]


class Bridge:
    """Serves what a test's fetcher would fetch."""

    def __init__(self):
        bridge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, _, rest = self.path.lstrip("/").partition("/")
                status, content = 200, b""
                try:
                    # python-tuf quotes the names of roles alone.
                    rest = unquote(rest) if kind == "targets" else rest
                    content = b"".join(bridge.fetcher.fetch(bridge.bases[kind] + rest))
                except exceptions.DownloadHTTPError as error:
                    status = error.status_code
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.fetcher, self.bases = None, {}
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


BRIDGE = Bridge()


class Home:
    """What our client keeps between the lives of several `Updater`s with the same folder."""

    known = {}

    def __init__(self, root):
        self.root = root
        self.folder = Path(tempfile.mkdtemp(dir=SCRATCH))

    @classmethod
    def of(cls, folder, root):
        """The one of `folder`; a new one if that was emptied or now belongs to another repository."""
        key = os.path.abspath(folder)
        if key not in cls.known or cls.known[key].root != root or not os.path.exists(f"{key}/root.json"):
            cls.known[key] = cls(root)
            cls.known[key].run([], "init", str(cls.known[key].trusted()))
        return cls.known[key]

    def trusted(self):
        path = self.folder / "trusted.json"
        path.write_bytes(self.root)
        return path

    def run(self, options, *words):
        command = [CLIENT, "--metadata-dir", self.folder / "metadata", *options, *words]
        now = datetime.now(timezone.utc)
        if abs((now - freezegun.api.real_datetime.now(timezone.utc)).total_seconds()) > 60:
            command = ["faketime", f"{now:%Y-%m-%d %H:%M:%S}", *command]
        environment = {**os.environ, "TZ": "UTC"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


class Updater:
    """python-tuf's `Updater`, with our client behind it."""

    def __init__(
        self,
        metadata_dir,
        metadata_base_url,
        target_dir=None,
        target_base_url=None,
        fetcher=None,
        config=None,
        *,
        bootstrap,
    ):
        self.folder, self.target_dir, self.fetcher = Path(metadata_dir), target_dir, fetcher
        self.bases = {"metadata": metadata_base_url, "targets": target_base_url}
        self.config, self.refreshed = config or UpdaterConfig(), False
        root = bootstrap or (self.folder / "root.json").read_bytes()
        self.home = Home.of(metadata_dir, root)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.show()

    def url(self, kind):
        if not self.fetcher:
            return self.bases[kind]
        BRIDGE.fetcher, BRIDGE.bases = self.fetcher, self.bases
        return f"{BRIDGE.base}/{kind}"

    def show(self):
        for path in (self.home.folder / "metadata").glob("*.json"):
            shutil.copy(path, self.folder)

    def run(self, options, word):
        done = self.home.run(["--metadata-url", self.url("metadata"), *options], word)
        self.show()
        assert done.returncode in (0, 1), done.stderr
        if done.returncode == 0 or "there is no signed target" in done.stderr:
            return done.returncode == 0
        for text, meaning in MEANINGS:
            if text in done.stderr:
                raise meaning(done.stderr)
        raise AssertionError(f"neither done nor refused: {done.stderr}")

    def refresh(self):
        self.run([], "refresh")
        self.refreshed = True

    def fetched(self, name):
        """The bytes of a target, or nothing if there is none of this name."""
        with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
            options = ["--target-name", name, "--target-dir", scratch, "--target-base-url", self.url("targets")]
            found = self.run(options, "download")
            self.refreshed = True
            return next(Path(scratch).iterdir()).read_bytes() if found else None

    def get_targetinfo(self, name):
        # The command looks the name up, fetches it and, each time, refreshes first; the tests count those apart.
        tracker = getattr(self.fetcher, "fetch_tracker", None)
        before = tracker and (len(tracker.metadata), len(tracker.targets))
        again = self.refreshed
        try:
            content = self.fetched(name)
        finally:
            if tracker:
                del tracker.targets[before[1] :]
                if again:
                    new = tracker.metadata[before[0] :]
                    roles = [role for role, _ in new[:2]]
                    assert roles == ["root", "timestamp"], roles
                    tracker.metadata[before[0] :] = new[2:]
        return None if content is None else TargetFile.from_data(name, content, ["sha256"])

    def path_of(self, info, filepath):
        return filepath or os.path.join(self.target_dir, quote(info.path, ""))

    def find_cached_target(self, info, filepath=None):
        path = Path(self.path_of(info, filepath))
        try:
            info.verify_length_and_hashes(path.read_bytes())
        except (OSError, exceptions.LengthOrHashMismatchError):
            return None
        return str(path)

    def download_target(self, info, filepath=None, target_base_url=None):
        if target_base_url:
            self.bases["targets"] = target_base_url
        content = self.fetched(info.path)
        assert content is not None
        path = self.path_of(info, filepath)
        Path(path).write_bytes(content)
        return path


class Result(unittest.TestResult):
    """One verdict for each test and each case of a test."""

    def __init__(self):
        super().__init__()
        self.verdicts = {}

    def note(self, test, error=None, case=None):
        name = test.id().rsplit(".", 1)[-1] + (f" [{case}]" if case else "")
        self.verdicts[name] = error and "".join(error.splitlines(keepends=True)[-12:])

    def addSuccess(self, test):
        self.note(test)

    def addFailure(self, test, err):
        self.note(test, self._exc_info_to_string(err, test))

    addError = addFailure

    def addSkip(self, test, reason):
        self.note(test, f"skipped: {reason}")

    def addSubTest(self, test, subtest, err):
        self.note(test, err and self._exc_info_to_string(err, test), subtest.params["case"])


def main():
    os.chdir(SCRATCH)
    sys.path.insert(0, str(SOURCES))
    tuf.ngclient.Updater = Updater
    suite = unittest.defaultTestLoader.loadTestsFromNames([f"tests.{name}" for name in MODULES])
    result = Result()
    suite.run(result)
    judged = wrong = 0
    for name, error in result.verdicts.items():
        why = NOT_OURS.get(name) or NOT_OURS.get(name.split(" [")[0])
        ours = why is None
        wrong += ours == (error is not None)
        if error is None:
            print("ok    " if ours else "PASSED, although it is listed:", name)
        elif ours:
            print("FAILED", name, error, sep="\n")
        else:
            print("  --  ", name, "--", why)
        judged += ours
    known = {part for name in result.verdicts for part in (name, name.split(" [")[0])}
    for name in set(NOT_OURS) - known:
        wrong += 1
        print("GONE  ", name)
    print(f"{judged} tests and cases of python-tuf judged, {len(result.verdicts) - judged} left out, {wrong} wrong")
    sys.exit(1 if wrong or judged < 90 else 0)


with tempfile.TemporaryDirectory() as SCRATCH:
    main()
