#!/usr/bin/env python3
"""Judges our client on repositories that another implementation made, and our repository with another's client.

    cargo xtask setup
    cargo build -p twinhull-trust --example tuf-client; cargo build -p twinhull
    target/tools/tuf/bin/python lib/trust/tests/interop/judge.py target/debug/examples/tuf-client target/debug/twinhull

The commands of the client are those of the conformance suite of The Update Framework. Prints a line for each case; the exit
status is 1 if any fails. A case whose name begins with `other` runs python-tuf's own client on a repository of ours.
"""

import json
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from repository import Repository, Server
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata
from tuf.ngclient import Updater, UpdaterConfig

SERVER = Server()
CLIENT, BUILDER = (str(Path(program).resolve()) for program in sys.argv[1:3])


class Client:
    """One host."""

    def __init__(self, repository):
        self.home = tempfile.TemporaryDirectory()
        self.metadata, self.targets = Path(self.home.name) / "metadata", Path(self.home.name) / "targets"
        self.targets.mkdir()
        SERVER.repository = repository
        root = Path(self.home.name) / "root.json"
        root.write_bytes(repository.trusted_root)
        assert self.run("init", str(root)) == 0

    def run(self, *arguments):
        options = ["--metadata-dir", self.metadata, "--metadata-url", f"{SERVER.base}/metadata"]
        done = subprocess.run([CLIENT, *options, *arguments], capture_output=True, timeout=60, check=False)
        self.said = done.stderr.decode()
        assert done.returncode in (0, 1), self.said
        return done.returncode

    def refresh(self):
        return self.run("refresh") == 0

    def download(self, name):
        """The content, or nothing."""
        before = {path: path.read_bytes() for path in self.targets.iterdir()}
        options = ["--target-name", name, "--target-dir", self.targets, "--target-base-url", f"{SERVER.base}/targets"]
        if self.run(*options, "download") != 0:
            assert before == {path: path.read_bytes() for path in self.targets.iterdir()}
            return None
        return max(self.targets.iterdir(), key=lambda path: path.stat().st_mtime_ns).read_bytes()

    def version(self, role):
        path = self.metadata / f"{role}.json"
        return json.loads(path.read_bytes())["signed"]["version"] if path.exists() else None

    def trusted(self):
        return sorted(path.name for path in self.metadata.iterdir() if path.name.endswith(".json"))


def case_first_refresh_asks_in_order():
    repository = Repository()
    client = Client(repository)
    assert client.refresh()
    assert repository.requests == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
        "metadata/1.snapshot.json",
        "metadata/1.targets.json",
    ], repository.requests
    assert [client.version(role) for role in ("root", "timestamp", "snapshot", "targets")] == [1] * 4


def case_keys_of_every_kind():
    for make in (CryptoSigner.generate_ed25519, CryptoSigner.generate_rsa, CryptoSigner.generate_ecdsa):
        repository = Repository(make)
        client = Client(repository)
        assert client.refresh(), client.said
        repository.rotate("root")
        repository.publish_root()
        assert client.refresh(), client.said
        assert client.version("root") == 2


def case_mixed_keys_reach_a_threshold():
    repository = Repository()
    for make in (CryptoSigner.generate_rsa, CryptoSigner.generate_ecdsa):
        repository.add_key("snapshot", make())
    repository.root.roles["snapshot"].threshold = 3
    repository.publish_root()
    repository.publish("targets")
    client = Client(repository)
    assert client.refresh(), client.said
    repository.signers["snapshot"].pop()
    repository.publish("targets")
    assert not client.refresh()
    assert client.version("snapshot") == 2


def case_one_key_under_many_ids_counts_once():
    repository = Repository()
    signer = CryptoSigner.generate_ed25519()
    repository.add_key("snapshot", signer)
    for number in range(8):
        key = signer.public_key.to_dict()
        copy = type(signer.public_key).from_dict(f"{number:064x}", key)
        repository.root.add_key(copy, "snapshot")
    repository.root.roles["snapshot"].threshold = 3
    repository.publish_root()
    repository.publish("targets")
    assert not Client(repository).refresh()


def case_hashes_of_both_kinds_bind():
    repository = Repository(hashes=True)
    client = Client(repository)
    assert client.refresh(), client.said
    repository.publish("targets")
    assert client.refresh(), client.said
    repository.targets.version += 1
    repository.put("targets", 2, repository.sign("targets", repository.targets))
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.publish_online()
    assert not Client(repository).refresh()


def case_repository_without_consistent_snapshot():
    repository = Repository(consistent=False)
    repository.add_target(repository.targets, "dir/file", b"plain")
    repository.publish("targets")
    client = Client(repository)
    assert client.download("dir/file") == b"plain", client.said
    assert "targets/dir/file" in repository.requests


def case_downloads():
    repository = Repository()
    repository.add_target(repository.targets, "file", b"one")
    repository.add_target(repository.targets, "a/b/c d%.txt", b"two", ["sha512"])
    repository.publish("targets")
    client = Client(repository)
    assert client.download("file") == b"one", client.said
    assert client.download("a/b/c d%.txt") == b"two", client.said
    assert client.download("none") is None
    for path in list(repository.served):
        if path.startswith("targets/"):
            repository.served[path] = b"xxx"
    assert Client(repository).download("file") is None


def case_target_longer_than_listed():
    repository = Repository()
    repository.add_target(repository.targets, "file", b"12345")
    repository.publish("targets")
    for path in list(repository.served):
        if path.startswith("targets/"):
            repository.served[path] += b"6"
    assert Client(repository).download("file") is None


def case_nested_delegations_in_order():
    repository = Repository()
    first = repository.delegate("first", ["*/x"])
    inner = repository.delegate("inner", ["a/*"], delegator=first)
    second = repository.delegate("second", ["*/*"])
    repository.add_target(inner, "a/x", b"inner")
    repository.add_target(second, "a/x", b"second")
    repository.add_target(second, "a/y", b"only second")
    repository.publish("targets", "first", "inner", "second")
    client = Client(repository)
    assert client.download("a/x") == b"inner", client.said
    assert client.download("a/y") == b"only second", client.said
    wanted = [path for path in repository.requests if path.split(".")[-2] in ("first", "inner", "second")]
    assert wanted[0] == "metadata/2.first.json", wanted


def case_terminating_delegation_ends_the_search():
    repository = Repository()
    repository.delegate("first", ["a/*"], terminating=True)
    second = repository.delegate("second", ["a/*"])
    repository.add_target(second, "a/x", b"second")
    repository.publish("targets", "first", "second")
    client = Client(repository)
    assert client.download("a/x") is None
    assert not any("second" in path for path in repository.requests)


def case_delegation_by_hash_prefix():
    repository = Repository()
    role = repository.delegate("bin", None, prefixes=[f"{digit:x}" for digit in range(16)])
    repository.add_target(role, "any/name", b"hashed")
    repository.publish("targets", "bin")
    assert Client(repository).download("any/name") == b"hashed"


def case_delegated_role_of_another_key():
    repository = Repository()
    role = repository.delegate("first", ["*"])
    repository.add_target(role, "x", b"x")
    repository.signers["first"] = [CryptoSigner.generate_ed25519()]
    repository.publish("targets", "first")
    assert Client(repository).download("x") is None


def case_odd_role_names_are_quoted():
    from urllib.parse import quote

    for name in ("?", "#", "/delegated", "../delegated", "a b", "%2e", "ünïcode"):
        repository = Repository()
        repository.delegate(name, ["*"])
        repository.publish("targets", name)
        client = Client(repository)
        assert client.download("nothing") is None
        assert f"metadata/2.{quote(name, '')}.json" in repository.requests, (name, repository.requests)
        assert len(client.trusted()) == 5, client.trusted()


def case_roots_one_by_one():
    repository = Repository()
    client = Client(repository)
    for _ in range(5):
        repository.rotate("root")
        repository.publish_root()
    assert client.refresh(), client.said
    assert client.version("root") == 6
    del repository.served["metadata/4.root.json"]
    fresh = Client(repository)
    fresh.refresh()
    assert fresh.version("root") == 3


def case_root_not_signed_by_the_old_keys():
    repository = Repository()
    client = Client(repository)
    repository.rotate("root")
    repository.old_root_signers = []
    repository.publish_root()
    assert not client.refresh()
    assert client.version("root") == 1


def case_rollbacks():
    repository = Repository(hashes=True)
    client = Client(repository)
    repository.publish("targets")
    assert client.refresh(), client.said
    old = dict(repository.served)
    repository.publish("targets")
    assert client.refresh(), client.said
    repository.served = old
    assert not client.refresh()
    # Newer online roles that name an older targets role.
    repository.snapshot.version, repository.timestamp.version = 9, 9
    repository.targets.version = 1
    repository.publish()
    assert not client.refresh()
    assert client.version("targets") == 3


def case_fast_forward_is_undone_by_other_keys():
    repository = Repository()
    client = Client(repository)
    repository.timestamp.version = repository.snapshot.version = 99_999
    repository.publish()
    assert client.refresh(), client.said
    for role in ("timestamp", "snapshot"):
        repository.rotate(role)
    repository.publish_root()
    repository.timestamp.version = repository.snapshot.version = 1
    repository.publish()
    assert client.refresh(), client.said
    assert client.version("snapshot") == 1


def case_expired():
    from datetime import datetime, timezone

    past = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for role in ("root", "timestamp", "snapshot", "targets"):
        repository = Repository()
        getattr(repository, role).expires = past
        if role == "root":
            repository.publish_root()
        repository.publish("targets")
        assert not Client(repository).refresh(), role


def case_same_timestamp_version_is_put_aside():
    repository = Repository()
    client = Client(repository)
    assert client.refresh()
    kept = (client.metadata / "timestamp.json").read_bytes()
    repository.timestamp.snapshot_meta.version = 100
    repository.publish_timestamp()
    assert client.refresh(), client.said
    assert (client.metadata / "timestamp.json").read_bytes() == kept


def case_unknown_fields_are_signed_for_and_kept():
    repository = Repository()
    repository.root.unrecognized_fields["custom"] = {"a": [1, None, True], "ü": "\u2028\\\""}
    key = repository.root.keys[repository.root.roles["root"].keyids[0]]
    key.unrecognized_fields["extra"] = {"b": 2, "a": 1}
    repository.publish_root()
    client = Client(repository)
    assert client.refresh(), client.said
    kept = (client.metadata / "root.json").read_bytes()
    assert kept == repository.served["metadata/2.root.json"]


def case_unsigned_or_broken_first_root():
    repository = Repository()
    for spoil in ("version", "signatures"):
        root = json.loads(repository.trusted_root)
        if spoil == "version":
            del root["signed"]["version"]
        else:
            root["signatures"][0]["sig"] = "00" * 64
        other = Repository()
        other.trusted_root = json.dumps(root).encode()
        client = Client(other)
        assert not client.refresh()
        assert other.requests == []


def case_other_client_reads_our_repository():
    with tempfile.TemporaryDirectory() as folder:
        site, keys, home = (Path(folder) / name for name in ("site", "keys", "home"))
        subprocess.run([BUILDER, "repo", "init", "--repo", site, "--keys", keys], check=True, capture_output=True)
        subprocess.run([BUILDER, "repo", "refresh", "--repo", site, "--keys", keys], check=True, capture_output=True)
        ours = Repository()
        ours.served = {
            str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()
        }
        SERVER.repository = ours
        home.mkdir()
        updater = Updater(
            str(home),
            f"{SERVER.base}/metadata",
            str(home),
            f"{SERVER.base}/targets",
            config=UpdaterConfig(),
            bootstrap=(site / "metadata/1.root.json").read_bytes(),
        )
        updater.refresh()
        # Sends it through the delegation, which has nothing of that name.
        assert updater.get_targetinfo("channels/p/stable.json") is None
        assert any("channels.json" in path for path in ours.requests)
        for path in site.glob("metadata/*.json"):
            Metadata.from_file(str(path))


def main():
    failed = 0
    cases = {name: case for name, case in globals().items() if name.startswith("case_")}
    for name, case in cases.items():
        try:
            case()
            print("ok    ", name.removeprefix("case_").replace("_", " "))
        except (AssertionError, RepositoryError, subprocess.SubprocessError):
            failed += 1
            print("FAILED", name.removeprefix("case_").replace("_", " "))
            traceback.print_exc()
    print(f"{len(cases) - failed} of {len(cases)} cases")
    sys.exit(1 if failed else 0)


main()
