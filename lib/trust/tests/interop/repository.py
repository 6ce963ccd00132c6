"""A repository in memory, made with python-tuf, and served on loopback: what another implementation would publish.

Needs the packages `tuf` and `cryptography`; see judge.py.
"""

import http.server
import threading
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, unquote, urlsplit

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP = ("root", "timestamp", "snapshot", "targets")


class Repository:
    """Every role with its keys. Nothing is published before `publish` says so."""

    def __init__(self, make=CryptoSigner.generate_ed25519, consistent=True, hashes=False):
        self.make, self.hashes = make, hashes
        self.expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
        self.root = Root(expires=self.expires, consistent_snapshot=consistent)
        self.timestamp = Timestamp(expires=self.expires)
        self.snapshot = Snapshot(expires=self.expires)
        self.targets = Targets(expires=self.expires)
        self.delegated = {}
        self.signers = {}
        self.old_root_signers = []
        self.served = {}
        self.requests = []
        for role in TOP:
            self.add_key(role)
        self.publish_root(first=True)
        self.publish()
        self.trusted_root = self.served["metadata/1.root.json"]

    def add_key(self, role, signer=None, delegator=None):
        """One more key of `role`, made known by whoever delegates to it."""
        signer = signer or self.make()
        self.signers.setdefault(role, []).append(signer)
        by = self.root if role in TOP else delegator or self.targets
        by.add_key(signer.public_key, role)

    def rotate(self, role):
        """Another key instead of all that the role has."""
        if role == "root":
            self.old_root_signers = list(self.signers[role])
        for signer in self.signers.pop(role):
            self.root.revoke_key(signer.public_key.keyid, role)
        self.add_key(role)

    def delegate(self, role, paths, delegator=None, terminating=False, prefixes=None):
        """An empty role that speaks for `paths`, with a key of its own."""
        delegator = delegator or self.targets
        if delegator.delegations is None:
            delegator.delegations = Delegations({}, {})
        entry = DelegatedRole(role, [], 1, terminating, paths, prefixes)
        delegator.delegations.roles[role] = entry
        self.delegated.setdefault(role, Targets(expires=self.expires))
        self.add_key(role, delegator=delegator)
        return self.delegated[role]

    def add_target(self, role, name, content, algorithms=("sha256",)):
        """Lists a file, and serves it under the names of both kinds of repository."""
        record = TargetFile.from_data(name, content, list(algorithms))
        role.targets[name] = record
        folder, _, file = name.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        self.served[f"targets/{name}"] = content
        for digest in record.hashes.values():
            self.served[f"targets/{prefix}{digest}.{file}"] = content

    def sign(self, role, signed, more=()):
        """The bytes of a metadata file."""
        made = Metadata(signed)
        for signer in [*self.signers[role], *more]:
            made.sign(signer, append=True)
        return made.to_bytes(JSONSerializer())

    def record(self, version, content):
        if not self.hashes:
            return MetaFile(version)
        return MetaFile.from_data(version, content, ["sha256", "sha512"])

    def put(self, role, version, content):
        name = quote(role, "")
        prefix = f"{version}." if self.root.consistent_snapshot or role == "root" else ""
        self.served[f"metadata/{prefix}{name}.json"] = content

    def publish_root(self, first=False, bump=True):
        """The next root, signed by the keys before, too."""
        if not first and bump:
            self.root.version += 1
        content = self.sign("root", self.root, self.old_root_signers)
        self.old_root_signers = []
        self.served[f"metadata/{self.root.version}.root.json"] = content

    def publish(self, *changed):
        """New versions of `changed`, of the snapshot and of the timestamp; everything is signed as it is."""
        for role in changed:
            signed = self.targets if role == "targets" else self.delegated[role]
            signed.version += 1
        if changed:
            self.snapshot.version += 1
            self.timestamp.version += 1
        for role, signed in [("targets", self.targets), *self.delegated.items()]:
            content = self.sign(role, signed)
            self.snapshot.meta[f"{role}.json"] = self.record(signed.version, content)
            self.put(role, signed.version, content)
        self.publish_online()

    def publish_online(self):
        """Snapshot and timestamp as they are."""
        content = self.sign("snapshot", self.snapshot)
        self.timestamp.snapshot_meta = self.record(self.snapshot.version, content)
        self.put("snapshot", self.snapshot.version, content)
        self.publish_timestamp()

    def publish_timestamp(self):
        self.served["metadata/timestamp.json"] = self.sign("timestamp", self.timestamp)


class Server:
    """Serves one repository at a time."""

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                # Compared as sent: a client must quote what could be taken for a folder.
                path = urlsplit(self.path).path.lstrip("/")
                outer.repository.requests.append(path)
                content = outer.repository.served.get(path)
                if content is None and path.startswith("targets/"):
                    content = outer.repository.served.get(unquote(path))
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        self.repository = None
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


__all__ = ["Key", "Repository", "Server", "TOP"]
